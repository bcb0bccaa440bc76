"""What a month costs on a plan, and which of its limits comes first."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import heartbeats_per_second
from ..quotas import Metered, Plan
from . import sizes
from .traffic import Traffic
from .workload import Workload

_GB = 1e9
_HOUR = 3600.0

#: Votes a second that one session took at least on the machine of docs/reference/benchmarks-database.md, with fsync.
SESSION_WRITES = 330.0

#: Seconds that the server averages joins over: everybody may come back within one.
_RETURN = 60.0

#: Seconds over which a session fills.
_FILLING = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a month uses, all rooms and sessions together.

    Attributes:
        messages: Realtime messages.
        peak_connections: sockets open at once.
        egress_gb: gigabytes sent to clients.
        database_gb: gigabytes that stay: messages, votes, tips.
        passing_gb: gigabytes that are kept for three days: the session's log, frames, keys.
        edge_invocations: calls of the tip webhook.
    """

    messages: float
    peak_connections: int
    egress_gb: float
    database_gb: float
    passing_gb: float
    edge_invocations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One limit and what is used of it.

    Attributes:
        what: the limit.
        used: how much is used at the worst moment.
        allowed: the limit itself.
        then: what happens beyond it.
    """

    what: str
    used: float
    allowed: float
    then: str

    @property
    def share(self) -> float:
        """Used of allowed; more than 1 does not fit."""
        return self.used / self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a workload means on a plan.

    Attributes:
        plan: the plan.
        usage: what the month uses.
        loads: its limits, the one that is reached first in front.
        mills: the month's price, the plan's own included; None where it is agreed on, or the plan stops before that.
        beyond: the parts of the price beyond the plan's own, in mills, by what they are for; None: the plan stops.
    """

    plan: Plan
    usage: Usage
    loads: tuple[Load, ...]
    mills: int | None
    beyond: dict[str, int | None]

    @property
    def fits(self) -> bool:
        """Whether no limit is exceeded, and the plan does not stop before the month's end."""
        return self.loads[0].share <= 1 and None not in self.beyond.values()

    @property
    def stops(self) -> list[str]:
        """What the plan has no more of, though it is used."""
        return [what for what, cost in self.beyond.items() if cost is None]


def usage(workload: Workload, sent: Traffic) -> Usage:
    """Works out what a month uses.

    Args:
        workload: what people do.
        sent: what one room sends in one session.
    """
    sessions = workload.rooms * workload.sessions
    writes = _writes(workload, sent)
    votes, tips, songs = (rate * workload.seconds for rate in (workload.votes, workload.tips, workload.songs))
    messages = writes - votes - tips - 2 * songs
    kept = min(1.0, sizes.KEPT_HOURS / (30 * 24 / workload.sessions))
    longer = workload.characters - sizes.MEASURED_CHARACTERS
    passing = writes * (sizes.LOG_ENTRY + longer) + (votes + tips + songs) * sizes.KEY
    passing += sent.frames * sizes.STORED_FRAME + writes * (sizes.FRAME_EVENT + longer)
    stays = messages * (sizes.STORED_MESSAGE + longer) + votes * sizes.STORED_VOTE + tips * sizes.STORED_TIP
    # One session's passing rows are there at least; with many a month, those of three days.
    together = workload.rooms * max(1.0, workload.sessions * kept)
    return Usage(
        messages=sent.messages * sessions,
        peak_connections=workload.people,
        egress_gb=egress(workload, sent) * sessions / _GB,
        database_gb=stays * sessions / _GB,
        passing_gb=passing * together / _GB,
        edge_invocations=tips * sessions,
    )


def egress(workload: Workload, sent: Traffic) -> float:
    """Bytes that one room sends to its clients in one session.

    Args:
        workload: what people do.
        sent: what the room sends.
    """
    listeners = workload.listeners
    longer = workload.characters - sizes.MEASURED_CHARACTERS
    writes = _writes(workload, sent)
    total = sent.broadcasts * max(0, sent.in_busiest_minute.members - 1) * (sizes.CHAT_BROADCAST + longer)
    total += sent.rows_changed * listeners * sizes.ROW_CHANGE
    if sent.feed == "frames":
        total += listeners * (sent.frames * sizes.FRAME + writes * (sizes.FRAME_EVENT + longer))
    else:
        # What Postgres Changes do not tell (the database's word on chat) is fetched from the log by everybody.
        total += listeners * writes * (sizes.FRAME_EVENT + longer)
    beats = heartbeats_per_second(listeners) * workload.seconds
    total += beats * (sizes.HEARTBEAT_ANSWER + sizes.HTTP) + writes * (sizes.WRITE_ANSWER + sizes.HTTP)
    snapshot = sizes.SNAPSHOT + sizes.SNAPSHOT_MESSAGES * (sizes.SNAPSHOT_MESSAGE + longer) + sizes.HTTP
    return total + listeners * snapshot


def bill(workload: Workload, sent: Traffic, plan: Plan) -> Bill:
    """Works out the bill.

    Args:
        workload: what people do.
        sent: what one room sends, at this plan's tick.
        plan: the plan.
    """
    used = usage(workload, sent)
    beyond: dict[str, int | None] = {}
    mills: int | None = None
    prices = plan.prices
    if prices is not None:
        metered: dict[str, tuple[Metered, float]] = {
            "messages": (prices.messages, used.messages),
            "peak connections": (prices.peak_connections, used.peak_connections),
            "egress": (prices.egress_gb, used.egress_gb),
            "disk": (prices.disk_gb, used.database_gb + used.passing_gb),
            "edge functions": (prices.edge_invocations, used.edge_invocations),
        }
        beyond = {what: meter.cost(amount) for what, (meter, amount) in metered.items()}
        parts = [part for part in beyond.values() if part is not None]
        mills = prices.base + sum(parts) if len(parts) == len(beyond) else None
    return Bill(plan=plan, usage=used, loads=loads(workload, sent, plan), mills=mills, beyond=beyond)


def loads(workload: Workload, sent: Traffic, plan: Plan) -> tuple[Load, ...]:
    """Lists the limits, the one that is reached first in front.

    Args:
        workload: what people do.
        sent: what one room sends.
        plan: the plan.
    """
    topics = 1 if sent.feed == "changes" else 2
    frame_bytes = sizes.FRAME + sent.writes * (sent.tick_ms or 0) / 1000 * sizes.FRAME_EVENT
    found = [
        Load(
            what="connections",
            used=workload.people,
            allowed=plan.connections,
            then="further people are refused",
        ),
        Load(
            what="messages a second (60 s average)",
            used=sent.events_in_busiest_minute * workload.rooms,
            allowed=plan.events_per_second,
            then="receivers of client broadcasts are closed, frames from the database vanish",
        ),
        Load(
            what="joins a second when all come back",
            used=workload.people * topics / _RETURN,
            allowed=plan.joins_per_second,
            then="joins are refused for a while, clients back off and try again",
        ),
        Load(
            what="presence messages a second while it fills",
            used=sent.present * (sent.present + 3) / 2 / _FILLING * workload.rooms,
            allowed=plan.presence_per_second,
            then="channels with presence are closed",
        ),
        Load(
            what="bytes of one frame",
            used=frame_bytes,
            allowed=plan.broadcast_kb * 1000,
            then="the rest goes with the next frame",
        ),
        Load(
            what="writes a second of one session",
            used=sent.writes,
            allowed=SESSION_WRITES,
            then="writers wait for the session's row, then are told that it is busy",
        ),
    ]
    return tuple(sorted(found, key=lambda load: load.share, reverse=True))


def _writes(workload: Workload, sent: Traffic) -> float:
    """Events of the log of one session."""
    steady = sent.writes - workload.busiest_minute
    said = sum(workload.chat[: int(workload.seconds)]) if workload.chat else 0.0
    rest = max(0.0, workload.seconds - len(workload.chat)) * workload.messages_per_second
    return said + rest + steady * workload.seconds
