"""Every error this package raises.

    WhatsSoundError
    ├── ConfigurationError            a setting, URL or key that cannot work
    ├── InvalidInputError             an argument that cannot be sent (also a ValueError)
    │   ├── EmptyMessageError
    │   ├── MessageTooLongError
    │   └── InvalidTextError
    ├── AuthenticationError           who we are is not accepted
    │   ├── NotSignedInError
    │   ├── InvalidKeyError
    │   ├── InvalidCredentialsError
    │   └── TokenExpiredError
    ├── RefusedError                  the database said no, with a stable code
    │   ├── SessionNotFoundError      SessionEndedError   NotAllowedError     BannedError
    │   ├── MutedError                ChatFrozenError     SlowModeError       RateLimitedError
    │   ├── NotFoundError             QueueConflictError  QueueFullError      TipError
    │   └── IdempotencyMismatchError  DatabaseBusyError   BatchTooLargeError
    ├── MessageRejectedError          one chat message was not stored, and why
    ├── TransportError                the request or socket failed on the way
    │   ├── UnreachableError
    │   ├── RequestTimeoutError
    │   ├── ServerError
    │   └── ConnectionRefusedByServerError
    ├── FramesUnavailableError        ``feed="frames"``, and there are none for us
    ├── OutcomeUnknownError           a command may or may not have happened; its key is attached
    ├── OutboxFullError               no room for another message (policy ``reject``)
    ├── SpoolError                    the file that keeps messages over restarts
    │   ├── SpoolInUseError
    │   ├── SpoolDamagedError
    │   └── SpoolFullError
    ├── SlowReaderError               a reader fell so far behind that only events it must not lose were left
    ├── SessionClosedError            used after it was closed
    └── ProtocolError                 the server answered in a shape we do not know

Errors carry facts as attributes; the text is composed from them. ``retryable`` says whether the same call may succeed
later without changing anything. The refusal codes are those of the database (``hint`` of a ``PTnnn`` error); `REFUSALS`
maps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override


class WhatsSoundError(Exception):
    """Base of every error raised by this package."""

    retryable: bool = False

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies by attributes: constructors take facts, not the text that `Exception` would pass them."""
        return _revived, (type(self), self.args), self.__dict__


def _revived(kind: type[WhatsSoundError], args: tuple[Any, ...]) -> WhatsSoundError:
    return kind.__new__(kind, *args)


class ConfigurationError(WhatsSoundError, ValueError):
    """A setting that cannot work, such as a URL without a scheme or a negative interval."""

    def __init__(self, setting: str, problem: str) -> None:
        self.setting = setting
        self.problem = problem
        super().__init__(f"{setting}: {problem}")


# --- arguments


class InvalidInputError(WhatsSoundError, ValueError):
    """An argument that cannot be sent; nothing was sent."""

    def __init__(self, argument: str, problem: str) -> None:
        self.argument = argument
        self.problem = problem
        super().__init__(f"{argument}: {problem}")


class EmptyMessageError(InvalidInputError):
    """The text is empty or only white space."""

    def __init__(self) -> None:
        super().__init__("text", "is empty; send at least one visible character")


class MessageTooLongError(InvalidInputError):
    """The text has more characters than the session allows."""

    def __init__(self, length: int, limit: int) -> None:
        self.length = length
        self.limit = limit
        super().__init__("text", f"has {length} characters; the limit is {limit}. Shorten it or split it")


class InvalidTextError(InvalidInputError):
    """The text holds something Postgres cannot store: NUL or a lone surrogate."""

    def __init__(self, argument: str, what: str, position: int) -> None:
        self.what = what
        self.position = position
        super().__init__(argument, f"holds {what} at position {position}; remove it")


# --- who we are


class AuthenticationError(WhatsSoundError):
    """The server does not accept who we are."""


class NotSignedInError(AuthenticationError):
    """The call needs a user and nobody is signed in."""

    def __init__(self, text: str = "nobody is signed in; call sign_in_anonymously() or sign_in() first") -> None:
        super().__init__(text)


class InvalidKeyError(AuthenticationError):
    """The project's API key or the token's signature is wrong."""

    def __init__(
        self,
        detail: str = "the server does not know this key; copy the anon (publishable) key of this project",
    ) -> None:
        super().__init__(detail)


class InvalidCredentialsError(AuthenticationError):
    """E-mail and password, or a refresh token, were refused."""


class TokenExpiredError(AuthenticationError):
    """The access token has run out and could not be refreshed."""

    def __init__(self, detail: str = "the access token has expired; sign in again or pass a fresh one") -> None:
        super().__init__(detail)


# --- the database said no


class RefusedError(WhatsSoundError):
    """The database refused the call.

    Attributes:
        code: the stable refusal code, for example ``slow_mode``.
        status: the HTTP status.
        retry_after: seconds until it may work, where the database knows.
        facts: everything else the database said about it.
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.facts: Mapping[str, Any] = dict(facts or {})
        text = f"{code}: {message}" if message else code
        if retry_after is not None:
            text += f" (try again in {retry_after:g} s)"
        if self.advice:
            text += f"; {self.advice}"
        super().__init__(text)


class SessionNotFoundError(RefusedError):
    """No such session, or not for you: both answer alike, so that private sessions cannot be probed."""

    advice = "check the id, and that this user may see the session"


class SessionEndedError(RefusedError):
    """The session has ended; it can be read but not written."""

    advice = "it can still be read"


class NotAllowedError(RefusedError):
    """The caller's role or the session's settings do not permit this."""


class BannedError(RefusedError):
    """The caller is banned from this session."""


class MutedError(RefusedError):
    """The caller is muted; ``retry_after`` says for how long."""


class ChatFrozenError(RefusedError):
    """Only the DJ and moderators may speak at the moment."""


class SlowModeError(RefusedError):
    """The caller has spoken too recently; ``retry_after`` says when again."""


class RateLimitedError(RefusedError):
    """Too many calls from this user."""

    retryable = True


class NotFoundError(RefusedError):
    """A song, queue item, member, tip or message that the session does not have."""


class QueueConflictError(RefusedError):
    """The queue changed meanwhile; ``facts['order']`` is the current order."""

    advice = "read session.state.queue and decide again"


class QueueFullError(RefusedError):
    """The queue has as many songs as the session allows."""


class TipError(RefusedError):
    """A tip that is too large, or whose state does not permit the change."""


class IdempotencyMismatchError(RefusedError):
    """The idempotency key was used before with other values."""

    advice = "use a new key for a new intention"


class DatabaseBusyError(RefusedError):
    """The session's lock could not be had in time; nothing was changed."""

    retryable = True


class BatchTooLargeError(RefusedError):
    """More rows than one call may carry."""


#: refusal code of the database → error class; `tests/database` keeps it equal to the migrations.
#: ``not_signed_in`` is not among them: it is about who we are, and becomes `NotSignedInError`.
REFUSALS: dict[str, type[RefusedError]] = {
    "session_not_found": SessionNotFoundError,
    "session_ended": SessionEndedError,
    "not_allowed": NotAllowedError,
    "banned": BannedError,
    "muted": MutedError,
    "slow_mode": SlowModeError,
    "rate_limited": RateLimitedError,
    "chat_frozen": ChatFrozenError,
    "too_long": RefusedError,
    "empty": RefusedError,
    "invalid_text": RefusedError,
    "invalid_argument": RefusedError,
    "bad_id": RefusedError,
    "bad_clock": RefusedError,
    "unknown_song": NotFoundError,
    "unknown_item": NotFoundError,
    "unknown_member": NotFoundError,
    "unknown_tip": NotFoundError,
    "unknown_message": NotFoundError,
    "queue_conflict": QueueConflictError,
    "queue_full": QueueFullError,
    "idempotency_mismatch": IdempotencyMismatchError,
    "id_conflict": IdempotencyMismatchError,
    "tip_too_large": TipError,
    "tip_state": TipError,
    "busy": DatabaseBusyError,
    "batch_too_large": BatchTooLargeError,
}


def refusal(
    code: str,
    message: str = "",
    *,
    status: int | None = None,
    retry_after: float | None = None,
    facts: Mapping[str, Any] | None = None,
) -> RefusedError:
    """Makes the error class that belongs to a refusal code (`RefusedError` itself for one we do not know)."""
    kind = REFUSALS.get(code, RefusedError)
    return kind(code, message, status=status, retry_after=retry_after, facts=facts)


class MessageRejectedError(WhatsSoundError):
    """A chat message was accepted by `Chat.send` and refused by the database.

    Attributes:
        message_id: the client-made id.
        reason: the row's refusal code (``slow_mode``, ``muted``, ``session_ended`` …), or ours: ``closed`` (before the
            outcome was known), ``spooled`` (likewise, but kept on disk for the next run), ``dropped`` (see
            `OutboxConfig.policy`), ``other_user`` (signed in since), ``server_error`` (see
            `OutboxConfig.row_attempts`).
        retry_after: seconds until it may work, where known.
    """

    def __init__(self, message_id: str, reason: str, *, retry_after: float | None = None, detail: str = "") -> None:
        self.message_id = message_id
        self.reason = reason
        self.retry_after = retry_after
        self.detail = detail
        text = f"message {message_id} was not stored: {reason}"
        if detail:
            text += f" ({detail})"
        if retry_after is not None:
            text += f"; try again in {retry_after:g} s"
        super().__init__(text)


# --- on the way


class TransportError(WhatsSoundError):
    """The request or the socket failed on the way.

    Attributes:
        sent: whether the request may have reached the server, so that its effect is unknown.
    """

    retryable = True

    def __init__(self, text: str, *, sent: bool = True) -> None:
        self.sent = sent
        super().__init__(text)


class UnreachableError(TransportError):
    """No connection could be made: nothing was sent."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        super().__init__(f"cannot reach {where}: {problem}; check the URL and that the project is running", sent=False)


class RequestTimeoutError(TransportError):
    """No answer within the deadline."""


class ServerError(TransportError):
    """A gateway or the server failed (5xx, 429, or an answer that is not from the API).

    Attributes:
        status: the HTTP status.
        retry_after: seconds, from the ``Retry-After`` header, if it was given.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None, sent: bool = True) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"the server answered {status}: {message}", sent=sent)


class ConnectionRefusedByServerError(TransportError):
    """The Realtime server refused the socket or the join.

    Attributes:
        reason: the server's own words, for example ``Unauthorized: You do not have permissions …``.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Realtime refused: {reason}", sent=False)


class FramesUnavailableError(WhatsSoundError):
    """``feed="frames"`` was asked for, and this session has no frames that we may hear.

    Attributes:
        problem: what stands in the way, and what to do about it.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f'the session has no frames for us: {problem}; feed="auto" falls back to Postgres Changes')


class OutcomeUnknownError(WhatsSoundError):
    """The retry budget is used up and nobody knows whether the command happened.

    Calling again with the same ``key`` is safe: the database knows it if it has it.

    Attributes:
        operation: the RPC's name.
        key: the idempotency key of the call.
        attempts: how often it was tried.
    """

    retryable = True

    def __init__(self, operation: str, key: str | None, attempts: int, last: BaseException | None = None) -> None:
        self.operation = operation
        self.key = key
        self.attempts = attempts
        self.last = last
        super().__init__(
            f"{operation} may or may not have happened after {attempts} attempts ({last}); call again with key={key!r}"
        )


class OutboxFullError(WhatsSoundError):
    """The outbox holds as much as it may and the policy is ``reject``; the message was not taken."""

    retryable = True

    def __init__(self, waiting: int, waiting_bytes: int) -> None:
        self.waiting = waiting
        self.waiting_bytes = waiting_bytes
        super().__init__(f"the outbox is full ({waiting} messages, {waiting_bytes} bytes); wait and send again")


class SpoolError(WhatsSoundError):
    """The spool cannot be used; the message was not taken.

    Attributes:
        path: the spool's file.
        problem: what is wrong and what to do.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"spool {path}: {problem}")


class SpoolInUseError(SpoolError):
    """Another process, or another client of this one, has the spool open."""

    def __init__(
        self,
        path: str,
        problem: str = "is open elsewhere; close the other client, or give each process a file of its own",
    ) -> None:
        super().__init__(path, problem)


class SpoolDamagedError(SpoolError):
    """The file is no spool, or it is damaged. It is left as it is."""

    def __init__(self, path: str, detail: str) -> None:
        self.detail = detail
        super().__init__(path, f"{detail}; move the file away to start with an empty one, and keep it for rescue")


class SpoolFullError(SpoolError):
    """The disk is full, or the spool holds as much as it may; the message was not taken."""

    retryable = True


class SlowReaderError(WhatsSoundError):
    """A reader of `Session.events` fell so far behind that even the events it must not lose filled it."""

    def __init__(self, held: int) -> None:
        self.held = held
        super().__init__(
            f"this reader holds {held} unread events that may not be dropped; read faster or open a new one"
        )


class SessionClosedError(WhatsSoundError):
    """The session, client or outbox is closed (or was never opened)."""

    def __init__(self, what: str = "the session is not open; use it inside `async with`") -> None:
        super().__init__(what)


class ProtocolError(WhatsSoundError):
    """The server answered in a shape this version does not know."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; the deployed migrations and this package may be of different versions")
