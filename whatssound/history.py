"""Older chat, page by page: keyset pagination on the event number, so new messages shift nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import ValidationError

from .core.wire import stored_message
from .errors import InvalidInputError, ProtocolError
from .models import Message
from .room import Room


async def messages(room: Room, *, before_seq: int | None, page: int) -> AsyncIterator[Message]:
    """Yields stored messages, newest first.

    Raises:
        InvalidInputError: ``page`` is not in 1 … 200.
    """
    if not 1 <= page <= 200:
        raise InvalidInputError("page", f"must be between 1 and 200, not {page}")
    while True:
        room.check_open()
        answer = await room.gateway.read(
            "message_history", {"p_session_id": room.session_id, "p_before_seq": before_seq, "p_limit": page}
        )
        try:
            found = [stored_message(row, room.session_id, row["seq"]) for row in answer["messages"]]
        except (KeyError, TypeError, ValidationError) as error:
            raise ProtocolError(f"message_history answered in an unknown shape: {error}") from error
        for message in found:
            yield message
        if not answer.get("more") or not found:
            return
        before_seq = found[-1].seq
