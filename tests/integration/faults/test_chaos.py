"""A few seeds of the fault runs; `make chaos SEEDS=200` plays many."""

from __future__ import annotations

import pytest

from tests.integration.faults.lanes import play
from tests.integration.faults.verdict import Evidence, judge, percentile

#: The first four have seen every kind of fault, the next four all of them again.
SEEDS = range(10)
#: At a time. A run is mostly waiting, and other tests run beside.
LANES = 3
#: Seconds from a plain drop to live again, at the default back-off, and from there to a state equal to the database's:
#: medians, and more than what we aim at, since other tests run beside.
LIVE, EQUAL = 1.5, 1.0


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
    assert len(evidence.drops) == 1


def test_a_plain_drop_is_soon_made_good(played: dict[int, Evidence]) -> None:
    drops = [drop for evidence in played.values() for drop in evidence.drops]
    assert percentile([drop.live for drop in drops], 0.5) < LIVE
    assert percentile([drop.equal for drop in drops], 0.5) < EQUAL


def test_frames_changes_and_a_killed_process_were_among_them(played: dict[int, Evidence]) -> None:
    assert {drop.feed for evidence in played.values() for drop in evidence.drops} == {"frames", "changes"}
    assert [seed for seed, evidence in played.items() if evidence.spooled]
