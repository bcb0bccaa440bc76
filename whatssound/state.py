"""`Session.state`: what the room looks like now, readable at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from .core.mode import Mode
from .core.reducer import RoomState
from .errors import SessionClosedError
from .events import Status
from .models import (
    ChatPath,
    Feed,
    Member,
    Message,
    Presence,
    QueueItem,
    RoomSize,
    SessionInfo,
    SongId,
    Tally,
    TipTotals,
    UserId,
)


class LiveState:
    """A read-only view of a session; it changes as events arrive and never goes backwards.

    Args:
        room: what events are applied to.
        status: tells the connection's status.
        now: tells the server's time.
        mode: tells how events travel.
    """

    def __init__(
        self,
        room: RoomState,
        status: Callable[[], Status],
        now: Callable[[], datetime],
        mode: Callable[[], Mode] = Mode,
    ) -> None:
        self._room = room
        self._status = status
        self._now = now
        self._mode = mode

    def __repr__(self) -> str:
        return f"<LiveState seq={self.seq} status={self.status.value}>"

    @property
    def status(self) -> Status:
        """The connection's status; anything but ``live`` means that this may be behind."""
        return self._status()

    @property
    def seq(self) -> int:
        """All events of the session's log up to this one are in here."""
        return self._room.seq

    @property
    def session(self) -> SessionInfo:
        """Title, DJ, settings.

        Raises:
            SessionClosedError: the session was never opened.
        """
        if self._room.session is None:
            raise SessionClosedError
        return self._room.session

    @property
    def me(self) -> Member | None:
        """Our own place in the session; None without a user."""
        return self._room.me

    @property
    def now_playing(self) -> QueueItem | None:
        """What plays; `position` tells how far it is."""
        return self._room.now_playing

    @property
    def queue(self) -> tuple[QueueItem, ...]:
        """What plays next, in order."""
        return self._room.queue

    @property
    def tallies(self) -> Mapping[SongId, Tally]:
        """Votes by song."""
        return MappingProxyType(self._room.tallies)

    @property
    def my_votes(self) -> Mapping[SongId, int]:
        """Our own votes by song: 1 or -1."""
        return MappingProxyType(self._room.my_votes)

    @property
    def tips(self) -> TipTotals:
        """Confirmed tips, in minor units by currency."""
        return self._room.tips

    @property
    def messages(self) -> tuple[Message, ...]:
        """The newest messages, oldest first."""
        return self._room.messages

    @property
    def occupancy(self) -> int:
        """How many are here: people in presence, or the database's count where it is higher."""
        return max(self._room.occupancy, len(self._room.presence))

    @property
    def presence(self) -> Mapping[UserId, Presence]:
        """Who is here, as they say themselves. In a large room listeners are not: see `occupancy`."""
        return MappingProxyType(self._room.presence)

    @property
    def reactions(self) -> Mapping[str, int]:
        """Everybody's reactions since the session was opened: emoji → how many; at most 100 kinds."""
        return MappingProxyType(self._room.reactions)

    @property
    def feed(self) -> Feed:
        """How the session's events reach us."""
        return self._mode().feed

    @property
    def chat_path(self) -> ChatPath:
        """How our chat travels."""
        return self._mode().chat_path

    @property
    def room_mode(self) -> RoomSize:
        """Whether everybody is in presence (``small``), or the crew alone (``large``)."""
        return self._mode().room

    @property
    def tick_ms(self) -> int:
        """Milliseconds between two frames; 0 where each write is sent at once."""
        return self._mode().tick_ms

    @property
    def typing(self) -> Mapping[UserId, str]:
        """Who is typing: user id → name."""
        return MappingProxyType(self._room.typing)

    def position(self) -> float | None:
        """Seconds into what plays, by the server's clock, the same for every client; None if nothing does."""
        playing = self._room.now_playing
        if playing is None or playing.started_at is None:
            return None
        seconds = (self._now() - playing.started_at).total_seconds()
        if playing.duration_ms is not None:
            seconds = min(seconds, playing.duration_ms / 1000)
        return max(0.0, seconds)


class ServerTime:
    """The server's clock, learnt from its answers, read with ours.

    Args:
        unix_ms: our wall clock, in milliseconds.
    """

    def __init__(self, unix_ms: Callable[[], int]) -> None:
        self._unix_ms = unix_ms
        self._offset_ms = 0

    def learn(self, server_time: datetime, asked_ms: int) -> None:
        """Takes a server time from an answer; ``asked_ms`` is our time when the question was sent."""
        middle = (asked_ms + self._unix_ms()) // 2
        self._offset_ms = round(server_time.timestamp() * 1000) - middle

    def learn_text(self, server_time: object, asked_ms: int) -> None:
        """Takes a server time as it stands in JSON; what is no time with its zone is passed over."""
        try:
            parsed = datetime.fromisoformat(server_time) if isinstance(server_time, str) else None
        except ValueError:
            return
        if parsed is not None and parsed.tzinfo is not None:
            self.learn(parsed, asked_ms)

    def unix_ms(self) -> int:
        """The server's time in milliseconds since 1970."""
        return self._unix_ms() + self._offset_ms

    def now(self) -> datetime:
        """The server's time."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.unix_ms())
