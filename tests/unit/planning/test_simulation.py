from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.budget import frame_wait, frames_per_second, heartbeats_per_second, tick_ms
from whatssound.planning.crowd import MOST_CHAT, chat_rate, poisson, room_sizes
from whatssound.planning.played_room import PlayedRoom, Second
from whatssound.planning.simulation import Scenario, simulate
from whatssound.planning.storm import storm
from whatssound.planning.traffic import LARGE_ROOM
from whatssound.planning.workload import worst_minute

SMALL = Scenario(people=3_000, events_per_second=2_500, seconds=120, filling=30)


def alone(size: int, events_per_second: float, *, seconds: int, seed: int = 3) -> tuple[PlayedRoom, list[Second]]:
    """One room with nobody else in the project, full after the first second."""
    room = PlayedRoom(size, 1, Random(seed))
    return room, [room.play(second, 1.0, room.people, events_per_second) for second in range(seconds)]


# --- conservation


def test_equal_scenarios_have_equal_outcomes_and_others_do_not() -> None:
    assert simulate(SMALL) == simulate(SMALL)
    assert simulate(SMALL) != simulate(replace(SMALL, seed=2))


def test_everybody_comes_once_and_asks_for_one_snapshot() -> None:
    found = simulate(SMALL)
    assert found.people == SMALL.people == found.total.snapshots
    assert SMALL.people <= found.total.joins <= 2 * SMALL.people


@pytest.mark.parametrize("size", [7, 120, 2_000])
def test_every_frame_reaches_everybody_and_every_message_is_accounted_for(size: int) -> None:
    room, played = alone(size, 2_500, seconds=60)
    for second in played:
        assert second.frame_deliveries == second.frames * size
        rest = second.events - second.frames - second.frame_deliveries
        assert rest in (0, second.said * size)  # by broadcast: one sent, and all the others receive it
        assert second.said <= second.written
    assert sum(second.written for second in played) == len(room.waits)


def test_no_event_is_left_without_a_frame() -> None:
    """What was written waits a tick at most, and there are no more frames than writes or than ticks."""
    room, played = alone(1_000, 2_500, seconds=120)
    assert max(room.waits) <= 0.5 + 1e-9
    assert sum(second.frames for second in played[10:]) <= 110 / 0.5 + 1


@given(st.integers(1, 30_000), st.integers(5, 5_000), st.integers(0, 99))
def test_rooms_hold_everybody_and_none_is_too_large(people: int, largest: int, seed: int) -> None:
    sizes = room_sizes(people, largest, Random(seed))
    assert sum(sizes) == people
    assert max(sizes) <= largest
    assert list(sizes) == sorted(sizes, reverse=True)


def test_most_people_are_in_few_rooms() -> None:
    sizes = room_sizes(100_000, 20_000, Random(1))
    assert sum(sizes[: len(sizes) // 10]) > 0.5 * 100_000
    assert chat_rate(1_000) == 13.0
    assert chat_rate(100_000) == MOST_CHAT


def test_chance_has_the_mean_it_should() -> None:
    draw = Random(5)
    assert sum(poisson(2.5, draw) for _ in range(20_000)) / 20_000 == pytest.approx(2.5, rel=0.02)
    assert poisson(0.0, draw) == 0


# --- agreement with the closed forms


@pytest.mark.parametrize(("size", "events"), [(1_000, 2_500), (5_000, 2_500), (400, 500)])
def test_frames_and_waits_agree_with_the_closed_forms(size: int, events: float) -> None:
    room, played = alone(size, events, seconds=900)
    settled = played[30:]
    assert room.tick_ms == tick_ms(size, events)
    tick = room.tick_ms / 1000
    writes = sum(second.written for second in settled) / len(settled)
    frames = sum(second.frames for second in settled) / len(settled)
    assert frames == pytest.approx(frames_per_second(writes, tick), rel=0.02)
    waits = sorted(room.waits[len(room.waits) // 10 :])
    for quantile in (0.5, 0.95):
        found = waits[int(quantile * len(waits))]
        assert found == pytest.approx(frame_wait(writes, tick, quantile), abs=0.03 * tick)


def test_a_small_room_sends_a_frame_a_write() -> None:
    room, played = alone(20, 2_500, seconds=300)
    assert room.tick_ms == 0
    assert sum(second.frames for second in played) == sum(second.written for second in played)
    assert played[-1].heartbeats == heartbeats_per_second(20)


@pytest.mark.parametrize("events", [500.0, 2_500.0, 25_000.0])
def test_rooms_together_keep_within_the_plan(events: float) -> None:
    found = simulate(replace(SMALL, events_per_second=events, seconds=180))
    assert found.events <= events
    # More is allowed, less is waited for.
    more = simulate(replace(SMALL, events_per_second=2 * events, seconds=180))
    assert more.wait_p95 <= found.wait_p95


@pytest.mark.parametrize("size", [200, 300, 700, 1_050, 1_500])
def test_a_silent_room_that_comes_to_life_keeps_within_the_plan(size: int) -> None:
    """Its first five seconds come before the database looks again; at a frame a write they would be half a minute's."""
    room = PlayedRoom(size, 1, Random(1), votes=False)
    for second in range(60):
        assert room.play(second, 0.0, room.people, 2_500).written == 0
    lively = [float(room.play(second, 1.0, room.people, 2_500).events) for second in range(60, 150)]
    assert worst_minute(lively) <= 2_500


def test_a_large_room_leaves_the_topic_that_members_write_to() -> None:
    small, large = (PlayedRoom(size, 1, Random(1)) for size in (LARGE_ROOM, 10 * LARGE_ROOM))
    assert small.play(0, 0.0, 0, 1e9).joins == 2 * LARGE_ROOM
    assert large.play(0, 0.0, 0, 1e9).joins == 11 * LARGE_ROOM


# --- storms


def test_a_storm_is_over_when_all_are_back_and_repeats() -> None:
    found = storm(1_000, 2_500, topics=1, seed=1)
    assert found == storm(1_000, 2_500, topics=1, seed=1)
    assert found.attempts == 1_000
    assert found.refused == 0
    assert found.half < found.seconds <= 0.5  # full jitter over the first half second
    assert found.most_joins == 1_000


def test_a_storm_beyond_the_limit_takes_minutes_and_loses_nobody() -> None:
    """100 joins a second: 6,000 a minute. Ten times as many need ten minutes."""
    found = storm(60_000, 100, topics=1, seed=1)
    assert found.attempts == 60_000 + found.refused
    assert 9 * 60 <= found.seconds <= 13 * 60
    assert found.most_joins <= 6_000


def test_two_topics_need_twice_the_joins() -> None:
    one, two = (storm(3_000, 50, topics=topics, seed=1) for topics in (1, 2))
    assert one.refused == 0
    assert two.refused >= 1_500
