"""A few seeds of the fault runs; `make chaos SEEDS=200` plays many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.faults.schedule import make_schedule
from tests.integration.faults.verdict import judge
from tests.integration.faults.world import NAMES, TOKEN_SECONDS, run_seed
from tests.integration.lab import Lab
from whatssound.testing import StackThread

#: The first four have seen every kind of fault.
SEEDS = range(4)
#: Seconds from a plain drop to live again, at the default back-off. Twice what we aim at: other tests run beside.
PLAIN_DROP = 3.0


@pytest.fixture(scope="module")
def broken_lab() -> Iterator[Lab]:
    """A stack that these tests may break, with tokens that end during a run."""
    with StackThread(jwt_expiry=TOKEN_SECONDS) as thread:
        yield Lab(thread)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_doubled_or_silently_missed(broken_lab: Lab, seed: int) -> None:
    evidence = await run_seed(broken_lab, make_schedule(seed, len(NAMES)))
    findings = judge(evidence)
    assert {finding.guarantee: finding.violations for finding in findings if finding.violations} == {}
    # What was not put to the test is not proven.
    assert [finding.guarantee for finding in findings if not finding.cases] == []
    assert evidence.hits["reconnects"] > 0
    assert len(evidence.plain) == 1
    assert evidence.plain[0] < PLAIN_DROP
