"""Shows estimates to a person, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...planning.phases import phase_of
from ...planning.workload import Workload
from ...quotas import AS_OF
from .estimate import Estimate

_HEAD = (
    "plan",
    "feed",
    "chat",
    "tick",
    "messages",
    "events/s: 60 s",
    "peak",
    "chat p50/p95",
    "votes p50/p95",
    "a month",
    "fits",
)


def as_text(workload: Workload, found: Sequence[Estimate]) -> str:
    """A table, and what breaks first on each plan."""
    rows = [_HEAD, *(_row(each) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_title(workload), ""]
    for number, row in enumerate(rows):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    lines += ["", *(_first_limit(each) for each in found), "", *_notes(workload, found)]
    return "\n".join(lines)


def as_json(workload: Workload, found: Sequence[Estimate]) -> dict[str, Any]:
    """The same and more, for programs. Times in seconds, money in US dollars."""
    return {
        "as_of": AS_OF.isoformat(),
        "workload": {
            "listeners": workload.listeners,
            "rooms": workload.rooms,
            "sessions": workload.sessions,
            "hours": workload.seconds / 3600,
            "messages_per_second": workload.messages_per_second,
            "votes_per_second": workload.votes,
            "tips_per_second": workload.tips,
            "songs_per_hour": workload.songs_per_hour,
        },
        "phase": {"name": phase_of(workload.people).name, "buys": phase_of(workload.people).buys},
        "estimates": [_json(each) for each in found],
    }


def _json(each: Estimate) -> dict[str, Any]:
    sent, bill, seen = each.traffic, each.bill, each.latency
    return {
        "plan": each.plan.name,
        "feed": sent.feed,
        "chat_path": sent.chat_path,
        "tick_ms": sent.tick_ms,
        "messages": round(bill.usage.messages),
        "events_per_second": {
            "average_60_s": round(sent.events_in_busiest_minute, 1),
            "peak_second": round(sent.events_in_busiest_second, 1),
            "allowed": each.plan.events_per_second,
        },
        "latency": {
            "chat_p50": round(seen.chat_p50, 4),
            "chat_p95": round(seen.chat_p95, 4),
            "votes_p50": None if seen.vote_p50 is None else round(seen.vote_p50, 4),
            "votes_p95": None if seen.vote_p95 is None else round(seen.vote_p95, 4),
            "extrapolated": seen.extrapolated,
        },
        "usage": {
            "peak_connections": bill.usage.peak_connections,
            "egress_gb": round(bill.usage.egress_gb, 3),
            "database_gb": round(bill.usage.database_gb, 4),
            "database_passing_gb": round(bill.usage.passing_gb, 4),
            "edge_invocations": round(bill.usage.edge_invocations),
        },
        "price": {
            "month": None if bill.mills is None else bill.mills / 1000,
            "beyond_the_plan": {what: None if cost is None else cost / 1000 for what, cost in bill.beyond.items()},
        },
        "fits": bill.fits,
        "limits": [
            {"what": load.what, "used": round(load.used, 2), "allowed": load.allowed, "then": load.then}
            for load in bill.loads
        ],
    }


def _title(workload: Workload) -> str:
    rooms = "one room" if workload.rooms == 1 else f"{workload.rooms:,} rooms"
    sessions = "once a month" if workload.sessions == 1 else f"{workload.sessions:,} times a month"
    return (
        f"{rooms} of {workload.listeners:,}, {workload.seconds / 3600:.3g} h {sessions}: "
        f"chat {workload.messages_per_second:.3g}/s, votes {workload.votes:.3g}/s, tips {workload.tips:.2g}/s in each."
    )


def _row(each: Estimate) -> tuple[str, ...]:
    sent, seen = each.traffic, each.latency
    return (
        each.plan.name,
        sent.feed,
        sent.chat_path,
        _tick(sent.tick_ms),
        f"{each.bill.usage.messages / 1e6:,.1f} M",
        f"{sent.events_in_busiest_minute:,.0f}",
        f"{sent.events_in_busiest_second:,.0f}",
        f"{_time(seen.chat_p50)}/{_time(seen.chat_p95)}",
        f"{_time(seen.vote_p50)}/{_time(seen.vote_p95)}",
        _money(each),
        "yes" if each.bill.fits else "no",
    )


def _tick(tick_ms: int | None) -> str:
    if tick_ms is None:
        return "-"
    return f"{tick_ms:,} ms" if tick_ms else "at once"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "grows"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _money(each: Estimate) -> str:
    if each.plan.prices is None:
        return "as agreed" if each.plan.name == "enterprise" else "your machines"
    return "not sold" if each.bill.mills is None else f"${each.bill.mills / 1000:,.2f}"


def _first_limit(each: Estimate) -> str:
    first = each.bill.loads[0]
    told = f"{each.plan.name}, {each.traffic.feed}: "
    if each.bill.stops:
        told += f"stops at the month's {' and '.join(each.bill.stops)}; "
    verb = "breaks" if first.share > 1 else "would break"
    share = f"{first.share:.0%}" if first.share < 10 else f"{first.share:,.0f} times"
    told += f"first {verb} {first.what}, {first.used:,.0f} of {first.allowed:,.0f} ({share})"
    return f"{told}: {first.then}." if first.share > 1 else f"{told}."


def _notes(workload: Workload, found: Sequence[Estimate]) -> list[str]:
    phase = phase_of(workload.people)
    notes = [f"{workload.people:,} people at once: phase {phase.name} ({phase.buys})."]
    for each in {each.traffic.feed: each for each in found}.values():
        used = each.bill.usage
        notes.append(
            f"By {each.traffic.feed}, on {each.plan.name}: {used.egress_gb:,.2f} GB sent, "
            f"{used.database_gb * 1000:,.0f} MB stored for good, {used.passing_gb * 1000:,.0f} MB for three days, "
            f"{used.edge_invocations:,.0f} Edge Function calls a month."
        )
    if any(each.latency.extrapolated for each in found):
        notes.append("Latency beyond 500 listeners is extrapolated from smaller rooms.")
    notes.append(
        "Latency: the wait for a frame plus what was measured on one machine over loopback; your network comes on top."
    )
    notes.append(f"Limits and prices as published on {AS_OF:%d %B %Y}; compute beyond the smallest is not included.")
    return notes
