"""A limit on how often one address may do something."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_REMEMBERED: Final = 10_000
_HOUR: Final = 3600.0


class HourlyLimit:
    """A token bucket for each address, refilled evenly over the hour.

    Args:
        per_hour: How many an hour; None for no limit.
        now: The clock, in seconds.
    """

    def __init__(self, per_hour: int | None, now: Callable[[], float]) -> None:
        self._per_hour = per_hour
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, address: str) -> bool:
        """Counts one more from an address, and says whether it is still allowed."""
        if self._per_hour is None:
            return True
        now = self._now()
        left, seen = self._buckets.pop(address, (float(self._per_hour), now))
        left = min(self._per_hour, left + (now - seen) * self._per_hour / _HOUR)
        allowed = left >= 1
        self._buckets[address] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed
