"""Which messages make the next batch, and when.

Two rules for when. *Trailing*: a batch goes ``interval`` after its first message began to wait; nobody waits for the
batch, since the words were broadcast before. *Eager*: the first message goes at once, and what comes while its batch is
under way, or within ``interval`` after that began, makes the next one; right where the batch is how others hear of it.
By both, ``size`` waiting messages go at once.

A row that seems to make every batch fail can be set aside, with a time of its own, so that it holds up nobody.

One batch is under way at a time, so that a sender's order is kept. Nothing leaves the batcher but by `settle`, so
nothing is lost between batches.
"""

from __future__ import annotations

import itertools
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
    place: int
    tried: bool = False
    aside_until: float | None = None


class Batcher(Generic[T]):
    """Collects items into batches; bounded in items and bytes.

    Args:
        interval: seconds from the first waiting item to its batch; when eager, between the beginnings of two batches.
        size: most items of a batch.
        max_items: items that may be held, those under way included.
        max_bytes: bytes that may be held, likewise.

    Attributes:
        eager: by which rule batches go; may be changed at any time.
        limit: items of the next batches at most; ``size`` unless somebody looks for an item at fault.
    """

    def __init__(self, *, interval: float, size: int, max_items: int, max_bytes: int) -> None:
        self._interval = interval
        self._size = size
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._waiting: deque[_Waiting[T]] = deque()
        self._under_way: list[_Waiting[T]] = []
        self._aside: list[_Waiting[T]] = []
        self._places = itertools.count()
        self._bytes = 0
        self._draining = False
        self._last_began = -math.inf
        self.eager = False
        self.limit = size

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way) + len(self._aside)

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
        self._waiting.append(_Waiting(item, size, now, next(self._places)))
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
        if self._under_way:
            return None
        moments = [entry.aside_until for entry in self._aside if entry.aside_until is not None]
        if self._waiting:
            moments.append(self._next_at())
        return min(moments, default=None)

    def _next_at(self) -> float:
        first = self._waiting[0].since
        if self._draining or len(self._waiting) >= self._size:
            return first
        return max(first, self._last_began + self._interval) if self.eager else first + self._interval

    def take(self, now: float) -> list[T]:
        """Takes the next batch if it is due at ``now``, oldest first; an empty list otherwise.

        What was set aside goes alone, and only when nothing else is due.
        """
        if self._under_way:
            return []
        if self._waiting and self._next_at() <= now:
            self._last_began = now
            while self._waiting and len(self._under_way) < min(self._size, self.limit):
                entry = self._waiting.popleft()
                entry.tried = True
                self._under_way.append(entry)
        else:
            due = [entry for entry in self._aside if entry.aside_until is not None and entry.aside_until <= now]
            if due:
                self._aside.remove(due[0])
                self._under_way = [due[0]]
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

    # --- items that seem to be at fault

    @property
    def has_company(self) -> bool:
        """Whether anything waits that was not set aside."""
        return bool(self._waiting)

    def set_aside(self, until: float | None) -> None:
        """Ends the batch under way by setting its items aside.

        Args:
            until: when to try them again, each alone; None: not before `postpone` or `bring_back`.
        """
        for entry in self._under_way:
            entry.aside_until = until
        self._aside.extend(self._under_way)
        self._under_way = []

    def postpone(self, until: float) -> None:
        """Gives those that were set aside without a time one."""
        for entry in self._aside:
            if entry.aside_until is None:
                entry.aside_until = until

    def bring_back(self) -> None:
        """Puts those that were set aside without a time back to their places."""
        back = [entry for entry in self._aside if entry.aside_until is None]
        self._aside = [entry for entry in self._aside if entry.aside_until is not None]
        self._waiting = deque(sorted([*back, *self._waiting], key=lambda entry: entry.place))

    def take_all(self) -> list[T]:
        """Empties the batcher and returns everything it held, oldest first."""
        held = sorted([*self._under_way, *self._waiting, *self._aside], key=lambda entry: entry.place)
        self._waiting.clear()
        self._under_way = []
        self._aside = []
        self._bytes = 0
        return [entry.item for entry in held]
