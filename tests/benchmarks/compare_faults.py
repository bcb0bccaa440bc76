"""The fault schedules with this SDK and with the official client, side by side.

Run: python tests/benchmarks/compare_faults.py [seeds]
"""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.faults import verdict
from tests.integration.faults.opponent import Tally, play
from tests.integration.faults.schedule import Schedule, make_schedule
from tests.integration.faults.world import NAMES, run_seed
from tests.integration.lab import Lab
from whatssound.testing import StackThread

#: Columns: a heading, what went wrong, and out of how many.
COLUMNS = (
    ("chat lost", "chat_lost", "said"),
    ("chat twice", "chat_twice", "said"),
    ("tips lost", "tips_lost", "tips"),
    ("tips twice", "tips_twice", "tips"),
    ("events missed", "missed", "events"),
    ("deaf at the end", "deaf", "listeners"),
)


async def ours(lab: Lab, schedule: Schedule) -> Tally:
    """One run with this SDK, in the same terms; an event inside a `Discontinuity` counts as missed."""
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


def row(name: str, tally: Tally) -> str:
    """One line of the table."""
    cells = [f"{getattr(tally, wrong)} of {getattr(tally, of)}" for _, wrong, of in COLUMNS]
    return f"{name:<34}" + "".join(f"{cell:>17}" for cell in cells)


def main() -> None:
    """Plays the seeds with each client in turn."""
    warnings.simplefilter("ignore", DeprecationWarning)
    logging.disable(logging.CRITICAL)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    totals = {"whatssound": Tally(), "official": Tally(), "official, rebuilt and retried": Tally()}
    with StackThread() as thread:
        lab = Lab(thread)
        for seed in range(seeds):
            schedule = make_schedule(seed, len(NAMES))
            totals["whatssound"].add(asyncio.run(ours(lab, schedule)))
            totals["official"].add(asyncio.run(play(lab, schedule, careful=False)))
            totals["official, rebuilt and retried"].add(asyncio.run(play(lab, schedule, careful=True)))
            sys.stderr.write(f"seed {seed} done\n")
    lines = [f"{seeds} seeds; a DJ, five listeners and a tipper each", ""]
    lines.append(f"{'client':<34}" + "".join(f"{heading:>17}" for heading, *_ in COLUMNS))
    lines += [row(name, tally) for name, tally in totals.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
