"""Who is where: rooms of very different sizes, and how much is said in them."""

from __future__ import annotations

from random import Random

#: Exponent of the law of room sizes: few large, many small, the largest tenth holds most people.
_EXPONENT = 1.1

#: People in the smallest room.
_SMALLEST = 5

#: Chat a second that a room of a thousand makes (the recorded chat's mean), and what no room exceeds: beyond it nobody
#: can read, and slow mode goes on.
CHAT_OF_A_THOUSAND = 13.0
MOST_CHAT = 50.0


def room_sizes(people: int, largest: int, draw: Random) -> tuple[int, ...]:
    """Draws rooms by a power law until everybody has a place, largest first.

    Args:
        people: in all of them; their sum.
        largest: nobody fits in a room of this size any more.
        draw: the source of chance.
    """
    sizes: list[int] = []
    left = people
    while left > 0:
        size = min(largest, left, int(_SMALLEST / (1.0 - draw.random()) ** (1 / _EXPONENT)))
        sizes.append(size)
        left -= size
    return tuple(sorted(sizes, reverse=True))


def chat_rate(listeners: int) -> float:
    """Returns the chat messages a second of a room, on average.

    Args:
        listeners: people in it.
    """
    return min(MOST_CHAT, CHAT_OF_A_THOUSAND * listeners / 1_000)


def poisson(mean: float, draw: Random) -> int:
    """Draws how many independent things happen.

    Args:
        mean: how many do on average.
        draw: the source of chance.
    """
    count, time = 0, draw.expovariate(1.0)
    while time < mean:
        count += 1
        time += draw.expovariate(1.0)
    return count
