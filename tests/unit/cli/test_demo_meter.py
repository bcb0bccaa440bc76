from __future__ import annotations

import asyncio

from whatssound.cli.demo.meter import Latency, Meter, latency_of


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_latency_is_from_the_authors_own_sight_to_the_others() -> None:
    clock = Hand()
    meter = Meter(3, clock)
    meter.saw(0, "m", own=True)
    clock.time += 0.25
    meter.saw(1, "m", own=False)
    clock.time += 0.25
    meter.saw(2, "m", own=False)
    assert meter.overall() == Latency(2, 0.25, 0.5, 0.5)
    assert meter.recent() == meter.overall()
    assert meter.sent == 1


def test_a_second_sight_is_counted_and_not_timed() -> None:
    meter = Meter(2, Hand())
    meter.saw(0, "m", own=True)
    meter.saw(1, "m", own=False)
    meter.saw(1, "m", own=False)
    assert meter.repeats == 1
    assert meter.overall().count == 1


def test_the_rate_is_of_the_last_seconds() -> None:
    clock = Hand()
    meter = Meter(1, clock)
    for at in range(6):
        meter.saw(0, str(at), own=True)
    assert meter.rate() == 2.0
    clock.time += 10
    assert meter.rate() == 0.0


async def test_waiting_ends_with_the_last_sight() -> None:
    meter = Meter(2, Hand())
    meter.saw(0, "m", own=True)
    waiting = asyncio.create_task(meter.all_seen(["m"], within=30))
    await asyncio.sleep(0)
    assert not waiting.done()
    meter.saw(1, "other", own=False)
    meter.saw(1, "m", own=False)
    assert await waiting


async def test_waiting_for_what_is_seen_already_takes_no_time() -> None:
    meter = Meter(1, Hand())
    meter.saw(0, "m", own=True)
    assert await meter.all_seen(["m"], within=30)
    assert await Meter(3, Hand()).all_seen([], within=30)


async def test_waiting_is_bounded_and_tells_who_lacks_what() -> None:
    meter = Meter(2, Hand())
    meter.saw(0, "m", own=True)
    assert not await meter.all_seen(["m"], within=0.01)
    assert meter.seen_by(["m"]) == [1, 0]


def test_percentiles() -> None:
    assert latency_of([]) == Latency()
    assert latency_of([float(at) for at in range(101)]) == Latency(101, 50.0, 95.0, 100.0)
