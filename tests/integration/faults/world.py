"""A DJ, five listeners and a tipper in one session, whose network and servers break by a schedule."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tests.integration.faults.breaking import Breaker
from tests.integration.faults.recorder import Recorder
from tests.integration.faults.schedule import Schedule
from tests.integration.faults.verdict import STORED, Evidence, Said, Voter
from tests.integration.lab import Lab, differences, snapshot
from whatssound import Session, SessionConfig, WhatsSound
from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig
from whatssound.errors import AuthenticationError, MessageRejectedError, OutcomeUnknownError, WhatsSoundError
from whatssound.models import StoredRow
from whatssound.outbox import MessageReceipt
from whatssound.testing import FaultyLink

T = TypeVar("T")

NAMES = ("dj", "ana", "ben", "cleo", "dani", "eva", "tipper")
#: Messages a second of all who talk: the DJ and the listeners.
MESSAGES = 20.0
TIPS = 4.0
VOTES = 3.0
SONGS = 2.0
#: Seconds that a token lives: each run sees several, and an outage of Auth outlasts one.
TOKEN_SECONDS = 6
#: Seconds after the last fault in which everything must have come right.
PATIENCE = 25.0

#: Compressed where only waiting is meant (heartbeats, caps, floors); the first back-off and the batch are the defaults.
CHAOS = SessionConfig(
    reconcile_interval=1.0,
    claim_timeout=3.0,
    occupancy_interval=2.0,
    retry=RetryConfig(attempts=5, deadline=6.0, request_timeout=1.5, base=0.1, cap=1.0),
    outbox=OutboxConfig(drain_timeout=10.0),
    connection=ConnectionConfig(
        heartbeat_interval=0.7,
        open_timeout=3.0,
        join_timeout=6.0,
        ready_timeout=3.0,
        backoff_cap=2.0,
        rate_limit_floor=1.0,
        hold=1.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the room, with a link of their own to break."""

    name: str
    sound: WhatsSound
    session: Session
    link: FaultyLink
    recorder: Recorder


class World:
    """One session under a schedule.

    Args:
        lab: the stack.
        schedule: what breaks when.
        people: who is in the session, the DJ first and the tipper last.
        cashier: a client with the service key, on a good network, that confirms tips.
        song_id: what they vote on.
    """

    def __init__(
        self, lab: Lab, schedule: Schedule, people: tuple[Person, ...], cashier: WhatsSound, song_id: str
    ) -> None:
        self._lab = lab
        self._schedule = schedule
        self._people = people
        self._cashier = cashier
        self._song_id = song_id
        self._session_id = people[0].session.id
        self._loop = asyncio.get_running_loop()
        self._talk_until = 0.0
        self._said: list[MessageReceipt] = []
        self.evidence = Evidence()

    async def run(self) -> Evidence:
        """Plays traffic and faults, heals, waits until all has come right or patience ends, and collects evidence."""
        evidence = self.evidence
        evidence.base = await self._last_seq()
        self._talk_until = self._loop.time() + self._schedule.traffic
        breaker = Breaker(self._lab, [person.link for person in self._people], self._session_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(breaker.play(self._schedule, self._plain))
            for place, person in enumerate(self._people[:-1]):
                group.create_task(self._talk(person, place))
            for person in self._people[1:4]:
                group.create_task(self._vote(person))
            group.create_task(self._tip(self._people[-1]))
            group.create_task(self._add_songs(self._people[0]))
        await self._settled()
        await self._come_right()
        evidence.healed = self._loop.time() - max(breaker.healed_at, self._talk_until)
        await self._collect()
        return evidence

    # --- traffic

    async def _talk(self, person: Person, place: int) -> None:
        talkers = len(self._people) - 1
        pace = talkers / MESSAGES
        await asyncio.sleep(pace * place / talkers)
        number = 0
        while self._loop.time() < self._talk_until:
            began = self._loop.time()
            self._said.append(await person.session.chat.send(f"{person.name} {number}"))
            took = self._loop.time() - began
            self.evidence.slowest_send = max(self.evidence.slowest_send, took)
            number += 1
            await asyncio.sleep(max(0.0, pace - took))

    async def _vote(self, person: Person) -> None:
        count, value = 0, -1
        while self._loop.time() < self._talk_until:
            value = -value
            await self._until_known(partial(person.session.votes.cast, self._song_id, value))
            count += 1
            await asyncio.sleep(1 / VOTES)
        self.evidence.voters.append(Voter(person.sound.user_id or "", count, value))

    async def _tip(self, person: Person) -> None:
        async with asyncio.TaskGroup() as payments:
            number = 0
            while self._loop.time() < self._talk_until:
                note = f"tip {number}"
                receipt = await self._until_known(partial(person.session.tips.send, 100, note=note))
                self.evidence.tips_paid.append(note)
                payments.create_task(self._until_known(partial(self._cashier.confirm_tip, receipt.tip.id)))
                number += 1
                await asyncio.sleep(1 / TIPS)

    async def _add_songs(self, person: Person) -> None:
        number = 0
        while self._loop.time() < self._talk_until:
            title = f"song {number}"
            await self._until_known(partial(person.session.queue.add, title))
            self.evidence.songs_added.append(title)
            number += 1
            await asyncio.sleep(1 / SONGS)

    async def _until_known(self, call: Callable[..., Awaitable[T]]) -> T:
        """Calls as an app should: again with the key while the outcome is unknown, anew when nothing was done."""
        key: str | None = None
        while True:
            try:
                return await (call() if key is None else call(key=key))
            except OutcomeUnknownError as error:
                key = error.key
                failed: WhatsSoundError = error
            except AuthenticationError as error:
                failed = error
            except WhatsSoundError as error:
                if not error.retryable:
                    raise
                failed = error
            if self._loop.time() > self._talk_until + PATIENCE:
                raise failed
            await asyncio.sleep(0.2)

    # --- faults and coming right

    async def _plain(self, target: int, dropped_at: float) -> None:
        """Measures how long a plain drop takes until the session is live again."""
        live_at = await self._people[target].recorder.live_after(dropped_at, within=PATIENCE)
        if live_at is not None:
            self.evidence.plain.append(live_at - dropped_at)

    async def _settled(self) -> None:
        """Waits until every message's outcome is known; what is not known then counts as lost."""
        waiting = [asyncio.ensure_future(receipt.stored()) for receipt in self._said]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=PATIENCE)
            for task in late:
                task.cancel()
        for receipt, task in zip(self._said, waiting, strict=True):
            self.evidence.said.append(Said(receipt.id, receipt.message.content, _outcome(task)))

    async def _come_right(self) -> None:
        """Waits until every session is live and equal to a fresh snapshot, or patience ends."""
        ends = self._loop.time() + PATIENCE
        wanted = await self._last_seq()
        while self._loop.time() < ends:
            behind = [p for p in self._people if p.recorder.problem() or p.session.state.seq < wanted]
            if not behind and not [p for p in self._people if await self._unlike(p)]:
                return
            await asyncio.sleep(0.02)

    async def _unlike(self, person: Person) -> dict[str, object]:
        # Occupancy and presence are no events; the last look of a cast vote's own row is.
        return dict(differences(person.session, await snapshot(person.sound, self._session_id)))

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


def _outcome(task: asyncio.Future[StoredRow]) -> str:
    if not task.done() or task.cancelled():
        return "outcome never known"
    error = task.exception()
    if error is None:
        return STORED
    return f"rejected: {error.reason}" if isinstance(error, MessageRejectedError) else repr(error)


@asynccontextmanager
async def world(lab: Lab, schedule: Schedule) -> AsyncIterator[World]:
    """A session with everybody in it, each behind a link of their own; all are gone in the end."""
    async with AsyncExitStack() as stack:
        cashier = await stack.enter_async_context(WhatsSound(lab.url, lab.service_key, config=CHAOS))
        clients: list[tuple[WhatsSound, FaultyLink]] = []
        for name in NAMES:
            link = await stack.enter_async_context(FaultyLink(lab.url))
            sound = await stack.enter_async_context(WhatsSound(link.url, lab.anon_key, config=CHAOS))
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
        opened = World(lab, schedule, people, cashier, added.item.song_id)
        await opened._come_right()
        for person in people:
            person.recorder.start()
            stack.push_async_callback(person.recorder.close)
        yield opened


async def run_seed(lab: Lab, schedule: Schedule) -> Evidence:
    """Runs one schedule from an empty session to the evidence."""
    async with world(lab, schedule) as opened:
        return await opened.run()
