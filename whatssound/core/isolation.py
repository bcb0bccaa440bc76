"""Which row makes the server fail, told from a server that fails by itself.

After a few server errors in a row the batches are halved until a row stands alone. A row that still fails alone, while
the database answers a probe, is set aside, and the next one is tried. Only an answer for another row proves that the
fault is the row's own; when several rows in turn fail alone, the fault is the server's: all go back to their places, in
order, and nothing is held against them. So an outage, however long, never costs a message.
"""

from __future__ import annotations

from enum import Enum

#: Server errors in a row before the batch is halved.
PATIENCE = 3
#: Server errors of a row alone before the database is probed.
LONE_PATIENCE = 2
#: Rows that may be set aside on suspicion at the same time. More than that is an outage.
MOST_SUSPECTS = 3


class Step(Enum):
    """What to do about a batch that got a server error."""

    AGAIN = "again"  # the same rows, or the first half of them, after the back-off
    PROBE = "probe"  # ask whether the database answers at all, then call `probed`
    SET_ASIDE = "set_aside"  # on suspicion; try the next row at once
    BRING_BACK = "bring_back"  # nobody is at fault: those set aside on suspicion, too, go again in their order


class Isolation:
    """Looks for the row at fault.

    Args:
        size: rows of a batch when nothing is wrong.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._failures = 0
        self._lone = 0
        self._confirming = False
        self._suspects = 0
        self.limit = size

    def answered(self) -> bool:
        """Notes that the database answered for rows; returns whether this proves the suspects' fault."""
        proved = self._suspects > 0
        self._failures = self._lone = self._suspects = 0
        self._confirming = False
        self.limit = min(self._size, self.limit * 2)
        return proved

    def failed(self, rows: int, *, company: bool) -> Step:
        """Notes a server error and says what to do.

        Args:
            rows: rows of the batch.
            company: whether other rows wait, that could prove that the fault is this one's.
        """
        self._failures += 1
        if rows > 1:
            if self._failures >= PATIENCE or self.limit < self._size:
                self.limit = max(1, rows // 2)
            return Step.AGAIN
        self._lone += 1
        if self._lone < LONE_PATIENCE or self._failures < PATIENCE:
            return Step.AGAIN
        if not company or (self._confirming and self._suspects >= MOST_SUSPECTS):
            return self._nobody()
        if not self._confirming:
            return Step.PROBE
        # It failed before and after an answer of the database, with no time in between.
        self._suspects += 1
        self._lone, self._confirming = 0, False
        self.limit = 1
        return Step.SET_ASIDE

    def probed(self, answers: bool) -> Step:
        """Says what to do after a `Step.PROBE`: the row again at once, or nobody's fault."""
        if not answers:
            return self._nobody()
        self._confirming = True
        return Step.AGAIN

    def interrupted(self) -> None:
        """Notes that a try ended without telling anything (no connection, no token, a rate limit)."""
        self._confirming = False

    def _nobody(self) -> Step:
        self._failures = self._lone = self._suspects = 0
        self._confirming = False
        return Step.BRING_BACK
