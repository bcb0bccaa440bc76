"""The same room with the official client alone: as the documentation shows it, and as a careful app would use it.

Both get what the database gives everybody: message ids and idempotency keys are made once and kept over tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import tenacity
from postgrest.exceptions import APIError
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimePostgresChangesListenEvent
from realtime.types import RealtimeSubscribeStates

from supabase import AsyncClient, AsyncClientOptions, create_async_client
from tests.integration.faults.breaking import Breaker
from tests.integration.faults.schedule import Schedule
from tests.integration.faults.traffic import MESSAGES, SONGS, TIPS, VOTES
from tests.integration.faults.world import NAMES
from tests.integration.lab import Lab, eventually
from whatssound.core.identifiers import Uuid7Source
from whatssound.testing import FaultyLink

#: Seconds after the last fault until the official client must have come back by itself.
_RECOVERY = 8.0
#: Seconds in which a vote cast over a good network must be heard.
_PROBE = 4.0
_TABLES = ("votes", "tips", "queue_items")
_ANY = RealtimePostgresChangesListenEvent.All
_BROKEN = (RealtimeSubscribeStates.CHANNEL_ERROR, RealtimeSubscribeStates.TIMED_OUT, RealtimeSubscribeStates.CLOSED)


@dataclass(slots=True)
class Tally:
    """What became of one run: see the columns of the comparison."""

    said: int = 0
    chat_lost: int = 0
    chat_twice: int = 0
    tips: int = 0
    tips_lost: int = 0
    tips_twice: int = 0
    events: int = 0
    missed: int = 0
    listeners: int = 0
    deaf: int = 0

    def add(self, other: Tally) -> None:
        """Adds another run."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class _Ears:
    ids: set[str] = field(default_factory=set)
    seqs: set[int] = field(default_factory=set)


class Opponent:
    """Somebody with supabase-py.

    Args:
        client: signed in.
        url: of the project, over the link.
        key: the anon key.
        session_id: the room.
        careful: rebuilds Realtime on every bad state and tries calls again; otherwise nothing is tried twice.
    """

    def __init__(self, client: AsyncClient, url: str, key: str, session_id: str, *, careful: bool) -> None:
        self.client = client
        self._url = f"{url}/realtime/v1"
        self._key = key
        self._session_id = session_id
        self._careful = careful
        self._ids = Uuid7Source(random.SystemRandom().getrandbits)
        self._broken = asyncio.Event()
        self._channel: AsyncRealtimeChannel | None = None
        self._realtime: AsyncRealtimeClient | None = None
        self.joined = asyncio.Event()
        self.ears = _Ears()
        self.user_id = ""

    async def listen(self) -> None:
        """Joins; a careful app joins again whenever it hears that something is wrong. Until cancelled."""
        while True:
            self._broken.clear()
            with contextlib.suppress(Exception):  # the library raises many kinds; a careful app comes again
                await self._join()
            if not self._careful:
                await asyncio.Event().wait()
            if self.joined.is_set():
                await self._broken.wait()
            await self.leave()
            await asyncio.sleep(random.random() * 0.5)

    async def leave(self) -> None:
        """Closes the socket."""
        self.joined.clear()
        if self._realtime is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._realtime.close(), 1.0)
            self._realtime = None

    async def _join(self) -> None:
        session = await self.client.auth.get_session()
        realtime = self._realtime = AsyncRealtimeClient(self._url, self._key, hb_interval=1)
        await realtime.set_auth(session.access_token if session else self._key)
        channel = realtime.channel(
            f"session:{self._session_id}",
            {"config": {"private": True, "broadcast": {"ack": False, "self": False}, "presence": None}},
        )
        channel.on_broadcast("chat", self._hear_chat)
        for table in _TABLES:
            channel.on_postgres_changes(
                _ANY, self._hear_row, table=table, schema="public", filter=f"session_id=eq.{self._session_id}"
            )
        self._channel = channel
        await channel.subscribe(partial(self._state, channel))

    def _state(self, channel: AsyncRealtimeChannel, state: RealtimeSubscribeStates, _: Exception | None) -> None:
        if channel is not self._channel:
            return
        if state is RealtimeSubscribeStates.SUBSCRIBED:
            self.joined.set()
        elif state in _BROKEN:
            self._broken.set()

    def _hear_chat(self, payload: Any) -> None:
        self.ears.ids.add(payload["payload"]["message"]["id"])

    def _hear_row(self, payload: Any) -> None:
        seq = payload["data"]["record"].get("seq")
        if isinstance(seq, int):
            self.ears.seqs.add(seq)

    async def call(self, function: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """Calls an RPC, a careful app up to five times; None when it gave up."""
        tries = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(5 if self._careful else 1),
            wait=tenacity.wait_random_exponential(0.1, max=1.0),
            retry=tenacity.retry_if_exception_type((httpx.HTTPError, APIError)),
            reraise=True,
        )
        try:
            async for attempt in tries:
                with attempt:
                    answer = await self.client.rpc(function, {"p_session_id": self._session_id, **params}).execute()
                    return answer.data if isinstance(answer.data, dict) else {}
        except (httpx.HTTPError, APIError):
            return None
        return None

    async def say(self, text: str) -> None:
        """Broadcasts a message and stores it."""
        message_id = self._ids.make(time.time_ns() // 1_000_000)
        self.ears.ids.add(message_id)
        message = {"id": message_id, "session_id": self._session_id, "user_id": self.user_id, "content": text}
        if self._channel is not None:
            with contextlib.suppress(Exception):
                await self._channel.send_broadcast("chat", {"message": message})
        await self.call("insert_messages", {"p_messages": [{"id": message_id, "content": text}]})


async def play(lab: Lab, schedule: Schedule, *, careful: bool) -> Tally:
    """Plays one schedule with the official client in everybody's hands."""
    async with _room(lab, schedule.seed, careful=careful) as (people, links, session_id, song_id):
        base = await _last(lab, session_id)
        loop = asyncio.get_running_loop()
        until = loop.time() + schedule.traffic
        said: list[str] = []
        tips: list[str] = []

        async def at_pace(rate: float, work: Any) -> None:
            number = 0
            async with asyncio.TaskGroup() as calls:
                while loop.time() < until:
                    calls.create_task(work(number))
                    number += 1
                    await asyncio.sleep(1 / rate)

        async def talk(person: Opponent, name: str, number: int) -> None:
            said.append(f"{name} {number}")
            await person.say(said[-1])

        async def vote(person: Opponent, number: int) -> None:
            value = 1 if number % 2 else -1
            await person.call("cast_vote", {"p_song_id": song_id, "p_value": value, "p_key": str(uuid.uuid4())})

        async def tip(person: Opponent, number: int) -> None:
            tips.append(f"tip {number}")
            answer = await person.call(
                "send_tip", {"p_amount": 100, "p_currency": "EUR", "p_note": tips[-1], "p_key": str(uuid.uuid4())}
            )
            if answer:
                await _confirm(lab, answer["tip"]["id"])

        async def add(person: Opponent, number: int) -> None:
            await person.call("enqueue_song", {"p_title": f"song {number}", "p_key": str(uuid.uuid4())})

        async with asyncio.TaskGroup() as group:
            group.create_task(Breaker(lab, links, session_id).play(schedule, _not_measured))
            for person, name in zip(people[:-1], NAMES, strict=False):
                group.create_task(at_pace(MESSAGES / (len(people) - 1), partial(talk, person, name)))
            for person in people[1:4]:
                group.create_task(at_pace(VOTES, partial(vote, person)))
            group.create_task(at_pace(TIPS, partial(tip, people[-1])))
            group.create_task(at_pace(SONGS, partial(add, people[0])))
        await asyncio.sleep(_RECOVERY)
        tally = await _count(lab, people, session_id, base, said=said, tips=tips)
        tally.deaf = await _deaf(lab, people, session_id, song_id)
        return tally


async def _count(
    lab: Lab, people: list[Opponent], session_id: str, base: int, *, said: list[str], tips: list[str]
) -> Tally:
    last = await _last(lab, session_id)
    log = await lab.rows(
        "select seq, kind, payload->>'id' from public.session_events where session_id = $1 and seq > $2 and seq <= $3",
        session_id,
        base,
        last,
    )
    stored = [row[0] for row in await lab.rows("select content from public.messages where session_id = $1", session_id)]
    paid = [row[0] for row in await lab.rows("select note from public.tips where session_id = $1", session_id)]
    tally = Tally(said=len(said), tips=len(tips), listeners=len(people), events=len(log) * len(people))
    tally.chat_lost = len(set(said) - set(stored))
    tally.chat_twice = len(stored) - len(set(stored))
    tally.tips_lost = len(set(tips) - set(paid))
    tally.tips_twice = len(paid) - len(set(paid))
    for person in people:
        ears = person.ears
        tally.missed += sum(
            1 for seq, kind, key in log if not (key in ears.ids if kind == "message" else seq in ears.seqs)
        )
    return tally


async def _deaf(lab: Lab, people: list[Opponent], session_id: str, song_id: str) -> int:
    """How many do not hear a vote that is cast over a good network now."""
    client = await create_async_client(lab.url, lab.anon_key)
    await client.auth.sign_in_anonymously()
    params = {"p_session_id": session_id, "p_song_id": song_id, "p_value": 1, "p_key": str(uuid.uuid4())}
    answer = await client.rpc("cast_vote", params).execute()
    assert isinstance(answer.data, dict)
    seq = answer.data["seq"]
    with contextlib.suppress(AssertionError):
        await eventually(lambda: all(seq in person.ears.seqs for person in people), within=_PROBE)
    await client.auth.sign_out()
    return sum(seq not in person.ears.seqs for person in people)


async def _confirm(lab: Lab, tip_id: str) -> None:
    """The payment provider's word, which comes again until it was taken."""
    async with httpx.AsyncClient() as http:
        for _ in range(40):
            with contextlib.suppress(httpx.HTTPError):
                answer = await http.post(
                    f"{lab.url}/rest/v1/rpc/confirm_tip",
                    headers={"apikey": lab.service_key, "Authorization": f"Bearer {lab.service_key}"},
                    json={"p_tip_id": tip_id},
                )
                if answer.status_code == 200:
                    return
            await asyncio.sleep(0.25)


async def _last(lab: Lab, session_id: str) -> int:
    return await lab.count("select coalesce(max(seq), 0) from public.session_events where session_id = $1", session_id)


async def _not_measured(_target: int, _at: float) -> None:
    """The official client has no word for "live again"."""


@asynccontextmanager
async def _room(
    lab: Lab, seed: int, *, careful: bool
) -> AsyncIterator[tuple[list[Opponent], list[FaultyLink], str, str]]:
    async with AsyncExitStack() as stack:
        links: list[FaultyLink] = []
        people: list[Opponent] = []
        session_id = str(uuid.uuid4())
        song_id = ""
        for name in NAMES:
            link = await stack.enter_async_context(FaultyLink(lab.url))
            options = AsyncClientOptions(postgrest_client_timeout=3) if careful else AsyncClientOptions()
            client = await create_async_client(link.url, lab.anon_key, options)
            signed_in = await client.auth.sign_in_anonymously({"options": {"data": {"username": name}}})
            person = Opponent(client, link.url, lab.anon_key, session_id, careful=careful)
            person.user_id = signed_in.user.id if signed_in.user else ""
            if not people:
                await client.rpc("create_session", {"p_title": f"Seed {seed}", "p_id": session_id}).execute()
                answer = await person.call("enqueue_song", {"p_title": "First", "p_key": str(uuid.uuid4())})
                assert answer is not None
                song_id = answer["item"]["song_id"]
            await person.call("join_session", {})
            links.append(link)
            people.append(person)
        listening = [asyncio.create_task(person.listen(), name="opponent") for person in people]
        try:
            for person in people:
                await asyncio.wait_for(person.joined.wait(), 10.0)
            await asyncio.sleep(1.0)  # rows flow a moment after the join; the library does not tell when
            yield people, links, session_id, song_id
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)
            for person in people:
                await person.leave()
