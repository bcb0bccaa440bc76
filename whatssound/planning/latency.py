"""How soon it is seen: the wait for a frame, by arithmetic, and the way to the listeners, as measured.

Measured on one machine of two cores over loopback, with Supabase Realtime 2.129.8, PostgREST 16.2 and PostgreSQL 17 on
24 November 2026, 20 events a second. Take the ratios; on a hosted project the network comes on top, and the servers are
larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..core.budget import frame_wait
from .traffic import Traffic
from .workload import Workload

#: Listeners → p50, p95 in ms, `realtime.send` in the database → client.
_FROM_DATABASE = ((1.0, 3.0, 5.4), (50.0, 7.0, 13.0), (200.0, 17.0, 27.0), (500.0, 31.5, 60.0))

#: Listeners → p50, p95 in ms, commit → callback of Postgres Changes.
_BY_CHANGES = ((1.0, 289.0, 528.0), (50.0, 282.0, 598.0), (200.0, 212.0, 682.0), (350.0, 261.0, 720.0))

#: p50, p95 in ms of a client's broadcast to one other client.
_BY_CLIENT = (1.6, 2.7)

#: Milliseconds that storing one message takes before its frame can go (256 a second on one connection, with fsync).
_STORING = 4.0

#: Rows × subscribers a second that Postgres Changes kept up with (350 × 20) and did not (500 × 20: seconds, growing).
CHANGES_KEPT_UP = 7_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds from sending to seeing; None where it grows without end.

    Attributes:
        chat_p50: chat, median.
        chat_p95: chat, 95th percentile.
        vote_p50: votes, tips and the queue, median.
        vote_p95: the same, 95th percentile.
        extrapolated: whether the room is larger than any that was measured.
    """

    chat_p50: float
    chat_p95: float
    vote_p50: float | None
    vote_p95: float | None
    extrapolated: bool


def latency(workload: Workload, sent: Traffic) -> Latency:
    """Estimates what people see of the delay.

    Quantiles of the wait and of the way are added, which is no less than the quantile of both together.

    Args:
        workload: what people do.
        sent: by which feed and at which tick.
    """
    listeners = float(workload.listeners)
    way50, way95 = (_at(listeners, _FROM_DATABASE, column) for column in (1, 2))
    beyond = listeners > _FROM_DATABASE[-1][0]
    vote50: float | None
    vote95: float | None
    if sent.feed == "frames":
        tick = (sent.tick_ms or 0) / 1000
        wait50, wait95 = (frame_wait(sent.writes, tick, quantile) for quantile in (0.5, 0.95))
        vote50, vote95 = wait50 + way50 / 1000, wait95 + way95 / 1000
    elif sent.in_busiest_minute.rows_changed * listeners > CHANGES_KEPT_UP:
        vote50 = vote95 = None
    else:
        vote50, vote95 = (_at(listeners, _BY_CHANGES, column) / 1000 for column in (1, 2))
        beyond = beyond or listeners > _BY_CHANGES[-1][0]
    if sent.chat_path == "stored" and vote50 is not None and vote95 is not None:
        chat50, chat95 = vote50 + _STORING / 1000, vote95 + _STORING / 1000
    else:
        # One process writes to as many sockets either way; only the way to it differs.
        chat50 = (_BY_CLIENT[0] + way50 - _FROM_DATABASE[0][1]) / 1000
        chat95 = (_BY_CLIENT[1] + way95 - _FROM_DATABASE[0][2]) / 1000
    return Latency(chat_p50=chat50, chat_p95=chat95, vote_p50=vote50, vote_p95=vote95, extrapolated=beyond)


def _at(listeners: float, table: tuple[tuple[float, float, float], ...], column: int) -> float:
    """Between two rows on a straight line; beyond the last on the line of the last two."""
    lines = list(pairwise(table))
    below, above = next((line for line in lines if listeners <= line[1][0]), lines[-1])
    slope = (above[column] - below[column]) / (above[0] - below[0])
    return max(0.0, below[column] + (max(listeners, table[0][0]) - below[0]) * slope)
