"""Only what stays away is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.overdue import Overdue


def test_what_comes_in_time_is_never_asked_for() -> None:
    overdue = Overdue()
    for seq in range(1, 100):
        overdue.update(known=seq, watermark=seq - 1, due=float(seq) + 1.5)
        assert overdue.at is not None
        assert overdue.at > seq, "the one before has come"


def test_what_stays_away_keeps_its_time_whatever_is_told_later() -> None:
    overdue = Overdue()
    overdue.update(known=5, watermark=4, due=1.0)
    for seq in range(6, 50):
        overdue.update(known=seq, watermark=4, due=float(seq))
    assert overdue.at == 1.0
    overdue.update(known=49, watermark=49, due=99.0)
    assert overdue.at is None


def test_a_gap_is_asked_for_sooner_and_never_later() -> None:
    overdue = Overdue()
    overdue.hurry(known=3, due=2.0)
    assert overdue.at == 2.0
    overdue.hurry(known=4, due=1.0)
    overdue.hurry(known=5, due=9.0)
    overdue.update(known=5, watermark=0, due=0.5)
    assert overdue.at == 1.0
    overdue.asked()
    assert overdue.at is None
    overdue.update(known=5, watermark=0, due=7.0)
    assert overdue.at == 7.0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=50))
def test_something_missing_always_has_a_time_and_nothing_missing_has_none(steps: list[tuple[int, int, bool]]) -> None:
    overdue = Overdue()
    known = watermark = 0
    for now, (more, fewer, asked) in enumerate(steps):
        known = max(known, more)
        watermark = min(known, max(watermark, fewer))
        if asked:
            overdue.asked()
        overdue.update(known=known, watermark=watermark, due=now + 1.0)
        assert (overdue.at is not None) == (watermark < known)
        assert overdue.at is None or overdue.at <= now + 1.0
