"""Frames on the local stack: everybody sees the same by either feed, what is lost heals, and nobody can forge."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.lab import FAST, PATIENCE, Ear, Lab, People, eventually, same_as_database
from tests.integration.test_hostile import stranger
from whatssound import (
    ChatConfirmed,
    ChatMessage,
    FeedChanged,
    FramesUnavailableError,
    QueueChanged,
    ReactionsCounted,
    RoomModeChanged,
    Session,
    SessionConfig,
    SessionEndedError,
    StateResynced,
    TipPending,
    TipSent,
    TypingStarted,
    VoteCast,
    WhatsSound,
)

CHANGES = replace(FAST, feed="changes")

#: Nothing is polled: what arrives, arrives by frames, or because something said that it was missing.
FRAMES = replace(FAST, feed="frames", reconcile_interval=60.0)


async def room(
    who: People, *configs: SessionConfig, settings: dict[str, Any] | None = None
) -> tuple[str, Sequence[tuple[WhatsSound, Session]]]:
    """A session and people in it, the DJ first, each with a config of their own."""
    clients = [await who.join(f"p{at}", config=config) for at, config in enumerate(configs)]
    info = await clients[0].create_session("Noche", settings=settings)
    return info.id, [(sound, await who.open(sound, info.id)) for sound in clients]


async def test_people_on_either_feed_see_the_same(who: People) -> None:
    _, people = await room(who, FRAMES, FRAMES, CHANGES)
    (_, dj), (_, ana), (_, ben) = people
    assert [session.state.feed for _, session in people] == ["frames", "frames", "changes"]
    ears = [Ear(session) for _, session in people]
    item = (await dj.queue.add(title="Cumbia sobre el mar", artist="Quantic")).item
    assert item is not None
    for voter in (dj, ana, ben):
        await voter.votes.cast(item.song_id, 1)
    receipts = [await speaker.chat.send(f"hola {at}") for at, speaker in enumerate((dj, ana, ben))]
    for receipt in receipts:
        await receipt.stored()
    for ear in ears:
        await ear.hears(QueueChanged, lambda event: event.item.id == item.id)
        await ear.hears(VoteCast, lambda event: event.tally.up == 3)
        for receipt in receipts:
            await ear.hears(ChatConfirmed, lambda event, sent=receipt: event.message.id == sent.id)  # type: ignore[misc]
    for (sound, session), ear in zip(people, ears, strict=True):
        await same_as_database(sound, session)
        shown = [event.message.id for event in ear.all(ChatMessage)]
        assert sorted(shown) == sorted(receipt.id for receipt in receipts), "each message is shown once"
        await ear.close()
    for session in (dj, ana):
        stats = session.stats()
        assert stats.frames > 0
        assert stats.gaps == stats.forged == 0


async def test_frames_come_in_the_order_of_the_log(who: People) -> None:
    _, [(_, dj), (_, ana)] = await room(who, FRAMES, FRAMES)
    ear = Ear(ana)
    item = (await dj.queue.add(title="Cumbia", artist="Quantic")).item
    assert item is not None

    async def busy(session: Session) -> None:
        for number in range(6):
            await session.votes.cast(item.song_id, 1 if number % 2 else -1)
            await session.chat.send(f"hola {number}")

    await asyncio.gather(busy(dj), busy(ana))
    await eventually(lambda: dj.stats().waiting == ana.stats().waiting == 0)
    await eventually(lambda: ana.state.seq == dj.state.seq >= 1 + 12 + 12)
    numbers = [event.seq for event in ear.heard if event.seq is not None and not isinstance(event, StateResynced)]
    assert numbers == sorted(set(numbers))
    assert len(ear.all(VoteCast)) == 12
    await ear.close()


async def test_a_vote_is_seen_at_once_in_a_small_room(who: People, capsys: pytest.CaptureFixture[str]) -> None:
    _, [(_, dj), (_, ana)] = await room(who, FRAMES, FRAMES)
    item = (await dj.queue.add(title="Cumbia", artist="Quantic")).item
    assert item is not None
    ear, waits = Ear(ana), []
    for number in range(20):
        value = 1 if number % 2 else -1
        begun = time.perf_counter()
        await dj.votes.cast(item.song_id, value)
        await ear.hears(VoteCast, lambda event, at=number: len(ear.all(VoteCast)) > at)  # type: ignore[misc]
        waits.append((time.perf_counter() - begun) * 1000)
    assert ana.stats().gaps == 0
    with capsys.disabled():
        sys.stdout.write(f"\nvote cast -> seen by frames: p50 {sorted(waits)[10]:.1f} ms, max {max(waits):.1f} ms\n")
    await ear.close()


async def test_lost_frames_are_made_good(lab: Lab, who: People) -> None:
    _, people = await room(who, FRAMES, FRAMES)
    [(_, dj), (sound, ana)] = people
    ear = Ear(ana)
    item = (await dj.queue.add(title="Cumbia", artist="Quantic")).item
    assert item is not None
    await ear.hears(QueueChanged)
    await lab.switch(lambda stack: stack.faults.lose_sent())
    for value in (1, -1, 1):
        await dj.votes.cast(item.song_id, value)
    await lab.switch(lambda stack: stack.faults.lose_sent(on=False))
    assert not ear.all(VoteCast)
    await ana.votes.cast(item.song_id, 1)  # the next frame shows the gap
    await ear.hears(VoteCast, lambda event: event.tally.up == 2)
    assert [event.recovered for event in ear.all(VoteCast)][:3] == [True] * 3
    assert ana.stats().gaps >= 1
    await same_as_database(sound, ana)
    await ear.close()


async def test_a_lost_frame_that_nothing_follows_is_made_good_too(lab: Lab, who: People) -> None:
    quick = replace(FRAMES, silence_timeout=1.0)
    _, [(_, dj), (sound, ana)] = await room(who, FRAMES, quick)
    item = (await dj.queue.add(title="Cumbia", artist="Quantic")).item
    assert item is not None
    await lab.switch(lambda stack: stack.faults.lose_sent())
    await dj.votes.cast(item.song_id, 1)
    await same_as_database(sound, ana)


async def test_a_lost_socket_is_made_good(lab: Lab, who: People) -> None:
    _, [(_, dj), (sound, ana)] = await room(who, FRAMES, FRAMES)
    ear = Ear(ana)
    item = (await dj.queue.add(title="Cumbia", artist="Quantic")).item
    assert item is not None
    await lab.switch(lambda stack: stack.faults.drop_sockets())
    await dj.votes.cast(item.song_id, 1)
    await ear.hears(StateResynced)
    await ear.hears(VoteCast)
    await same_as_database(sound, ana)
    await dj.votes.cast(item.song_id, -1)
    await ear.hears(VoteCast, lambda event: event.tally.down == 1)
    await ear.close()


async def test_an_ended_session_is_an_error_at_once(who: People) -> None:
    session_id, [(dj_sound, _)] = await room(who, FAST)
    late = await who.join("late")
    watcher = await who.service()
    await dj_sound.end_session(session_id)
    for sound in (late, watcher):
        begun = time.monotonic()
        with pytest.raises(SessionEndedError):
            async with sound.session(session_id):
                pass
        assert time.monotonic() - begun < 1.0


async def test_nobody_can_forge_a_frame(lab: Lab, who: People) -> None:
    session_id, [(sound, dj), (eve, _)] = await room(who, FRAMES, FRAMES)
    following = dj.state.seq + 1
    forged = {
        "session_id": session_id,
        "from_seq": following,
        "to_seq": following,
        "last_seq": following,
        "events": [{"seq": following, "kind": "new", "payload": {}, "created_at": "2026-01-01T00:00:00Z"}],
        "tallies": [],
        "occupancy": 10**6,
        "tick_ms": 60_000,
        "server_time": "2099-01-01T00:00:00Z",
    }
    for suffix in ("", ":frames"):
        async with stranger(lab, eve, session_id + suffix) as someone:
            await someone.broadcast("frame", forged)
            # A word that is heard after all that shows that it has been taken.
            await someone.broadcast("typing", {"user_id": eve.user_id, "username": "eve", "typing": True})
            if not suffix:
                await dj.wait_for(TypingStarted, timeout=PATIENCE)
    assert dj.state.seq == following - 1
    receipt = await dj.chat.send("still here")
    assert (await receipt.stored()).seq == following
    await eventually(lambda: dj.state.seq == following, "its frame")
    assert dj.stats().forged == 1
    assert dj.state.occupancy < 10
    await same_as_database(sound, dj)


@asynccontextmanager
async def frames_refused(lab: Lab) -> AsyncIterator[None]:
    """A project whose policies do not let members read the frames' topic."""
    [[definition]] = await lab.rows("select pg_get_functiondef('whatssound.may_hear(text)'::regprocedure)")
    refusing = definition.replace("select exists (", "select p_topic !~ ':frames$' and exists (")
    assert refusing != definition
    await lab.rows(refusing)
    try:
        yield
    finally:
        await lab.rows(definition)


async def test_where_policies_keep_frames_from_us_it_is_postgres_changes_or_an_error(lab: Lab, who: People) -> None:
    async with frames_refused(lab):
        _, [(sound, dj)] = await room(who, FAST)
        assert dj.state.feed == "changes"
        receipt = await dj.chat.send("by Postgres Changes")
        await receipt.stored()
        await same_as_database(sound, dj)
        strict = await who.join("strict", config=FRAMES)
        with pytest.raises(FramesUnavailableError, match="policies"):
            async with strict.session(dj.id):
                pass


async def test_a_ticking_room_stores_chat_first_and_hears_it_with_the_next_frame(who: People) -> None:
    _, people = await room(who, FRAMES, FRAMES, CHANGES, settings={"tick_ms": 300})
    ana = people[1][1]
    assert (ana.state.chat_path, ana.state.tick_ms) == ("stored", 300)
    ears = [Ear(session) for _, session in people]
    receipts = [await ana.chat.send(f"hola {number}") for number in range(3)]
    own = await ears[1].hears(ChatMessage)
    assert own.own
    assert not own.message.confirmed
    for receipt in receipts:
        await receipt.stored()
        heard = await ears[0].hears(ChatMessage, lambda event, sent=receipt: event.message.id == sent.id)  # type: ignore[misc]
        assert heard.message.confirmed, "nothing was broadcast"
        await ears[1].hears(ChatConfirmed, lambda event, sent=receipt: event.message.id == sent.id)  # type: ignore[misc]
        await ears[2].hears(ChatMessage, lambda event, sent=receipt: event.message.id == sent.id)  # type: ignore[misc]
    assert not [event for event in ears[0].all(ChatMessage) if event.recovered], "the frames brought everything"
    for (sound, session), ear in zip(people, ears, strict=True):
        await same_as_database(sound, session)
        assert len(ear.all(ChatMessage)) == 3
        await ear.close()


async def test_a_session_may_turn_frames_off_and_on(who: People) -> None:
    auto = replace(FAST, occupancy_interval=0.5)
    session_id, [(dj_sound, dj), (sound, ana)] = await room(who, auto, auto)
    ear = Ear(ana)
    for on in (False, True):
        await dj_sound._gateway.command(
            "update_session", {"p_session_id": session_id, "p_settings": {"frames": on}, "p_title": None}
        )
        feed = "frames" if on else "changes"
        await ear.hears(FeedChanged, lambda event, wanted=feed: event.feed == wanted)  # type: ignore[misc]
        await eventually(lambda wanted=feed: dj.state.feed == wanted)  # type: ignore[misc]
        receipt = await dj.chat.send(f"by {feed}")
        await ear.hears(ChatMessage, lambda event, sent=receipt: event.message.id == sent.id)  # type: ignore[misc]
        await same_as_database(sound, ana)
    await ear.close()


async def test_a_large_room_counts_its_listeners_and_shows_the_crew(who: People) -> None:
    def sized(threshold: int) -> SessionConfig:
        return replace(FAST, large_room=threshold, occupancy_interval=0.4)

    session_id, [(_, dj)] = await room(who, sized(2))
    ear = Ear(dj)
    ana = await who.open(await who.join("ana", config=sized(2)), session_id)
    ben_sound = await who.join("ben", config=sized(2))
    ben = await who.open(ben_sound, session_id)
    for session in (dj, ana, ben):
        await eventually(lambda on=session: on.state.room_mode == "large" and on.state.occupancy == 3)  # type: ignore[misc]
    await ear.hears(RoomModeChanged)
    await eventually(lambda: not ana.state.presence and not ben.state.presence)
    await eventually(lambda: next(iter(dj.state.presence.values())).role == "dj" and len(dj.state.presence) == 1)
    assert dj.state.chat_path == "broadcast"
    assert ana.state.chat_path == "stored"
    await ana.typing.start()
    receipt = await ana.chat.send("from the floor")
    heard = await ear.hears(ChatMessage, lambda event: event.message.id == receipt.id)
    assert heard.message.confirmed
    assert not ear.all(TypingStarted)
    floor = Ear(ben)
    said = await dj.chat.send("from the booth")
    await floor.hears(ChatMessage, lambda event: event.message.id == said.id)
    await floor.close()
    await same_as_database(ben_sound, ben)
    await ear.close()


async def test_reactions_are_counted_for_everybody(who: People) -> None:
    _, people = await room(who, FRAMES, FRAMES)
    [(_, dj), (_, ana)] = people
    for _ in range(3):
        await ana.reactions.send("🔥")
    await dj.reactions.send("👩‍👩‍👧‍👦")
    for session in (dj, ana):
        await eventually(lambda on=session: dict(on.state.reactions) == {"🔥": 3, "👩‍👩‍👧‍👦": 1})  # type: ignore[misc]
        assert session.stats().reactions_dropped == 0


async def test_reactions_by_broadcast_where_there_are_no_frames(who: People) -> None:
    _, [(_, dj), (_, ana)] = await room(who, CHANGES, CHANGES)
    waiting = asyncio.create_task(dj.wait_for(ReactionsCounted, timeout=PATIENCE))
    await asyncio.sleep(0)
    await ana.reactions.send("🔥")
    assert (await waiting).counts == {"🔥": 1}
    assert ana.state.reactions == {"🔥": 1}


async def test_pending_tips_reach_the_dj_and_the_tipper_alone(who: People) -> None:
    session_id, people = await room(who, FRAMES, FRAMES, FRAMES)
    ears = [Ear(session) for _, session in people]
    tip = (await people[1][1].tips.send(500)).tip
    for ear in ears[:2]:
        await ear.hears(TipPending, lambda event: event.tip.id == tip.id)
    service = await who.service()
    await service._gateway.command("confirm_tip", {"p_tip_id": tip.id, "p_status": "confirmed"})
    for ear in ears:
        await ear.hears(TipSent, lambda event: event.tip.id == tip.id)
    for ear, times in zip(ears, (1, 1, 0), strict=True):
        assert len(ear.all(TipPending)) == times
        assert len(ear.all(TipSent)) == 1
        await ear.close()
    assert session_id == people[0][1].id


async def test_a_service_key_follows_by_frames(who: People) -> None:
    session_id, [(_, dj)] = await room(who, FRAMES)
    service = await who.service()
    watcher = await who.open(service, session_id)
    assert watcher.state.feed == "frames"
    ear = Ear(watcher)
    receipt = await dj.chat.send("hola")
    await ear.hears(ChatConfirmed, lambda event: event.message.id == receipt.id)
    assert watcher.stats().frames >= 1
    await same_as_database(service, watcher)
    await ear.close()
