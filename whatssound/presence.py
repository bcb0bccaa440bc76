"""Presence: who is here. What should be tracked is kept, and tracked again after every join.

In a large room listeners leave the topic that has presence; they are tracked again when they come back to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from .core import wire
from .core.window import CallWindow
from .models import Presence, UserId
from .room import Room

#: Realtime closes a channel at the sixth presence call within 30 s; one call is left to spare.
_CALLS = 4
_PERIOD = 30.0


class Presences:
    """`Session.presence`."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._window = CallWindow(_CALLS, _PERIOD)
        self._wanted: Presence | None = None
        self._tracked: Presence | None = None
        self._changed = asyncio.Event()

    @property
    def members(self) -> Mapping[UserId, Presence]:
        """Who is here, as they say themselves: user id → presence."""
        return dict(self._room.state.presence)

    def show(self) -> None:
        """Wants to be seen. The call is made within the budget of presence calls, and again after every join."""
        user_id = self._room.user_id()
        me = self._room.state.me
        self._wanted = Presence(
            user_id=UserId(user_id),
            username=me.username if me is not None else (self._room.tokens.username or ""),
            role=me.role if me is not None else "listener",
            online_at=datetime.now(UTC),
        )
        self._changed.set()

    def hide(self) -> None:
        """Wants not to be seen any more."""
        self._wanted = None
        self._changed.set()

    def joined(self) -> None:
        """A new join knows nothing of us and has a budget of its own."""
        self._tracked = None
        self._window.reset()
        self._changed.set()

    async def run(self) -> None:
        """Tracks what is wanted; until cancelled."""
        while True:
            self._changed.clear()
            if self._wanted != self._tracked and self._room.connection.is_joined:
                wait = self._window.wait(self._room.clock.monotonic())
                if wait > 0:
                    await self._room.clock.sleep(wait)
                    continue
                await self._track()
                continue
            await self._changed.wait()

    async def _track(self) -> None:
        wanted = self._wanted
        self._window.spend(self._room.clock.monotonic())
        payload = (
            {"type": "presence", "event": "track", "payload": wire.presence_payload(wanted)}
            if wanted is not None
            else {"type": "presence", "event": "untrack"}
        )
        if await self._room.connection.push("presence", payload):
            self._tracked = wanted
        else:
            await self._changed.wait()
