"""Who was away for longer than events are kept is told so once, and sees the room as it is now."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

import pytest

from tests.integration.lab import FAST, Ear, Lab, People, people, same_as_database
from whatssound import ChatMessage, Discontinuity, QueueChanged, StateResynced, VoteCast
from whatssound.testing import FaultyLink


async def _let_time_pass(lab: Lab, session_id: str, up_to: int) -> None:
    """Makes a session's events older than they are kept, all up to the last one, and lets upkeep do its work."""
    await lab.rows(
        "update public.session_events set created_at = created_at - interval '73 hours' "
        "where session_id = $1 and seq <= $2",
        session_id,
        up_to,
    )
    await lab.rows("select whatssound.delete_old_events(100)")
    assert await lab.count("select count(*) from public.session_events where session_id = $1", session_id) == 0


@pytest.mark.parametrize("feed", ["frames", "changes"])
@pytest.mark.parametrize("kept", [True, False], ids=["some events are kept", "none is kept"])
async def test_past_retention_there_is_one_discontinuity_and_then_a_fresh_state(
    lab: Lab, who: People, feed: Literal["frames", "changes"], kept: bool
) -> None:
    async with FaultyLink(lab.url) as link, people(lab) as guests:
        dj_sound = await who.join("dj")
        info = await dj_sound.create_session("Noche")
        dj = await who.open(dj_sound, info.id)
        song = (await dj.queue.add("uno")).item
        assert song is not None
        ana_sound = await guests.join("ana", url=link.url, config=replace(FAST, feed=feed))
        ana = await guests.open(ana_sound, info.id)
        await same_as_database(ana_sound, ana)
        ear = Ear(ana)
        seen = ana.state.seq
        await link.refuse()
        link.reset()

        # What is past retention when Ana comes back, and what is still kept.
        await (await dj.chat.send("nobody will hear this from the log")).stored()
        await dj.votes.cast(song.song_id, 1)
        await dj.queue.add("dos")
        await same_as_database(dj_sound, dj)
        gone = dj.state.seq
        await _let_time_pass(lab, info.id, gone)
        if kept:
            await (await dj.chat.send("this is kept")).stored()
            await dj.votes.cast(song.song_id, -1)
        await link.accept()

        lost = await ear.hears(Discontinuity)
        assert (lost.after_seq, lost.before_seq) == (seen, gone + 1)
        resynced = await ear.hears(StateResynced)
        assert resynced.fresh
        if kept:
            vote = await ear.hears(VoteCast, lambda event: event.value == -1)
            assert vote.recovered
            await ear.hears(ChatMessage, lambda event: event.message.content == "this is kept")
        # The state has it all, also what no event told of.
        await same_as_database(ana_sound, ana)
        assert [item.title for item in ana.state.queue][-1:] == ["dos"]
        assert "nobody will hear this from the log" in [message.content for message in ana.state.messages]
        # What comes now is live, and nothing is told twice: not even after some more looks at the log.
        await dj.queue.add("tres")
        live = await ear.hears(QueueChanged, lambda event: event.item is not None and event.item.title == "tres")
        assert not live.recovered
        await asyncio.sleep(2 * FAST.reconcile_interval)
        numbers = [event.seq for event in ear.heard if event.seq is not None and not isinstance(event, StateResynced)]
        assert len(numbers) == len(set(numbers))
        assert [number for number in numbers if seen < number <= gone] == []
        assert len(ear.all(Discontinuity)) == 1
        await ear.close()
