"""One lane: reads seeds, one a line, and answers each with its evidence as a line of JSON; `lanes.py` drives it."""

from __future__ import annotations

import asyncio
import logging
import sys

from pydantic import TypeAdapter

from tests.integration.faults.schedule import make_schedule
from tests.integration.faults.verdict import Evidence
from tests.integration.faults.world import NAMES, TOKEN_SECONDS, run_seed
from tests.integration.lab import Lab
from whatssound.testing import StackThread


def main() -> None:
    """Plays what is asked for until nothing more is."""
    logging.basicConfig(level=logging.CRITICAL)
    feed = sys.argv[1]
    evidence = TypeAdapter(Evidence)
    with StackThread(jwt_expiry=TOKEN_SECONDS) as thread:
        lab = Lab(thread)
        for line in sys.stdin:
            schedule = make_schedule(int(line), len(NAMES), feed)
            answer = evidence.dump_json(asyncio.run(run_seed(lab, schedule)))
            sys.stdout.write(answer.decode() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
