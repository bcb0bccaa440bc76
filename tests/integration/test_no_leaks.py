"""Closing leaves nothing: no task, no socket, no database connection; however it came about."""

from __future__ import annotations

import asyncio
import gc
import random
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.lab import FAST, Lab, People, eventually, room
from whatssound import ChatMessage, MessageRejectedError, Status, UnreachableError, WhatsSound
from whatssound.testing import FaultyLink


def _sockets() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Makes what is only noticed at collection an error of this test, and not of a later one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert not [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
    assert not [str(warning.message) for warning in caught if "never awaited" in str(warning.message)]


@asynccontextmanager
async def nothing_left(lab: Lab) -> AsyncIterator[None]:
    """Checks that what is inside leaves no task and no socket, here and at the server."""
    tasks = asyncio.all_tasks()
    held = await _connections(lab)
    with _no_warnings():
        yield
        # The sessions that the room was made with live on, and each look of theirs at the log is a task for a moment.
        passing = {task for task in asyncio.all_tasks() - tasks if task.get_name().startswith("whatssound-read-")}
        left = asyncio.all_tasks() - tasks - passing
        assert not left, left
        if passing:
            _, left = await asyncio.wait(passing, timeout=10)
            assert not left, left
    loop = asyncio.get_running_loop()
    ends = loop.time() + 10
    while (now := await _connections(lab)) > held:
        assert loop.time() < ends, f"{now - held} sockets left at the server"
        await asyncio.sleep(0.02)


async def _connections(lab: Lab) -> int:
    return await lab.switch(lambda stack: stack.faults.sockets)


async def _use(sound: WhatsSound, session_id: str) -> None:
    async with sound.session(session_id) as session:
        stream = session.events()
        session.on(ChatMessage, lambda _: None)
        receipt = await session.chat.send("hola")
        await receipt.stored()
        song = (await session.queue.add(title="uno")).item
        assert song is not None
        await session.votes.cast(song.song_id, 1)
        stream.close()


async def test_an_ordinary_life(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    before = _sockets()
    async with nothing_left(lab), WhatsSound(lab.url, lab.anon_key, config=FAST) as sound:
        await sound.sign_in_anonymously("ana")
        await _use(sound, info.id)
        await _use(sound, info.id)
    await eventually(lambda: len(_sockets() - before) <= 4, "client sockets are closed")


async def _raise_inside(sound: WhatsSound, session_id: str) -> None:
    async with sound.session(session_id) as session:
        await session.chat.send("hola")
        raise ZeroDivisionError


async def test_a_body_that_raises(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    async with nothing_left(lab), WhatsSound(lab.url, lab.anon_key, config=FAST) as sound:
        await sound.sign_in_anonymously("ana")
        with pytest.raises(ZeroDivisionError):
            await _raise_inside(sound, info.id)


async def test_an_opening_that_fails(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    async with (
        nothing_left(lab),
        FaultyLink(lab.url) as link,
        WhatsSound(link.url, lab.anon_key, config=FAST) as sound,
    ):
        await sound.sign_in_anonymously("ana")
        await lab.switch(lambda stack: stack.faults.answer("/realtime/v1/websocket", 503, times=None))
        quick = replace(FAST, connection=replace(FAST.connection, open_timeout=0.4, join_timeout=0.4))
        with pytest.raises(UnreachableError):
            async with sound.session(info.id, config=quick):
                pass
        await lab.switch(lambda stack: stack.faults.clear())
        await _use(sound, info.id)


async def test_a_connection_that_breaks_often(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    async with (
        nothing_left(lab),
        FaultyLink(lab.url) as link,
        WhatsSound(link.url, lab.anon_key, config=FAST) as sound,
    ):
        await sound.sign_in_anonymously("ana")
        async with sound.session(info.id) as session:
            for number in range(4):
                lost = session.stats().reconnects
                link.reset()
                await eventually(lambda lost=lost: session.stats().reconnects > lost)  # type: ignore[misc]
                await eventually(lambda: session.status.value == "live")
                await (await session.chat.send(f"{number}")).stored()
            tasks = [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "whatssound-read"]
            assert len(tasks) == 2, "one a session: Ana's and the DJ's"


@pytest.mark.parametrize("seed", range(4))
async def test_cancelling_anywhere_leaves_nothing(lab: Lab, who: People, seed: int) -> None:
    info, _ = await room(who, "dj")
    chance = random.Random(seed)
    async with nothing_left(lab), WhatsSound(lab.url, lab.anon_key, config=FAST) as sound:
        await sound.sign_in_anonymously("ana")
        for _ in range(8):
            task = asyncio.create_task(_use(sound, info.id))
            # Not luck but a draw: somewhere between the first step and the end of an ordinary life.
            await asyncio.sleep(chance.random() * 0.4)
            task.cancel()
            async with asyncio.timeout(10):
                await asyncio.gather(task, return_exceptions=True)
            assert task.done()
            assert task.cancelled() or task.exception() is None, task


async def test_cancelling_the_closing_itself_settles_every_receipt(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    async with nothing_left(lab), WhatsSound(lab.url, lab.anon_key, config=FAST) as sound:
        await sound.sign_in_anonymously("ana")
        session = sound.session(info.id)
        receipts = []

        async def live() -> None:
            async with session:
                receipts.append(await session.chat.send("hola"))

        rule = await lab.switch(lambda stack: stack.faults.answer("/rest/v1/rpc/insert_messages", 503, times=None))
        reader = session.events()
        task = asyncio.create_task(live())
        await eventually(lambda: receipts and rule.hits, "the session is closing and waits for the database")
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)
            assert [event async for event in reader], "readers end, too"
        assert task.cancelled()
        assert session.status is Status.CLOSED
        with pytest.raises(MessageRejectedError, match="closed"):
            await receipts[0].stored()


async def test_cancelling_at_each_step_of_opening_leaves_nothing(lab: Lab, who: People) -> None:
    """Steps the loop and cancels after 1, 2, 3 … turns, so that every await of the opening is met."""
    info, _ = await room(who, "dj")
    async with nothing_left(lab), WhatsSound(lab.url, lab.anon_key, config=FAST) as sound:
        await sound.sign_in_anonymously("ana")
        for turns in (*range(1, 30), 40, 60, 100):
            task = asyncio.create_task(_use(sound, info.id))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            async with asyncio.timeout(10):
                await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled(), task
