"""An event loop on which waiting costs nothing: whenever nothing can run, time jumps to the next timer.

Hours of reconnects, retries and deadlines run in milliseconds, and always in the same order. For code that does not
talk to real sockets, threads or processes.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Lets the loop's time jump instead of waiting."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise DeadlockError("every task waits for another; nothing can happen any more")
        self.loop.jump(timeout)
        return ready


class DeadlockError(RuntimeError):
    """Nothing can run and no timer is set: a real program would hang here for ever."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own."""

    def __init__(self) -> None:
        self._virtual_now = 1_000.0
        selector = _Jumping()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        """Lets time pass."""
        self._virtual_now += seconds


class LoopClock:
    """A `whatssound.ports.Clock` that goes by the running loop's time."""

    def monotonic(self) -> float:
        """Seconds of the loop."""
        return asyncio.get_running_loop().time()

    def unix_ms(self) -> int:
        """Milliseconds since 1970, as if the loop had begun in 2026."""
        return 1_790_000_000_000 + round(self.monotonic() * 1000)

    async def sleep(self, seconds: float) -> None:
        """Waits in the loop's time."""
        await asyncio.sleep(seconds)


def run_virtual(main: Callable[[], Awaitable[T]], *, leaks: bool = False) -> T:
    """Runs a coroutine function on a `VirtualTimeLoop` and returns what it returns.

    Args:
        main: what to run.
        leaks: whether tasks may be left behind.

    Raises:
        DeadlockError: everything waited for ever.
        AssertionError: tasks were left behind.
    """

    async def checked() -> T:
        result = await main()
        # A cancelled task needs a turn of the loop to end.
        for _ in range(5):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        if left and not leaks:
            raise AssertionError(f"tasks were left behind: {sorted(task.get_name() for task in left)}")
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(checked())
