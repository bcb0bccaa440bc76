"""Who has seen what, and how long it took from sending to seeing."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

#: Latencies behind the live figures; at the demo's pace the last few seconds.
_RECENT = 4000
#: Seconds over which the rate of messages is averaged.
_WINDOW = 3.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from sending to seeing: the median, the 95th percentile and the worst, of ``count`` sightings."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    worst: float = 0.0


def latency_of(seconds: Collection[float]) -> Latency:
    """Sums up latencies given in seconds."""
    if not seconds:
        return Latency()
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return Latency(len(ordered), ordered[round(last * 0.5)], ordered[round(last * 0.95)], ordered[last])


class Meter:
    """Counts sightings of chat messages.

    Args:
        people: how many look on; each is known by a number from 0.
        now: monotonic seconds.
    """

    def __init__(self, people: int, now: Callable[[], float]) -> None:
        self._now = now
        self._seen: list[set[str]] = [set() for _ in range(people)]
        self._repeats = 0
        self._sent_at: dict[str, float] = {}
        self._all = array("d")
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._sends: deque[float] = deque()
        self._expected: frozenset[str] | None = None
        self._lacking: list[set[str]] = []
        self._complete = asyncio.Event()

    def saw(self, who: int, message_id: str, *, own: bool) -> None:
        """Notes that one of them sees a message; an author's own sight, which comes first, is when it was sent."""
        seen = self._seen[who]
        if message_id in seen:
            self._repeats += 1
            return
        seen.add(message_id)
        now = self._now()
        if own:
            self._sent_at[message_id] = now
            self._sends.append(now)
        elif (sent_at := self._sent_at.get(message_id)) is not None:
            self._all.append(now - sent_at)
            self._recent.append(now - sent_at)
        if self._expected is not None:
            self._lacking[who].discard(message_id)
            self._check()

    @property
    def sent(self) -> int:
        """Messages sent so far."""
        return len(self._sent_at)

    @property
    def repeats(self) -> int:
        """Messages that somebody was shown a second time."""
        return self._repeats

    def rate(self) -> float:
        """Messages a second, over the last seconds."""
        now = self._now()
        while self._sends and self._sends[0] < now - _WINDOW:
            self._sends.popleft()
        return len(self._sends) / _WINDOW

    def recent(self) -> Latency:
        """Latency of the last few seconds."""
        return latency_of(self._recent)

    def overall(self) -> Latency:
        """Latency of the whole run."""
        return latency_of(self._all)

    def seen_by(self, message_ids: Collection[str]) -> list[int]:
        """How many of these messages each has seen."""
        wanted = frozenset(message_ids)
        return [len(seen & wanted) for seen in self._seen]

    async def all_seen(self, message_ids: Collection[str], *, within: float) -> bool:
        """Waits until everybody has seen all of these messages; False if that takes longer than ``within`` seconds."""
        self._expected = frozenset(message_ids)
        self._lacking = [set(self._expected - seen) for seen in self._seen]
        self._check()
        try:
            async with asyncio.timeout(within):
                await self._complete.wait()
        except TimeoutError:
            return False
        return True

    def _check(self) -> None:
        if not any(self._lacking):
            self._complete.set()
