"""What people do in a room: how many there are, how much they say, vote and tip."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError

#: Seconds over which the server averages; traffic is looked at in steps of `STEP`, as it does.
MINUTE = 60
STEP = 5

#: Standard deviations of independent arrivals that the busiest second is taken to be above the mean (one in 1,000).
_BUSY = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One room, or several alike.

    The defaults are assumptions, not measurements: a vote a listener and every third song, a tip by one listener in
    twenty and an hour, songs of three and a half minutes.

    Attributes:
        listeners: people in each room, all there for the whole session.
        messages_per_second: chat in each room, all senders together.
        seconds: how long the session lasts.
        rooms: rooms at the same time.
        sessions: such sessions a month in each room.
        votes_per_listener_hour: votes.
        tips_per_listener_hour: tips.
        songs_per_hour: songs that end and begin.
        crew: DJ and moderators, who stay in presence however large the room.
        characters: of a chat message, on average.
        chat: messages in each second, where they are known second by second.
    """

    listeners: int
    messages_per_second: float
    seconds: float
    rooms: int = 1
    sessions: int = 1
    votes_per_listener_hour: float = 6.0
    tips_per_listener_hour: float = 0.05
    songs_per_hour: float = 17.0
    crew: int = 3
    characters: float = 28.0
    chat: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("listeners", "seconds", "rooms", "sessions"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigurationError(name, "must be greater than 0")
        for name in (
            "messages_per_second",
            "votes_per_listener_hour",
            "tips_per_listener_hour",
            "songs_per_hour",
            "crew",
            "characters",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(name, "must not be negative")

    @property
    def people(self) -> int:
        """Everybody, in all rooms."""
        return self.listeners * self.rooms

    @property
    def votes(self) -> float:
        """Votes a second in one room."""
        return self.listeners * self.votes_per_listener_hour / 3600

    @property
    def tips(self) -> float:
        """Tips a second in one room."""
        return self.listeners * self.tips_per_listener_hour / 3600

    @property
    def songs(self) -> float:
        """Songs a second in one room."""
        return self.songs_per_hour / 3600

    @property
    def busiest_minute(self) -> float:
        """Chat a second over the busiest minute in one room."""
        if not self.chat:
            return self.messages_per_second
        return worst_minute(self.chat)

    @property
    def busiest_second(self) -> float:
        """Chat in the busiest second in one room; from a mean alone, what one second in 1,000 has."""
        if self.chat:
            return float(max(self.chat))
        return self.messages_per_second + _BUSY * math.sqrt(self.messages_per_second)


def read_trace(path: Path) -> tuple[tuple[int, ...], float]:
    """Reads a recorded chat: CSV with the columns ``offset_ms`` and ``length``, one message a row.

    Args:
        path: the file.

    Returns:
        Messages in each second from the first, and the mean length in characters.

    Raises:
        ConfigurationError: it cannot be read, or is no such file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["offset_ms"]), int(row["length"])) for row in csv.DictReader(file)]
    except OSError as error:
        raise ConfigurationError("trace", f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ConfigurationError("trace", f"{path} is no CSV with columns offset_ms and length ({error})") from error
    if not rows or min(offset for offset, _ in rows) < 0:
        raise ConfigurationError("trace", f"{path} holds no messages, or one before the start")
    return per_second(offset for offset, _ in rows), sum(length for _, length in rows) / len(rows)


def per_second(offsets_ms: Iterable[int]) -> tuple[int, ...]:
    """Counts messages in each second.

    Args:
        offsets_ms: milliseconds from the start, in any order.
    """
    seconds: dict[int, int] = {}
    for offset in offsets_ms:
        seconds[offset // 1000] = seconds.get(offset // 1000, 0) + 1
    return tuple(seconds.get(second, 0) for second in range(max(seconds, default=-1) + 1))


def worst_minute(events: Sequence[float]) -> float:
    """The highest average a second over a minute, looked at every five seconds as the server does.

    Args:
        events: events in each second.
    """
    # What is shorter is averaged over its own length: the server's average is short at first, too.
    width = min(MINUTE, len(events))
    return max(sum(events[start : start + width]) / width for start in range(0, len(events) - width + 1, STEP))
