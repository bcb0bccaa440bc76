"""A whole room on real parts: everybody sees the same, and what was refused says why."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.integration.lab import Ear, Lab, People, eventually, room, same_as_database
from whatssound import (
    BannedError,
    ChatConfirmed,
    ChatFrozenError,
    ChatMessage,
    ChatUnconfirmed,
    IdempotencyMismatchError,
    MemberChanged,
    MessageDeleted,
    MessageRejectedError,
    MutedError,
    NotAllowedError,
    NotFoundError,
    PresenceJoined,
    PresenceLeft,
    QueueChanged,
    QueueConflictError,
    SessionChanged,
    SessionEndedError,
    TipError,
    TipPending,
    TipRefunded,
    TipSent,
    TypingStarted,
    TypingStopped,
    VoteCast,
)


async def test_chat_is_heard_by_all_and_stored_once(lab: Lab, who: People) -> None:
    info, members = await room(who, "dj", "ana", "ben", "cleo")
    ears = [Ear(session) for _, session in members]
    words = ["¡Temazo!", "👩‍🎤 عالم 世界", "a" * 500]
    receipts = [await session.chat.send(f"{word}"[:500]) for word in words for _, session in members]
    rows = [await receipt.stored() for receipt in receipts]
    assert {row.status for row in rows} == {"stored"}
    for ear in ears:
        for receipt in receipts:
            heard = await ear.hears(ChatMessage, lambda event, wanted=receipt.id: event.message.id == wanted)  # type: ignore[misc]
            assert heard.content == receipt.message.content
            assert heard.own == (receipt.message.user_id == ear.session.state.me.user_id)  # type: ignore[union-attr]
            if not heard.message.confirmed:
                await ear.hears(ChatConfirmed, lambda event, wanted=receipt.id: event.message.id == wanted)  # type: ignore[misc]
        ids = [event.message.id for event in ear.all(ChatMessage)]
        assert len(ids) == len(set(ids)) == len(receipts)
    stored = await lab.rows("select id, content from public.messages where session_id = $1", uuid.UUID(info.id))
    assert sorted(str(row["id"]) for row in stored) == sorted(receipt.id for receipt in receipts)
    for sound, session in members:
        await same_as_database(sound, session)
    assert [message.id async for message in members[1][1].chat.history(page=5)] == [
        message.id for message in reversed(members[1][1].state.messages)
    ]
    for ear in ears:
        await ear.close()


async def test_votes_change_and_are_taken_back(lab: Lab, who: People) -> None:
    info, members = await room(who, "dj", "ana", "ben")
    (_, dj), (_, ana), (_, ben) = members
    ear = Ear(dj)
    song = (await dj.queue.add(title="Cumbia sobre el mar")).item
    assert song is not None
    first = await ana.votes.cast(song.song_id, 1)
    assert (first.tally.up, first.changed) == (1, True)
    again = await ana.votes.cast(song.song_id, 1)
    assert (again.tally.up, again.changed) == (1, False)
    assert (await ben.votes.cast(song.song_id, -1)).tally.score == 0
    assert (await ana.votes.cast(song.song_id, -1)).tally.score == -2
    back = await ben.votes.retract(song.song_id)
    assert (back.value, back.tally.down) == (0, 1)
    await ear.hears(VoteCast, lambda event: event.value == 0 and event.tally.score == -1)
    assert len(ear.all(VoteCast)) == 4
    with pytest.raises(NotFoundError) as caught:
        await ana.votes.cast(str(uuid.uuid4()), 1)
    assert caught.value.code == "unknown_song"
    for sound, session in members:
        await same_as_database(sound, session)
    assert dict(ana.state.my_votes) == {song.song_id: -1}
    votes = await lab.rows("select value from public.votes where session_id = $1 order by value", uuid.UUID(info.id))
    assert [row["value"] for row in votes] == [-1, 0]
    await ear.close()


async def test_tips_are_private_until_paid(lab: Lab, who: People) -> None:
    info, members = await room(who, "dj", "ana", "ben")
    _, (_, ana), (_, ben) = members
    ears = dj_ear, ana_ear, ben_ear = [Ear(session) for _, session in members]
    key = str(uuid.uuid4())
    receipt = await ana.tips.send(500, currency="EUR", note="gracias", key=key)
    assert (receipt.tip.status, receipt.duplicate) == ("pending", False)
    again = await ana.tips.send(500, currency="EUR", note="gracias", key=key)
    assert again.duplicate
    assert again.tip.id == receipt.tip.id
    with pytest.raises(IdempotencyMismatchError):
        await ana.tips.send(700, currency="EUR", note="gracias", key=key)
    await dj_ear.hears(TipPending, lambda event: event.tip.id == receipt.tip.id)
    await ana_ear.hears(TipPending, lambda event: event.tip.id == receipt.tip.id)

    service = await who.service()
    assert (await service.confirm_tip(receipt.tip.id)).status == "confirmed"
    for ear in ears:
        sent = await ear.hears(TipSent)
        assert (sent.tip.amount, sent.tip.username) == (500, "ana")
    assert not ben_ear.all(TipPending)
    for sound, session in members:
        await same_as_database(sound, session)
        assert session.state.tips.totals == {"EUR": 500}

    await service.confirm_tip(receipt.tip.id, status="refunded")
    for ear in ears:
        refunded = await ear.hears(TipRefunded)
        assert refunded.counted
        assert len(ear.all(TipSent)) == 1
    with pytest.raises(TipError):
        await service.confirm_tip(receipt.tip.id)
    with pytest.raises(NotAllowedError):
        await members[1][0].confirm_tip(receipt.tip.id)
    for sound, session in members:
        await same_as_database(sound, session)
        assert session.state.tips.count == 0
    assert await lab.count("select count(*) from public.tips where session_id = $1", uuid.UUID(info.id)) == 1
    assert ben.state.tips.totals == {}
    for ear in ears:
        await ear.close()


async def test_the_queue_is_one_for_all(lab: Lab, who: People) -> None:
    info, members = await room(who, "dj", "mod", "ana")
    (dj_sound, dj), (mod_sound, mod), (_, ana) = members
    assert mod_sound.user_id is not None
    await dj.moderation.set_role(mod_sound.user_id, "moderator")
    items = []
    for title in ("uno", "dos", "tres", "cuatro"):
        receipt = await dj.queue.add(title=title, artist="Quantic", duration=180)
        assert receipt.item is not None
        items.append(receipt.item)
    assert list(receipt.order) == [item.id for item in items]
    for _, session in members:
        await eventually(lambda session=session: len(session.state.queue) == 4)  # type: ignore[misc]
    moved = await mod.queue.move(items[3].id, before=items[0].id)
    assert list(moved.order) == [items[3].id, items[0].id, items[1].id, items[2].id]
    # The DJ has not heard of it through the channel if this comes first; either way the answer is a typed one.
    await eventually(lambda: [item.id for item in dj.state.queue] == list(moved.order))
    removed = await mod.queue.remove(items[1].id)
    assert items[1].id not in removed.order
    started = await dj.queue.advance()
    assert started.item is not None
    assert started.item.id == items[3].id
    with pytest.raises(NotAllowedError):
        await ana.queue.advance()

    # Two who act on the same old order: one wins, the other is told the order as it is.
    await eventually(lambda: mod.state.now_playing is not None and mod.state.now_playing.id == items[3].id)
    results = await asyncio.gather(
        dj.queue.advance(skipped=True), mod.queue.advance(skipped=True), return_exceptions=True
    )
    conflicts = [result for result in results if isinstance(result, QueueConflictError)]
    assert len(conflicts) == 1, results
    assert conflicts[0].facts["order"] == [items[2].id]
    ear = Ear(ana)
    await dj.queue.advance()
    finished = await ear.hears(QueueChanged, lambda event: event.action == "finished")
    assert finished.item.id == items[0].id
    last = await dj.queue.advance()
    assert last.item is None
    with pytest.raises(NotFoundError):
        await dj.queue.remove(str(uuid.uuid4()))
    for sound, session in members:
        await same_as_database(sound, session)
        assert session.state.now_playing is None
        assert session.state.queue == ()
    statuses = await lab.rows("select status from public.queue_items where session_id = $1", uuid.UUID(info.id))
    assert sorted(row["status"] for row in statuses) == ["played", "played", "removed", "skipped"]
    assert dj_sound.user_id == info.dj_id
    await ear.close()


async def test_typing_begins_and_is_forgotten(who: People) -> None:
    _, [(_, dj), (ana_sound, ana)] = await room(who, "dj", "ana")
    ear = Ear(dj)
    await ana.typing.start()
    await ana.typing.start()
    started = await ear.hears(TypingStarted)
    assert started.username == "ana"
    assert dict(dj.state.typing) == {ana_sound.user_id: "ana"}
    await ear.hears(TypingStopped)
    assert not dj.state.typing
    assert len(ear.all(TypingStarted)) == 1
    ear.heard.clear()
    await ana.typing.stop()
    await ana.typing.start()
    await ear.hears(TypingStarted)
    await ana.typing.stop()
    await ear.hears(TypingStopped)
    await ear.close()


async def test_people_come_and_go(who: People) -> None:
    info, [(dj_sound, dj)] = await room(who, "dj")
    ear = Ear(dj)
    ana = await who.join("ana")
    async with ana.session(info.id) as session:
        joined = await ear.hears(PresenceJoined, lambda event: event.member.user_id == ana.user_id)
        assert joined.member.username == "ana"
        await eventually(lambda: set(session.presence.members) == {dj_sound.user_id, ana.user_id})
        await eventually(lambda: dj.state.occupancy == 2)
    await ear.hears(PresenceLeft, lambda event: event.member.user_id == ana.user_id)
    assert set(dj.presence.members) == {dj_sound.user_id}
    await ear.close()


async def test_moderation_bites_and_is_seen(lab: Lab, who: People) -> None:
    _, members = await room(who, "dj", "mod", "ana", "ben")
    (_, dj), (mod_sound, mod), (ana_sound, ana), (ben_sound, ben) = members
    assert mod_sound.user_id
    assert ana_sound.user_id
    assert ben_sound.user_id
    ear, dj_ear = Ear(ben), Ear(dj)
    with pytest.raises(NotAllowedError):
        await mod.moderation.mute(ana_sound.user_id, 60)
    await dj.moderation.set_role(mod_sound.user_id, "moderator")
    await eventually(lambda: mod.state.me is not None and mod.state.me.role == "moderator")
    with pytest.raises(NotFoundError):
        await mod.moderation.mute(str(uuid.uuid4()), 60)

    await mod.moderation.mute(ana_sound.user_id, 60)
    early = await _refused(ana, "psst")
    assert early in ("muted", MutedError)
    await eventually(lambda: ana.state.me is not None and ana.state.me.muted_until is not None)
    with pytest.raises(MutedError) as muted:
        await ana.chat.send("hello?")
    assert muted.value.retry_after is not None
    assert 0 < muted.value.retry_after <= 60
    await mod.moderation.unmute(ana_sound.user_id)
    await eventually(lambda: ana.state.me is not None and ana.state.me.muted_until is None)
    said = await ana.chat.send("back again")
    await said.stored()

    await mod.moderation.delete_message(said.id)
    await ear.hears(MessageDeleted, lambda event: event.message_id == said.id)
    assert said.id not in [message.id for message in ben.state.messages]
    assert not await lab.rows(
        "select 1 from public.messages where id = $1 and content = 'back again'", uuid.UUID(said.id)
    )

    await dj.moderation.set_slow_mode(30)
    await ear.hears(SessionChanged, lambda event: event.session.settings.slow_mode_seconds == 30)
    await (await ben.chat.send("one")).stored()
    with pytest.raises(MessageRejectedError) as slow:
        await (await ben.chat.send("two")).stored()
    assert slow.value.reason == "slow_mode"
    assert slow.value.retry_after is not None
    await dj_ear.hears(ChatUnconfirmed, lambda event: event.message_id == slow.value.message_id)
    await (await mod.chat.send("the crew may")).stored()
    await (await mod.chat.send("twice")).stored()
    await dj.moderation.set_slow_mode(0)

    await dj.moderation.freeze_chat()
    await ear.hears(SessionChanged, lambda event: event.session.settings.chat_frozen)
    with pytest.raises(ChatFrozenError):
        await ben.chat.send("frozen?")
    await (await mod.chat.send("crew speaks")).stored()
    await dj.moderation.freeze_chat(frozen=False)
    await ear.hears(
        SessionChanged,
        lambda event: (
            event.seq is not None
            and not event.session.settings.chat_frozen
            and event.session.settings.slow_mode_seconds == 0
        ),
    )

    await mod.moderation.ban(ana_sound.user_id, reason="spam")
    with pytest.raises(BannedError):
        await ana.tips.send(100)
    banned = await ear.hears(MemberChanged, lambda event: event.action == "banned")
    assert (banned.member.user_id, banned.reason) == (ana_sound.user_id, "spam")
    for sound, session in (members[0], members[1], members[3]):
        await same_as_database(sound, session)
    await ear.close()


async def _refused(session: object, text: str) -> object:
    """How a message was refused: at once (its error's class) or by the database (its reason)."""
    from whatssound import RefusedError, Session

    assert isinstance(session, Session)
    try:
        receipt = await session.chat.send(text)
    except RefusedError as error:
        return type(error)
    with pytest.raises(MessageRejectedError) as rejected:
        await receipt.stored()
    return rejected.value.reason


async def test_a_session_ends_for_everybody(who: People) -> None:
    info, members = await room(who, "dj", "ana")
    (dj_sound, dj), (_, ana) = members
    ear = Ear(ana)
    song = (await dj.queue.add(title="la última")).item
    assert song is not None
    assert (await dj_sound.end_session(info.id)).status == "ended"
    with pytest.raises(SessionEndedError):
        await ana.votes.cast(song.song_id, 1)
    ended = await ear.hears(SessionChanged, lambda event: event.action == "ended")
    assert ended.session.status == "ended"
    with pytest.raises(SessionEndedError):
        await ana.chat.send("too late")
    with pytest.raises(SessionEndedError):
        await dj.queue.add(title="otra")
    for sound, session in members:
        await same_as_database(sound, session)
    await ear.close()
