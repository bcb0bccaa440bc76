"""What a client is told that it spends, in a real room; and nothing it sends is dropped to keep within the plan."""

from __future__ import annotations

import asyncio
import time

from tests.integration.lab import FAST, Lab, People, eventually, room
from whatssound import SessionConfig, WhatsSound
from whatssound.core import wire


async def test_the_budget_shows_rooms_and_counts(lab: Lab, who: People) -> None:
    _, members = await room(who, "dj", "ana", "ben")
    (sound, dj), (other, ana), _ = members
    await eventually(lambda: sound.budget().rooms[0].people == 3)
    before = other.budget().received
    sent = sound.budget().sent
    await (await dj.chat.send("hola")).stored()
    await eventually(lambda: other.budget().received >= before + 2)  # the broadcast, and the frame that stored it
    budget = sound.budget()
    (here,) = budget.rooms
    assert budget.sent == sent + 1
    assert (here.session_id, here.feed, here.tick_ms, here.paced) == (dj.id, "frames", 0, 0)
    assert budget.plan is None
    assert budget.events_per_second == 100  # what the database takes a project for until it is told
    assert here.budget is not None
    assert 0 < here.budget <= 100
    assert budget.headroom is not None
    assert budget.headroom <= 100
    await ana.chat.send("hola")
    await eventually(lambda: sound.budget().received > budget.received)


async def test_a_client_that_is_told_its_plan_goes_by_it(lab: Lab) -> None:
    async with WhatsSound(lab.url, lab.anon_key, config=FAST, plan="team") as sound:
        await sound.sign_in_anonymously("dj")
        info = await sound.create_session("Noche")
        async with sound.session(info.id):
            budget = sound.budget()
            assert (budget.plan, budget.events_per_second, len(budget.rooms)) == ("team", 2_500, 1)
        assert sound.budget().rooms == ()
        assert sound.budget().sent == budget.sent


async def test_broadcasts_beyond_the_plan_wait_and_all_arrive(lab: Lab) -> None:
    """Free: a client may take 60 messages a second, 600 at once; a broadcast to one other counts two."""
    config = SessionConfig(retry=FAST.retry, connection=FAST.connection, track_presence=False)
    async with (
        WhatsSound(lab.url, lab.anon_key, config=config, plan="free") as sound,
        WhatsSound(lab.url, lab.anon_key, config=config) as other,
    ):
        await sound.sign_in_anonymously("dj")
        await other.sign_in_anonymously("ana")
        info = await sound.create_session("Noche")
        async with sound.session(info.id) as dj, other.session(info.id) as ana:
            await ana.chat.send("hola")  # its frame tells both how many are here
            await eventually(lambda: (dj.state.occupancy, ana.state.occupancy) == (2, 2))
            connection = dj._parts().room.connection
            before = other.budget().received
            started = time.monotonic()
            budget = sound.budget().rooms[0].budget
            assert budget is not None
            at_once = int(10 * 0.6 * budget / 2)
            payload = {"type": "broadcast", "event": wire.TYPING, "payload": {"user_id": "x", "typing": False}}
            pushed = await asyncio.gather(*(connection.push("broadcast", payload) for _ in range(at_once + 50)))
            assert all(pushed)
            assert time.monotonic() - started >= 50 * 2 / (0.6 * budget) - 1
            assert 0 < sound.budget().rooms[0].paced <= 60
            await eventually(lambda: other.budget().received >= before + at_once + 50)
