"""Which messages make the next batch, and when.

Two rules for when. *Trailing*: a batch goes ``interval`` after its first message began to wait; nobody waits for the
batch, since the words were broadcast before. *Eager*: the first message goes at once, and what comes while its batch is
under way, or within ``interval`` after that began, makes the next one; right where the batch is how others hear of it.
By both, ``size`` waiting messages go at once.

One batch is under way at a time, so that a sender's order is kept. Nothing leaves the batcher but by `settle`, so
nothing is lost between batches.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    size: int
    since: float
    tried: bool = False


class Batcher(Generic[T]):
    """Collects items into batches; bounded in items and bytes.

    Args:
        interval: seconds from the first waiting item to its batch; when eager, between the beginnings of two batches.
        size: most items of a batch.
        max_items: items that may be held, those under way included.
        max_bytes: bytes that may be held, likewise.

    Attributes:
        eager: by which rule batches go; may be changed at any time.
    """

    def __init__(self, *, interval: float, size: int, max_items: int, max_bytes: int) -> None:
        self._interval = interval
        self._size = size
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._waiting: deque[_Waiting[T]] = deque()
        self._under_way: list[_Waiting[T]] = []
        self._bytes = 0
        self._draining = False
        self._last_began = -math.inf
        self.eager = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    @property
    def bytes_held(self) -> int:
        """Bytes of everything held."""
        return self._bytes

    def fits(self, size: int) -> bool:
        """Tells whether an item of ``size`` bytes may be added. One item is always taken by an empty batcher."""
        if len(self) == 0:
            return True
        return len(self) < self._max_items and self._bytes + size <= self._max_bytes

    def add(self, item: T, size: int, now: float) -> None:
        """Adds an item that `fits`."""
        self._waiting.append(_Waiting(item, size, now))
        self._bytes += size

    def drop_oldest(self) -> T | None:
        """Removes and returns the oldest item that was never in a batch; None if there is none.

        What goes again after a batch whose outcome is unknown may be stored already, so nobody can call it dropped.
        """
        at = next((at for at, entry in enumerate(self._waiting) if not entry.tried), None)
        if at is None:
            return None
        oldest = self._waiting[at]
        del self._waiting[at]
        self._bytes -= oldest.size
        return oldest.item

    def drain(self) -> None:
        """From now on batches go without waiting for the interval."""
        self._draining = True

    def due_at(self) -> float | None:
        """Returns when the next batch should go (possibly past); None if nothing waits or a batch is under way."""
        if self._under_way or not self._waiting:
            return None
        first = self._waiting[0].since
        if self._draining or len(self._waiting) >= self._size:
            return first
        return max(first, self._last_began + self._interval) if self.eager else first + self._interval

    def take(self, now: float) -> list[T]:
        """Takes the next batch if it is due at ``now``, oldest first; an empty list otherwise."""
        due = self.due_at()
        if due is None or due > now:
            return []
        self._last_began = now
        while self._waiting and len(self._under_way) < self._size:
            entry = self._waiting.popleft()
            entry.tried = True
            self._under_way.append(entry)
        return [entry.item for entry in self._under_way]

    def settle(self, keep: set[int] | None = None) -> None:
        """Ends the batch under way.

        Args:
            keep: positions in the batch that must go again (before everything that waits, in order); the others leave
                for good.
        """
        kept = [entry for at, entry in enumerate(self._under_way) if keep and at in keep]
        gone = [entry for at, entry in enumerate(self._under_way) if not (keep and at in keep)]
        self._bytes -= sum(entry.size for entry in gone)
        self._under_way = []
        self._waiting.extendleft(reversed(kept))

    def take_all(self) -> list[T]:
        """Empties the batcher and returns everything it held, oldest first."""
        held = [entry.item for entry in self._under_way] + [entry.item for entry in self._waiting]
        self._waiting.clear()
        self._under_way = []
        self._bytes = 0
        return held
