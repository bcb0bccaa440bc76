"""Writes the tables of docs/explanation/scaling.md from the package's own arithmetic and simulation.

Run: python docs/generate_scaling.py [--check]

With --check nothing is written; the exit status is 1 if the page is not current.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from whatssound.core.budget import WINDOW, tick_ms
from whatssound.planning.bill import bill
from whatssound.planning.latency import latency
from whatssound.planning.simulation import LIVE_HOURS, Outcome, Scenario, simulate
from whatssound.planning.storm import storm
from whatssound.planning.traffic import traffic
from whatssound.planning.workload import Workload, read_trace
from whatssound.quotas import FREE, PRO, PRO_NO_CAP, TEAM, Plan

PAGE = Path(__file__).parent / "explanation" / "scaling.md"
TRACE = Path(__file__).parents[1] / "tests" / "data" / "livechat.csv"

_BLOCK = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_ROOMS = (100, 300, 1_000, 2_000, 5_000, 10_000)
_MONTH = LIVE_HOURS * 3600 * 30

#: People, messages a second that are allowed.
_PHASES = ((10_000, 2_500), (10_000, 12_500), (100_000, 125_000), (1_000_000, 1_250_000))


@cache
def tables() -> dict[str, str]:
    """All tables by name."""
    return {"ticks": _ticks(), "rooms": _rooms(), "phases": _phases(), "limits": _limits(), "storms": _storms()}


def fill(text: str) -> str:
    """Returns a page with its tables written anew.

    Args:
        text: the page.
    """
    made = tables()
    return _BLOCK.sub(lambda match: f"{match[1]}{made[match['name']]}{match[3]}", text)


def _ticks() -> str:
    plans = (FREE, PRO, TEAM)

    def cell(listeners: int, plan: Plan) -> str:
        return f"{tick_ms(listeners, plan.events_per_second):,} ms" if listeners <= plan.connections else "-"

    rows = [(f"{count:,}", *(cell(count, plan) for plan in plans)) for count in (200, 500, *_ROOMS[2:])]
    heads = [f"{plan.title.partition(',')[0]}: {plan.events_per_second:,}/s" for plan in plans[:2]]
    return _table(("listeners", *heads, "Pro without cap, Team: 2,500/s"), rows)


def _rooms() -> str:
    rows = []
    for listeners in _ROOMS:
        workload = Workload(listeners=listeners, messages_per_second=13 * listeners / 1_000, seconds=3 * 3600)
        for feed in ("changes", "frames"):
            sent = traffic(workload, feed, PRO_NO_CAP)
            found, seen = bill(workload, sent, PRO_NO_CAP), latency(workload, sent)
            beyond = sum(cost for cost in found.beyond.values() if cost is not None) / 1000
            rows.append(
                (
                    f"{listeners:,}",
                    feed,
                    "-" if sent.tick_ms is None else f"{sent.tick_ms:,} ms" if sent.tick_ms else "at once",
                    f"{sent.messages / 1e6:,.1f} M",
                    f"{sent.events_in_busiest_minute:,.0f}",
                    _seconds(seen.chat_p95),
                    _seconds(seen.vote_p95),
                    f"${beyond:,.2f}",
                    "yes" if found.fits else "**no**",
                )
            )
    return _table(
        ("listeners", "feed", "tick", "messages", "messages/s", "chat p95", "votes p95", "beyond the plan", "fits"),
        rows,
    )


@cache
def outcomes() -> tuple[Outcome, ...]:
    """The phases, played with the recorded chat's rise and fall."""
    chat, _ = read_trace(TRACE)
    mean = sum(chat) / len(chat)
    mood = tuple(count / mean for count in chat)
    return tuple(
        simulate(Scenario(people=people, events_per_second=events, seconds=65, filling=20, mood=mood))
        for people, events in _PHASES
    )


def _phases() -> str:
    found = outcomes()

    def row(name: str, values: Iterable[str]) -> tuple[str, ...]:
        return (name, *values)

    rows = [
        row("rooms; people in the largest", (f"{each.rooms:,}; {each.largest:,}" for each in found)),
        row("chat and other writes a second", (f"{each.writes:,.0f}" for each in found)),
        row("frames a second", (f"{each.frames:,.0f}" for each in found)),
        row("messages a second, worst minute", (f"{each.events:,.0f}" for each in found)),
        row("messages a second, worst second", (f"{each.events_peak:,}" for each in found)),
        row("tick of the largest room", (f"{each.tick_ms:,} ms" for each in found)),
        row(
            "an event waits for its frame, p50 / p95",
            (f"{_seconds(each.wait_p50)} / {_seconds(each.wait_p95)}" for each in found),
        ),
        row("joins in the busiest second, filling in 20 s", (f"{each.joins:,}" for each in found)),
        row("heartbeats a second", (f"{each.heartbeats:,.0f}" for each in found)),
        row("chat rows a month", (f"{each.rows_a_month / 1e6:,.0f} M" for each in found)),
        row("a month's partition", (f"{each.partition_gb:,.0f} GB" for each in found)),
        row("log, keys and frames, kept 72 h", (f"{each.passing_gb:,.0f} GB" for each in found)),
        row("sent to listeners an hour", (f"{each.sent_gb:,.0f} GB" for each in found)),
        row("Realtime messages a month", (f"{each.events * _MONTH / 1e9:,.1f} G" for each in found)),
        row("of them at the published price", (f"${_messages_price(each):,.0f}" for each in found)),
    ]
    heads = [f"{people:,} people, {events:,}/s allowed" for people, events in _PHASES]
    return _table(("", *heads), rows)


def _limits() -> str:
    rows = []
    for (people, events), found in zip(_PHASES[1:], outcomes()[1:], strict=True):
        for what, used, allowed in (
            ("connections", people, TEAM.connections),
            ("messages a second", events, TEAM.events_per_second),
            ("joins a second, all back within a minute", people / WINDOW, TEAM.joins_per_second),
            ("writes a second", found.writes, 1_050),
            ("heartbeats a second", found.heartbeats, 4_000),
        ):
            rows.append((f"{people:,}", what, f"{used:,.0f}", f"{allowed:,}", f"{used / allowed:,.2f}"))
    return _table(("people", "what", "needed", "Team, or one small database", "times"), rows)


def _storms() -> str:
    rows = []
    for clients, joins in ((1_000, 500), (10_000, 2_500), (100_000, 2_500), (300_000, 2_500), (300_000, 12_500)):
        found = storm(clients, joins, topics=1, seed=1)
        rows.append(
            (
                f"{clients:,}",
                f"{joins:,}/s",
                f"{found.most_joins:,}",
                f"{found.refused:,}",
                _seconds(found.half),
                _seconds(found.seconds),
            )
        )
    return _table(
        ("who come back", "joins allowed", "busiest second", "refused", "half are back", "all are back"), rows
    )


def _messages_price(each: Outcome) -> float:
    prices = TEAM.prices
    cost = prices.messages.cost(each.events * _MONTH) if prices is not None else None
    return (cost or 0) / 1000


def _seconds(value: float | None) -> str:
    if value is None:
        return "grows"
    if value >= 60:
        return f"{value / 60:.1f} min"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> int:
    """Writes the page, or checks it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is not current")
    arguments = parser.parse_args()
    before = PAGE.read_text("utf-8")
    after = fill(before)
    if arguments.check:
        if before != after:
            sys.stderr.write(f"{PAGE} is not current: run python docs/generate_scaling.py\n")
        return int(before != after)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
