"""What happens in the demo's room, and when: drawn once from a seed, so that a run can be repeated.

Chat keeps the rhythm of a recorded live chat; votes, tips and queue changes come at random moments between. What
depends on the room as it is by then (which song, which place in the queue) is left open as a number in [0, 1).
"""

from __future__ import annotations

import csv
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from random import Random

from . import words

#: Acts of each kind a second, by listener: a lively room, chat apart.
VOTES = 0.1
TIPS = 0.012
SONGS_ADDED = 0.01
#: Acts of each kind a second, by DJ and moderator together.
MOVES = 0.25
REMOVALS = 0.08
ADVANCES = 0.15

LONGEST = 500
RETRACTED = 0.1
DOWN = 0.25


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One message of a recorded chat: seconds since its start, its author, its length in characters."""

    at: float
    author: int
    length: int


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens: when, in seconds since the start, and by which listener.

    Acts of the staff (queue changes) count DJ and moderator by ``who`` 0 and 1.
    """

    at: float
    who: int


@dataclass(frozen=True, slots=True)
class Type(Act):
    """Begins to type."""


@dataclass(frozen=True, slots=True)
class Say(Act):
    """Sends a chat message."""

    text: str


@dataclass(frozen=True, slots=True)
class Vote(Act):
    """Votes (1, -1) for a song, or takes the vote back (0)."""

    song: float
    value: int


@dataclass(frozen=True, slots=True)
class Tip(Act):
    """Tips the DJ; ``amount`` in cents."""

    amount: int
    note: str | None


@dataclass(frozen=True, slots=True)
class Add(Act):
    """Puts a song into the queue; ``duration`` in seconds."""

    title: str
    artist: str
    duration: float


@dataclass(frozen=True, slots=True)
class Move(Act):
    """Staff: moves an item before another one."""

    item: float
    before: float


@dataclass(frozen=True, slots=True)
class Remove(Act):
    """Staff: takes an item out of the queue."""

    item: float


@dataclass(frozen=True, slots=True)
class Advance(Act):
    """Staff: the next song."""

    skipped: bool


STAFF_ACTS = (Move, Remove, Advance)


def read_trace(path: Path, *, until: float) -> list[TraceLine]:
    """Reads a recorded chat (CSV: offset_ms, author, length), as far as ``until`` seconds after its start.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not three numbers.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = (
            TraceLine(int(row["offset_ms"]) / 1000, int(row["author"]), int(row["length"]))
            for row in csv.DictReader(file)
        )
        return list(takewhile(lambda line: line.at < until, lines))


def write_script(trace: Sequence[TraceLine], *, listeners: int, seconds: float, speed: float, seed: int) -> list[Act]:
    """Draws everything that will happen.

    Args:
        trace: the recorded chat.
        listeners: how many there are; the trace's authors are spread over them.
        seconds: how long the demo lasts.
        speed: how many times faster than recorded the chat goes.
        seed: makes the same script again.

    Returns:
        The acts by time, each before ``seconds``.
    """
    chance = Random(seed)  # noqa: S311 - draws a play, protects nothing
    parts = (
        _chat(chance, trace, listeners, seconds, speed),
        _now_and_then(chance, VOTES * listeners, seconds, lambda at: _vote(chance, at, listeners)),
        _now_and_then(chance, TIPS * listeners, seconds, lambda at: _tip(chance, at, listeners)),
        _now_and_then(chance, SONGS_ADDED * listeners, seconds, lambda at: _add(chance, at, listeners)),
        _now_and_then(chance, MOVES, seconds, lambda at: Move(at, _staff(chance), chance.random(), chance.random())),
        _now_and_then(chance, REMOVALS, seconds, lambda at: Remove(at, _staff(chance), chance.random())),
        _now_and_then(chance, ADVANCES, seconds, lambda at: Advance(at, 0, chance.random() < 0.3)),
    )
    return list(heapq.merge(*(sorted(part, key=_when) for part in parts), key=_when))


def _when(act: Act) -> float:
    return act.at


def _staff(chance: Random) -> int:
    return chance.randrange(2)


def _chat(
    chance: Random, trace: Sequence[TraceLine], listeners: int, seconds: float, speed: float
) -> Iterator[Type | Say]:
    seats: dict[int, int] = {}
    for line in trace:
        at = line.at / speed
        if at >= seconds:
            return
        who = seats.setdefault(line.author, len(seats) % listeners)
        if chance.random() < 0.25:
            yield Type(max(0.0, at - chance.uniform(0.2, 0.8)), who)
        yield Say(at, who, words.say(chance, min(max(line.length, 1), LONGEST)))


def _now_and_then(chance: Random, rate: float, seconds: float, draw: Callable[[float], Act]) -> list[Act]:
    acts: list[Act] = []
    at = chance.expovariate(rate)
    while at < seconds:
        acts.append(draw(at))
        at += chance.expovariate(rate)
    return acts


def _vote(chance: Random, at: float, listeners: int) -> Vote:
    lot = chance.random()
    value = 0 if lot < RETRACTED else -1 if lot < RETRACTED + DOWN else 1
    return Vote(at, chance.randrange(listeners), chance.random(), value)


def _tip(chance: Random, at: float, listeners: int) -> Tip:
    note = chance.choice(words.NOTES) if chance.random() < 0.6 else None
    return Tip(at, chance.randrange(listeners), chance.choice((100, 200, 500, 1000, 2000)), note)


def _add(chance: Random, at: float, listeners: int) -> Add:
    title, artist, duration = chance.choice(words.SONGS)
    return Add(at, chance.randrange(listeners), title, artist, duration)
