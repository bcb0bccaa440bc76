"""One room, one feed: people come in, a recorded chat is played at life speed, and all that counts is counted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg

from tests.benchmarks.large_room.backstage import Backstage, open_backstage
from tests.benchmarks.large_room.crowd import Crowd, Place, open_crowd
from tests.benchmarks.large_room.people import make_people
from whatssound import SessionConfig, WhatsSound
from whatssound.cli.bench.audience import Listening
from whatssound.cli.bench.performance import Performance
from whatssound.cli.bench.programme import Act
from whatssound.cli.bench.report import tally_json
from whatssound.quotas import plan_named
from whatssound.session import Session

#: Seconds over which the server averages what the plan limits.
_MINUTE = 60
_SONGS = 5
#: Seconds in which everybody has called the database once, so that it knows how many are here.
_SETTLING = 28.0
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run is to be.

    Attributes:
        listeners: how many listen.
        speakers: how many speak, each with a session of their own; they count as people in the room.
        processes: how many processes the listeners share.
        plan: whose limits apply; None for none.
        feed: how events are to reach everybody.
    """

    listeners: int
    speakers: int
    processes: int
    plan: Literal["pro", "team"] | None
    feed: Literal["frames", "changes"]


class Messages:
    """Watches the stack's counter of Realtime messages, once a second."""

    def __init__(self, stack: Backstage) -> None:
        self._stack = stack
        self.counts: list[tuple[float, int]] = []

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            status = await self._stack.status()
            self.counts.append((time.monotonic(), int(status["usage"]["messages"])))
            await asyncio.sleep(1)

    def by_second(self) -> list[int]:
        """Messages a second between each two looks."""
        pairs = zip(self.counts, self.counts[1:], strict=False)
        return [round((after - before) / (end - start)) for (start, before), (end, after) in pairs]

    def most_per_second(self, seconds: float) -> float:
        """The highest average over so many seconds, from one look to another."""
        most = 0.0
        for at, (start, before) in enumerate(self.counts):
            for end, after in self.counts[at + 1 :]:
                if end - start >= seconds:
                    most = max(most, (after - before) / (end - start))
                    break
        return most


@dataclass(slots=True)
class Room:
    """A room with everybody in it.

    Attributes:
        stack: what it runs on.
        session_id: the session.
        speakers: open sessions of those who speak; the DJ first.
        bank: confirms tips.
        songs: ids.
        crowd: the listeners.
        entered: how they came in.
        seconds_to_enter: how long that took.
    """

    stack: Backstage
    session_id: str
    speakers: list[Session]
    bank: WhatsSound
    songs: list[str]
    crowd: Crowd
    entered: Listening
    seconds_to_enter: float

    async def last_seq(self) -> int:
        """How far the session's log goes."""
        connection = await asyncpg.connect(self.stack.db_url)
        try:
            return int(
                await connection.fetchval(
                    "select last_seq from public.session_clock where session_id = $1", self.session_id
                )
            )
        finally:
            await connection.close()


@asynccontextmanager
async def open_room(setting: Setting) -> AsyncIterator[Room]:
    """Starts a stack and fills a room; settles until the database knows how many are here."""
    options = [] if setting.plan is None else ["--plan", setting.plan]
    names = [f"speaker{number}" for number in range(setting.speakers)]
    names += [f"listener{number}" for number in range(setting.listeners)]
    async with AsyncExitStack() as exits:
        stack = await exits.enter_async_context(open_backstage(options))
        tokens = await make_people(stack.db_url, stack.jwt_secret, names)
        bank = await exits.enter_async_context(WhatsSound(stack.url, stack.service_key))
        limit = plan_named(setting.plan or "team").events_per_second
        await bank._gateway.command("configure_project", {"p_events_per_second": limit})
        config = SessionConfig(feed=setting.feed, reader_events=20_000, track_presence=False)
        sounds = [
            await exits.enter_async_context(WhatsSound(stack.url, stack.anon_key, access_token=token, config=config))
            for token in tokens[: setting.speakers]
        ]
        session_id = (await sounds[0].create_session("A large room")).id
        speakers = [await exits.enter_async_context(sound.session(session_id)) for sound in sounds]
        for number in range(_SONGS):
            await speakers[0].queue.add(f"Song {number}")
        songs = [item.song_id for item in speakers[0].state.queue]
        place = Place(url=stack.url, anon_key=stack.anon_key, session_id=session_id, feed=setting.feed)
        crowd = await exits.enter_async_context(
            open_crowd(place, tokens[setting.speakers :], processes=setting.processes)
        )
        started = time.monotonic()
        entered = await crowd.enter()
        took = time.monotonic() - started
        await asyncio.sleep(_SETTLING)
        yield Room(stack, session_id, speakers, bank, list(songs), crowd, entered, took)


async def measure(setting: Setting, acts: Sequence[Act]) -> dict[str, Any]:
    """Plays acts to a room and answers what was counted, as JSON.

    Args:
        setting: the room.
        acts: what is said, voted and tipped.
    """
    async with open_room(setting) as room:
        seconds = acts[-1].at
        performance = Performance(room.speakers, songs=room.songs, bank=room.bank)
        before = await _used(room)
        messages = Messages(room.stack)
        load = os.getloadavg()[0]
        watching = asyncio.create_task(messages.run())
        try:
            started = time.monotonic()
            await performance.play(acts)
            used = [(after - first) for after, first in zip(await _used(room), before, strict=True)]
            wall = time.monotonic() - started
            complete = await _until_seen(room.crowd, list(performance.sent))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        listening = await room.crowd.listening()
        tallies = await room.crowd.tallies(performance.sent)
        return {
            "listeners": setting.listeners,
            "speakers": setting.speakers,
            "feed": setting.feed,
            "plan": setting.plan,
            "seconds": round(seconds, 1),
            "complete": complete,
            "kinds": {kind: tally_json(tally) for kind, tally in tallies.items()},
            "befell": listening.as_json(),
            "drops_on_entering": room.entered.reconnects,
            "refused": dict(performance.refused),
            "speakers_late_ms": round(1000 * performance.latest),
            "seconds_to_enter": round(room.seconds_to_enter, 1),
            "messages_per_second": {
                "busiest_second": round(messages.most_per_second(0.9)),
                "busiest_minute": round(messages.most_per_second(min(_MINUTE, seconds) - 3)),
                "by_second": messages.by_second(),
            },
            "cpu": {
                name: round(part / wall, 3)
                for name, part in zip(("server", "postgres", "listeners", "speakers"), used, strict=True)
            },
            "load_before": round(load, 2),
            "calls": (await room.stack.status())["rpc"]["total"],
        }


async def _used(room: Room) -> tuple[float, float, float, float]:
    usage = room.stack.used()
    return usage.server, usage.postgres, await room.crowd.used(), time.process_time()


async def _until_seen(crowd: Crowd, keys: Sequence[str]) -> bool:
    ends = time.monotonic() + _PATIENCE
    while await crowd.missing(keys):
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.5)
    return True
