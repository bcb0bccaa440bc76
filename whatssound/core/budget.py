"""What things cost in Realtime messages, how often frames may go, and how fast one client may broadcast.

Realtime counts a message when it is sent and again for every client that receives it, and allows so many a second as an
average over a minute, for the whole project. Everything here is arithmetic: time is an argument.
"""

from __future__ import annotations

import math
from typing import Literal, TypeVar

N = TypeVar("N", int, float)

#: Seconds over which the server averages.
WINDOW = 60.0

#: The part of a plan's messages a second that frames may take; the rest is for joins, presence and the unforeseen.
FRAME_SHARE = 0.8

#: The part of them up to which every write is sent at once, and chat broadcast by its sender …
AT_ONCE_SHARE = 0.6

#: … and below which a room with a tick goes back to that.
BACK_TO_AT_ONCE_SHARE = 0.4

#: The part of them that one client's own broadcasts may take.
CLIENT_SHARE = 0.6

#: Milliseconds between two frames, once frames have a tick at all: at least, at most.
SHORTEST_TICK_MS = 250
LONGEST_TICK_MS = 60_000

#: Seconds between two heartbeats of somebody who holds a lease; of somebody who does not, at most.
LEASED_INTERVAL = 25.0
_SELDOM = 300.0

#: Leases that a room has at most before it is sampled.
_LEASES = 1_000

#: Seconds' worth of its rate that a client may broadcast at once.
_BURST = 10.0


def broadcast_cost(receivers: N) -> N:
    """Messages that one broadcast counts for, from a client or from the database: itself and each delivery.

    Args:
        receivers: joined channels that hear it. The sender's own does not.
    """
    return 1 + receivers


def change_cost(subscribers: N) -> N:
    """Messages that one changed row counts for: one for each channel that subscribed and may see it."""
    return subscribers


def arrival_cost(present: int) -> int:
    """Messages that one arrival in presence counts for: the list for the newcomer, its word, and a word to everybody.

    Args:
        present: channels with presence afterwards, the newcomer's included.
    """
    return 2 + present


def departure_cost(remaining: int) -> int:
    """Messages that one departure from presence counts for.

    Args:
        remaining: channels with presence afterwards.
    """
    return remaining


def tick_ms(listeners: int, events_per_second: float) -> int:
    """Returns the shortest time between two frames that the plan can afford, in milliseconds.

    Args:
        listeners: how many hear the frames.
        events_per_second: what the plan allows this session.
    """
    return max(SHORTEST_TICK_MS, min(LONGEST_TICK_MS, math.ceil(1000 * listeners / (FRAME_SHARE * events_per_second))))


def session_budget(people: int, others: int, events_per_second: float) -> float:
    """Returns a session's share of its project's plan: what its people are of all people in live sessions.

    Args:
        people: in the session.
        others: in all other live sessions of the project.
        events_per_second: what the plan allows.
    """
    here = max(people, 1)
    return events_per_second * here / (here + max(others, 0))


def load_at_once(people: int, writes_per_second: float, chat_per_second: float = 0.0) -> float:
    """Returns the messages a second that a room costs if every write is sent at once.

    A frame for every write, and for every chat message its author's own broadcast besides. A quiet room is taken for
    one that may come to life before it is measured again, and then be as lively as the recorded chat.

    Args:
        people: in the room.
        writes_per_second: events of the session's log, all kinds together.
        chat_per_second: of these, chat.
    """
    return (
        people * max(writes_per_second, min(1.0, people / 50), people / 75) + broadcast_cost(people) * chat_per_second
    )


def session_tick_ms(
    people: int, writes_per_second: float, budget: float, *, chat_per_second: float = 0.0, current_ms: int = 0
) -> int:
    """Returns the tick that the database gives a session: 0, a frame a write, while a frame a write is affordable.

    ``whatssound.wanted_tick`` in the database is the same function, and the one that decides.

    Args:
        people: in the room.
        writes_per_second: events of the session's log, all kinds together.
        budget: messages a second that the session may spend; see `session_budget`.
        chat_per_second: of the writes, chat.
        current_ms: the tick until now; a room that has one loses it later than it got it, so that it does not flap.
    """
    share = AT_ONCE_SHARE if current_ms == 0 else BACK_TO_AT_ONCE_SHARE
    if load_at_once(people, writes_per_second, chat_per_second) <= share * budget:
        return 0
    return tick_ms(people, budget)


def chat_path(tick: int) -> Literal["broadcast", "stored"]:
    """Returns how chat travels in a session of frames: by client broadcast only where every write is sent at once.

    Args:
        tick: milliseconds between two frames.
    """
    return "stored" if tick else "broadcast"


def frames_per_second(writes_per_second: float, tick: float) -> float:
    """Returns how many frames a second a session sends, on average, if writes come independently of each other.

    After each frame there is a tick without one; what was written meanwhile goes at its end, else the next write goes
    at once. So the mean distance is the tick and, where nothing was written in it, the wait for a write.

    Args:
        writes_per_second: events of the log, all kinds together.
        tick: seconds; 0 for a frame a write.
    """
    if writes_per_second <= 0:
        return 0.0
    return 1 / (tick + math.exp(-writes_per_second * tick) / writes_per_second)


def spent_by_frames(people: int, writes_per_second: float, tick: float, *, broadcast_chat: bool) -> float:
    """Returns the messages a second that a room of frames costs at most; at most, as all that is written may be chat.

    Args:
        people: in the room.
        writes_per_second: events of the session's log, all kinds together.
        tick: seconds between two frames; 0 for a frame a write.
        broadcast_chat: whether chat is broadcast by its author as well.
    """
    frames = frames_per_second(writes_per_second, tick) * broadcast_cost(people)
    return frames + (writes_per_second * people if broadcast_chat else 0.0)


def spent_by_changes(people: int, writes_per_second: float) -> float:
    """Returns the messages a second that a room costs in which everybody hears by broadcasts and Postgres Changes.

    Args:
        people: in the room.
        writes_per_second: events of the session's log, all kinds together.
    """
    return writes_per_second * people


def frame_wait(writes_per_second: float, tick: float, quantile: float) -> float:
    """Returns how many seconds an event waits for its frame, at a quantile.

    Args:
        writes_per_second: events of the log, all kinds together.
        tick: seconds; 0 for a frame a write.
        quantile: 0.5 for the median, 0.95 …
    """
    waiting = writes_per_second * tick
    # Of the events of one cycle, one goes at once if the tick before it was empty; the others came within a tick.
    at_once = math.exp(-waiting) / (waiting + math.exp(-waiting))
    return 0.0 if quantile <= at_once else tick * (quantile - at_once) / (1 - at_once)


def heartbeats_per_second(people: int) -> float:
    """Returns how many heartbeats a second a room sends with frames on, once it has settled.

    Up to a thousand people everybody calls every 25 s and holds a lease. In larger rooms a sample of 500 to 1,000 does,
    and the rest shares what is left of 60 calls a second, or calls every five minutes where that is less often.

    Args:
        people: in the room.
    """
    if people <= _LEASES:
        return people / LEASED_INTERVAL
    sample = people / 2.0 ** min(20, math.ceil(math.log2(people / _LEASES)))
    spare = max(20.0, 60 - sample / LEASED_INTERVAL)
    interval = min(_SELDOM, max(LEASED_INTERVAL, math.ceil((people - sample) / spare)))
    return sample / LEASED_INTERVAL + (people - sample) / interval


class Pacer:
    """Says how long each send has to wait, so that one client's sends keep within a rate; none is ever refused.

    A token bucket that holds ten seconds' worth and refills a little slower than the rate, so that no window of 60 s,
    wherever it starts, holds more than 60 s' worth. A send that alone is more than the bucket holds waits until it is
    full, and what it takes beyond is owed by those after it. Sends wait in the order in which they asked.

    Args:
        rate: messages a second, as Realtime counts them.
    """

    def __init__(self, rate: float) -> None:
        self._holds = 0.0
        self._refill = 0.0
        self._left = 0.0
        self._at = -math.inf
        self._set(rate)
        self._left = self._holds

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self._rate

    def change_rate(self, rate: float, now: float) -> None:
        """Goes on with another rate; what is owed stays owed.

        Args:
            rate: messages a second.
            now: seconds of a clock that never goes back.
        """
        self._fill(now)
        self._set(rate)
        self._left = min(self._left, self._holds)

    def take(self, cost: float, now: float) -> float:
        """Takes a place in the line and returns the seconds to wait before sending; 0 to send at once.

        Args:
            cost: messages that the send counts for.
            now: seconds of a clock that never goes back.
        """
        self._fill(now)
        wait = max(0.0, (min(cost, self._holds) - self._left) / self._refill)
        self._left -= cost
        return wait

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._left = min(self._holds, self._left + (now - self._at) * self._refill)
            self._at = now

    def _set(self, rate: float) -> None:
        self._rate = rate
        self._holds = _BURST * rate
        self._refill = rate * (1 - _BURST / WINDOW)


class RateMeter:
    """Counts, and knows the average over the last minute.

    Args:
        now: seconds of a clock that never goes back, when counting starts.
    """

    def __init__(self, now: float) -> None:
        self.total = 0
        self._buckets: dict[int, int] = {}
        self._started = now

    def add(self, count: int, now: float) -> None:
        """Counts."""
        self.total += count
        second = math.floor(now)
        self._buckets[second] = self._buckets.get(second, 0) + count
        if len(self._buckets) > 2 * WINDOW:
            self._forget(second)

    def rate(self, now: float) -> float:
        """Returns the average a second over the last minute, or since counting started if that is less."""
        self._forget(math.floor(now))
        return sum(self._buckets.values()) / min(WINDOW, max(1.0, now - self._started))

    def _forget(self, second: int) -> None:
        self._buckets = {at: count for at, count in self._buckets.items() if at > second - WINDOW}
