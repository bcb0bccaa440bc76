"""One batch of chat and the database's word on each of its rows.

A batch that the database refuses as a whole is halved until the row at fault stands alone, so one refused row never
costs the others. What cannot be known, or passes by itself, is to go again; the ids make that harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from .errors import (
    AuthenticationError,
    MessageRejectedError,
    NotSignedInError,
    ProtocolError,
    RefusedError,
    ServerError,
    WhatsSoundError,
)
from .gateway import Gateway
from .models import StoredRow
from .receipts import MessageReceipt

_log = logging.getLogger("whatssound.outbox")

#: Row reasons that pass by themselves: the row goes again later instead of failing.
_PASSING = frozenset({"rate_limited", "busy"})

#: Refusals that are about the caller or the session, not about a row: halving the batch would change nothing.
_WHOLE = frozenset({"session_not_found", "session_ended", "banned", "not_allowed"})

Outcome = StoredRow | MessageRejectedError


@dataclass(slots=True)
class BatchResult:
    """What is known of a batch.

    Attributes:
        outcomes: the rows whose outcome is known.
        again: the rows that must go again.
        wait: seconds that the server asked to wait before.
        server_error: whether the server failed (5xx) over some of the rows.
        answers: how many calls the database answered, refusals included.
        batches: how many it took.
        rows: rows in those it took.
        heard: what the database answered to those it took.
    """

    outcomes: list[tuple[MessageReceipt, Outcome]] = field(default_factory=list)
    again: list[MessageReceipt] = field(default_factory=list)
    wait: float = 0.0
    server_error: bool = False
    answers: int = 0
    batches: int = 0
    rows: int = 0
    heard: list[Mapping[str, Any]] = field(default_factory=list)

    def reject(
        self, receipt: MessageReceipt, reason: str, *, retry_after: float | None = None, detail: str = ""
    ) -> None:
        """Notes that a row is refused for good."""
        error = MessageRejectedError(receipt.message.id, reason, retry_after=retry_after, detail=detail)
        self.outcomes.append((receipt, error))

    def followed_by(self, later: BatchResult) -> BatchResult:
        """Returns the result of two parts of a batch, one after the other."""
        return BatchResult(
            outcomes=self.outcomes + later.outcomes,
            again=self.again + later.again,
            wait=max(self.wait, later.wait),
            server_error=self.server_error or later.server_error,
            answers=self.answers + later.answers,
            batches=self.batches + later.batches,
            rows=self.rows + later.rows,
            heard=self.heard + later.heard,
        )


class BatchStore:
    """Stores batches of one session's chat.

    Args:
        session_id: the session.
        gateway: calls the database.
        author: answers the id of the user that the next call will be made as; None: whoever wrote the messages.
    """

    def __init__(
        self, session_id: str, gateway: Gateway, author: Callable[[], Awaitable[str | None]] | None = None
    ) -> None:
        self._session_id = session_id
        self._gateway = gateway
        self._author = author

    async def store(self, batch: Sequence[MessageReceipt]) -> BatchResult:
        """Stores a batch as far as the database lets it."""
        result = BatchResult()
        try:
            ours = await self._still_ours(batch, result)
            if not ours:
                return result
            return result.followed_by(await self._store(ours))
        except WhatsSoundError as error:
            # Tokens come back (the app signs in again, the auth server returns); the words do not, so they are kept.
            _log.warning("chat waits for a valid token: %s", error)
            return BatchResult(outcomes=result.outcomes, again=list(batch), wait=1.0)

    async def answers(self) -> bool:
        """Tells whether the database answers at all, by reading nothing from the end of the log."""
        try:
            await self._gateway.once(
                "events_since", {"p_session_id": self._session_id, "p_after_seq": _BEYOND, "p_limit": 1}
            )
        except RefusedError as error:
            return not error.retryable
        except WhatsSoundError:
            return False
        return True

    async def _store(self, batch: Sequence[MessageReceipt]) -> BatchResult:
        rows = [{"id": receipt.message.id, "content": receipt.message.content} for receipt in batch]
        try:
            answer = await self._gateway.once("insert_messages", {"p_session_id": self._session_id, "p_messages": rows})
        except AuthenticationError as error:
            _log.warning("chat waits for a valid token: %s", error)
            return BatchResult(again=list(batch), wait=1.0)
        except WhatsSoundError as error:
            if error.retryable:
                failed = isinstance(error, ServerError) and error.status >= 500
                wait = float(getattr(error, "retry_after", None) or 0.0)
                return BatchResult(again=list(batch), wait=wait, server_error=failed)
            return await self._refused(batch, error)
        return self._answered(batch, answer)

    async def _still_ours(self, batch: Sequence[MessageReceipt], result: BatchResult) -> Sequence[MessageReceipt]:
        """Rejects what somebody else wrote: words must never be stored under another name.

        Raises:
            WhatsSoundError: nobody is signed in at the moment, or that cannot be told.
        """
        if self._author is None:
            return batch
        author = await self._author()
        if author is None:
            raise NotSignedInError
        for receipt in batch:
            if receipt.message.user_id != author:
                detail = "its author has signed out and somebody else has signed in"
                result.reject(receipt, "other_user", detail=detail)
        return [receipt for receipt in batch if receipt.message.user_id == author]

    async def _refused(self, batch: Sequence[MessageReceipt], error: WhatsSoundError) -> BatchResult:
        if len(batch) > 1 and not isinstance(error, ProtocolError) and getattr(error, "code", "") not in _WHOLE:
            middle = len(batch) // 2
            first = await self._store(batch[:middle])
            if first.again:
                # Order: the second half must not pass what is still missing of the first.
                first.again.extend(batch[middle:])
                return first
            return first.followed_by(await self._store(batch[middle:]))
        result = BatchResult(answers=1)
        for receipt in batch:
            result.reject(
                receipt,
                getattr(error, "code", type(error).__name__),
                retry_after=getattr(error, "retry_after", None),
                detail=str(error),
            )
        return result

    def _answered(self, batch: Sequence[MessageReceipt], answer: dict[str, Any]) -> BatchResult:
        result = BatchResult(answers=1, batches=1, rows=len(batch))
        try:
            rows = [StoredRow.model_validate(row) for row in answer["results"]]
        except (KeyError, TypeError, ValidationError) as error:
            # What was stored is not known, so it goes again.
            _log.warning("%s", ProtocolError(f"insert_messages answered in an unknown shape: {error}"))
            result.again, result.wait = list(batch), 1.0
            return result
        by_id = {row.id: row for row in rows}
        for receipt in batch:
            row = by_id.get(receipt.message.id)
            if row is None or (row.status == "rejected" and row.reason in _PASSING):
                result.again.append(receipt)
                result.wait = max(result.wait, (row.retry_after or 0.0) if row else 0.0)
            elif row.status == "rejected":
                detail = "" if row.detail is None else str(row.detail)
                result.reject(receipt, row.reason or "rejected", retry_after=row.retry_after, detail=detail)
            else:
                result.outcomes.append((receipt, row))
        result.heard.append(answer)
        return result


#: An event number that no session reaches.
_BEYOND = 2**53
