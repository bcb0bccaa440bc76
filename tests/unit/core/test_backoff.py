"""`Backoff`: bounded, jittered, patient after a rate limit, reset only by a join that held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.backoff import Backoff, ceiling
from whatssound.core.reasons import Reason

CHANCES = st.floats(0, 1, exclude_max=True)
SLOW = (Reason.UNAUTHORIZED, Reason.NOT_FOUND)


def backoff(*, base: float = 0.5, cap: float = 30.0) -> Backoff:
    return Backoff(base=base, cap=cap, rate_limit_floor=30.0, hold=10.0)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    assert [ceiling(attempt, 0.5, 30.0) for attempt in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_client_that_has_tried_for_months_still_waits_the_cap() -> None:
    assert ceiling(1_000_000, 0.5, 30.0) == 30.0


@given(reasons=st.lists(st.sampled_from(Reason), min_size=1, max_size=30), data=st.data())
def test_each_wait_is_within_its_bounds(reasons: list[Reason], data: st.DataObject) -> None:
    subject = backoff()
    for attempt, reason in enumerate(reasons, start=1):
        chance = data.draw(CHANCES)
        delay = subject.next_delay(reason, chance)
        floor = 30.0 if reason is Reason.RATE_LIMITED else 5.0 if reason in SLOW else 0.0
        assert subject.attempt == attempt
        assert delay == pytest.approx(floor + chance * ceiling(attempt, 0.5, 30.0))
        assert floor <= delay <= floor + 30.0


@given(attempt=st.integers(1, 12))
def test_jitter_covers_everything_from_zero_to_the_ceiling(attempt: int) -> None:
    delays = []
    for chance in (0.0, 0.5, 0.999):
        subject = backoff()
        subject.attempt = attempt - 1
        delays.append(subject.next_delay(Reason.CLOSED, chance))
    assert delays == pytest.approx([chance * ceiling(attempt, 0.5, 30.0) for chance in (0.0, 0.5, 0.999)])


@given(chance=CHANCES)
def test_a_rate_limit_waits_at_least_its_floor_and_still_spreads(chance: float) -> None:
    assert 30.0 <= backoff().next_delay(Reason.RATE_LIMITED, chance) < 30.5


@pytest.mark.parametrize("reason", SLOW)
def test_a_refusal_that_time_rarely_cures_waits_some_seconds(reason: Reason) -> None:
    assert backoff().next_delay(reason, 0.0) == 5.0
    assert backoff(cap=1.0).next_delay(reason, 0.0) == 1.0


@given(held=st.lists(st.floats(0, 9.99), max_size=8))
def test_joins_that_did_not_hold_do_not_reset_the_count(held: list[float]) -> None:
    subject = backoff()
    for seconds in held:
        subject.next_delay(Reason.CLOSED, 0.5)
        subject.ended(seconds)
    assert subject.attempt == len(held)


def test_a_join_that_held_starts_over() -> None:
    subject = backoff()
    for _ in range(5):
        subject.next_delay(Reason.CLOSED, 0.5)
    subject.ended(10.0)
    assert subject.next_delay(Reason.CLOSED, 0.5) == 0.25
