"""The schedules of the fault tests: repeatable, within their time, and every kind in its turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.faults.schedule import FEEDS, OUTAGE, TRAFFIC, Kind, make_outage, make_schedule

CLIENTS = 7


def test_a_seed_is_a_schedule() -> None:
    assert make_schedule(5, CLIENTS) == make_schedule(5, CLIENTS)
    assert replace(make_schedule(5, CLIENTS), seed=6) != make_schedule(6, CLIENTS)


@pytest.mark.parametrize("first", [0, 4, 196])
def test_four_seeds_have_seen_every_kind(first: int) -> None:
    kinds = {
        step.kind for seed in range(first, first + 4) for step in make_schedule(seed, CLIENTS).steps if not step.plain
    }
    assert kinds == set(Kind)


@pytest.mark.parametrize("seed", range(200))
def test_faults_end_with_the_traffic_and_leave_the_plain_drop_alone(seed: int) -> None:
    plain, *others = make_schedule(seed, CLIENTS).steps
    assert plain.plain
    assert plain.kind in (Kind.RST, Kind.FIN)
    assert plain.target in range(CLIENTS)
    assert [step.at for step in others] == sorted(step.at for step in others)
    for step in others:
        assert not step.plain
        # A second and a half is what a plain drop may take.
        assert step.at >= plain.at + 1.5
        assert step.target is None or step.target in range(CLIENTS)
        assert step.path.startswith("/")
        if step.kind not in (Kind.POSTGRES_KILL, Kind.REALTIME_RESTART, Kind.STACK_RESTART, Kind.PROCESS_KILL):
            assert step.ends <= TRAFFIC + 0.01


def test_what_lasts_has_a_length_and_what_is_said_has_words() -> None:
    steps = [step for seed in range(40) for step in make_schedule(seed, CLIENTS).steps]
    lasting = (Kind.BLACK_HOLE, Kind.DELAY, Kind.REFUSE, Kind.AUTH_OUTAGE, Kind.STACK_RESTART, Kind.FRAMES_LOST)
    assert all(step.seconds > 0 for step in steps if step.kind in lasting)
    assert all(step.words for step in steps if step.kind is Kind.KICK)
    assert {step.status for step in steps if step.kind is Kind.RATE_LIMIT} == {429}
    assert {step.status for step in steps if step.kind is Kind.TOKEN_REFUSED} == {401}


@pytest.mark.parametrize("seed", range(20))
def test_every_room_has_both_feeds_unless_one_is_asked_for_and_the_faults_are_the_same(seed: int) -> None:
    mixed = make_schedule(seed, CLIENTS)
    assert set(mixed.feeds) == set(FEEDS)
    assert len(mixed.feeds) == CLIENTS
    for feed in FEEDS:
        single = make_schedule(seed, CLIENTS, feed)
        assert single.feeds == (feed,) * CLIENTS
        assert single.steps == mixed.steps


def test_the_long_outage_hits_everybody_and_ends_before_the_traffic() -> None:
    outage = make_outage(3, CLIENTS)
    (step,) = outage.steps
    assert (step.kind, step.target, step.seconds) == (Kind.REFUSE, None, OUTAGE)
    assert step.ends < outage.traffic
    assert outage.feeds == make_schedule(3, CLIENTS).feeds


def test_each_client_has_each_feed_in_some_seed() -> None:
    for place in range(CLIENTS):
        assert {make_schedule(seed, CLIENTS).feeds[place] for seed in range(20)} == set(FEEDS)
