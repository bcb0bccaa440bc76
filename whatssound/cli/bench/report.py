"""What a run has shown, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .audience import Listening
from .sightings import Tally

_TITLES = {"chat": "chat messages", "vote": "votes", "tip": "tips"}


def is_clean(tallies: Mapping[str, Tally], listening: Listening) -> bool:
    """Whether everybody came in, something was sent, and everybody has seen everything once."""
    return (
        bool(tallies)
        and listening.entered == listening.listeners
        and not any(tally.lost or tally.repeats for tally in tallies.values())
    )


def tally_json(tally: Tally) -> dict[str, Any]:
    """A tally as JSON, latencies in milliseconds."""
    return {
        "sent": tally.sent,
        "expected": tally.expected,
        "delivered": tally.delivered,
        "lost": tally.lost,
        "duplicated": tally.repeats,
        **{
            f"{name}_ms": round(1000 * tally.quantile(part), 1)
            for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        },
    }


def as_json(
    tallies: Mapping[str, Tally], listening: Listening, *, messages: int, refused: Mapping[str, int], late: float
) -> dict[str, Any]:
    """A whole run as JSON.

    Args:
        tallies: by kind of what was sent.
        listening: what befell the listeners.
        messages: Realtime messages spent.
        refused: how often each error kept something from being stored.
        late: seconds by which the speakers were late at most.
    """
    return {
        "clean": is_clean(tallies, listening),
        "kinds": {kind: tally_json(tally) for kind, tally in tallies.items()},
        "listeners": listening.as_json(),
        "realtime_messages": messages,
        "refused": dict(refused),
        "speakers_late_ms": round(1000 * late, 1),
    }


def as_text(found: Mapping[str, Any]) -> str:
    """What `as_json` answers, as text."""
    people = found["listeners"]
    head = ("", "sent", "delivered", "lost", "duplicated", "p50 ms", "p95 ms", "p99 ms", "max ms")
    rows = [head]
    for kind, row in found["kinds"].items():
        counts = (f"{row[name]:,}" for name in ("sent", "delivered", "lost", "duplicated"))
        times = (f"{row[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        rows.append((_TITLES.get(kind, kind), *counts, *times))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [_line(row, widths) for row in rows]
    feeds = ", ".join(f"{count} by {feed}" for feed, count in people["feeds"].items()) or "nobody"
    here = f"{people['entered']} of {people['listeners']} came in, {people['live']} are live ({feeds})"
    lost = f"lost {people['reconnects']} times; {people['gaps']} frames came with others missing before them"
    lines += [
        "",
        f"listeners   {here}; tick {people['tick_ms']} ms",
        f"connection  {lost}; {people['taken_back']} messages taken back",
        f"Realtime    {found['realtime_messages']:,} messages spent",
        f"speakers    at most {found['speakers_late_ms']:.0f} ms late",
    ]
    problems = {**people["failures"], **found["refused"]}
    if problems:
        lines.append("errors      " + ", ".join(f"{name} {count} times" for name, count in sorted(problems.items())))
    lines.append("Everything arrived, once." if found["clean"] else "NOT everything arrived once.")
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(cells))
