"""A budget of so many calls in so many seconds, spent without ever going over."""

from __future__ import annotations

from collections import deque


class CallWindow:
    """Allows ``limit`` calls in any ``period`` seconds (a sliding window, as the server counts presence calls).

    Args:
        limit: calls.
        period: seconds.
    """

    def __init__(self, limit: int, period: float) -> None:
        self._limit = limit
        self._period = period
        self._calls: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Returns the seconds until a call is within the budget; 0 if it is now."""
        while self._calls and self._calls[0] <= now - self._period:
            self._calls.popleft()
        if len(self._calls) < self._limit:
            return 0.0
        return self._calls[0] + self._period - now

    def spend(self, now: float) -> None:
        """Counts one call."""
        self._calls.append(now)

    def reset(self) -> None:
        """Starts over (a new join has a window of its own)."""
        self._calls.clear()
