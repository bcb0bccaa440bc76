"""Typing: told by broadcast, at most every few seconds, and forgotten by itself."""

from __future__ import annotations

from .core import wire
from .room import Room


class Typing:
    """`Session.typing`."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._told_at: float | None = None

    async def start(self) -> None:
        """Says that the user types. Call it at every key press: the others are told once in half the time-to-live.

        In a large room (`LiveState.room_mode`) nobody is told: with hundreds of people the names would only flicker,
        and each would cost a message for everybody.
        """
        if self._room.feed.switch.mode.room == "large":
            return
        now = self._room.clock.monotonic()
        if self._told_at is not None and now - self._told_at < self._room.config.typing_ttl / 2:
            return
        if await self._tell(typing=True):
            self._told_at = now

    async def stop(self) -> None:
        """Says that the user has stopped; without a word it is forgotten after the time-to-live."""
        if self._told_at is not None:
            self._told_at = None
            await self._tell(typing=False)

    async def _tell(self, *, typing: bool) -> bool:
        user_id = self._room.user_id()
        me = self._room.state.me
        name = me.username if me is not None else (self._room.tokens.username or "")
        payload = wire.typing_payload(user_id, name, typing=typing)
        return await self._room.connection.push(
            "broadcast", {"type": "broadcast", "event": wire.TYPING, "payload": payload}
        )
