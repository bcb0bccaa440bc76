"""`CallWindow`: never more than the limit in any period, and no longer a wait than needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.window import CallWindow

LIMIT = 3
PERIOD = 30.0
#: Quarters of seconds are exact in floats, so sums and differences are too.
GAPS = st.lists(st.integers(0, 60).map(lambda quarters: quarters / 4), min_size=1, max_size=60)


@given(gaps=GAPS)
def test_no_period_holds_more_calls_than_the_limit(gaps: list[float]) -> None:
    window, now, spent = CallWindow(LIMIT, PERIOD), 0.0, []
    for gap in gaps:
        now += gap
        now += window.wait(now)
        assert window.wait(now) == 0
        window.spend(now)
        spent.append(now)
    for first, beyond in zip(spent, spent[LIMIT:], strict=False):
        assert beyond - first >= PERIOD


@given(gaps=GAPS)
def test_a_wait_is_asked_for_only_where_the_limit_is_reached_and_no_longer_than_needed(gaps: list[float]) -> None:
    window, now, spent = CallWindow(LIMIT, PERIOD), 0.0, [-100.0] * LIMIT
    for gap in gaps:
        now += gap
        assert window.wait(now) == max(0.0, spent[-LIMIT] + PERIOD - now)
        now += window.wait(now)
        window.spend(now)
        spent.append(now)


def test_a_new_join_has_a_window_of_its_own() -> None:
    window = CallWindow(1, PERIOD)
    window.spend(0.0)
    assert window.wait(10.0) == 20.0
    window.reset()
    assert window.wait(10.0) == 0.0
