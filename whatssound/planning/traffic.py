"""What one room sends, by either feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.budget import chat_path, frames_per_second, session_budget, session_tick_ms
from ..quotas import Plan
from .activity import Activity, coming_and_going
from .workload import Workload, worst_minute

FeedName = Literal["changes", "frames"]

#: People above which listeners leave presence and the topic that members write to (`SessionConfig.large_room`).
LARGE_ROOM = 300

#: Rows that change for everybody: a vote one, a settled tip one, a song that follows another two.
_ROWS_OF_A_SONG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one room sends by one feed.

    Attributes:
        feed: how events reach the listeners.
        chat_path: how chat travels.
        tick_ms: milliseconds between two frames; 0 for a frame a write; None without frames.
        writes: events of the session's log a second, in the busiest minute.
        in_busiest_minute: what happens a second, on average over the busiest minute.
        events_in_busiest_minute: Realtime messages a second, averaged over it: what the plan limits.
        events_in_busiest_second: Realtime messages in the busiest second.
        messages: Realtime messages of one whole session, coming and going included.
        frames: frames of one whole session.
        broadcasts: client broadcasts of one whole session.
        rows_changed: changed rows of one whole session that everybody hears of.
        present: people in presence.
    """

    feed: FeedName
    chat_path: Literal["broadcast", "stored"]
    tick_ms: int | None
    writes: float
    in_busiest_minute: Activity
    events_in_busiest_minute: float
    events_in_busiest_second: float
    messages: float
    frames: float
    broadcasts: float
    rows_changed: float
    present: int


class _Room:
    """Turns chat a second into activity, for one workload and one way of travelling."""

    def __init__(self, workload: Workload, feed: FeedName, tick_ms: int) -> None:
        self._workload = workload
        self._feed = feed
        self._tick = tick_ms / 1000
        self.path: Literal["broadcast", "stored"] = "broadcast" if feed == "changes" else chat_path(tick_ms)
        large = workload.listeners > LARGE_ROOM
        if large and feed == "frames":
            self.path = "stored"
        self.present = min(workload.crew, workload.listeners) if large else workload.listeners
        #: By frames, listeners of a large room keep the frames' topic only.
        self._members = self.present if feed == "frames" else workload.listeners

    def activity(self, chat: float, seconds: float = 1.0) -> Activity:
        """What happens in ``seconds`` with ``chat`` messages a second."""
        workload = self._workload
        writes = writes_per_second(workload, chat)
        frames = self._feed == "frames"
        return Activity(
            members=self._members,
            frame_listeners=workload.listeners if frames else 0,
            broadcasts=chat * seconds if self.path == "broadcast" else 0.0,
            rows_changed=0.0
            if frames
            else (workload.votes + workload.tips + _ROWS_OF_A_SONG * workload.songs) * seconds,
            frames=frames_per_second(writes, self._tick) * seconds,
        )


def writes_per_second(workload: Workload, chat: float) -> float:
    """Events of one room's log a second.

    Args:
        workload: what people do.
        chat: messages a second.
    """
    return chat + workload.votes + workload.tips + _ROWS_OF_A_SONG * workload.songs


def traffic(workload: Workload, feed: FeedName, plan: Plan, *, tick_ms: int | None = None) -> Traffic:
    """Works out what one room sends.

    Args:
        workload: what people do.
        feed: how events reach the listeners. By ``changes`` the database sends its frames all the same, to nobody; they
            count once each.
        plan: its events a second are shared by all rooms alike.
        tick_ms: the time between two frames, where the session's DJ has set one.
    """
    writes = writes_per_second(workload, workload.busiest_minute)
    tick = tick_ms
    if tick is None:
        budget = session_budget(workload.listeners, workload.people - workload.listeners, plan.events_per_second)
        tick = session_tick_ms(workload.listeners, writes, budget, chat_per_second=workload.busiest_minute)
    room = _Room(workload, feed, tick)
    minute = room.activity(workload.busiest_minute)
    if workload.chat:
        chat = workload.chat
        rest = max(0.0, workload.seconds - len(chat))
        seconds = [room.activity(float(count)) for count in chat]
        mean = room.activity(sum(chat) / len(chat))
        sustained = worst_minute([each.messages for each in seconds])
        parts = [(each, 1.0) for each in seconds[: int(workload.seconds)]] + [(mean, rest)]
    else:
        sustained = minute.messages
        parts = [(minute, workload.seconds)]

    return Traffic(
        feed=feed,
        chat_path=room.path,
        tick_ms=tick if feed == "frames" else None,
        writes=writes,
        in_busiest_minute=minute,
        events_in_busiest_minute=sustained,
        events_in_busiest_second=room.activity(workload.busiest_second).messages,
        messages=sum(part.messages * length for part, length in parts) + coming_and_going(room.present),
        frames=sum(part.frames * length for part, length in parts),
        broadcasts=sum(part.broadcasts * length for part, length in parts),
        rows_changed=sum(part.rows_changed * length for part, length in parts),
        present=room.present,
    )
