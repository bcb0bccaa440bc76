"""`Batcher` against a plain list: nothing lost, order kept, bounds respected, one batch under way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from whatssound.core.batching import Batcher

INTERVAL = 0.5
SIZE = 3
MAX_ITEMS = 6
MAX_BYTES = 40


def batcher(*, size: int = SIZE, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> Batcher[int]:
    return Batcher(interval=INTERVAL, size=size, max_items=max_items, max_bytes=max_bytes)


class BatcherMachine(RuleBasedStateMachine):
    """The model is two lists of (item, bytes, since, tried) and what has left."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = batcher()
        self.now = 100.0
        self.next = 0
        self.waiting: list[tuple[int, int, float, bool]] = []
        self.under_way: list[tuple[int, int, float, bool]] = []
        self.gone: list[int] = []
        self.draining = False
        self.began: float | None = None

    @rule(eager=st.booleans())
    def choose_rule(self, eager: bool) -> None:
        self.batcher.eager = eager

    @rule(size=st.integers(1, 60))
    def add(self, size: int) -> None:
        held = self.waiting + self.under_way
        fits = not held or (len(held) < MAX_ITEMS and sum(entry[1] for entry in held) + size <= MAX_BYTES)
        assert self.batcher.fits(size) is fits
        if fits:
            self.batcher.add(self.next, size, self.now)
            self.waiting.append((self.next, size, self.now, False))
            self.next += 1

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.25, 0.5, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def due(self) -> float | None:
        if self.under_way or not self.waiting:
            return None
        at_once = self.draining or len(self.waiting) >= SIZE
        since = self.waiting[0][2]
        if at_once:
            return since
        if self.batcher.eager:
            return since if self.began is None else max(since, self.began + INTERVAL)
        return since + INTERVAL

    @rule()
    def take(self) -> None:
        due = self.due()
        expected = self.waiting[:SIZE] if due is not None and due <= self.now else []
        assert self.batcher.take(self.now) == [entry[0] for entry in expected]
        if expected:
            self.began = self.now
            self.under_way = [(item, size, since, True) for item, size, since, _ in expected]
            self.waiting = self.waiting[len(expected) :]

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        keep = data.draw(st.none() | st.sets(st.integers(0, len(self.under_way) - 1)))
        self.batcher.settle(keep)
        again = [entry for at, entry in enumerate(self.under_way) if at in (keep or set())]
        self.gone += [entry[0] for at, entry in enumerate(self.under_way) if at not in (keep or set())]
        self.waiting = again + self.waiting
        self.under_way = []

    @rule()
    def settle_nothing(self) -> None:
        if not self.under_way:
            self.batcher.settle({0, 1})

    @rule()
    def drop_oldest(self) -> None:
        untried = [entry for entry in self.waiting if not entry[3]]
        assert self.batcher.drop_oldest() == (untried[0][0] if untried else None)
        if untried:
            self.waiting.remove(untried[0])
            self.gone.append(untried[0][0])

    @rule()
    def drain(self) -> None:
        self.batcher.drain()
        self.draining = True

    @rule()
    def take_all(self) -> None:
        held = [entry[0] for entry in self.under_way + self.waiting]
        assert self.batcher.take_all() == held
        self.gone += held
        self.waiting, self.under_way = [], []

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        held = self.under_way + self.waiting
        assert len(self.batcher) == len(held)
        assert self.batcher.bytes_held == sum(entry[1] for entry in held)
        assert self.batcher.due_at() == self.due()

    @invariant()
    def nothing_is_lost_or_doubled_and_order_is_kept(self) -> None:
        held = [entry[0] for entry in self.under_way + self.waiting]
        assert sorted(held + self.gone) == list(range(self.next))
        assert held == sorted(held)

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.batcher) <= MAX_ITEMS
        assert self.batcher.bytes_held <= MAX_BYTES or len(self.batcher) == 1
        assert len(self.under_way) <= SIZE


TestBatcher = BatcherMachine.TestCase
TestBatcher.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_batch_goes_an_interval_after_its_first_message() -> None:
    subject = batcher()
    subject.add(1, 1, now=10.0)
    subject.add(2, 1, now=10.4)
    assert subject.due_at() == 10.5
    assert subject.take(10.49) == []
    assert subject.take(10.5) == [1, 2]
    assert subject.due_at() is None


def test_a_full_batch_goes_at_once_and_the_rest_waits_for_it() -> None:
    subject = batcher()
    for item in range(5):
        subject.add(item, 1, now=10.0)
    assert subject.take(10.0) == [0, 1, 2]
    assert subject.take(99.0) == []
    subject.settle()
    assert subject.take(10.4) == []
    assert subject.take(10.5) == [3, 4]


def test_what_goes_again_goes_first_and_in_order() -> None:
    subject = batcher()
    for item in range(5):
        subject.add(item, 1, now=10.0)
    subject.take(10.0)
    subject.settle(keep={0, 2})
    assert subject.take(10.0) == [0, 2, 3]


def test_what_may_be_stored_already_is_never_called_dropped() -> None:
    subject = batcher()
    subject.add(1, 1, now=0.0)
    subject.take(1.0)
    subject.settle(keep={0})
    assert subject.drop_oldest() is None
    subject.add(2, 1, now=1.0)
    assert subject.drop_oldest() == 2
    assert len(subject) == 1


def test_an_empty_batcher_takes_one_item_of_any_size() -> None:
    subject = batcher()
    assert subject.fits(MAX_BYTES * 10)
    subject.add(1, MAX_BYTES * 10, now=0.0)
    assert not subject.fits(1)


def test_the_first_message_of_an_eager_batcher_goes_at_once_and_the_next_batch_an_interval_later() -> None:
    subject = batcher()
    subject.eager = True
    subject.add(1, 1, now=10.0)
    assert subject.take(10.0) == [1]
    subject.add(2, 1, now=10.1)
    assert subject.due_at() is None, "one batch at a time"
    subject.settle()
    subject.add(3, 1, now=10.2)
    assert subject.due_at() == 10.5
    assert subject.take(10.5) == [2, 3]
    subject.settle()
    subject.add(4, 1, now=20.0)
    assert subject.take(20.0) == [4]


@given(gaps=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=20), takes=st.floats(0.0, 1.5))
def test_eager_batches_begin_an_interval_apart_and_nobody_waits_longer_than_that(
    gaps: list[float], takes: float
) -> None:
    subject = batcher(size=100, max_items=100, max_bytes=100)
    subject.eager = True
    arrivals: list[float] = []
    began: list[float] = []
    now = busy_until = 0.0
    for gap in gaps:
        now += gap
        arrivals.append(now)
    left = list(enumerate(arrivals))
    now = 0.0
    while left or len(subject):
        due = subject.due_at()
        moments = ([left[0][1]] if left else []) + ([max(due, now)] if due is not None else [])
        if due is None and len(subject):
            moments.append(busy_until)
        now = max(now, min(moments))
        if due is None and len(subject) and now >= busy_until:
            subject.settle()
        while left and left[0][1] <= now:
            subject.add(left.pop(0)[0], 1, now)
        batch = subject.take(now)
        if batch:
            free_since = max(began[-1] + INTERVAL, busy_until) if began else 0.0
            assert now == max(free_since, arrivals[batch[0]]), "as soon as it may, and no sooner"
            began.append(now)
            busy_until = now + takes


def test_what_is_set_aside_holds_up_nobody_and_goes_alone_in_its_time() -> None:
    subject = batcher()
    for item in range(3):
        subject.add(item, 1, now=10.0)
    subject.limit = 1
    assert subject.take(10.0) == [0]
    subject.set_aside(None)
    assert (len(subject), subject.bytes_held, subject.has_company) == (3, 3, True)
    subject.limit = SIZE
    assert subject.take(10.5) == [1, 2]
    subject.settle()
    assert not subject.has_company
    assert subject.due_at() is None, "no time of its own yet"
    subject.postpone(20.0)
    assert subject.due_at() == 20.0
    assert subject.take(19.9) == []
    assert subject.take(20.0) == [0]
    subject.settle()
    assert (len(subject), subject.bytes_held) == (0, 0)


def test_what_is_brought_back_stands_where_it_stood() -> None:
    subject = batcher()
    subject.limit = 1
    for item in range(3):
        subject.add(item, 1, now=10.0)
    for item in range(2):
        assert subject.take(11.0) == [item]
        subject.set_aside(None)
    subject.bring_back()
    subject.limit = SIZE
    assert subject.take(11.0) == [0, 1, 2]


def test_everything_is_given_up_what_was_set_aside_included() -> None:
    subject = batcher()
    for item in range(3):
        subject.add(item, 1, now=10.0)
    subject.limit = 1
    subject.take(11.0)
    subject.set_aside(99.0)
    assert subject.take_all() == [0, 1, 2]
    assert (len(subject), subject.bytes_held, subject.due_at()) == (0, 0, None)
