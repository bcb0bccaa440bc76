"""Each durable event once, and no silent gap.

The database numbers a session's events 1, 2, 3 … in commit order. Live channels may bring them late, twice, out of
order or not at all, so the sequencer remembers the *watermark* (everything up to it has been delivered) and what came
ahead of it. Whoever is behind asks ``events_since(watermark)``.
"""

from __future__ import annotations


class Sequencer:
    """Admits each number once and knows what is missing.

    Args:
        watermark: all events up to this one count as delivered.
    """

    def __init__(self, watermark: int = 0) -> None:
        self._watermark = watermark
        self._ahead: set[int] = set()
        self._known = watermark

    @property
    def watermark(self) -> int:
        """Everything up to and including this number has been delivered."""
        return self._watermark

    @property
    def known(self) -> int:
        """The highest number known to exist."""
        return self._known

    @property
    def ahead(self) -> int:
        """How many events beyond the watermark have been delivered; they wait for the gap before them to close."""
        return len(self._ahead)

    @property
    def is_behind(self) -> bool:
        """Whether something is known to exist that has not been delivered."""
        return self._watermark < self._known

    def note(self, last_seq: int) -> None:
        """Notes that the database has events up to ``last_seq``."""
        self._known = max(self._known, last_seq)

    def seen(self, seq: int) -> bool:
        """Tells whether an event has been delivered already."""
        return seq <= self._watermark or seq in self._ahead

    def admit(self, seq: int) -> bool:
        """Returns True the first time a number is seen; the caller then delivers it."""
        if seq < 1 or self.seen(seq):
            return False
        self.note(seq)
        self._ahead.add(seq)
        self._close_up()
        return True

    def skip_to(self, seq: int) -> None:
        """Counts everything up to ``seq`` as delivered (a snapshot contains it). Never goes backwards."""
        if seq <= self._watermark:
            return
        self._watermark = seq
        self.note(seq)
        self._ahead = {number for number in self._ahead if number > seq}
        self._close_up()

    def _close_up(self) -> None:
        while self._watermark + 1 in self._ahead:
            self._watermark += 1
            self._ahead.remove(self._watermark)
