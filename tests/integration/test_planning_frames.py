"""Frames of a real room beside those that the simulation's rule sends for the same writes."""

from __future__ import annotations

import asyncio
import random
import uuid
from itertools import pairwise

import pytest

from tests.integration.lab import Lab, People, eventually
from whatssound.planning.played_room import FrameRule

TICK = 0.3
VOTES = 60


async def test_a_real_room_sends_the_frames_of_the_rule(lab: Lab, who: People) -> None:
    dj, ana = await who.join("dj"), await who.join("ana")
    info = await dj.create_session("Noche", settings={"tick_ms": round(TICK * 1000)})
    sessions = [await who.open(sound, info.id) for sound in (dj, ana)]
    song = (await sessions[0].queue.add(title="Cumbia sobre el mar")).item
    assert song is not None
    draw = random.Random(8)
    for number in range(VOTES):
        await sessions[number % 2].votes.cast(song.song_id, 1 if number % 4 < 2 else -1)
        await asyncio.sleep(draw.expovariate(1 / 0.05))
    last_seq = (await sessions[0].votes.cast(song.song_id, 1)).seq
    assert last_seq is not None
    # Its frame has come when both have heard of it.
    await eventually(lambda: all(session.state.seq >= last_seq for session in sessions))

    writes = await lab.rows(
        """select seq, extract(epoch from created_at)::float8 as at from public.session_events
           where session_id = $1 order by seq""",
        uuid.UUID(info.id),
    )
    frames = await lab.rows(
        """select (payload ->> 'from_seq')::bigint as first, (payload ->> 'to_seq')::bigint as last,
                  extract(epoch from (payload ->> 'server_time')::timestamptz)::float8 as at
           from realtime.messages where topic = $1 order by 2""",
        f"session:{info.id}:frames",
    )
    assert [frame["first"] for frame in frames[1:]] == [frame["last"] + 1 for frame in frames[:-1]]
    assert all(later["at"] - earlier["at"] >= TICK - 0.005 for earlier, later in pairwise(frames))

    rule = FrameRule()
    expected = sorted(rule.write(write["at"], TICK) for write in writes)
    rule.pass_time(writes[-1]["at"] + TICK)
    # A real frame is a little late, as somebody has to ask for it; the ticks after it shift by that.
    assert len(frames) == pytest.approx(rule.frames, rel=0.15, abs=2)
    sent = {seq: frame["at"] for frame in frames for seq in range(frame["first"], frame["last"] + 1)}
    waited = sorted(sent[write["seq"]] - write["at"] for write in writes)
    for quantile in (0.5, 0.95):
        place = int(quantile * len(waited))
        assert waited[place] == pytest.approx(expected[place], abs=0.12)
