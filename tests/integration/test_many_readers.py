"""Several readers and handlers of one session: each has its own pace and its own accidents."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from tests.integration.lab import FAST, Ear, People, eventually, room
from whatssound import (
    ChatMessage,
    Lagged,
    MemberChanged,
    SessionClosedError,
    Status,
    StatusChanged,
    TypingStarted,
    VoteCast,
)
from whatssound.events import Event


async def test_a_slow_reader_lags_and_the_others_do_not(who: People) -> None:
    dj = await who.join("dj", config=replace(FAST, reader_events=130))
    info = await dj.create_session("Noche")
    session = await who.open(dj, info.id)
    ana = await who.join("ana")
    talking = await who.open(ana, info.id)
    slow = session.events()
    quick, other = Ear(session), Ear(session)
    assert ana.user_id
    song = (await session.queue.add(title="uno")).item
    assert song is not None
    receipts = [await talking.chat.send(f"{number}") for number in range(50)]
    for receipt in receipts:
        await receipt.stored()
    for number in range(100):
        await talking.votes.cast(song.song_id, 1 if number % 2 else -1)
    await session.moderation.mute(ana.user_id, 60)
    for ear in (quick, other):
        await ear.hears(MemberChanged)
        for receipt in receipts:
            await ear.hears(ChatMessage, lambda event, wanted=receipt.id: event.message.id == wanted)  # type: ignore[misc]
        assert not ear.all(Lagged)
        assert [event.content for event in ear.all(ChatMessage)] == [f"{number}" for number in range(50)]
    await eventually(lambda: len(slow) >= 130)
    held: list[Event] = []
    async with asyncio.timeout(10):
        async for event in slow:
            held.append(event)
            if isinstance(event, MemberChanged):
                break
    lagged = [event for event in held if isinstance(event, Lagged)]
    assert lagged, held
    assert sum(event.missed for event in lagged) >= 50
    # Moderation is never left out, however slow the reader.
    assert isinstance(held[-1], MemberChanged)
    slow.close()
    await quick.close()
    await other.close()


async def test_readers_see_what_comes_after_they_were_made(who: People) -> None:
    _, [(_, dj)] = await room(who, "dj")
    early = Ear(dj)
    first = await dj.chat.send("one")
    await early.hears(ChatMessage)
    late = Ear(dj)
    second = await dj.chat.send("two")
    await late.hears(ChatMessage)
    assert [event.message.id for event in early.all(ChatMessage)] == [first.id, second.id]
    assert [event.message.id for event in late.all(ChatMessage)] == [second.id]
    await early.close()
    third = await dj.chat.send("three")
    await late.hears(ChatMessage, lambda event: event.message.id == third.id)
    assert third.id not in [event.message.id for event in early.all(ChatMessage)]
    await late.close()


async def test_handlers_that_raise_reach_on_error_and_nothing_else(who: People) -> None:
    _, [(_, dj), (_, ana)] = await room(who, "dj", "ana")
    errors: list[Exception] = []
    heard: list[str] = []

    @dj.on(ChatMessage)
    def broken(event: ChatMessage) -> None:
        raise RuntimeError(event.content)

    @dj.on(ChatMessage)
    async def broken_too(event: ChatMessage) -> None:
        await asyncio.sleep(0)
        raise LookupError(event.content)

    @dj.on(ChatMessage)
    async def sound(event: ChatMessage) -> None:
        await asyncio.sleep(0)
        heard.append(event.content)

    @dj.on_error
    async def collect(error: Exception) -> None:
        await asyncio.sleep(0)
        errors.append(error)

    for number in range(5):
        await ana.chat.send(f"{number}")
    words = [f"{number}" for number in range(5)]
    await eventually(lambda: heard == words)
    await eventually(lambda: len(errors) == 10)
    assert sorted(str(error) for error in errors if isinstance(error, RuntimeError)) == words
    assert sorted(error.args[0] for error in errors if isinstance(error, LookupError)) == words
    assert dj.status is Status.LIVE
    assert dj.stats().reconnects == 0


async def test_an_on_error_that_raises_is_logged(who: People, caplog: pytest.LogCaptureFixture) -> None:
    _, [(_, dj)] = await room(who, "dj")

    def broken(event: VoteCast | ChatMessage) -> None:
        raise RuntimeError("first")

    def broken_too(error: Exception) -> None:
        raise ValueError("second")

    dj.on(ChatMessage, broken)
    dj.on_error(broken_too)
    with caplog.at_level(logging.ERROR, logger="whatssound"):
        await (await dj.chat.send("x")).stored()
        await eventually(lambda: "second" in caplog.text)
    assert dj.status is Status.LIVE


async def test_a_handler_that_never_ends_does_not_keep_the_session_open(who: People) -> None:
    dj = await who.join("dj", config=replace(FAST, handler_tasks=0.3))
    info = await dj.create_session("Noche")
    stuck = asyncio.Event()
    cancelled = asyncio.Event()

    async def hang(_: ChatMessage) -> None:
        stuck.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.timeout(10):
        async with dj.session(info.id) as session:
            session.on(ChatMessage, hang)
            await session.chat.send("x")
            await stuck.wait()
    assert cancelled.is_set()


async def test_handlers_registered_before_opening_hear_everything(who: People) -> None:
    dj = await who.join("dj")
    info = await dj.create_session("Noche")
    session = dj.session(info.id)
    seen: list[Status] = []
    session.on(StatusChanged, lambda event: seen.append(event.status))
    early = session.events()
    async with session:
        pass
    assert seen == [Status.CONNECTING, Status.LIVE, Status.CLOSED]
    kept = [event.status async for event in early if isinstance(event, StatusChanged)]
    assert kept == seen


async def test_wait_for(who: People) -> None:
    info, [(dj_sound, dj), (_, ana)] = await room(who, "dj", "ana")
    waiting = asyncio.create_task(ana.wait_for(ChatMessage, lambda event: event.content == "ya", timeout=10))
    await asyncio.sleep(0)
    await dj.chat.send("todavía no")
    await dj.chat.send("ya")
    assert (await waiting).content == "ya"
    with pytest.raises(TimeoutError):
        await ana.wait_for(TypingStarted, timeout=0.05)
    failing = asyncio.create_task(ana.wait_for(ChatMessage, lambda _: 1 // 0 > 0, timeout=10))
    await asyncio.sleep(0)
    await dj.chat.send("boom")
    with pytest.raises(ZeroDivisionError):
        await failing
    async with dj_sound.session(info.id) as short:
        ending = asyncio.create_task(short.wait_for(TypingStarted))
        await asyncio.sleep(0)
    with pytest.raises(SessionClosedError):
        await ending
