"""How a session's events and chat travel, and how large the room is: chosen from what the database says.

The database decides for all clients of a session alike (``session_clock``: frames, tick, chat path, all with hysteresis
of its own); a client only adds its own settings, what it was refused, and the size of the room.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..config import ChatPathChoice, FeedChoice
from ..models import ChatPath, Feed, FeedInfo, RoomSize

#: A large room is small again below this part of the threshold, so that people coming and going do not make it flap.
_BACK_TO_SMALL = 0.8

#: A tick is told of again when it has changed by this part of the one told before.
_TICK_STEP = 0.2


@dataclass(frozen=True, slots=True)
class Mode:
    """What is on.

    Attributes:
        feed: how events reach us.
        chat_path: how our chat travels.
        room: whether everybody is shown in presence.
        tick_ms: milliseconds between two frames; 0 where each write is sent at once.
    """

    feed: Feed = "changes"
    chat_path: ChatPath = "broadcast"
    room: RoomSize = "small"
    tick_ms: int = 0

    def travels_as(self, other: Mode) -> bool:
        """Whether nothing worth telling differs but the size of the room."""
        return (
            self.feed == other.feed
            and self.chat_path == other.chat_path
            and (self.tick_ms == 0) == (other.tick_ms == 0)
            and abs(self.tick_ms - other.tick_ms) <= _TICK_STEP * self.tick_ms
        )


class ModeChooser:
    """Chooses the mode; every method takes one piece of news, and `mode` is the result.

    Args:
        feed: the feed that is wanted.
        chat_path: the path that is wanted.
        large_room: people that a small room holds at most.
    """

    def __init__(self, *, feed: FeedChoice, chat_path: ChatPathChoice, large_room: int) -> None:
        self._feed: FeedChoice = feed
        self._chat_path: ChatPathChoice = chat_path
        self._large_room = large_room
        self._info = FeedInfo()
        self._may_join = False
        self._is_crew = False
        self._room: RoomSize = "small"
        self.refused = False

    @property
    def info(self) -> FeedInfo:
        """What the database said last."""
        return self._info

    @property
    def is_unavailable(self) -> bool:
        """Whether nothing but frames will do, and there are none for us."""
        return self._feed == "frames" and not self._has_frames()

    @property
    def mode(self) -> Mode:
        """What is on."""
        feed: Feed = "frames" if self._takes_frames() else "changes"
        return Mode(feed, self._path(feed), self._room, self._info.tick_ms if feed == "frames" else 0)

    @property
    def keeps_topic(self) -> bool:
        """Whether we stay on the topic that members write to: chat, typing, presence.

        Listeners leave it in a large room, since one member who floods it can close every receiver; the crew stays. By
        Postgres Changes there is no other topic to hear anything from.
        """
        return self._keeps_topic("frames" if self._takes_frames() else "changes")

    def told(self, info: FeedInfo, *, may_join: bool | None = None) -> None:
        """Takes the database's word; ``may_join``: whether we may join the frames' topic, None where it did not say."""
        self._info = info
        if may_join is not None:
            self._may_join = may_join

    def ticks(self, tick_ms: int) -> None:
        """Takes the tick that a frame names."""
        self._info = self._info.model_copy(update={"tick_ms": max(0, tick_ms)})

    def occupied(self, count: int) -> None:
        """Takes the number of people in the room."""
        if count > self._large_room:
            self._room = "large"
        elif count < self._large_room * _BACK_TO_SMALL:
            self._room = "small"

    def crew(self, is_crew: bool) -> None:
        """Takes whether we are the DJ or a moderator."""
        self._is_crew = is_crew

    def refuse(self) -> None:
        """Notes that our join of the frames' topic was refused: no other attempt is made in this session."""
        self.refused = True

    def _takes_frames(self) -> bool:
        return self._feed == "frames" or (self._feed == "auto" and self._has_frames())

    def _has_frames(self) -> bool:
        return self._info.frames and self._may_join and not self.refused

    def _keeps_topic(self, feed: Feed) -> bool:
        return feed == "changes" or self._room == "small" or self._is_crew

    def _path(self, feed: Feed) -> ChatPath:
        if not self._keeps_topic(feed):
            return "stored"
        if self._chat_path == "auto":
            return self._info.chat_path
        return self._chat_path
