"""The arithmetic of the client equals the database's, which decides."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from whatssound.core.budget import load_at_once, session_budget, session_tick_ms
from whatssound.local import LocalStack


@pytest.fixture
async def database(stack: LocalStack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.dsn("supabase_admin"))
    yield connection
    await connection.close()


async def test_ticks_are_those_that_the_database_sets(database: asyncpg.Connection) -> None:
    draw = random.Random(6)
    clocks = [
        {
            "occupancy": round(10 ** draw.uniform(0, 5)),
            "rate": (rate := draw.choice([0.0, draw.uniform(0, 3), draw.uniform(0, 60)])),
            "chat_rate": rate * draw.random(),
            "bare_rate": 0.0,
            "budget": draw.choice([50.0, 100.0, 500.0, 2_500.0, 100_000.0]),
            "tick_ms": draw.choice([0, 0, 250, 5_000]),
        }
        for _ in range(500)
    ]
    # On the border too: the load is a whole number there.
    clocks += [
        {"occupancy": 300, "rate": 5.0, "chat_rate": 0.0, "bare_rate": 0.0, "budget": 2_500.0, "tick_ms": tick}
        for tick in (0, 250)
    ]
    rows = await database.fetch(
        """
        select whatssound.wanted_tick(c) as tick, whatssound.load_at_once(c) as load
        from json_array_elements($1::json) with ordinality e (clock, place)
        cross join lateral json_populate_record(null::public.session_clock, e.clock) c
        order by e.place
        """,
        json.dumps(clocks),
    )
    for clock, row in zip(clocks, rows, strict=True):
        people, writes, chat = int(clock["occupancy"]), clock["rate"], clock["chat_rate"]
        assert row["load"] == pytest.approx(load_at_once(people, writes, chat)), clock
        assert row["tick"] == session_tick_ms(
            people, writes, clock["budget"], chat_per_second=chat, current_ms=int(clock["tick_ms"])
        ), clock


async def test_sessions_get_the_share_that_the_database_gives_them(database: asyncpg.Connection) -> None:
    draw = random.Random(7)
    for _ in range(50):
        people, others, events = draw.randrange(2_000), draw.randrange(50_000), draw.choice([100, 500, 2_500])
        found = await database.fetchval(
            "select whatssound.session_budget($1::integer, $2::bigint, $3::integer)", people, others, events
        )
        assert found == pytest.approx(session_budget(people, others, events))
