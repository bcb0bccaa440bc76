"""A few seeds of the fault runs; `make chaos SEEDS=200` plays many."""

from __future__ import annotations

import pytest

from tests.integration.faults.lanes import play
from tests.integration.faults.verdict import Evidence, judge

#: The first four have seen every kind of fault, the next four all of them again.
SEEDS = range(10)
#: At a time. A run is mostly waiting, and other tests run beside.
LANES = 3
#: Seconds from a plain drop to live again, at the default back-off. Twice what we aim at: other tests run beside.
PLAIN_DROP = 3.0


@pytest.fixture(scope="module")
def played() -> dict[int, Evidence]:
    """The evidence of all seeds."""
    return dict(play(SEEDS, LANES))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_silently_missed(played: dict[int, Evidence], seed: int) -> None:
    evidence = played[seed]
    findings = judge(evidence)
    assert {finding.guarantee: finding.violations for finding in findings if finding.violations} == {}
    # What was not put to the test is not proven.
    assert [finding.guarantee for finding in findings if not finding.cases] == []
    assert evidence.hits["reconnects"] > 0
    assert [drop for drop in evidence.drops if drop.live >= PLAIN_DROP] == []
    assert len(evidence.drops) == 1
