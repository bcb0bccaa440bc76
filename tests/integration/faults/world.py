"""A DJ, five listeners and a tipper in one session, whose network and servers break by a schedule."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast
from uuid import uuid4

from tests.integration.faults.bot import Orders
from tests.integration.faults.breaking import Breaker
from tests.integration.faults.recorder import Recorder
from tests.integration.faults.recovery import Recovery, equal_after, unlike
from tests.integration.faults.schedule import Kind, Schedule
from tests.integration.faults.settings import CHAOS
from tests.integration.faults.talker import Talker
from tests.integration.faults.traffic import PATIENCE, Person, Traffic
from tests.integration.faults.verdict import Drop, Evidence
from tests.integration.lab import Lab
from whatssound import WhatsSound
from whatssound.errors import WhatsSoundError
from whatssound.testing import FaultyLink

NAMES = ("dj", "ana", "ben", "cleo", "dani", "eva", "tipper")
#: Seconds that a token lives: each run sees several, and an outage of Auth outlasts one.
TOKEN_SECONDS = 6


class World:
    """One session under a schedule.

    Args:
        lab: the stack.
        schedule: what breaks when.
        people: who is in the session, the DJ first and the tipper last.
        cashier: a client with the service key, on a good network, that confirms tips.
        song_id: what they vote on.
        talker: a process that is killed, and its link; None if the schedule kills none.
    """

    def __init__(
        self,
        lab: Lab,
        schedule: Schedule,
        people: tuple[Person, ...],
        cashier: WhatsSound,
        song_id: str,
        *,
        talker: tuple[Talker, FaultyLink] | None = None,
    ) -> None:
        self._lab = lab
        self._schedule = schedule
        self._people = people
        self._links = [person.link for person in people]
        self._talker: Talker | None = None
        if talker is not None:
            self._talker, link = talker
            self._links.append(link)
        self._session_id = people[0].session.id
        self._loop = asyncio.get_running_loop()
        self.evidence = Evidence()
        self._traffic = Traffic(people, cashier, song_id, 0.0, self.evidence)
        self.recovery = Recovery(people, self._last_seq)

    async def run(self) -> Evidence:
        """Plays traffic and faults, heals, waits until all has come right or patience ends, and collects evidence."""
        evidence, traffic = self.evidence, self._traffic
        evidence.base = await self._last_seq()
        traffic.until = self._loop.time() + self._schedule.traffic
        kill = None if self._talker is None else self._talker.kill
        breaker = Breaker(self._lab, self._links, self._session_id, kill)
        async with asyncio.TaskGroup() as group:
            traffic.start(group)
            self._flow(True)
            await breaker.play(self._schedule, self._plain)
        ends = max(breaker.healed_at, traffic.until)
        evidence.said = await self.recovery.follow(ends, traffic.said, traffic.ended, self._talker)
        if self._talker is not None:
            evidence.spooled, evidence.talker = self._talker.accepted(), self.recovery.talker
        evidence.recovery = self.recovery.seconds
        await self._collect()
        return evidence

    async def _plain(self, target: int, dropped_at: float) -> None:
        """Measures how long a plain drop takes until the session is live again, and then until its state is right."""
        person = self._people[target]
        live_at = await person.recorder.live_after(dropped_at, within=PATIENCE)
        if live_at is None:
            return
        # Nobody does anything meanwhile: a state that is never still is never equal, and with no event to follow a
        # missed one is harder to find.
        self._flow(False)
        try:
            equal = await equal_after(person, live_at, within=PATIENCE, seq=await self._last_seq())
        finally:
            self._flow(True)
        drop = Drop(self._schedule.feeds[target], live_at - dropped_at, PATIENCE if equal is None else equal)
        self.evidence.drops.append(drop)

    def _flow(self, on: bool) -> None:
        self._traffic.flowing.set() if on else self._traffic.flowing.clear()
        if self._talker is not None:
            self._talker.talk(on)

    # --- evidence

    async def _last_seq(self) -> int:
        return await self._lab.count(
            "select coalesce(max(seq), 0) from public.session_events where session_id = $1", self._session_id
        )

    async def _collect(self) -> None:
        evidence, lab, session_id = self.evidence, self._lab, self._session_id
        evidence.last = await self._last_seq()
        evidence.messages = [
            row[0] for row in await lab.rows("select content from public.messages where session_id = $1", session_id)
        ]
        evidence.tips = [
            row[0] for row in await lab.rows("select note from public.tips where session_id = $1", session_id)
        ]
        evidence.votes = {
            str(row[0]): row[1]
            for row in await lab.rows("select user_id, value from public.votes where session_id = $1", session_id)
        }
        events = await lab.rows(
            "select kind, payload->>'user_id', payload->>'action', payload->'item'->>'title', payload->>'content' "
            "from public.session_events where session_id = $1 and seq > $2",
            session_id,
            evidence.base,
        )
        evidence.vote_events = [user for kind, user, *_ in events if kind == "vote"]
        evidence.songs = [title for kind, _, action, title, _ in events if kind == "queue" and action == "added"]
        # A message must be in the log as often as in its table.
        logged = Counter(text for kind, *_, text in events if kind == "message")
        evidence.messages += [text for text, count in logged.items() if count > 1]
        for person in self._people:
            listener = person.recorder.listener
            listener.unlike = await self._unlike(person)
            # Not as it is at this instant, since a machine that stalls costs connections at any time: for good counts.
            await self.recovery.live(person)
            listener.problem = person.recorder.problem()
            evidence.listeners.append(listener)
            stats = person.session.stats()
            evidence.hits.update(
                {
                    "reconnects": stats.reconnects,
                    "calls tried again": stats.rpc_retries,
                    "rows sent again": stats.retried,
                    "rows found stored already": stats.duplicates,
                    "events fetched": listener.recovered,
                }
            )

    async def _unlike(self, person: Person) -> dict[str, str]:
        try:
            return {name: repr(pair) for name, pair in (await unlike(person)).items()}
        except WhatsSoundError as error:
            return {"snapshot": repr(error)}


@asynccontextmanager
async def world(lab: Lab, schedule: Schedule) -> AsyncIterator[World]:
    """A session with everybody in it, each behind a link of their own; all are gone in the end."""
    async with AsyncExitStack() as stack:
        cashier = await stack.enter_async_context(WhatsSound(lab.url, lab.service_key, config=CHAOS))
        clients: list[tuple[WhatsSound, FaultyLink]] = []
        for name, feed in zip(NAMES, schedule.feeds, strict=True):
            config = replace(CHAOS, feed=cast("Literal['frames', 'changes']", feed))
            link = await stack.enter_async_context(FaultyLink(lab.url))
            sound = await stack.enter_async_context(WhatsSound(link.url, lab.anon_key, config=config))
            await sound.sign_in_anonymously(name)
            clients.append((sound, link))
        info = await clients[0][0].create_session(f"Seed {schedule.seed}")
        sessions = [sound.session(info.id) for sound, _ in clients]
        # All at once: opening waits for the server's word, and seven such waits in a row are long.
        async with asyncio.TaskGroup() as group:
            for session in sessions:
                group.create_task(stack.enter_async_context(session))
        added = await sessions[0].queue.add("First")
        assert added.item is not None
        people = tuple(
            Person(name, sound, session, link, Recorder(name, session))
            for name, (sound, link), session in zip(NAMES, clients, sessions, strict=True)
        )
        talker = await _talker(stack, lab, schedule, info.id) if schedule.has(Kind.PROCESS_KILL) else None
        opened = World(lab, schedule, people, cashier, added.item.song_id, talker=talker)
        await opened.recovery.come_right(asyncio.get_running_loop().time())
        for person in people:
            person.recorder.start()
            stack.push_async_callback(person.recorder.close)
        yield opened


async def _talker(stack: AsyncExitStack, lab: Lab, schedule: Schedule, session_id: str) -> tuple[Talker, FaultyLink]:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="whatssound-chaos-")))
    link = await stack.enter_async_context(FaultyLink(lab.url))
    email, password = f"bot-{schedule.seed}-{uuid4().hex[:8]}@example.com", uuid4().hex
    async with WhatsSound(lab.url, lab.anon_key) as sound:
        await sound.sign_up(email, password, username="bot")
    spool, accepted = str(folder / "spool.sqlite"), str(folder / "accepted.txt")
    talker = Talker(Orders(link.url, lab.anon_key, session_id, email, password, spool, accepted, "bot", False))
    stack.push_async_callback(talker.close)
    await talker.start()
    return talker, link


async def run_seed(lab: Lab, schedule: Schedule) -> Evidence:
    """Runs one schedule from an empty session to the evidence."""
    async with world(lab, schedule) as opened:
        return await opened.run()
