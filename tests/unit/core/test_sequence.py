"""`Sequencer`: each number once, whatever order they come in, and no gap unseen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from whatssound.core.sequence import Sequencer

SEQS = st.integers(-2, 14)


class SequencerMachine(RuleBasedStateMachine):
    """The model is the set of all numbers that count as delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.sequencer = Sequencer()
        self.delivered: set[int] = set()
        self.known = 0

    @rule(seq=SEQS)
    def admit(self, seq: int) -> None:
        expected = seq >= 1 and seq not in self.delivered
        assert self.sequencer.admit(seq) is expected
        if expected:
            self.delivered.add(seq)
            self.known = max(self.known, seq)
        assert self.sequencer.admit(seq) is False

    @rule(seq=SEQS)
    def skip_to(self, seq: int) -> None:
        self.sequencer.skip_to(seq)
        self.delivered |= set(range(1, seq + 1))
        self.known = max(self.known, seq)

    @rule(seq=SEQS)
    def note(self, seq: int) -> None:
        self.sequencer.note(seq)
        self.known = max(self.known, seq)

    def watermark(self) -> int:
        seq = 0
        while seq + 1 in self.delivered:
            seq += 1
        return seq

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.sequencer.watermark == self.watermark()
        assert self.sequencer.known == self.known
        assert self.sequencer.ahead == len([seq for seq in self.delivered if seq > self.watermark()])
        assert self.sequencer.is_behind is (self.watermark() < self.known)
        for seq in range(1, 15):
            assert self.sequencer.seen(seq) is (seq in self.delivered)


TestSequencer = SequencerMachine.TestCase
TestSequencer.settings = settings(max_examples=60, stateful_step_count=30)


@given(order=st.permutations(range(1, 13)), again=st.lists(st.integers(1, 12)))
def test_any_order_with_repeats_admits_each_number_once(order: list[int], again: list[int]) -> None:
    sequencer = Sequencer()
    admitted = [seq for seq in order + again if sequencer.admit(seq)]
    assert admitted == order
    assert sequencer.watermark == 12
    assert sequencer.ahead == 0
    assert not sequencer.is_behind


@given(missing=st.sets(st.integers(1, 12), min_size=1))
def test_a_gap_holds_the_watermark_until_it_is_fetched(missing: set[int]) -> None:
    sequencer = Sequencer()
    for seq in range(1, 14):
        if seq not in missing:
            sequencer.admit(seq)
    assert sequencer.watermark == min(missing) - 1
    assert sequencer.is_behind
    fetched = [seq for seq in range(sequencer.watermark + 1, 14) if sequencer.admit(seq)]
    assert set(fetched) == missing
    assert sequencer.watermark == 13


def test_a_known_but_unheard_event_means_being_behind() -> None:
    sequencer = Sequencer(watermark=5)
    assert not sequencer.is_behind
    sequencer.note(6)
    assert sequencer.is_behind


def test_a_snapshot_never_moves_the_watermark_back() -> None:
    sequencer = Sequencer(watermark=5)
    sequencer.skip_to(3)
    assert sequencer.watermark == 5


def test_a_snapshot_meets_what_came_ahead_of_it() -> None:
    sequencer = Sequencer()
    sequencer.admit(4)
    sequencer.admit(6)
    sequencer.skip_to(3)
    assert sequencer.watermark == 4
    assert sequencer.ahead == 1
    assert not sequencer.admit(6)
