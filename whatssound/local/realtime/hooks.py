"""Switches that make the server misbehave on purpose."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class RealtimeHooks:
    """Faults to be had on demand; read on every use, so they act at once.

    Attributes:
        skip_system_ok: Whether the `system` messages of status ok (changes, replication) are left out.
        lose_sent: Whether what the database sends (`realtime.send`) vanishes, as it does over quota.
        delay: Seconds that every message of a client waits before it is looked at.
    """

    def __init__(self) -> None:
        self.skip_system_ok = False
        self.lose_sent = False
        self.delay = 0.0
        self._running = asyncio.Event()
        self._running.set()
        self._on_thaw: list[Callable[[], None]] = []

    @property
    def frozen(self) -> bool:
        """Whether nothing is read and nothing written on any socket, while all stay open."""
        return not self._running.is_set()

    @frozen.setter
    def frozen(self, value: bool) -> None:
        if value:
            self._running.clear()
            return
        self._running.set()
        for callback in self._on_thaw:
            callback()

    def on_thaw(self, callback: Callable[[], None]) -> None:
        """Registers what is to happen when the server goes on after a freeze.

        Args:
            callback: Called at every thaw.
        """
        self._on_thaw.append(callback)

    async def thawed(self) -> None:
        """Waits until the server is not frozen."""
        await self._running.wait()
