"""The states of a connection: closed is the end, and every pair is either in the table or refused."""

from __future__ import annotations

import itertools

import pytest

from whatssound.core.lifecycle import TRANSITIONS, check_transition
from whatssound.events import Status


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_a_transition_is_in_the_table_or_refused(before: Status, after: Status) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(RuntimeError, match=f"from {before.value} to {after.value}"):
            check_transition(before, after)


def test_every_status_has_its_line() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_nothing_leaves_closed_and_only_closing_leaves_failed() -> None:
    assert TRANSITIONS[Status.CLOSED] == frozenset()
    assert TRANSITIONS[Status.FAILED] == {Status.CLOSED}


@pytest.mark.parametrize("before", [status for status in Status if status is not Status.CLOSED])
def test_everything_can_be_closed(before: Status) -> None:
    assert Status.CLOSED in TRANSITIONS[before]


def test_nothing_returns_to_new_and_live_comes_only_from_trying() -> None:
    assert not any(Status.NEW in targets for targets in TRANSITIONS.values())
    into_live = {before for before, targets in TRANSITIONS.items() if Status.LIVE in targets}
    assert into_live == {Status.CONNECTING, Status.RECONNECTING}
