"""Chat: heard by everybody at once and stored by the next batch, or stored first and heard with the next frame."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from .core import wire
from .core.text import chat_text
from .errors import RefusedError, refusal
from .history import messages
from .models import Message, MessageId, UserId
from .outbox import MessageReceipt
from .room import Room

#: The fields that a message said here is made of. One set for all messages: a set of its own is half of a message's
#: memory, and what is said in an outage waits there.
_SAID = {"id", "session_id", "user_id", "username", "role", "content", "created_at"}


class Chat:
    """`Session.chat`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def send(self, text: str) -> MessageReceipt:
        """Says something: broadcast now if the topic is joined, stored with the next batch in any case.

        Without a connection the message is stored all the same, and the others get it from the event log. Where the
        session's chat is ``stored`` first (`LiveState.chat_path`), it goes to the database alone.

        Args:
            text: up to the session's ``max_message_length`` characters.

        Returns:
            A receipt; ``await receipt.stored()`` waits for the database.

        Raises:
            EmptyMessageError: nothing but white space.
            MessageTooLongError: over the session's limit.
            InvalidTextError: NUL or a lone surrogate.
            NotSignedInError: no user.
            RefusedError: the session is known to have ended, chat to be frozen, or we to be banned or muted: nothing
                was sent.
            OutboxFullError: no room, and the outbox' policy is ``reject``.
        """
        room = self._room
        user_id = room.user_id()
        session = room.state.session
        limit = session.settings.max_message_length if session is not None else room.config.max_message_length
        chat_text(text, limit)
        self._check_allowed()
        me = room.state.me
        unix_ms = room.server_time.unix_ms()
        message = Message.model_construct(
            _SAID,
            id=MessageId(room.ids.make(unix_ms)),
            session_id=room.session_id,
            user_id=UserId(user_id),
            username=me.username if me is not None else (room.tokens.username or ""),
            role=me.role if me is not None else "listener",
            content=text,
            created_at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=unix_ms),
        )
        receipt = await room.outbox.put(message)
        room.feed.said(message)
        if room.feed.switch.mode.chat_path == "stored":
            return receipt
        await room.connection.push(
            "broadcast", {"type": "broadcast", "event": wire.CHAT, "payload": wire.chat_payload(message)}
        )
        return receipt

    def history(self, *, before_seq: int | None = None, page: int = 50) -> AsyncIterator[Message]:
        """Iterates over stored messages, newest first, fetching pages as needed.

        Args:
            before_seq: only messages before this place in the log; the newest by default.
            page: messages a request, up to 200.
        """
        return messages(self._room, before_seq=before_seq, page=page)

    def _check_allowed(self) -> None:
        """Says at once what the database would say: a message that will be refused should not be broadcast."""
        session, me = self._room.state.session, self._room.state.me
        crew = me is not None and me.role in ("dj", "moderator")
        problem: RefusedError | None = None
        if session is not None and session.status == "ended":
            problem = refusal("session_ended", "the session has ended")
        elif me is not None and me.banned:
            problem = refusal("banned", "you are banned from this session")
        elif me is not None and me.muted_until is not None and me.muted_until > self._room.server_time.now():
            left = (me.muted_until - self._room.server_time.now()).total_seconds()
            problem = refusal("muted", "you are muted", retry_after=left)
        elif session is not None and session.settings.chat_frozen and not crew:
            problem = refusal("chat_frozen", "only the DJ and moderators may speak at the moment")
        if problem is not None:
            raise problem
