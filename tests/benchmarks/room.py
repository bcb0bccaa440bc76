"""A large room at life speed: a recorded chat, votes and tips between, heard by real sockets in other processes.

Run: python tests/benchmarks/room.py --listeners 100,300,1000

By each feed in turn, on a stack of its own each time with the limits of a plan on: what was delivered, lost and
duplicated, how long it took from sending to seeing, what the stack counted, and what it cost in processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.large_room.crowd import raise_file_limit
from tests.benchmarks.large_room.measure import Setting, measure
from whatssound.cli.bench.programme import Act, Tip, Vote, as_recorded, evenly, together
from whatssound.cli.demo.collector import rare_collections
from whatssound.cli.demo.script import read_trace
from whatssound.local.assets import trace_path

#: Where the recording's busiest minute starts, in seconds.
BUSIEST = 79.0

HEAD = (
    "listeners", "feed", "tick", "what", "sent", "delivered", "lost", "dup", "p50", "p95", "p99", "max",
    "msgs/s peak", "minute", "drops", "gaps", "server", "postgres", "listeners",
)  # fmt: skip


def programme(options: argparse.Namespace) -> list[Act]:
    """The recording's part that is played, and votes and tips between."""
    lines = read_trace(trace_path(), until=options.trace_from + options.seconds)
    return together(
        as_recorded(
            [(line.at, line.author, line.length) for line in lines], start=options.trace_from, seconds=options.seconds
        ),
        evenly(Vote, per_second=options.votes_per_second, seconds=options.seconds),
        evenly(Tip, per_second=options.tips_per_second, seconds=options.seconds),
    )


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """One run as rows of the table: one for each kind of what was sent."""
    befell, cpu, rate = found["befell"], found["cpu"], found["messages_per_second"]
    whole = (
        f"{rate['busiest_second']:,}", f"{rate['busiest_minute']:,}", f"{drops(found)}", f"{befell['gaps']}",
        f"{cpu['server']:.0%}", f"{cpu['postgres']:.0%}", f"{cpu['listeners']:.0%}",
    )  # fmt: skip
    made = []
    for kind, row in found["kinds"].items():
        counts = (f"{row[name]:,}" for name in ("sent", "delivered", "lost", "duplicated"))
        times = (f"{row[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        first = (f"{found['listeners']:,}", found["feed"], f"{befell['tick_ms']}", kind)
        made.append((*first, *counts, *times, *whole))
    return made


def drops(found: dict[str, Any]) -> int:
    """Connections lost while the room was live; what is lost while a thousand come in at once is told apart."""
    return int(found["befell"]["reconnects"]) - int(found["drops_on_entering"])


def is_good(found: dict[str, Any]) -> bool:
    """Whether frames did what they are for: nothing lost or twice, no limit tripped, 95 of 100 within tick + 200 ms."""
    within = found["befell"]["tick_ms"] + 200
    return (
        found["befell"]["entered"] == found["listeners"]
        and not drops(found)
        and not any(row["lost"] or row["duplicated"] or row["p95_ms"] > within for row in found["kinds"].values())
    )


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs each number of listeners by each feed."""
    acts = programme(options)
    found = []
    for listeners in options.listeners:
        for feed in options.feeds:
            setting = Setting(
                listeners=listeners,
                speakers=options.speakers,
                processes=options.processes,
                plan=None if options.plan == "none" else options.plan,
                feed=feed,
            )
            one = await measure(setting, acts)
            found.append(one)
            for row in rows(one):
                sys.stderr.write("  ".join(row) + "\n")
            if options.json:
                options.json.write_text(json.dumps(found, indent=2))
    return found


def as_table(found: list[dict[str, Any]]) -> str:
    """All runs as a table of Markdown."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(row for one in found for row in rows(one))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """Prints the table; the exit code says whether every run by frames was good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=lambda text: [int(part) for part in text.split(",")], default=[100, 300])
    parser.add_argument("--feeds", type=lambda text: text.split(","), default=["changes", "frames"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--trace-from", type=float, default=BUSIEST, help="second of the recording (default: busiest)")
    parser.add_argument("--votes-per-second", type=float, default=2.0)
    parser.add_argument("--tips-per-second", type=float, default=0.2)
    parser.add_argument("--speakers", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plan", choices=("pro", "team", "none"), default="team")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    raise_file_limit()
    with rare_collections():
        found = asyncio.run(run(options))
    sys.stdout.write(as_table(found) + "\n")
    return 0 if all(is_good(one) for one in found if one["feed"] == "frames") else 1


if __name__ == "__main__":
    raise SystemExit(main())
