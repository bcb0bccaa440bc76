"""Plays many seeds and prints what each guarantee was put to: `python -m tests.integration.faults --seeds 200`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time

from tests.integration.faults.report import Totals
from tests.integration.faults.schedule import make_schedule
from tests.integration.faults.world import NAMES, TOKEN_SECONDS, run_seed
from tests.integration.lab import Lab
from whatssound.testing import StackThread


def main() -> int:
    """Runs the seeds; the exit code is 1 if a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--verbose", action="store_true", help="the schedules, and what the SDK logs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    totals = Totals()
    began = time.monotonic()
    with StackThread(jwt_expiry=TOKEN_SECONDS) as thread:
        for seed in range(options.first, options.first + options.seeds):
            asyncio.run(_one(Lab(thread), seed, totals, options.verbose))
    _say(f"\n{totals.runs} seeds in {time.monotonic() - began:.0f} s\n{totals.table()}")
    return 1 if totals.broken else 0


async def _one(lab: Lab, seed: int, totals: Totals, verbose: bool) -> None:
    schedule = make_schedule(seed, len(NAMES))
    if verbose:
        _say("\n".join(str(step) for step in schedule.steps))
    evidence = await run_seed(lab, schedule)
    broken = [line for finding in totals.add(seed, evidence) for line in finding.violations]
    kinds = ", ".join(step.kind.value for step in schedule.steps)
    plain = ", ".join(f"{seconds:.2f}" for seconds in evidence.plain)
    _say(f"seed {seed}: {kinds}; drop {plain} s, right {evidence.healed:.2f} s after; {len(broken)} violations")
    for line in broken[:20]:
        _say(f"    {line}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
