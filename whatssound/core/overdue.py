"""When to ask for what is known to exist and has not come."""

from __future__ import annotations


class Overdue:
    """Gives each news of an event a time by which it should have arrived.

    A room is always a little behind what some reply has just told; only what stays away is asked for. So the time is
    set for the events known by then, and a later one is set once those have come.
    """

    def __init__(self) -> None:
        self._target = 0
        self._at: float | None = None

    @property
    def at(self) -> float | None:
        """When to ask, in the caller's seconds; None: nothing is missing."""
        return self._at

    def update(self, *, known: int, watermark: int, due: float) -> None:
        """Takes what is known to exist and what has been delivered; ``due``: when what is newly missing should come."""
        if watermark >= known:
            self._at = None
        elif self._at is None or watermark >= self._target:
            self._target, self._at = known, due

    def hurry(self, *, known: int, due: float) -> None:
        """Something is certain not to come by itself: asks by ``due``, unless sooner anyway."""
        self._target = max(self._target, known)
        self._at = due if self._at is None else min(self._at, due)

    def asked(self) -> None:
        """The question is under way or answered: what is still missing after it gets a new time."""
        self._at = None
