"""The verdict of the fault tests finds every planted violation, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isnan

import pytest

from tests.integration.faults import verdict
from tests.integration.faults.report import Totals
from tests.integration.faults.verdict import STORED, Drop, Evidence, Listener, Said, Voter, judge, percentile


def _good() -> Evidence:
    """Two messages, a tip, two votes and a song; two sessions heard all six events, one of them by a Discontinuity."""
    return Evidence(
        said=[Said("1", "dj 0", STORED), Said("2", "ana 0", STORED)],
        spooled=["bot1 0"],
        messages=["dj 0", "ana 0", "bot1 0"],
        tips_paid=["tip 0"],
        tips=["tip 0"],
        voters=[Voter("ana", 2, -1)],
        votes={"ana": -1},
        vote_events=["ana", "ana"],
        songs_added=["song 0"],
        songs=["song 0"],
        base=4,
        last=10,
        listeners=[
            Listener("dj", durable=[5, 6, 8, 7, 9, 10], shown=["1", "2"]),
            Listener("ana", durable=[5, 9, 10], shown=["1"], skipped=[(6, 8)]),
        ],
        drops=[Drop("frames", 0.4, 0.1)],
        recovery={verdict.NO_TIP_TWICE: 0.25, verdict.CONVERGED: 1.5},
    )


def _lose_chat(evidence: Evidence) -> None:
    evidence.messages.remove("dj 0")


def _never_answer(evidence: Evidence) -> None:
    evidence.said[0] = replace(evidence.said[0], outcome="outcome never known")


def _reject(evidence: Evidence) -> None:
    evidence.said[1] = replace(evidence.said[1], outcome="rejected: bad_clock")


def _store_twice(evidence: Evidence) -> None:
    evidence.messages.append("ana 0")


def _lose_spooled(evidence: Evidence) -> None:
    evidence.messages.remove("bot1 0")


def _store_spooled_twice(evidence: Evidence) -> None:
    evidence.messages.append("bot1 0")


def _never_end(evidence: Evidence) -> None:
    evidence.talker = "did not end within 25 s"


def _lose_tip(evidence: Evidence) -> None:
    evidence.tips.clear()


def _tip_twice(evidence: Evidence) -> None:
    evidence.tips.append("tip 0")


def _count_vote_twice(evidence: Evidence) -> None:
    evidence.vote_events.append("ana")


def _lose_vote(evidence: Evidence) -> None:
    evidence.vote_events.pop()


def _keep_old_vote(evidence: Evidence) -> None:
    evidence.votes["ana"] = 1


def _lose_song(evidence: Evidence) -> None:
    evidence.songs.clear()


def _add_song_twice(evidence: Evidence) -> None:
    evidence.songs.append("song 0")


def _skip_one(evidence: Evidence) -> None:
    evidence.listeners[0].durable.remove(8)


def _skip_the_last(evidence: Evidence) -> None:
    evidence.last += 1
    evidence.listeners[1].durable.append(11)


def _name_too_short_a_gap(evidence: Evidence) -> None:
    evidence.listeners[1].skipped = [(6, 7)]


def _lag(evidence: Evidence) -> None:
    evidence.listeners[0].lagged = 3


def _deliver_twice(evidence: Evidence) -> None:
    evidence.listeners[0].durable.append(5)


def _show_twice(evidence: Evidence) -> None:
    evidence.listeners[1].shown.append("1")


def _deliver_and_skip(evidence: Evidence) -> None:
    evidence.listeners[1].durable.append(7)


def _diverge(evidence: Evidence) -> None:
    evidence.listeners[0].unlike = {"tallies": ({}, {"song": 1})}


def _end(evidence: Evidence) -> None:
    evidence.listeners[1].problem = "is reconnecting"


def test_nothing_is_found_where_all_is_well() -> None:
    findings = judge(_good())
    assert [finding for finding in findings if finding.violations] == []
    assert all(finding.cases > 0 for finding in findings)


@pytest.mark.parametrize(
    ("plant", "guarantee"),
    [
        (_lose_chat, verdict.NO_CHAT_LOST),
        (_never_answer, verdict.NO_CHAT_LOST),
        (_reject, verdict.NO_CHAT_LOST),
        (_store_twice, verdict.NO_CHAT_TWICE),
        (_lose_spooled, verdict.NO_SPOOLED_LOST),
        (_store_spooled_twice, verdict.NO_CHAT_TWICE),
        (_never_end, verdict.NO_SPOOLED_LOST),
        (_lose_tip, verdict.NO_TIP_LOST),
        (_tip_twice, verdict.NO_TIP_TWICE),
        (_count_vote_twice, verdict.VOTES_ONCE),
        (_lose_vote, verdict.VOTES_ONCE),
        (_keep_old_vote, verdict.VOTES_ONCE),
        (_lose_song, verdict.SONGS_ONCE),
        (_add_song_twice, verdict.SONGS_ONCE),
        (_skip_one, verdict.NO_GAP),
        (_skip_the_last, verdict.NO_GAP),
        (_name_too_short_a_gap, verdict.NO_GAP),
        (_lag, verdict.NO_GAP),
        (_deliver_twice, verdict.NOTHING_TWICE),
        (_show_twice, verdict.NOTHING_TWICE),
        (_deliver_and_skip, verdict.NOTHING_TWICE),
        (_diverge, verdict.CONVERGED),
        (_end, verdict.ALIVE),
    ],
)
def test_a_planted_violation_is_found_once_and_nothing_else(plant: Callable[[Evidence], None], guarantee: str) -> None:
    evidence = _good()
    plant(evidence)
    found = {finding.guarantee: len(finding.violations) for finding in judge(evidence) if finding.violations}
    assert found == {guarantee: 1}


def test_what_was_not_put_to_the_test_is_no_finding() -> None:
    evidence = _good()
    evidence.spooled = None
    assert verdict.NO_SPOOLED_LOST not in {finding.guarantee for finding in judge(evidence)}


def test_totals_add_up_runs_and_name_the_seed_at_fault() -> None:
    totals = Totals()
    totals.add(1, _good())
    bad = _good()
    _tip_twice(bad)
    bad.drops = [Drop("frames", 0.9, 0.3)]
    bad.recovery[verdict.NO_TIP_TWICE] = 0.75
    totals.add(2, bad)
    assert (totals.runs, totals.broken) == (2, 1)
    assert totals.violations[verdict.NO_TIP_TWICE] == ["seed 2: tip 0: 2 times"]
    table = totals.table().splitlines()
    assert f"| {verdict.NO_TIP_TWICE} | 3 | 1 | 0.25 | 0.75 | 0.75 |" in table
    assert "| frames: to live again | 2 | 0.40 | 0.90 | 0.90 |" in table
    assert "| frames: from live to equal | 2 | 0.10 | 0.30 | 0.30 |" in table


def test_percentiles_are_of_the_values_themselves() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile(values, 1.0)) == (50.0, 95.0, 100.0)
    assert percentile([2.0], 0.95) == 2.0
    assert isnan(percentile([], 0.5))
