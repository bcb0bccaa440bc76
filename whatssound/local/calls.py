"""Counts calls of the database's functions: how many in all, and in which second."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_PREFIX = "/rest/v1/rpc/"
_KEPT_SECONDS = 600
_MOST_NAMES = 500
OTHERS = "(others)"
"""Calls of more names than a database has functions."""


class RpcCalls:
    """The calls that reached the REST service.

    Args:
        now: the clock, in seconds since the epoch.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._total: Counter[str] = Counter()
        self._seconds: deque[tuple[int, Counter[str]]] = deque(maxlen=_KEPT_SECONDS)

    @property
    def total(self) -> dict[str, int]:
        """Calls by function, since the stack was made."""
        return dict(self._total)

    def count(self, function: str) -> None:
        """Counts one call.

        Args:
            function: its name.
        """
        if function not in self._total and len(self._total) >= _MOST_NAMES:
            function = OTHERS
        self._total[function] += 1
        second = int(self._now())
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append((second, Counter()))
        # A clock that is set back counts into the last second there was.
        self._seconds[-1][1][function] += 1

    def busiest_second(self, *functions: str, since: float = 0.0) -> int:
        """The most calls that one second of the clock saw, within the last ten minutes of calls.

        Args:
            functions: those that count, added up.
            since: seconds since the epoch; earlier seconds do not count.
        """
        return max(
            (sum(calls[name] for name in functions) for second, calls in self._seconds if second >= int(since)),
            default=0,
        )

    def as_json(self) -> dict[str, Any]:
        """For the control API: `total` by function, and `seconds`: pairs of a second and its calls by function."""
        return {"total": self.total, "seconds": [[second, dict(calls)] for second, calls in self._seconds]}


def counting(calls: RpcCalls) -> Middleware:
    """A middleware that counts calls as they come."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "OPTIONS" and request.path.startswith(_PREFIX):
            calls.count(request.path.removeprefix(_PREFIX))
        return await handler(request)

    return middleware
