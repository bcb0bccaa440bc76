"""Many rooms at once, played: what ten thousand, a hundred thousand or a million people ask of the servers.

Nothing is measured here: the rules are those of the database and of the client, time is played in steps of a second,
and chance is repeatable. `docs/explanation/scaling.md` shows what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from . import sizes
from .crowd import room_sizes
from .played_room import PlayedRoom, Second
from .workload import worst_minute

#: Hours a day that rooms are live, of which a month's rows are worked out.
LIVE_HOURS = 4.0
_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is played.

    Attributes:
        people: at once, in all rooms.
        events_per_second: what the plan allows the project.
        largest: people in the largest room.
        seconds: how long; the last minutes, when all are there, are what is looked at.
        filling: seconds in which people come.
        mood: how much is said in each second, 1 on average; repeated. Rooms are at different places of it.
        seed: makes it repeatable.
    """

    people: int
    events_per_second: float
    largest: int = 20_000
    seconds: int = 180
    filling: int = 60
    mood: Sequence[float] = (1.0,)
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out.

    Attributes:
        people: at once, in all rooms.
        rooms: how many.
        largest: people in the largest.
        ticking: rooms with a tick in the end.
        people_ticking: people in them.
        tick_ms: of the largest room in the end.
        wait_p50: seconds that an event waited for its frame, median over everything written.
        wait_p95: the same, 95th percentile.
        joins: most joins in a second while people come.
        snapshots: most snapshot reads in a second.
        events: Realtime messages a second in the worst minute with everybody there.
        events_peak: the same in the worst second.
        frames: frames a second, on average with everybody there.
        writes: events of the log a second, likewise.
        heartbeats: heartbeats a second, likewise.
        sent_gb: gigabytes sent to listeners an hour, likewise; frames alone.
        total: everything that happened, from the beginning.
        rows_a_month: messages stored in a month of `LIVE_HOURS` a day.
        partition_gb: gigabytes of that month's partition, indexes included.
        passing_gb: gigabytes that the log, its keys and frames hold at any time.
    """

    people: int
    rooms: int
    largest: int
    ticking: int
    people_ticking: int
    tick_ms: int
    wait_p50: float
    wait_p95: float
    joins: int
    snapshots: int
    events: float
    events_peak: int
    frames: float
    writes: float
    heartbeats: float
    sent_gb: float
    total: Second
    rows_a_month: float
    partition_gb: float
    passing_gb: float


def simulate(scenario: Scenario) -> Outcome:
    """Plays a scenario.

    Args:
        scenario: what to play; equal scenarios have equal outcomes.
    """
    draw = Random(scenario.seed)  # noqa: S311 - a simulation, repeatable on purpose
    rooms = [PlayedRoom(size, scenario.filling, draw) for size in room_sizes(scenario.people, scenario.largest, draw)]
    starts = [draw.randrange(len(scenario.mood)) for _ in rooms]
    played = [Second() for _ in range(scenario.seconds)]
    for second, sums in enumerate(played):
        here = sum(room.people for room in rooms)
        for room, start in zip(rooms, starts, strict=True):
            mood = scenario.mood[(start + second) % len(scenario.mood)]
            sums.add(room.play(second, mood, here, scenario.events_per_second))
        if second == scenario.filling - 1:
            for room in rooms:
                room.waits.clear()  # while people come, rooms have yet to find their tick
    return _outcome(scenario, rooms, played)


def _outcome(scenario: Scenario, rooms: Sequence[PlayedRoom], played: Sequence[Second]) -> Outcome:
    total = Second()
    for second in played:
        total.add(second)
    settled = played[scenario.filling :]
    waits = sorted(wait for room in rooms for wait in room.waits)
    said = _mean([second.said for second in settled])
    writes = _mean([second.written for second in settled])
    frames = _mean([second.frames for second in settled])
    ticking = [room for room in rooms if room.tick_ms]
    live = LIVE_HOURS * 3600
    rows = said * live * _DAYS
    kept = live * sizes.KEPT_HOURS / 24
    return Outcome(
        people=sum(room.people for room in rooms),
        rooms=len(rooms),
        largest=rooms[0].people,
        ticking=len(ticking),
        people_ticking=sum(room.people for room in ticking),
        tick_ms=rooms[0].tick_ms,
        wait_p50=_quantile(waits, 0.5),
        wait_p95=_quantile(waits, 0.95),
        joins=max(second.joins for second in played),
        snapshots=max(second.snapshots for second in played),
        events=worst_minute([float(second.events) for second in settled]),
        events_peak=max(second.events for second in settled),
        frames=frames,
        writes=writes,
        heartbeats=_mean([second.heartbeats for second in settled]),
        sent_gb=_mean([_frame_bytes(second) for second in settled]) * 3600 / 1e9,
        total=total,
        rows_a_month=rows,
        partition_gb=rows * sizes.STORED_MESSAGE / 1e9,
        passing_gb=kept
        * (writes * (sizes.LOG_ENTRY + sizes.FRAME_EVENT) + (writes - said) * sizes.KEY + frames * sizes.STORED_FRAME)
        / 1e9,
    )


def _frame_bytes(second: Second) -> float:
    return second.frame_deliveries * sizes.FRAME + second.event_deliveries * sizes.FRAME_EVENT


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _quantile(ordered: Sequence[float], quantile: float) -> float:
    return ordered[int(quantile * len(ordered))] if ordered else 0.0
