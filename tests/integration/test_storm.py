"""Everybody in a room loses the connection in the same moment: all come back, and the database is not run down.

Here each is held to asking once or twice. How the questions spread over time is pinned in virtual time
(`test_feed_frames`) and measured by `tests/benchmarks/storm.py`: a hundred clients and their server in one interpreter
bunch whatever is spread.
"""

from __future__ import annotations

import pytest

from tests.integration.lab import PATIENCE, Lab, People, eventually
from whatssound import SessionConfig
from whatssound.cli.bench.audience import Audience
from whatssound.config import ConnectionConfig

LISTENERS = 100
#: Calls that read the log or the whole state.
SNAPSHOTS = ("session_snapshot", "events_since")

#: Settings as they are by default, but for patience: a hundred clients and their server share one interpreter here.
PATIENT = ConnectionConfig(open_timeout=30.0, join_timeout=30.0)


async def questions(lab: Lab) -> int:
    total = await lab.switch(lambda stack: stack.calls.total)
    return sum(total.get(name, 0) for name in SNAPSHOTS)


@pytest.mark.parametrize("restart", [False, True], ids=["cut", "restart"])
async def test_a_storm_ends_within_half_a_minute_and_nobody_asks_the_database_over_and_over(
    lab: Lab, who: People, restart: bool
) -> None:
    config = SessionConfig(feed="frames", connection=PATIENT, track_presence=False)
    dj = await who.join("dj", config=config)
    info = await dj.create_session("Storm")
    sounds = [await who.join(f"listener{number}", config=config) for number in range(LISTENERS)]
    session = await who.open(dj, info.id)
    async with Audience(info.id, sounds, config=config) as audience:
        assert audience.listening().entered == LISTENERS
        # A frame tells everybody how many are here, as happens all the time in a room of that size.
        first = await session.chat.send("welcome")
        assert await audience.until_seen([f"chat:{first.id}"], within=PATIENCE)
        before = await questions(lab)
        if restart:
            await lab.do(lambda stack: stack.restart_service("realtime"))
        else:
            assert await lab.switch(lambda stack: stack.faults.drop_sockets(code=None)) == LISTENERS + 1
        # Said while nobody hears: everybody has to ask for it.
        receipt = await session.chat.send("is anybody there?")
        await receipt.stored()
        last = await lab.count("select last_seq from public.session_clock where session_id = $1", info.id)
        await eventually(lambda: not audience.behind(last), "all are live and converged", within=30.0)
        assert audience.sightings.missing([f"chat:{receipt.id}"]) == 0
        assert audience.sightings.tallies({f"chat:{receipt.id}": 0.0})["chat"].repeats == 0
        assert audience.listening().reconnects >= LISTENERS
        assert await questions(lab) - before <= 2 * (LISTENERS + 1)
