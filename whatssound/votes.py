"""Votes: one a user and song, stored before the call returns."""

from __future__ import annotations

from uuid import UUID

from .core.identifiers import as_uuid
from .errors import InvalidInputError
from .gateway import make_key
from .models import VoteReceipt
from .room import Room, parse


class Votes:
    """`Session.votes`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def cast(self, song_id: str | UUID, value: int, *, key: str | None = None) -> VoteReceipt:
        """Votes for (1) or against (-1) a song; a second vote replaces the first.

        Args:
            song_id: a song of this session's queue, also one that has been played.
            value: 1 or -1.
            key: the idempotency key of an earlier call whose outcome is unknown.

        Raises:
            InvalidInputError: another value, or no UUID.
            NotFoundError: the session does not have the song.
            OutcomeUnknownError: see there.
            RefusedError: session ended, banned, rate limited …
        """
        if isinstance(value, bool) or not isinstance(value, int) or value not in (1, -1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError("value", f"must be 1 or -1, not {value!r}; retract() takes a vote back")
        return await self._call("cast_vote", song_id, key, p_value=value)

    async def retract(self, song_id: str | UUID, *, key: str | None = None) -> VoteReceipt:
        """Takes a vote back; its value becomes 0. See `cast` for arguments and errors."""
        return await self._call("retract_vote", song_id, key)

    async def _call(self, function: str, song_id: str | UUID, key: str | None, **params: int) -> VoteReceipt:
        self._room.user_id()
        key = as_uuid(key, "key") if key is not None else make_key()
        answer = await self._room.command(function, {"p_song_id": as_uuid(song_id, "song_id"), **params}, key=key)
        tally = {**(answer.get("tally") or {}), "seq": answer.get("seq") or 0}
        return parse(VoteReceipt, function, {**answer, "tally": tally, "key": key})
