"""A blocked event loop is reported, with what blocked it; a busy one is not."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from tests.unit.test_session import Stage
from whatssound.events import LoopStalled
from whatssound.session import Session
from whatssound.stalls import StallWatch
from whatssound.testing import run_virtual

THRESHOLD = 0.1


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "whatssound-stalls"]


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_told_with_the_stack_that_blocked(caplog: pytest.LogCaptureFixture) -> None:
    stalls: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
    watch = StallWatch(THRESHOLD)
    told = lambda seconds, stack: stalls.put_nowait((seconds, stack))  # noqa: E731 - the same object goes out again
    watch.add(told)
    try:
        with caplog.at_level(logging.WARNING, "whatssound"):
            block_the_loop(5 * THRESHOLD)
            seconds, stack = await asyncio.wait_for(stalls.get(), 10)
        assert seconds >= THRESHOLD
        assert "block_the_loop" in stack
        assert "block_the_loop" in caplog.text
    finally:
        watch.remove(told)
    assert not watchers()


async def test_a_loop_that_is_busy_but_lets_others_run_is_no_stall() -> None:
    stalls: list[float] = []
    watch = StallWatch(60.0)
    told = lambda seconds, stack: stalls.append(seconds)  # noqa: E731 - the same object goes out again
    watch.add(told)
    for _ in range(200):
        block_the_loop(0.001)
        await asyncio.sleep(0)
    watch.remove(told)
    assert stalls == []


async def test_one_thread_serves_all_and_ends_with_the_last() -> None:
    watch = StallWatch(THRESHOLD)
    heard: list[str] = []
    first = lambda seconds, stack: heard.append("first")  # noqa: E731 - the same object goes out again
    came = asyncio.Event()

    def second(seconds: float, stack: str) -> None:
        heard.append("second")
        came.set()

    watch.add(first)
    watch.add(second)
    assert len(watchers()) == 1
    watch.remove(first)
    watch.remove(first)
    assert len(watchers()) == 1
    block_the_loop(5 * THRESHOLD)
    await asyncio.wait_for(came.wait(), 10)
    watch.remove(second)
    assert set(heard) == {"second"}
    assert not watchers()


def test_a_loop_that_is_closed_under_it_ends_the_thread() -> None:
    watch = StallWatch(THRESHOLD)

    async def leave_open() -> threading.Thread:
        watch.add(lambda seconds, stack: None)
        (thread,) = watchers()
        return thread

    thread = asyncio.run(leave_open())
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_session_publishes_it_and_stops_watching_when_it_closes() -> None:
    class Silent(StallWatch):
        """Tells when the test says so."""

        def __init__(self) -> None:
            super().__init__(3600.0)

        def stall(self) -> None:
            self._tell(2.5, "File …")

    async def main() -> None:
        watch = Silent()
        stage = Stage()
        made = stage.session
        session = Session(
            made.id,
            config=made.config,
            gateway=made._gateway,
            tokens=stage.tokens,
            links=stage.links,
            clock=made._clock,
            stalls=watch,
        )
        async with session:
            reader = session.events()
            watch.stall()
            event = await anext(reader)
            assert event == LoopStalled(seconds=2.5, stack="File …")
            assert event.keep
        assert not watch._told
        assert not watchers()

    run_virtual(main)
