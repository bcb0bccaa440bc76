"""Answers that never arrive: whatever the database did, it did once, and the caller learns of it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest

from tests.integration.lab import FAST, Ear, Lab, People, room, same_as_database
from whatssound import OutcomeUnknownError, QueueChanged, TipPending, VoteCast, WhatsSound
from whatssound.local.faults import Fault


async def _lose(lab: Lab, function: str, times: int = 2) -> Fault:
    return await lab.switch(lambda stack: stack.faults.lose_response(f"/rest/v1/rpc/{function}", times=times))


async def test_chat(lab: Lab, who: People) -> None:
    info, [_, (sound, ana)] = await room(who, "dj", "ana")
    fault = await _lose(lab, "insert_messages")
    receipts = [await ana.chat.send(f"{number}") for number in range(10)]
    rows = [await receipt.stored() for receipt in receipts]
    assert fault.hits == 2
    assert {row.status for row in rows} == {"duplicate"}
    stored = await lab.rows(
        "select id, content from public.messages where session_id = $1 order by seq", uuid.UUID(info.id)
    )
    assert [(str(row["id"]), row["content"]) for row in stored] == [
        (receipt.id, receipt.message.content) for receipt in receipts
    ]
    assert [row.seq for row in rows] == sorted(row.seq or 0 for row in rows)
    stats = ana.stats()
    assert (stats.stored, stats.duplicates, stats.rejected, stats.waiting) == (10, 10, 0, 0)
    await same_as_database(sound, ana)


async def test_tips(lab: Lab, who: People) -> None:
    info, [_, (sound, ana)] = await room(who, "dj", "ana")
    ear = Ear(ana)
    fault = await _lose(lab, "send_tip")
    receipt = await ana.tips.send(500, note="gracias")
    assert fault.hits == 2
    assert receipt.duplicate
    rows = await lab.rows("select id from public.tips where session_id = $1", uuid.UUID(info.id))
    assert [str(row["id"]) for row in rows] == [receipt.tip.id]
    await ear.hears(TipPending)
    again = await ana.tips.send(500, note="gracias", key=receipt.key)
    assert again.tip == receipt.tip
    assert sound.user_id == receipt.tip.tipper_id
    await ear.close()


async def test_votes(lab: Lab, who: People) -> None:
    info, [(_, dj), (sound, ana)] = await room(who, "dj", "ana")
    song = (await dj.queue.add(title="uno")).item
    assert song is not None
    ear = Ear(dj)
    fault = await _lose(lab, "cast_vote")
    receipt = await ana.votes.cast(song.song_id, 1)
    assert fault.hits == 2
    assert (receipt.value, receipt.tally.up, receipt.tally.score) == (1, 1, 1)
    heard = await ear.hears(VoteCast)
    # The receipt is the first call's, whichever try brought it.
    assert receipt.seq == heard.seq
    assert receipt.changed
    assert await lab.count("select count(*) from public.votes where session_id = $1", uuid.UUID(info.id)) == 1
    await same_as_database(sound, ana)
    assert len(ear.all(VoteCast)) == 1
    await ear.close()


async def test_the_queue(lab: Lab, who: People) -> None:
    info, [(sound, dj)] = await room(who, "dj")
    ear = Ear(dj)
    fault = await _lose(lab, "enqueue_song")
    receipt = await dj.queue.add(title="uno")
    assert fault.hits == 2
    assert receipt.item is not None
    rows = await lab.rows("select id from public.queue_items where session_id = $1", uuid.UUID(info.id))
    assert [str(row["id"]) for row in rows] == [receipt.item.id] == list(receipt.order)
    second = (await dj.queue.add(title="dos")).item
    assert second is not None
    await _lose(lab, "advance_queue")
    started = await dj.queue.advance()
    assert started.item is not None
    assert started.item.id == receipt.item.id, "advanced once, not once a try"
    await _lose(lab, "move_queue_item")
    third = (await dj.queue.add(title="tres")).item
    assert third is not None
    moved = await dj.queue.move(third.id, before=second.id)
    assert list(moved.order) == [third.id, second.id]
    await _lose(lab, "remove_queue_item")
    removed = await dj.queue.remove(third.id)
    assert list(removed.order) == [second.id]
    await same_as_database(sound, dj)
    actions = [event.action for event in ear.all(QueueChanged)]
    assert sorted(actions) == ["added", "added", "added", "moved", "removed", "started"]
    await ear.close()


async def test_moderation_and_sessions(lab: Lab, who: People) -> None:
    dj, ana = await who.join("dj"), await who.join("ana")
    assert ana.user_id
    await _lose(lab, "create_session")
    info = await dj.create_session("Una sola")
    count = "select count(*) from public.sessions where dj_id = $1"
    assert await lab.count(count, uuid.UUID(info.dj_id)) == 1
    session, _ = await who.open(dj, info.id), await who.open(ana, info.id)
    await _lose(lab, "mute_member")
    await session.moderation.mute(ana.user_id, 60)
    await _lose(lab, "set_slow_mode")
    await session.moderation.set_slow_mode(10)
    await _lose(lab, "end_session")
    assert (await dj.end_session(info.id)).status == "ended"
    kinds = await lab.rows(
        "select payload ->> 'action' as action from public.session_events"
        " where session_id = $1 and kind in ('member', 'session') order by seq",
        uuid.UUID(info.id),
    )
    assert [row["action"] for row in kinds][-1] == "ended"
    assert [row["action"] for row in kinds].count("ended") == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_gateway_that_refuses_for_a_while(lab: Lab, who: People, status: int) -> None:
    info, [(_, dj)] = await room(who, "dj")
    for function in ("insert_messages", "send_tip"):
        await lab.switch(
            lambda stack, function=function: stack.faults.answer(f"/rest/v1/rpc/{function}", status, times=2)  # type: ignore[misc]
        )
    tip = await dj.tips.send(100)
    assert not tip.duplicate
    receipt = await dj.chat.send("tried until it worked")
    assert (await receipt.stored()).status == "stored"
    assert await lab.count("select count(*) from public.tips where session_id = $1", uuid.UUID(info.id)) == 1


async def test_when_the_budget_is_spent_the_key_makes_it_safe_to_go_on(lab: Lab, who: People) -> None:
    config = replace(FAST, retry=replace(FAST.retry, attempts=2))
    dj = await who.join("dj")
    info = await dj.create_session("Noche")
    await who.open(dj, info.id)
    ana = await who.join("ana", config=config)
    session = await who.open(ana, info.id)
    await _lose(lab, "send_tip", times=2)
    with pytest.raises(OutcomeUnknownError) as caught:
        await session.tips.send(500)
    assert (caught.value.operation, caught.value.attempts, caught.value.retryable) == ("send_tip", 2, True)
    assert caught.value.key is not None
    again = await session.tips.send(500, key=caught.value.key)
    assert again.duplicate
    assert await lab.count("select count(*) from public.tips where session_id = $1", uuid.UUID(info.id)) == 1


async def test_words_are_never_stored_under_another_name(lab: Lab, who: People) -> None:
    info, [_, (sound, ana)] = await room(who, "dj", "ana")
    ana_id = sound.user_id
    rule = await lab.switch(lambda stack: stack.faults.answer("/rest/v1/rpc/insert_messages", 503, times=None))
    receipt = await ana.chat.send("I am Ana")
    await asyncio.to_thread(lambda: None)
    await sound.sign_out()
    ben_id = await sound.sign_in_anonymously("ben")
    await lab.switch(lambda stack: stack.faults.remove(rule))
    from whatssound import MessageRejectedError

    with pytest.raises(MessageRejectedError) as caught:
        async with asyncio.timeout(10):
            await receipt.stored()
    assert caught.value.reason == "other_user"
    assert ana_id != ben_id
    rows = await lab.rows("select user_id from public.messages where session_id = $1", uuid.UUID(info.id))
    assert not rows


async def test_closing_drains_what_is_on_its_way(lab: Lab, who: People) -> None:
    dj = await who.join("dj")
    info = await dj.create_session("Noche")
    await _lose(lab, "insert_messages", times=1)
    async with dj.session(info.id) as session:
        receipts = [await session.chat.send(f"{number}") for number in range(30)]
    assert all(receipt.is_stored for receipt in receipts)
    count = "select count(*) from public.messages where session_id = $1"
    assert await lab.count(count, uuid.UUID(info.id)) == 30


async def test_closing_without_a_server_settles_every_receipt(lab: Lab, who: People) -> None:
    config = replace(FAST, outbox=replace(FAST.outbox, drain_timeout=0.5))
    dj = await who.join("dj")
    info = await dj.create_session("Noche")
    async with WhatsSound(lab.url, lab.anon_key, config=config) as sound:
        await sound.sign_in_anonymously("ana")
        async with sound.session(info.id) as session:
            rule = await lab.switch(lambda stack: stack.faults.answer("/rest/v1/rpc/insert_messages", 503, times=None))
            receipts = [await session.chat.send(f"{number}") for number in range(3)]
        assert rule.hits >= 1
    from whatssound import MessageRejectedError

    for receipt in receipts:
        assert receipt.is_settled
        with pytest.raises(MessageRejectedError) as caught:
            await receipt.stored()
        assert caught.value.reason == "closed"
