"""What is said, voted and tipped, and when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Characters of a chat message in a live chat, on average.
_USUAL_LENGTH = 28


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody does.

    Attributes:
        at: seconds from the start.
        who: a number; the speakers take turns by it.
    """

    at: float
    who: int


@dataclass(frozen=True, slots=True)
class Say(Act):
    """Says something of ``length`` characters."""

    length: int = _USUAL_LENGTH


@dataclass(frozen=True, slots=True)
class Vote(Act):
    """Votes on a song, the other way round each time."""


@dataclass(frozen=True, slots=True)
class Tip(Act):
    """Tips the DJ, and has it paid."""


def evenly(kind: type[Act], *, per_second: float, seconds: float) -> Iterator[Act]:
    """Acts at an even pace, the first half a step from the start.

    Args:
        kind: what is done.
        per_second: how often; 0 for never.
        seconds: for how long.
    """
    for number in range(round(per_second * seconds)):
        yield kind((number + 0.5) / per_second, number)


def as_recorded(lines: Sequence[tuple[float, int, int]], *, start: float, seconds: float) -> Iterator[Say]:
    """A part of a recorded chat at life speed.

    Args:
        lines: seconds from the chat's start, author and length of each message, in order of time.
        start: the part's first second.
        seconds: its length.
    """
    for at, author, length in lines:
        if start <= at < start + seconds:
            yield Say(at - start, author, length)


def together(*parts: Iterator[Act]) -> list[Act]:
    """Merges parts that run beside each other, each in order of time."""
    return list(heapq.merge(*parts, key=lambda act: act.at))


def text_of(number: int, length: int) -> str:
    """A text of this length that no other number has, unless the number itself is longer.

    Args:
        number: of the message.
        length: characters.
    """
    words = itertools.cycle(("temazo", "otra", "vamos", "sube", "baila"))
    text = f"{number}"
    while len(text) < length:
        text += f" {next(words)}"
    return text[: max(length, len(f"{number}"))].rstrip()
