"""One room, played second by second: what is written, when frames go, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from ..core.budget import broadcast_cost, chat_path, heartbeats_per_second, session_budget, session_tick_ms
from .crowd import chat_rate, poisson
from .traffic import LARGE_ROOM, writes_per_second
from .workload import Workload

#: Seconds between two looks of the database at a room.
_LOOK = 5


@dataclass(slots=True)
class Second:
    """What happened in one second, in one room or in all.

    Attributes:
        said: chat messages.
        written: events of the log, chat among them.
        frames: frames sent.
        frame_deliveries: frames received, by all listeners together.
        event_deliveries: events received in them, likewise.
        events: Realtime messages, as the plan counts them.
        heartbeats: heartbeats to the database.
        joins: channel joins.
        snapshots: snapshot reads.
    """

    said: int = 0
    written: int = 0
    frames: int = 0
    frame_deliveries: int = 0
    event_deliveries: int = 0
    events: int = 0
    heartbeats: float = 0.0
    joins: int = 0
    snapshots: int = 0

    def add(self, other: Second) -> None:
        """Adds what happened elsewhere."""
        self.said += other.said
        self.written += other.written
        self.frames += other.frames
        self.frame_deliveries += other.frame_deliveries
        self.event_deliveries += other.event_deliveries
        self.events += other.events
        self.heartbeats += other.heartbeats
        self.joins += other.joins
        self.snapshots += other.snapshots


class FrameRule:
    """When the database sends frames: at once if a tick has passed since the last, else when it has."""

    def __init__(self) -> None:
        self.frames = 0
        self._framed = -math.inf
        self._due: float | None = None

    def write(self, now: float, tick: float) -> float:
        """Takes a write, and returns the seconds that it waits for its frame.

        Args:
            now: seconds; not before that of the write before.
            tick: seconds between two frames; 0 for a frame a write.
        """
        self.pass_time(now)
        if self._due is None and now >= self._framed + tick:
            self._framed = now
            self.frames += 1
            return 0.0
        if self._due is None:
            self._due = self._framed + tick
        return self._due - now

    def pass_time(self, until: float) -> None:
        """Sends the frame that is due by then, if there is one."""
        if self._due is not None and self._due <= until:
            self._framed, self._due = self._due, None
            self.frames += 1


class PlayedRoom:
    """A room of frames. Frames go by the database's own rule, and its tick is set by the database's own function.

    Args:
        size: people who come.
        filling: seconds in which they come, evenly spread by chance.
        draw: the source of chance.
        votes: whether people vote and tip and songs change, beside the chat.
    """

    def __init__(self, size: int, filling: int, draw: Random, *, votes: bool = True) -> None:
        self._draw = draw
        self._size = size
        self._chat = chat_rate(size)
        self._others = 0.0
        if votes:
            self._others = writes_per_second(Workload(listeners=size, messages_per_second=0, seconds=1), 0.0)
        self._arrivals: dict[int, int] = {}
        for _ in range(size):
            second = draw.randrange(filling)
            self._arrivals[second] = self._arrivals.get(second, 0) + 1
        self.people = 0
        self.tick_ms = 0
        self.waits: list[float] = []
        self._rule = FrameRule()
        self._rates = (0.0, 0.0)
        self._since_look = (0, 0)

    def play(self, second: int, mood: float, people: int, events_per_second: float) -> Second:
        """Plays one second.

        Args:
            second: which one.
            mood: how much is said, 1 on average.
            people: in all rooms.
            events_per_second: what the plan allows all rooms together.
        """
        found = Second()
        self._arrive(second, found)
        share = self.people / self._size
        said = poisson(self._chat * mood * share, self._draw)
        written = said + poisson(self._others * share, self._draw)
        found.said, found.written = said, written
        if chat_path(self.tick_ms) == "broadcast" and self.people <= LARGE_ROOM:
            found.events += said * broadcast_cost(max(0, self.people - 1))
        times = sorted(second + self._draw.random() for _ in range(written))
        found.frames = self._send(times, second + 1.0)
        found.frame_deliveries = found.frames * self.people
        found.event_deliveries = written * self.people
        found.events += found.frames * broadcast_cost(self.people)
        found.heartbeats = heartbeats_per_second(self.people)
        self._since_look = (self._since_look[0] + written, self._since_look[1] + said)
        if second % _LOOK == _LOOK - 1:
            self._look(people, events_per_second)
        return found

    def _arrive(self, second: int, found: Second) -> None:
        come = self._arrivals.get(second, 0)
        before = self.people
        self.people += come
        # Listeners of a large room join the frames' topic alone.
        both = max(0, min(LARGE_ROOM, self.people) - before)
        found.joins = come + min(both, come)
        found.snapshots = come
        # The others leave the topic when the room becomes large; leaving is no join.

    def _send(self, times: list[float], until: float) -> int:
        before = self._rule.frames
        self.waits += [self._rule.write(now, self.tick_ms / 1000) for now in times]
        self._rule.pass_time(until)
        return self._rule.frames - before

    def _look(self, people: int, events_per_second: float) -> None:
        writes, chat = (count / _LOOK for count in self._since_look)
        # As the database smoothes: up at once, down slowly.
        writes, chat = (max(now, (now + before) / 2) for now, before in zip((writes, chat), self._rates, strict=True))
        self._rates, self._since_look = (writes, chat), (0, 0)
        if self.people:
            budget = session_budget(self.people, people - self.people, events_per_second)
            self.tick_ms = session_tick_ms(self.people, writes, budget, chat_per_second=chat, current_ms=self.tick_ms)
