"""`Isolation`: a row is blamed only when another row has been answered since; an outage blames nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.isolation import MOST_SUSPECTS, PATIENCE, Isolation, Step


def test_batches_are_halved_after_a_few_failures_and_grow_again() -> None:
    subject = Isolation(100)
    assert [subject.failed(100, company=False) for _ in range(PATIENCE)] == [Step.AGAIN] * PATIENCE
    assert subject.limit == 50
    assert subject.failed(50, company=True) is Step.AGAIN
    assert subject.limit == 25
    assert not subject.answered()
    assert subject.limit == 50
    subject.answered()
    subject.answered()
    assert subject.limit == 100


def test_a_row_that_fails_before_and_after_the_probe_is_set_aside_and_the_next_answer_proves_it() -> None:
    subject = Isolation(1)
    steps = [subject.failed(1, company=True) for _ in range(3)]
    assert steps == [Step.AGAIN, Step.AGAIN, Step.PROBE]
    assert subject.probed(answers=True) is Step.AGAIN
    assert subject.failed(1, company=True) is Step.SET_ASIDE
    assert subject.answered()
    assert not subject.answered(), "proved once"


def test_a_row_alone_is_never_set_aside() -> None:
    subject = Isolation(10)
    assert {subject.failed(1, company=False) for _ in range(50)} == {Step.AGAIN, Step.BRING_BACK}


def test_what_told_nothing_confirms_nothing() -> None:
    subject = Isolation(1)
    for _ in range(3):
        subject.failed(1, company=True)
    subject.probed(answers=True)
    subject.interrupted()
    assert subject.failed(1, company=True) is Step.PROBE


@given(size=st.integers(1, 100), waiting=st.integers(1, 200), probe=st.booleans())
def test_an_outage_proves_nothing_however_long(size: int, waiting: int, probe: bool) -> None:
    """The server fails for every row; the probe fails too, or (only writing is broken) does not."""
    subject = Isolation(size)
    aside = 0
    for _ in range(300):
        rows = min(subject.limit, waiting - aside)
        step = subject.failed(rows, company=waiting - aside > rows)
        if step is Step.PROBE:
            step = subject.probed(probe)
        if step is Step.SET_ASIDE:
            aside += 1
        elif step is Step.BRING_BACK:
            aside = 0
        assert aside <= MOST_SUSPECTS
        assert aside < waiting
        assert 1 <= subject.limit <= size
    assert probe or aside == 0
