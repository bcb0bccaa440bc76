from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.budget import (
    AT_ONCE_SHARE,
    BACK_TO_AT_ONCE_SHARE,
    FRAME_SHARE,
    LONGEST_TICK_MS,
    SHORTEST_TICK_MS,
    WINDOW,
    Pacer,
    RateMeter,
    arrival_cost,
    broadcast_cost,
    change_cost,
    chat_path,
    departure_cost,
    frame_wait,
    frames_per_second,
    heartbeats_per_second,
    load_at_once,
    session_budget,
    session_tick_ms,
    tick_ms,
)

LISTENERS = st.integers(1, 100_000)
PLANS = st.sampled_from([100.0, 500.0, 2_500.0, 100_000.0])


def test_a_broadcast_counts_once_sent_and_once_for_each_receiver() -> None:
    """The example of Supabase's own page: one message, four listeners, five messages."""
    assert broadcast_cost(4) == 5
    assert change_cost(5) == 5
    assert (arrival_cost(1), arrival_cost(10), departure_cost(9)) == (3, 12, 9)


@pytest.mark.parametrize(
    ("listeners", "events", "tick"),
    [
        (200, 100, 2_500),
        (200, 500, 500),
        (500, 500, 1_250),
        (500, 2_500, 250),
        (1_000, 2_500, 500),
        (10_000, 2_500, 5_000),
    ],
)
def test_the_shortest_tick_is_that_of_the_table(listeners: int, events: float, tick: int) -> None:
    assert tick_ms(listeners, events) == tick


@given(LISTENERS, PLANS)
def test_frames_at_the_tick_keep_within_their_share(listeners: int, events: float) -> None:
    tick = tick_ms(listeners, events)
    assert SHORTEST_TICK_MS <= tick <= LONGEST_TICK_MS
    if tick < LONGEST_TICK_MS:
        assert listeners * 1000 / tick <= FRAME_SHARE * events + 1e-6
    # and it is not longer than that needs
    assert tick == SHORTEST_TICK_MS or listeners * 1000 / (tick - 1) > FRAME_SHARE * events


@given(LISTENERS, st.floats(0, 100), st.floats(0, 1), PLANS)
def test_a_room_sends_at_once_only_within_its_share_and_does_not_flap(
    people: int, writes: float, chat: float, events: float
) -> None:
    rising = session_tick_ms(people, writes, events, chat_per_second=chat * writes)
    falling = session_tick_ms(people, writes, events, chat_per_second=chat * writes, current_ms=rising or 500)
    spent = load_at_once(people, writes, chat * writes)
    assert (rising == 0) == (spent <= AT_ONCE_SHARE * events)
    assert (falling == 0) == (spent <= BACK_TO_AT_ONCE_SHARE * events)
    assert chat_path(rising) == ("stored" if rising else "broadcast")


def test_chat_sent_at_once_is_paid_for_twice() -> None:
    """By its author's broadcast and by the frame that stores it."""
    assert load_at_once(100, 5.0, 5.0) == 100 * 5 + 101 * 5


def test_a_quiet_room_is_taken_for_one_that_may_come_to_life() -> None:
    assert load_at_once(10, 0.0) == pytest.approx(2)
    assert load_at_once(60, 0.0) == pytest.approx(60)
    assert load_at_once(1_000, 0.0) == pytest.approx(1_000 * 1_000 / 75)


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=20), PLANS)
def test_sessions_together_have_the_plan_and_no_more(rooms: list[int], events: float) -> None:
    budgets = [session_budget(people, sum(rooms) - people, events) for people in rooms if people]
    assert sum(budgets) == pytest.approx(events if any(rooms) else 0)
    assert session_budget(0, 0, events) == events


@pytest.mark.parametrize(
    ("people", "calls"), [(1, 0.04), (1_000, 40.0), (1_001, 40.04), (10_000, 60.0), (18_000, 80.6), (100_000, 363.0)]
)
def test_heartbeats_grow_slower_than_the_room(people: int, calls: float) -> None:
    assert heartbeats_per_second(people) == pytest.approx(calls, rel=0.03)


def played(rate: float, tick: float, writes: int) -> tuple[float, list[float]]:
    """Frames a second, and the sorted waits of the writes: the rule itself, on independent arrivals."""
    draw = random.Random(f"{rate} {tick}")
    now, framed, frames = 0.0, -math.inf, 0
    due: float | None = None
    waits = []
    for _ in range(writes):
        now += draw.expovariate(rate)
        if due is not None and due <= now:
            framed, due, frames = due, None, frames + 1
        if due is None and now >= framed + tick:
            framed, frames = now, frames + 1
            waits.append(0.0)
        else:
            due = framed + tick
            waits.append(due - now)
    return frames / now, sorted(waits)


@pytest.mark.parametrize(("rate", "tick"), [(0.3, 0.5), (2.0, 0.5), (13.0, 0.5), (1.0, 5.0), (4.0, 0.0)])
def test_frames_and_waits_are_what_playing_the_rule_gives(rate: float, tick: float) -> None:
    frames, waits = played(rate, tick, 40_000)
    assert frames_per_second(rate, tick) == pytest.approx(frames, rel=0.02)
    for quantile in (0.5, 0.95):
        found = waits[int(quantile * len(waits))]
        assert frame_wait(rate, tick, quantile) == pytest.approx(found, abs=0.02 * max(tick, 0.01))


def test_nothing_written_sends_no_frame() -> None:
    assert frames_per_second(0.0, 0.5) == 0.0
    assert frame_wait(0.0, 0.5, 0.95) == 0.0


# --- pacing


ASKS = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 400)), min_size=1, max_size=60)


@given(ASKS, st.sampled_from([40.0, 60.0, 300.0]))
def test_pacing_never_exceeds_the_rate_in_any_minute_and_keeps_the_order(
    asks: list[tuple[float, int]], rate: float
) -> None:
    """Asked in bursts or slowly, with costs that fit what may go at once: all are sent, in the order asked."""
    pacer = Pacer(rate)
    now = 0.0
    sent: list[tuple[float, int]] = []
    for pause, cost in asks:
        now += pause
        sent.append((now + pacer.take(cost, now), cost))
    assert len(sent) == len(asks)
    assert [at for at, _ in sent] == sorted(at for at, _ in sent)
    for start, _ in sent:
        spent = sum(cost for at, cost in sent if start <= at < start + WINDOW)
        assert spent <= WINDOW * rate + 1e-6


@given(st.lists(st.integers(401, 5_000), min_size=2, max_size=20))
def test_a_send_beyond_the_burst_goes_too_and_is_paid_for_by_those_after_it(costs: list[int]) -> None:
    rate = 40.0  # holds 400
    pacer = Pacer(rate)
    sent = [(pacer.take(cost, 0.0), cost) for cost in costs]
    assert [at for at, _ in sent] == sorted(at for at, _ in sent)
    for start, _ in sent:
        window = [cost for at, cost in sent if start <= at < start + WINDOW]
        assert sum(window) - max(window) <= WINDOW * rate + 1e-6


def test_an_idle_client_never_waits() -> None:
    pacer = Pacer(60.0)
    assert [pacer.take(10, now) for now in (1e6, 1e6 + 1, 1e6 + 2)] == [0.0, 0.0, 0.0]


def test_a_changed_rate_counts_from_now_on() -> None:
    pacer = Pacer(60.0)
    assert pacer.take(600, 0.0) == 0.0
    assert pacer.take(50, 0.0) == pytest.approx(1.0)
    pacer.change_rate(600.0, 1.0)  # what was owed is paid by now
    assert pacer.rate == 600.0
    assert pacer.take(500, 1.0) == pytest.approx(1.0)


def test_a_clock_that_stands_still_or_a_late_answer_gives_nothing_away() -> None:
    pacer = Pacer(60.0)
    pacer.take(600, 10.0)
    assert pacer.take(50, 9.0) == pacer.take(0, 10.0) == pytest.approx(1.0)


# --- metering


def test_the_meter_averages_over_a_minute() -> None:
    meter = RateMeter(0.0)
    for second in range(120):
        meter.add(5, float(second))
    assert meter.total == 600
    assert meter.rate(119.5) == pytest.approx(5.0)
    assert meter.rate(149.5) == pytest.approx(2.5)
    assert meter.rate(500.0) == 0.0


def test_the_meter_of_a_young_client_averages_over_its_life() -> None:
    meter = RateMeter(100.0)
    meter.add(30, 100.2)
    assert meter.rate(100.3) == 30.0
    assert meter.rate(110.0) == pytest.approx(3.0)


def test_the_meter_holds_no_more_than_it_needs() -> None:
    meter = RateMeter(0.0)
    for second in range(10_000):
        meter.add(1, float(second))
    assert len(vars(meter)["_buckets"]) <= 2 * WINDOW + 1
