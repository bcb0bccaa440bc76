"""A local stack that runs beside the tests, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from ..local.stack import LocalStack

T = TypeVar("T")


class StackThread:
    """Runs a `whatssound.local.LocalStack` in a thread, so that tests with loops of their own can share it.

    Args:
        options: what `LocalStack` takes.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack: LocalStack | None = None
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="whatssound-local-stack", daemon=True)

    @property
    def stack(self) -> LocalStack:
        """The stack; its ``url``, keys and ``db_url`` may be read from any thread.

        Raises:
            RuntimeError: it is not running.
        """
        if self._stack is None:
            raise RuntimeError("the stack is not running; use StackThread as a context manager")
        return self._stack

    def call(self, work: Callable[[LocalStack], Awaitable[T]]) -> T:
        """Runs a coroutine function with the stack on the stack's loop and returns what it returns."""
        if self._loop is None:
            raise RuntimeError("the stack is not running; use StackThread as a context manager")

        async def run() -> T:
            return await work(self.stack)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error
        finally:
            self._started.set()

    async def _run(self) -> None:
        from ..local.stack import LocalStack  # noqa: PLC0415 - an optional extra

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with LocalStack(**self._options) as stack:
            self._stack = stack
            self._started.set()
            await self._stop.wait()
        self._stack = None
