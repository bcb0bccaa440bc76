"""Frames under concurrency: what waits goes once, in order, whoever writes, reacts, flushes, rolls back or dies."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.database.test_races import assert_dense, message, user

if TYPE_CHECKING:
    from tests.database.conftest import Room

KINDS = ("🔥", "👏", "🎉", "💃", "😍", "🙌", "🚀")


async def payloads(room: Room) -> list[dict[str, Any]]:
    """The frames sent so far, in the order of the lock they were sent under."""
    rows = await room.fetch(
        "select payload from realtime.messages where topic = $1 and event = 'frame' order by payload ->> 'server_time'",
        f"session:{room.id}:frames",
    )
    return [json.loads(row["payload"]) for row in rows]


async def let_tick_pass(room: Room) -> None:
    """Makes the next frame due, as if the last one had gone a while ago."""
    await room.fetch(
        "update public.session_clock set framed_at = framed_at - interval '2 minutes' where session_id = $1", room.id
    )


async def set_tick(room: Room, tick_ms: int | None) -> None:
    """Fixes the tick of the room, or leaves it to the room's size."""
    await room.call(room.dj, "update_session", p_session_id=room.id, p_settings={"tick_ms": tick_ms})


async def test_no_reaction_is_lost_or_sent_twice(room: Room) -> None:
    """Twelve connections react, write and flush at once, some rolled back: frames add up to what committed."""
    sent: Counter[str] = Counter()

    async def react() -> None:
        counts = {kind: random.randint(1, 50) for kind in random.sample(KINDS, random.randint(1, len(KINDS)))}
        undone = random.random() < 0.2
        reply = await room.call(user(), "send_reactions", p_session_id=room.id, p_counts=counts, rollback=undone)
        assert (reply["accepted"], reply["dropped"]) == (sum(counts.values()), 0)
        if not undone:
            sent.update(counts)

    async def take(turn: int) -> None:
        # Reactions alone wait for half a second; to race as often as possible every frame is due here.
        await let_tick_pass(room)
        if turn % 2:
            await room.call(room.dj, "flush_frame", p_session_id=room.id)
        else:
            await room.say(user(), message(), rollback=turn % 5 == 0)

    await asyncio.gather(*(work for turn in range(200) for work in (react(), react(), take(turn))))
    await let_tick_pass(room)
    await room.call(room.dj, "flush_frame", p_session_id=room.id)

    frames = await payloads(room)
    carried: Counter[str] = Counter()
    for frame in frames:
        carried.update(frame.get("reactions", {}))
    assert carried == sent
    assert sum("reactions" in frame for frame in frames) > 10
    assert await room.fetch("select 1 from whatssound.pending_reactions where session_id = $1", room.id) == []
    reached = 0
    for frame in frames:
        if frame["events"]:
            assert frame["from_seq"] == reached + 1
            reached = frame["to_seq"]
        else:
            # Nothing but reactions: it says where the log stands and moves nothing.
            assert (frame["from_seq"], frame["to_seq"]) == (None, reached)
            assert frame["reactions"]
    assert reached == (await room.seqs())[-1]


async def test_reactions_wait_for_no_writer(room: Room) -> None:
    """Who holds the room's lock holds up no reaction; the frame goes when the writer has gone."""
    await let_tick_pass(room)
    async with room.pool.acquire() as holder, holder.transaction():
        await holder.execute("select 1 from public.session_clock where session_id = $1 for update", room.id)
        replies = await asyncio.wait_for(
            asyncio.gather(
                *(room.call(user(), "send_reactions", p_session_id=room.id, p_counts={"🔥": 1}) for _ in range(10))
            ),
            1.5,
        )
    assert all(reply["frame"]["pending"] and reply["frame"]["wait_ms"] == 100 for reply in replies)

    flushed = await room.call(room.dj, "flush_frame", p_session_id=room.id)

    assert flushed["sent"]
    assert (await payloads(room))[-1]["reactions"] == {"🔥": 10}


async def test_a_reaction_being_counted_does_not_hold_up_the_frame(room: Room) -> None:
    """A frame leaves what a sender has not committed to the next frame, instead of waiting for it."""
    await room.call(room.dj, "send_reactions", p_session_id=room.id, p_counts={"👏": 1})
    await let_tick_pass(room)
    async with room.pool.acquire() as sender, sender.transaction():
        await sender.execute("select whatssound.count_reactions($1, '{\"🔥\": 2}')", room.id)
        await asyncio.wait_for(room.say(user(), message()), 1.5)
    first = (await payloads(room))[-1]
    await let_tick_pass(room)
    await room.call(room.dj, "flush_frame", p_session_id=room.id)

    assert "🔥" not in first.get("reactions", {})
    assert (await payloads(room))[-1]["reactions"] == {"🔥": 2}


async def test_who_dies_before_flushing_delays_nobody_longer_than_the_next_call(room: Room) -> None:
    """What one client left behind goes with the next heartbeat, or the next write, of anybody."""
    await set_tick(room, 60000)
    ana, bo = user(), user()
    for next_call in ("heartbeat", "send_tip", "insert_messages", "send_reactions"):
        left = (await room.say(ana, message("my last words")))[0]["seq"]
        before = await payloads(room)
        assert before[-1]["to_seq"] < left
        await let_tick_pass(room)

        match next_call:
            case "heartbeat":
                await room.call(bo, "heartbeat", p_session_id=room.id)
            case "send_tip":
                await room.command(bo, "send_tip", p_amount=1, p_currency="EUR")
            case "insert_messages":
                await room.say(bo, message())
            case _:
                await room.call(bo, "send_reactions", p_session_id=room.id, p_counts={"🔥": 1})

        after = await payloads(room)
        assert len(after) == len(before) + 1, next_call
        assert after[-1]["to_seq"] >= left
        assert "my last words" in {event["payload"].get("content") for event in after[-1]["events"]}


async def test_empty_ticks_send_nothing(room: Room) -> None:
    """However often asked and however long ago, a flush with nothing to say says nothing."""
    await set_tick(room, 1000)
    await let_tick_pass(room)
    await room.call(room.dj, "flush_frame", p_session_id=room.id)
    before = await payloads(room)
    for _ in range(5):
        await let_tick_pass(room)
        reply = await room.call(room.dj, "flush_frame", p_session_id=room.id)
        assert (reply["sent"], reply["pending"]) == (False, False)

    assert await payloads(room) == before


async def test_deleted_messages_and_bans_are_events_of_frames(room: Room) -> None:
    """Listeners learn of both as of anything else; words deleted before they were framed are in no frame."""
    await set_tick(room, 60000)
    ana, bo = user(), user()
    words = [message("never to be heard"), message("to be kept")]
    await room.say(ana, *words)
    await room.call(room.dj, "delete_message", p_session_id=room.id, p_message_id=words[0]["id"], p_user_id=ana)
    await room.call(bo, "join_session", p_session_id=room.id)
    await room.call(room.dj, "ban_member", p_session_id=room.id, p_user_id=bo)
    await let_tick_pass(room)
    await room.call(room.dj, "flush_frame", p_session_id=room.id)

    frame = (await payloads(room))[-1]
    by_kind = {event["kind"]: event["payload"] for event in frame["events"]}
    assert by_kind["message_deleted"]["id"] == words[0]["id"]
    assert (by_kind["member"]["action"], by_kind["member"]["user_id"]) == ("banned", bo)
    assert "never to be heard" not in json.dumps(await payloads(room))
    said = {event["payload"]["id"]: event["payload"] for event in frame["events"] if event["kind"] == "message"}
    assert said[words[0]["id"]]["deleted"]
    assert said[words[1]["id"]]["content"] == "to be kept"
    await assert_dense(room)


async def test_ticks_are_dense_and_in_order_with_twelve_writers_and_many_flushers(room: Room) -> None:
    """With a short tick, rollbacks and everybody flushing when told: no hole, no repeat, a tick between frames."""
    await set_tick(room, 30)

    async def write(turn: int) -> None:
        who = user()
        reply = await room.call(
            who, "insert_messages", p_session_id=room.id, p_messages=[message(), message()], rollback=turn % 5 == 0
        )
        while reply.get("frame", reply)["pending"]:
            await asyncio.sleep(reply.get("frame", reply)["wait_ms"] / 1000)
            reply = await room.call(who, "flush_frame", p_session_id=room.id)

    await asyncio.gather(*(write(turn) for turn in range(150)))

    await assert_dense(room)
    frames = await payloads(room)
    # The tick holds from the second frame after it was set: the first ones were sent at tick 0.
    ticked = [frame for frame in frames if frame["tick_ms"] == 30]
    stamps = await room.fetch(
        "select extract(epoch from (payload ->> 'server_time')::timestamptz)::float8 as at from realtime.messages"
        " where topic = $1 and (payload ->> 'tick_ms')::integer = 30 order by at",
        f"session:{room.id}:frames",
    )
    assert len(ticked) > 3
    assert all(later["at"] - earlier["at"] >= 0.029 for earlier, later in itertools.pairwise(stamps))


async def test_heartbeats_at_once_make_one_pulse(room: Room) -> None:
    """After 20 s of silence in a room with a tick, many who call together send one pulse between them."""
    await set_tick(room, 500)
    await let_tick_pass(room)
    await room.call(room.dj, "flush_frame", p_session_id=room.id)
    for _ in range(25):
        await let_tick_pass(room)
        before = await payloads(room)
        replies = await asyncio.gather(*(room.call(user(), "heartbeat", p_session_id=room.id) for _ in range(12)))

        after = await payloads(room)
        assert len(after) == len(before) + 1
        assert (after[-1]["events"], after[-1]["last_seq"]) == ([], before[-1]["last_seq"])
        assert {reply["last_seq"] for reply in replies} == {before[-1]["last_seq"]}
