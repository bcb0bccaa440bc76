"""The closed union of what can happen in a session.

Events of the database carry ``seq``, their place in the session's log (dense, in commit order); what lives only on the
wire (typing, presence, connection) has ``seq=None``. ``recovered`` marks what was fetched after a gap instead of heard
live.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from .models import (
    ChatPath,
    Feed,
    Member,
    Message,
    MessageId,
    Model,
    Presence,
    QueueAction,
    QueueItem,
    RoomSize,
    SessionInfo,
    SongId,
    Tally,
    Tip,
    UserId,
)


class Status(StrEnum):
    """Where a session's connection is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"
    FAILED = "failed"


class EventBase(Model):
    """What all events have.

    ``keep`` (a class attribute) is true for events that a reader never loses, however slow it is.
    """

    keep: ClassVar[bool] = False

    seq: int | None = None
    recovered: bool = False


class ChatMessage(EventBase):
    """Somebody said something. ``message.confirmed`` tells whether the database vouches for it yet."""

    message: Message
    own: bool = False

    @property
    def content(self) -> str:
        """The text."""
        return self.message.content

    @property
    def username(self) -> str:
        """The author's name."""
        return self.message.username


class ChatConfirmed(EventBase):
    """A chat message seen before is now stored, with its author vouched for."""

    message: Message
    own: bool = False


class ChatUnconfirmed(EventBase):
    """A chat message heard by broadcast was not stored in time: treat it as never said."""

    message_id: MessageId
    user_id: UserId


class MessageWithdrawn(EventBase):
    """A chat message heard by broadcast was contradicted by the database (another author or text)."""

    keep: ClassVar[bool] = True

    message_id: MessageId
    user_id: UserId
    reason: str


class MessageDeleted(EventBase):
    """A moderator deleted a message."""

    keep: ClassVar[bool] = True

    message_id: MessageId
    user_id: UserId | None = None
    by: UserId | None = None


class VoteCast(EventBase):
    """Somebody voted, changed or retracted (``value`` 0) a vote; ``tally`` is the song's after it."""

    song_id: SongId
    user_id: UserId
    username: str = ""
    value: int
    tally: Tally


class TipSent(EventBase):
    """A tip became public: its payment is confirmed."""

    keep: ClassVar[bool] = True

    tip: Tip


class TipPending(EventBase):
    """A tip waits for its payment. Only the tipper and the DJ hear this."""

    keep: ClassVar[bool] = True

    tip: Tip


class TipRefunded(EventBase):
    """A tip was refunded.

    ``counted``: whether it had been confirmed before, and so is in totals that were added up; a payment that never came
    about is refunded without.
    """

    keep: ClassVar[bool] = True

    tip: Tip
    counted: bool = True


class QueueChanged(EventBase):
    """One item of the queue changed: added, moved, removed, started, finished or skipped."""

    action: QueueAction
    item: QueueItem


class MemberChanged(EventBase):
    """A member's role, mute or ban changed."""

    keep: ClassVar[bool] = True

    action: str
    member: Member
    by: UserId | None = None
    reason: str | None = None


class SessionChanged(EventBase):
    """The session started, ended, or its settings changed."""

    keep: ClassVar[bool] = True

    action: str
    session: SessionInfo


class PresenceJoined(EventBase):
    """Somebody came."""

    member: Presence


class PresenceLeft(EventBase):
    """Somebody left (not: lost the connection for a moment and came back)."""

    member: Presence


class TypingStarted(EventBase):
    """Somebody began to type."""

    user_id: UserId
    username: str = ""


class TypingStopped(EventBase):
    """Somebody stopped typing, sent the message, or has not been heard of for a while."""

    user_id: UserId
    username: str = ""


class ReactionsCounted(EventBase):
    """Reactions since the last such event, by everybody together (our own included): emoji → how many.

    They are ephemeral: never stored, and whoever is away misses them.
    """

    counts: dict[str, int]


class FeedChanged(EventBase):
    """The session's events, or our chat, travel another way from now on. No event is lost or repeated by it.

    ``tick_ms`` is the time between two frames, 0 where each write is sent at once; it is told again when it has changed
    by a fifth. ``reason`` is a short code: ``database`` (the database decided so for everybody) or ``refused`` (we may
    not join the frames' topic, so we hear of the events by Postgres Changes).
    """

    keep: ClassVar[bool] = True

    feed: Feed
    chat_path: ChatPath
    tick_ms: int = 0
    reason: str


class RoomModeChanged(EventBase):
    """The room became large or small again.

    In a ``large`` room typing is off, and by frames listeners are not in presence and nobody is told of those who come
    and go: forget the list of who is here, and show ``occupancy``. When it is ``small`` again, everybody who is here is
    told of as `PresenceJoined`.
    """

    keep: ClassVar[bool] = True

    mode: RoomSize
    occupancy: int


class StatusChanged(EventBase):
    """The connection's status changed.

    ``reason`` is a short code (``closed``, ``heartbeat``, ``rate_limited``, ``unauthorized``, ``unreachable`` …),
    ``detail`` the server's words, ``attempt`` counts from 1, ``retry_in`` is in seconds.
    """

    keep: ClassVar[bool] = True

    status: Status
    reason: str | None = None
    detail: str | None = None
    attempt: int = 0
    retry_in: float | None = None


class StateResynced(EventBase):
    """`Session.state` equals the database's at event ``seq``.

    ``fetched`` events had been missed and have just been delivered; ``fresh`` means a whole snapshot was loaded.
    """

    keep: ClassVar[bool] = True

    fetched: int = 0
    fresh: bool = False


class Discontinuity(EventBase):
    """Events ``after_seq + 1 … before_seq - 1`` are past retention and lost for this reader; the state is fresh."""

    keep: ClassVar[bool] = True

    after_seq: int
    before_seq: int


class Lagged(EventBase):
    """This reader was too slow: ``missed`` events were left out before the next one."""

    keep: ClassVar[bool] = True

    missed: int


class LoopStalled(EventBase):
    """The event loop was blocked for ``seconds``, by what ``stack`` shows: nothing was heard or sent meanwhile."""

    keep: ClassVar[bool] = True

    seconds: float
    stack: str


class UnknownEvent(EventBase):
    """An event of a newer database that this version does not know."""

    kind: str
    payload: dict[str, Any]
    created_at: datetime | None = None


Event = (
    ChatMessage
    | ChatConfirmed
    | ChatUnconfirmed
    | MessageWithdrawn
    | MessageDeleted
    | VoteCast
    | TipSent
    | TipPending
    | TipRefunded
    | QueueChanged
    | MemberChanged
    | SessionChanged
    | PresenceJoined
    | PresenceLeft
    | TypingStarted
    | TypingStopped
    | ReactionsCounted
    | FeedChanged
    | RoomModeChanged
    | StatusChanged
    | StateResynced
    | Discontinuity
    | Lagged
    | LoopStalled
    | UnknownEvent
)
