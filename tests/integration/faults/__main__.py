"""Plays many seeds and prints what each guarantee was put to: `python -m tests.integration.faults --seeds 200`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Iterator

from tests.integration.faults.lanes import LaneError, play
from tests.integration.faults.report import Totals
from tests.integration.faults.schedule import FEEDS, make_schedule
from tests.integration.faults.verdict import CONVERGED, Evidence
from tests.integration.faults.world import NAMES, TOKEN_SECONDS, run_seed
from tests.integration.lab import Lab
from whatssound.testing import StackThread


def main() -> int:
    """Runs the seeds; the exit code is 1 if a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--feed", choices=(*FEEDS, "mixed"), default="mixed", help="of the clients (default: mixed)")
    parser.add_argument("--lanes", type=int, default=4, help="how many seeds at a time (default: 4)")
    parser.add_argument("--verbose", action="store_true", help="one at a time, with the schedules and the SDK's log")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    totals = Totals()
    began = time.monotonic()
    runs = _one_by_one(seeds, options.feed) if options.verbose else play(seeds, options.lanes, options.feed)
    for seed, evidence in _to_the_end(runs):
        broken = [line for finding in totals.add(seed, evidence) for line in finding.violations]
        kinds = ", ".join(step.kind.value for step in make_schedule(seed, len(NAMES)).steps)
        drops = ", ".join(f"{drop.live:.2f} + {drop.equal:.2f}" for drop in evidence.drops)
        right = evidence.recovery[CONVERGED]
        _say(f"seed {seed}: {kinds}; drop {drops} s, right {right:.2f} s after; {len(broken)} violations")
        for line in broken[:20]:
            _say(f"    {line}")
    _say(f"\n{totals.runs} seeds, feed {options.feed}, in {time.monotonic() - began:.0f} s\n\n{totals.table()}")
    return 1 if totals.broken or totals.runs < options.seeds else 0


def _to_the_end(runs: Iterator[tuple[int, Evidence]]) -> Iterator[tuple[int, Evidence]]:
    """Passes runs on; those that ended by an exception are named, and cost no table."""
    try:
        yield from runs
    except LaneError as error:
        _say(f"not played to its end: {error}")


def _one_by_one(seeds: range, feed: str) -> Iterator[tuple[int, Evidence]]:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with StackThread(jwt_expiry=TOKEN_SECONDS) as thread:
        for seed in seeds:
            schedule = make_schedule(seed, len(NAMES), feed)
            _say("\n".join(str(step) for step in schedule.steps))
            yield seed, asyncio.run(run_seed(Lab(thread), schedule))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
