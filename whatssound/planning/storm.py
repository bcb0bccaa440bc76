"""A storm: everybody loses the connection at once, and comes back."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from random import Random

from ..core.backoff import ceiling

#: Seconds over which the server averages joins, and the back-off of `ConnectionConfig`.
_WINDOW = 60
_BASE, _CAP, _FLOOR = 0.5, 30.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """How everybody came back.

    Attributes:
        clients: who lost the connection.
        seconds: until the last was back.
        half: until half of them were.
        most_joins: joins in the busiest second.
        attempts: attempts in all, refused ones included.
        refused: attempts that the limit of joins refused.
    """

    clients: int
    seconds: float
    half: float
    most_joins: int
    attempts: int
    refused: int


def storm(clients: int, joins_per_second: int, *, topics: int, seed: int) -> Storm:
    """Plays it: full jitter at first, half a minute and more after a refusal.

    The server refuses while the average of the last minute is at its limit; it looks only at whole seconds here.

    Args:
        clients: who lose their connection.
        joins_per_second: the plan's limit.
        topics: joins that each needs.
        seed: makes it repeatable.
    """
    draw = Random(seed)  # noqa: S311 - a simulation, repeatable on purpose
    waiting = [(draw.random() * ceiling(1, _BASE, _CAP), number, 1) for number in range(clients)]
    heapq.heapify(waiting)
    window: deque[tuple[int, int]] = deque()
    in_window = joins = most = attempts = refused = back = 0
    second, last, half = -1, 0.0, 0.0
    while waiting:
        now, number, attempt = heapq.heappop(waiting)
        if int(now) != second:
            second, joins = int(now), 0
            while window and window[0][0] <= second - _WINDOW:
                in_window -= window.popleft()[1]
        attempts += 1
        if in_window + topics > joins_per_second * _WINDOW:
            refused += 1
            jitter = draw.random() * ceiling(attempt + 1, _BASE, _CAP)
            heapq.heappush(waiting, (now + _FLOOR + jitter, number, attempt + 1))
            continue
        in_window += topics
        joins += topics
        window.append((second, topics))
        most = max(most, joins)
        back, last = back + 1, now
        if back * 2 >= clients and not half:
            half = now
    return Storm(clients=clients, seconds=last, half=half, most_joins=most, attempts=attempts, refused=refused)
