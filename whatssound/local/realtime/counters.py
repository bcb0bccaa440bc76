"""Rates as the real server measures them: an average over up to a minute, looked at every five seconds."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TICK: Final = 5.0
"""Seconds between two looks at a counter."""
BUCKETS: Final = 12
"""Looks that the average spans."""


class RateCounter:
    """Counts events and says whether their rate is over a limit.

    The rate changes only at a tick, so a burst passes until the next one: what clients of the real server see.
    No timer runs; missed ticks are made up for when the counter is next read.

    Args:
        limit: Events a second from which on the counter is over.
        now: A monotonic clock in seconds.
    """

    def __init__(self, limit: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._now = now
        self._count = 0
        # The first look happens at once and sees nothing; it stays in the average for the first minute.
        self._buckets: deque[int] = deque([0], maxlen=BUCKETS)
        self._last_tick = now()
        self._average = 0.0

    def add(self, count: int = 1) -> None:
        """Counts events.

        Args:
            count: How many happened.
        """
        self._catch_up()
        self._count += count

    @property
    def average(self) -> float:
        """Events a second as of the last tick."""
        self._catch_up()
        return self._average

    @property
    def over(self) -> bool:
        """Whether the rate reached the limit at the last tick."""
        return self.average >= self.limit

    def _catch_up(self) -> None:
        missed = int((self._now() - self._last_tick) / TICK)
        if missed <= 0:
            return
        self._last_tick += missed * TICK
        self._buckets.append(self._count)
        self._count = 0
        self._buckets.extend([0] * min(missed - 1, BUCKETS))
        self._average = sum(self._buckets) / len(self._buckets) / TICK


class PresenceWindow:
    """The budget of presence calls of one channel: so many in a window that starts with the first call.

    Args:
        calls: Calls that a window allows.
        seconds: The window's length.
        now: A monotonic clock in seconds.
    """

    def __init__(self, calls: int, seconds: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._calls = calls
        self._seconds = seconds
        self._now = now
        self._used = 0
        self._ends: float | None = None

    def take(self) -> bool:
        """Uses one call up; False when the window has none left."""
        now = self._now()
        if self._ends is None or now > self._ends:
            self._ends = now + self._seconds
            self._used = 1
            return True
        if self._used >= self._calls:
            return False
        self._used += 1
        return True
