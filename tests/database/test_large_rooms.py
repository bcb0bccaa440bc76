"""Rooms of up to fifty thousand and projects of many rooms: how well people are counted, what that costs, and that all
rooms together stay within the plan.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.database.conftest import Room

# Fixed, and so are the people: who is in the sample, and with it the error, is the same in every run.
SESSION = "5a3b1e00-0000-4000-8000-000000000001"


class Crowd:
    """The people of one session, each of whom calls heartbeat when told to."""

    def __init__(self, room: Room, session_id: str) -> None:
        self.room = room
        self.session_id = session_id

    async def beat(self, people: int) -> None:
        """Everybody's heartbeat, as far as it concerns leases; who is beyond the number has gone."""
        await self.room.fetch(
            "select whatssound.renew_lease($1::uuid, md5('listener' || n)::uuid)"
            " from generate_series(1, $2::integer) n",
            self.session_id, people,
        )  # fmt: skip
        await self.room.fetch(
            "delete from whatssound.leases where session_id = $1"
            " and user_id not in (select md5('listener' || n)::uuid from generate_series(1, $2::integer) n)",
            self.session_id, people,
        )  # fmt: skip

    async def measure(self) -> dict[str, Any]:
        """One listener's heartbeat, ten seconds after the room was last measured; returns the reply."""
        await let_measure(self.room, self.session_id)
        listener = await self.room.fetch("select md5('listener1')::uuid as id")
        reply: dict[str, Any] = await self.room.call(str(listener[0]["id"]), "heartbeat", p_session_id=self.session_id)
        return reply

    async def let_mature(self) -> None:
        """Nearly six minutes pass, in which everybody calls."""
        await self.room.fetch(
            "update public.session_clock set maturing_since = maturing_since - interval '331 seconds'"
            " where session_id = $1",
            self.session_id,
        )

    async def calls_per_second(self, people: int) -> float:
        """How many heartbeats a second these people send, by what the database tells them."""
        rows = await self.room.fetch(
            "select sum(1.0 / whatssound.heartbeat_seconds(c, (select whatssound.occupancy($1)), b.sampled))::float8"
            " as calls from generate_series(1, $2::integer) n, public.session_clock c, lateral ("
            "select whatssound.is_sampled(whatssound.lease_bucket($1, md5('listener' || n)::uuid), c.sampling)"
            " as sampled) b where c.session_id = $1",
            self.session_id, people,
        )  # fmt: skip
        calls: float = rows[0]["calls"]
        return calls

    async def leases(self) -> int:
        """How many leases the session has."""
        rows = await self.room.fetch("select count(*) from whatssound.leases where session_id = $1", self.session_id)
        count: int = rows[0]["count"]
        return count


async def let_measure(room: Room, *session_ids: str) -> None:
    """Makes the next heartbeat of each session measure it anew."""
    await room.fetch(
        "update public.session_clock set rate_at = clock_timestamp() - interval '10 seconds'"
        " where session_id = any($1)",
        [uuid.UUID(session_id) for session_id in session_ids],
    )
    await room.fetch("update whatssound.crowd set measured_at = '-infinity'")


@pytest.fixture
async def crowd(room: Room) -> AsyncIterator[Crowd]:
    """A room whose people are the same in every run; over afterwards, so that it takes no share of the plan."""
    await room.call(room.dj, "create_session", p_title="Large", p_id=SESSION)
    yield Crowd(room, SESSION)
    await room.call(room.dj, "end_session", p_session_id=SESSION)


async def test_the_larger_the_room_the_less_a_listener_costs_and_all_are_counted(room: Room, crowd: Crowd) -> None:
    """From a hundred to fifty thousand and back: within 10 % at every size, at a cost per listener that only falls."""
    cost: list[float] = []
    for people in (100, 1_000, 5_000, 50_000):
        await crowd.beat(people)
        grown = await crowd.measure()
        # The moment of growing forgets nobody.
        assert grown["occupancy"] == pytest.approx(people, rel=0.1)
        # Next round: leases of those who do not count any more have run out.
        await room.fetch("delete from whatssound.leases where session_id = $1", SESSION)
        await crowd.beat(people)
        settled = await crowd.measure()
        assert settled["occupancy"] == pytest.approx(people, rel=0.1)
        if people <= 1_000:
            assert (settled["occupancy"], await crowd.leases()) == (people, people)
        else:
            assert 400 <= await crowd.leases() <= 1_000
        calls = await crowd.calls_per_second(people)
        assert calls <= max(62, people / 250)
        cost.append(calls / people)
    assert cost == sorted(cost, reverse=True)
    assert cost[-1] < cost[0] / 8

    for people in (5_000, 800):
        # Most leave at once. At first the few of the small sample who are left tell roughly how many there are.
        await crowd.beat(people)
        shrunk = await crowd.measure()
        assert shrunk["occupancy"] == pytest.approx(people, rel=0.4)
        # So it stays until those have called who are to hold leases again.
        assert (await crowd.measure())["occupancy"] == pytest.approx(people, rel=0.4)
        await crowd.beat(people)
        await crowd.let_mature()
        assert (await crowd.measure())["occupancy"] == pytest.approx(people, rel=0.1)
    await crowd.beat(800)
    assert (await crowd.measure())["occupancy"] == 800


@dataclass
class Somewhere:
    """One of many rooms of a project: how many people, how much happens."""

    id: str
    people: int
    rate: float
    chat_rate: float


async def _open(room: Room, chance: random.Random) -> Somewhere:
    where = Somewhere(
        str(uuid.uuid4()), int(10 ** chance.uniform(0, 3.7)), rate=10 ** chance.uniform(-2, 1.5), chat_rate=0
    )
    where.chat_rate = where.rate * chance.random()
    await room.call(room.dj, "create_session", p_title="Somewhere", p_id=where.id)
    await room.fetch(
        "insert into whatssound.leases select $1, gen_random_uuid(), now() + interval '10 minutes'"
        " from generate_series(1, $2::integer)",
        where.id, where.people,
    )  # fmt: skip
    return where


async def _measure(room: Room, rooms: list[Somewhere]) -> None:
    await let_measure(room, *(where.id for where in rooms))
    for where in rooms:
        # Twice the rates: what was measured before counts half, and since then nothing has happened.
        await room.fetch(
            "update public.session_clock set rate = $2, chat_rate = $3, rate_seq = last_seq where session_id = $1",
            where.id, 2 * where.rate, 2 * where.chat_rate,
        )  # fmt: skip
        await room.call(room.dj, "heartbeat", p_session_id=where.id)


@pytest.mark.parametrize("seed", range(6))
async def test_all_rooms_together_stay_within_the_plan(room: Room, seed: int) -> None:
    """However many rooms of whatever size and noise: frames and broadcasts of all are under 80 % of the plan."""
    chance = random.Random(seed)
    plan = chance.choice([500, 2_500, 10_000])
    await room.call(None, "configure_project", p_events_per_second=plan)
    try:
        rooms = [await _open(room, chance) for _ in range(chance.randint(1, 9))]
        # The first round learns how many are where, the second samples, the third shares the plan accordingly.
        for _ in range(3):
            await _measure(room, rooms)

        spent, shared, ticks = 0.0, 0.0, []
        for where in rooms:
            feed = (await room.call(room.dj, "session_snapshot", p_session_id=where.id))["feed"]
            clock = (await room.fetch("select * from public.session_clock where session_id = $1", where.id))[0]
            # The DJ who asks is one more.
            assert clock["occupancy"] == pytest.approx(where.people + 1, rel=0.2)
            assert clock["rate"] == pytest.approx(where.rate)
            shared += feed["budget"]
            ticks.append(feed["tick_ms"])
            if feed["tick_ms"]:
                spent += clock["occupancy"] * 1000 / feed["tick_ms"]
            else:
                assert feed["chat_path"] == "broadcast"
                spent += clock["occupancy"] * where.rate + (clock["occupancy"] + 1) * where.chat_rate
        assert max(ticks) < 60_000
        assert spent <= 0.8 * plan
        assert shared == pytest.approx(plan, rel=0.001)
        if min((tick for tick in ticks if tick), default=0) > 250:
            # Nor is the plan left unused: rooms with a tick spend what they may, unless the shortest tick is enough.
            ticked = sum(where.people for where, tick in zip(rooms, ticks, strict=True) if tick)
            assert spent >= 0.7 * plan * ticked / sum(where.people for where in rooms)
    finally:
        await room.call(None, "configure_project", p_events_per_second=100)
        for where in rooms:
            await room.call(room.dj, "end_session", p_session_id=where.id)


async def test_rooms_that_measure_at_once_never_wait_for_each_other(room: Room) -> None:
    """Heartbeats of many rooms, all due to be measured, while somebody keeps the project's sum locked."""
    chance = random.Random(1)
    rooms = [await _open(room, chance) for _ in range(6)]
    await let_measure(room, *(where.id for where in rooms))
    async with room.pool.acquire() as holder, holder.transaction():
        await holder.execute("select 1 from whatssound.crowd for update")
        replies = await asyncio.wait_for(
            asyncio.gather(*(room.call(room.dj, "heartbeat", p_session_id=where.id) for where in rooms)), 1.5
        )
    assert [reply["occupancy"] > 0 for reply in replies] == [True] * 6
    measured = await room.fetch(
        "select 1 from public.session_clock where session_id = any($1) and budget is not null",
        [uuid.UUID(where.id) for where in rooms],
    )
    assert len(measured) == 6
    for where in rooms:
        await room.call(room.dj, "end_session", p_session_id=where.id)
