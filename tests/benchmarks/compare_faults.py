"""The fault schedules with this SDK and with the official client, side by side.

Run: python tests/benchmarks/compare_faults.py [--seeds 10] [--outages 2]

Each client plays the same schedules: short faults (see `tests/integration/faults/schedule.py`), then outages of 20 s in
which nobody reaches the project. The three clients play beside each other, each on a stack of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import warnings
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.faults import verdict
from tests.integration.faults.opponent import Tally, play
from tests.integration.faults.schedule import Schedule, make_outage, make_schedule
from tests.integration.faults.world import NAMES, run_seed
from tests.integration.lab import Lab
from whatssound.testing import StackThread

#: Columns: a heading, what went wrong, and out of how many.
COLUMNS = (
    ("chat lost", "chat_lost", "said"),
    ("chat twice", "chat_twice", "said"),
    ("tips lost", "tips_lost", "tips"),
    ("tips twice", "tips_twice", "tips"),
    ("events never heard", "missed", "events"),
    ("deaf at the end", "deaf", "listeners"),
)

Play = Callable[[Lab, Schedule], Awaitable[Tally]]


async def ours(lab: Lab, schedule: Schedule) -> Tally:
    """One run with this SDK, in the same terms; an event inside a `Discontinuity` counts as never heard."""
    evidence = await run_seed(lab, schedule)
    found = {finding.guarantee: len(finding.violations) for finding in verdict.judge(evidence)}
    listeners = evidence.listeners
    told = sum(last - first + 1 for each in listeners for first, last in each.skipped)
    return Tally(
        said=len(evidence.said),
        chat_lost=found[verdict.NO_CHAT_LOST],
        chat_twice=found[verdict.NO_CHAT_TWICE],
        tips=len(evidence.tips_paid),
        tips_lost=found[verdict.NO_TIP_LOST],
        tips_twice=found[verdict.NO_TIP_TWICE],
        events=(evidence.last - evidence.base) * len(listeners),
        missed=found[verdict.NO_GAP] + told,
        listeners=len(listeners),
        deaf=found[verdict.ALIVE],
    )


#: The clients, by the name in the table.
CLIENTS: dict[str, Play] = {
    "whatssound": ours,
    "official": partial(play, careful=False),
    "official, rebuilt and retried": partial(play, careful=True),
}


def play_all(name: str, schedules: Sequence[Schedule]) -> Tally:
    """Plays schedules with one client, on a stack of its own, and adds them up."""
    total = Tally()
    with StackThread() as thread:
        lab = Lab(thread)
        for schedule in schedules:
            total.add(asyncio.run(_one(name, lab, schedule)))
            sys.stderr.write(f"{name}: seed {schedule.seed} done\n")
    return total


async def _one(name: str, lab: Lab, schedule: Schedule) -> Tally:
    return await CLIENTS[name](lab, schedule)


def table(schedules: Sequence[Schedule]) -> str:
    """Plays schedules with every client at a time and returns the table in Markdown."""
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        tallies = list(pool.map(play_all, CLIENTS, [schedules] * len(CLIENTS)))
    lines = ["| client |" + "".join(f" {heading} |" for heading, *_ in COLUMNS), "|---|" + "---:|" * len(COLUMNS)]
    for name, tally in zip(CLIENTS, tallies, strict=True):
        cells = (f" {getattr(tally, wrong):,} of {getattr(tally, of):,} |" for _, wrong, of in COLUMNS)
        lines.append(f"| {name} |" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Plays both sorts of schedules and prints a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="schedules of short faults (default: 10)")
    parser.add_argument("--outages", type=int, default=2, help="schedules with a long outage (default: 2)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.disable(logging.CRITICAL)
    if options.seeds:
        short = [make_schedule(seed, len(NAMES)) for seed in range(options.seeds)]
        sys.stdout.write(f"{len(short)} schedules of short faults\n\n{table(short)}\n\n")
        sys.stdout.flush()
    if options.outages:
        long = [make_outage(seed, len(NAMES)) for seed in range(options.outages)]
        sys.stdout.write(f"{len(long)} outages of {long[0].steps[0].seconds:g} s\n\n{table(long)}\n")


if __name__ == "__main__":
    main()
