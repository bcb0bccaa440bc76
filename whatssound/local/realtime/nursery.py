"""Keeps the tasks of a service together: none outlives it, and a failing one takes no other down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_log = logging.getLogger(__name__)


class Nursery:
    """A task group with a lifetime given by `open` and `close` instead of a block."""

    def __init__(self) -> None:
        self._keeper: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    async def open(self) -> None:
        """Makes the nursery ready for tasks."""
        ready = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(ready))
        await ready.wait()

    async def close(self) -> None:
        """Cancels what still runs and waits for its end."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None] | None:
        """Starts a task; None when the nursery is closed.

        Args:
            work: Makes what is to run; not called if the task is cancelled before it starts. Failures are logged.
            name: Shown in the log.
        """
        if self._group is None:
            return None
        return self._group.create_task(self._guard(work, name), name=name)

    async def _keep(self, ready: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                ready.set()
                await asyncio.Event().wait()
        finally:
            self._group = None

    @staticmethod
    async def _guard(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - one room's failure must not end the others
            _log.exception("realtime task %s failed", name)
