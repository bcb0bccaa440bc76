"""Listeners in a room: each a session of its own, whose reader notes what it sees and when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any, Self

from ...client import WhatsSound
from ...config import SessionConfig
from ...errors import WhatsSoundError
from ...events import (
    ChatMessage,
    ChatUnconfirmed,
    Event,
    Lagged,
    MessageWithdrawn,
    Status,
    StatusChanged,
    TipSent,
    VoteCast,
)
from ...session import Session
from .sightings import Sightings

#: Seconds between two looks at what is still to be seen.
_LOOK = 0.25


@dataclass(slots=True)
class Listening:
    """What befell a number of listeners.

    Attributes:
        listeners: how many there were to be.
        entered: how many came in.
        live: how many are connected now.
        reconnects: how often one of them lost its connection.
        gaps: frames that came to one of them with others missing before them.
        taken_back: messages shown and then withdrawn, or never confirmed.
        lagged: events that a reader was too slow for.
        received: Realtime messages that they received.
        failures: how often each error ended a listener, or kept one out.
        reasons: how often a connection was lost for each reason.
        feeds: how many hear by each feed.
        tick_ms: the longest time between two frames that one of them knows of.
    """

    listeners: int = 0
    entered: int = 0
    live: int = 0
    reconnects: int = 0
    gaps: int = 0
    taken_back: int = 0
    lagged: int = 0
    received: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    feeds: Counter[str] = field(default_factory=Counter)
    tick_ms: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            field.name: dict(value) if isinstance(value := getattr(self, field.name), Counter) else value
            for field in fields(self)
        }

    def add(self, other: Listening) -> None:
        """Takes in what befell others."""
        for name in ("listeners", "entered", "live", "reconnects", "gaps", "taken_back", "lagged", "received"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures.update(other.failures)
        self.reasons.update(other.reasons)
        self.feeds.update(other.feeds)
        self.tick_ms = max(self.tick_ms, other.tick_ms)


class Audience:
    """Listeners of one session; an async context manager, at whose end they leave.

    Args:
        session_id: the session.
        sounds: a signed-in client for each.
        config: settings of their sessions.
        at_once: how many may be about to come in at the same time.
        now: the clock, in seconds since the epoch.

    Attributes:
        sightings: what they have seen.
    """

    def __init__(
        self,
        session_id: str,
        sounds: Sequence[WhatsSound],
        *,
        config: SessionConfig,
        at_once: int = 20,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session_id = session_id
        self._sounds = sounds
        self._config = config
        self._door = asyncio.Semaphore(at_once)
        self._now = now
        self._sessions: list[Session] = []
        self._befell = Listening(listeners=len(sounds))
        self._tasks: list[asyncio.Task[None]] = []
        self.sightings = Sightings(len(sounds))

    async def __aenter__(self) -> Self:
        """Lets everybody in; returns when all are in, or have been kept out (see `Listening.failures`)."""
        inside = [asyncio.Event() for _ in self._sounds]
        for who, sound in enumerate(self._sounds):
            attending = self._attend(who, sound, inside[who])
            self._tasks.append(asyncio.create_task(attending, name=f"bench-listener-{who}"))
        try:
            for each in inside:
                await each.wait()
        except BaseException:
            await self._send_home()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._send_home()

    async def _send_home(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        broken = [error for error in ended if isinstance(error, Exception)]
        if broken:
            raise ExceptionGroup("listeners ended by errors that are no failure of the room", broken)

    def listening(self) -> Listening:
        """What has befallen them so far."""
        found = Listening()
        found.add(self._befell)
        found.entered = len(self._sessions)
        for session in self._sessions:
            stats = session.stats()
            found.live += session.status is Status.LIVE
            found.reconnects += stats.reconnects
            found.gaps += stats.gaps
        for sound in dict.fromkeys(self._sounds):  # one client may be several listeners
            budget = sound.budget()
            found.received += budget.received
            for room in budget.rooms:
                found.feeds[room.feed] += 1
                found.tick_ms = max(found.tick_ms, room.tick_ms)
        return found

    def behind(self, seq: int) -> int:
        """How many are not connected, or have not been told of everything in the log up to ``seq``."""
        reached = sum(session.status is Status.LIVE and session.state.seq >= seq for session in self._sessions)
        return len(self._sounds) - reached

    async def until_seen(self, keys: Sequence[str], *, within: float) -> bool:
        """Waits until everybody has seen all of these.

        Args:
            keys: what is to be seen.
            within: seconds after which to give up.

        Returns:
            Whether everybody has.
        """
        ends = self._now() + within
        while self.sightings.missing(keys):
            if self._now() >= ends:
                return False
            await asyncio.sleep(_LOOK)
        return True

    async def _attend(self, who: int, sound: WhatsSound, inside: asyncio.Event) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with self._door:
                    session = sound.session(self._session_id, config=self._config)
                    events = session.events()
                    await stack.enter_async_context(session)
                self._sessions.append(session)
                inside.set()
                async for event in events:
                    self._note(who, event)
        except WhatsSoundError as error:
            # Whom the room does not hold is a finding, and no reason to stop the others.
            self._befell.failures[type(error).__name__] += 1
        finally:
            inside.set()

    def _note(self, who: int, event: Event) -> None:
        match event:
            case ChatMessage():
                self.sightings.saw(who, f"chat:{event.message.id}", self._now())
            case VoteCast():
                self.sightings.saw(who, f"vote:{event.seq}", self._now())
            case TipSent():
                self.sightings.saw(who, f"tip:{event.tip.id}", self._now())
            case MessageWithdrawn() | ChatUnconfirmed():
                self._befell.taken_back += 1
            case StatusChanged(status=Status.RECONNECTING, reason=reason):
                self._befell.reasons[reason or "unknown"] += 1
            case Lagged():
                self._befell.lagged += event.missed
            case _:
                return
