"""What each of many listeners has seen, and when."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import repeat

#: Times of a listener are kept in steps of this many, so that an array is not made longer for each thing seen.
_STEP = 256


def kind_of(key: str) -> str:
    """The kind of thing that a key names: what stands before its colon."""
    return key.partition(":")[0]


@dataclass(slots=True)
class Tally:
    """What became of the things of one kind that were sent, over a number of listeners.

    Attributes:
        sent: how many were sent.
        expected: how many sightings there should be: each thing by each listener.
        repeats: sightings beyond the first, of the same thing by the same listener.
        seconds: from sending to seeing, of each first sighting.
    """

    sent: int = 0
    expected: int = 0
    repeats: int = 0
    seconds: array[float] = field(default_factory=lambda: array("d"))

    @property
    def delivered(self) -> int:
        """How many sightings there were."""
        return len(self.seconds)

    @property
    def lost(self) -> int:
        """How many sightings are missing."""
        return self.expected - self.delivered

    def quantile(self, part: float) -> float:
        """Seconds within which this part of what was delivered was seen; 0 where nothing was.

        Args:
            part: from 0 (the quickest) to 1 (the slowest).
        """
        if not self.seconds:
            return 0.0
        ordered = sorted(self.seconds)
        return ordered[round((len(ordered) - 1) * part)]

    def add(self, other: Tally) -> None:
        """Takes in what other listeners saw of the same things."""
        self.sent = max(self.sent, other.sent)
        self.expected += other.expected
        self.repeats += other.repeats
        self.seconds.extend(other.seconds)


class Sightings:
    """Notes who has seen what. Things are named by keys of the form ``kind:id``.

    Args:
        listeners: how many there are; each is known by a number from 0.
    """

    def __init__(self, listeners: int) -> None:
        self._places: dict[str, int] = {}
        # By listener: when each thing was seen first, by its place; 0 where it has not been seen.
        self._times: list[array[float]] = [array("d") for _ in range(listeners)]
        self._repeats: Counter[str] = Counter()

    def saw(self, who: int, key: str, at: float) -> None:
        """Notes that a listener sees something.

        Args:
            who: the listener.
            key: what it is.
            at: seconds since the epoch.
        """
        place = self._places.setdefault(key, len(self._places))
        times = self._times[who]
        if place >= len(times):
            times.extend(repeat(0.0, place + _STEP - len(times)))
        if times[place]:
            self._repeats[key] += 1
        else:
            times[place] = at

    def missing(self, keys: Collection[str]) -> int:
        """How many sightings of these things there are still to be."""
        places = [self._places.get(key) for key in keys]
        unknown = places.count(None)
        known = [place for place in places if place is not None]
        return sum(unknown + sum(place >= len(times) or not times[place] for place in known) for times in self._times)

    def tallies(self, sent: Mapping[str, float]) -> dict[str, Tally]:
        """Sums up what became of what was sent, by kind.

        Args:
            sent: when each thing was sent, in seconds since the epoch; things that are not among it do not count.
        """
        tallies: dict[str, Tally] = {}
        for key, at in sent.items():
            tally = tallies.setdefault(kind_of(key), Tally())
            tally.sent += 1
            tally.expected += len(self._times)
            tally.repeats += self._repeats[key]
            place = self._places.get(key)
            if place is None:
                continue
            tally.seconds.extend(times[place] - at for times in self._times if place < len(times) and times[place])
        return tallies
