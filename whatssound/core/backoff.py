"""How long to wait before the next attempt.

Full jitter (each wait is drawn uniformly from zero to the current ceiling), so that a thousand clients that lost the
same server do not
return in step: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/. The ceiling doubles with each
attempt in a row and starts over only after a join has held for a while; a handshake alone proves nothing.
"""

from __future__ import annotations

from .reasons import Reason

_SLOW = frozenset({Reason.UNAUTHORIZED, Reason.NOT_FOUND})
_SLOW_FLOOR = 5.0


def ceiling(attempt: int, base: float, cap: float) -> float:
    """Returns the longest wait in seconds before attempt 1, 2, 3 …: ``min(cap, base * 2**(attempt - 1))``."""
    # 2**60 seconds is beyond any cap; bounding the exponent keeps a client that has tried for months in floats.
    return min(cap, base * 2.0 ** min(attempt - 1, 60))


class Backoff:
    """Counts attempts in a row and says how long to wait.

    Args:
        base: seconds; the first wait's ceiling.
        cap: seconds; the highest ceiling.
        rate_limit_floor: seconds to wait at least after a rate limit.
        hold: seconds that a join must have held for the count to start over.
    """

    def __init__(self, *, base: float, cap: float, rate_limit_floor: float, hold: float) -> None:
        self._base = base
        self._cap = cap
        self._floor = rate_limit_floor
        self._hold = hold
        self.attempt = 0

    def ended(self, held_for: float) -> None:
        """Notes that a generation ended which had been joined for ``held_for`` seconds (0 if it never was)."""
        if held_for >= self._hold:
            self.attempt = 0

    def next_delay(self, reason: Reason, chance: float) -> float:
        """Counts an attempt and returns the seconds to wait before it.

        Args:
            reason: why the last generation ended.
            chance: a uniform random number in [0, 1).
        """
        self.attempt += 1
        jitter = chance * ceiling(self.attempt, self._base, self._cap)
        if reason is Reason.RATE_LIMITED:
            return self._floor + jitter
        if reason in _SLOW:
            return min(_SLOW_FLOOR, self._cap) + jitter
        return jitter
