"""What users see: frozen models of the room's things, validated at the door.

Identifiers are canonical lower-case UUID strings (as they stand on the wire), typed apart with `typing.NewType`. Money
is an integer in minor units (cents) beside an ISO-4217 currency. Times are timezone-aware datetimes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NewType

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

SessionId = NewType("SessionId", str)
UserId = NewType("UserId", str)
SongId = NewType("SongId", str)
ItemId = NewType("ItemId", str)
MessageId = NewType("MessageId", str)
TipId = NewType("TipId", str)

Role = Literal["dj", "moderator", "listener"]
QueueStatus = Literal["queued", "playing", "played", "skipped", "removed"]
QueueAction = Literal["added", "moved", "removed", "started", "finished", "skipped"]
TipStatus = Literal["pending", "confirmed", "refunded"]

#: How the session's events reach this client: frames of the database, or Postgres Changes beside client broadcasts.
Feed = Literal["frames", "changes"]

#: How chat travels: client broadcast first and stored by the next batch, or stored first and heard with the next frame.
ChatPath = Literal["broadcast", "stored"]

#: A small room shows everybody in presence; in a large one only the crew is seen, and the number of the others.
RoomSize = Literal["small", "large"]


class Model(BaseModel):
    """Base of all models: frozen, and tolerant of members that a newer database adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class SessionSettings(Model):
    """What the DJ and moderators can set."""

    slow_mode_seconds: int = 0
    chat_frozen: bool = False
    max_message_length: int = 500
    anonymous_may_speak: bool = True
    anonymous_may_vote: bool = True
    anonymous_may_queue: bool = True
    max_tip_amount: int | None = None


class SessionInfo(Model):
    """A live session as the database has it."""

    id: SessionId
    title: str
    dj_id: UserId
    status: Literal["live", "ended"]
    visibility: Literal["public", "private"] = "public"
    settings: SessionSettings = SessionSettings()
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class Member(Model):
    """A user's place in a session."""

    user_id: UserId
    username: str = ""
    role: Role = "listener"
    banned: bool = False
    muted_until: AwareDatetime | None = None


class Message(Model):
    """A chat message.

    ``confirmed`` is true once the database vouches for id and author; until then it is its sender's claim. ``seq`` is
    its place in the session's event log.
    """

    id: MessageId
    session_id: SessionId
    user_id: UserId
    username: str = ""
    role: Role = "listener"
    content: str
    created_at: AwareDatetime
    seq: int | None = None
    confirmed: bool = False


class Tally(Model):
    """Votes of one song: ``score = up - down``."""

    up: int = 0
    down: int = 0
    score: int = 0
    seq: int = 0


class QueueItem(Model):
    """A song in the queue. ``started_at`` is set while it plays; `LiveState.position` tells how far it is."""

    id: ItemId
    session_id: SessionId
    song_id: SongId
    title: str
    artist: str | None = None
    duration_ms: int | None = None
    source_url: str | None = None
    rank: float
    status: QueueStatus
    version: int
    added_by: UserId | None = None
    action: QueueAction = "added"
    seq: int = 0
    started_at: AwareDatetime | None = None
    created_at: AwareDatetime | None = None


class Tip(Model):
    """A tip for the DJ; ``amount`` in minor units of ``currency``."""

    id: TipId
    session_id: SessionId
    tipper_id: UserId
    dj_id: UserId
    amount: Annotated[int, Field(gt=0)]
    currency: str
    note: str | None = None
    status: TipStatus
    username: str = ""
    created_at: AwareDatetime
    seq: int | None = None


class TipTotals(Model):
    """Confirmed tips of a session: minor units by currency, and how many."""

    totals: dict[str, int] = {}
    count: int = 0


class Presence(Model):
    """Somebody who is here, as they say themselves (a claim: roles that matter come from the database)."""

    user_id: UserId
    username: str = ""
    role: str = "listener"
    online_at: AwareDatetime | None = None


class FeedInfo(Model):
    """How the database sends a session's events; the same for every client of the session.

    ``tick_ms`` is the time between two frames (0: a frame a write), ``framed_seq`` the last event it tried to send,
    ``rate`` the session's events a second, ``budget`` its share of the ``events_per_second`` of the project's plan,
    ``joinable`` whether the caller may join the session's topics (None where the answer does not say).
    """

    frames: bool = False
    tick_ms: Annotated[int, Field(ge=0)] = 0
    framed_seq: int = 0
    chat_path: ChatPath = "broadcast"
    rate: float = 0.0
    events_per_second: int | None = None
    budget: float | None = None
    joinable: bool | None = None


class Frame(Model):
    """What happened in a session since the frame before: the events ``from_seq`` to ``to_seq`` of its log, in order.

    ``events`` are entries of the log as `events_since` has them; ``from_seq`` is None where the log no longer had any.
    ``last_seq`` may lie beyond ``to_seq``: the rest comes with the next frame. ``reactions`` were counted since the
    frame before.
    """

    session_id: SessionId
    from_seq: int | None = None
    to_seq: int
    last_seq: int
    events: tuple[dict[str, Any], ...] = ()
    tallies: tuple[dict[str, Any], ...] = ()
    reactions: dict[str, int] = {}
    occupancy: int | None = None
    tick_ms: int | None = None
    server_time: AwareDatetime | None = None


class Snapshot(Model):
    """A session at one moment: everything up to and including event ``seq``."""

    session: SessionInfo
    me: Member | None = None
    seq: int
    oldest_seq: int = 0
    now_playing: QueueItem | None = None
    queue: tuple[QueueItem, ...] = ()
    tallies: dict[SongId, Tally] = {}
    my_votes: dict[SongId, int] = {}
    tips: TipTotals = TipTotals()
    messages: tuple[Message, ...] = ()
    occupancy: int = 0
    server_time: AwareDatetime
    feed: FeedInfo = FeedInfo()


# --- receipts


class VoteReceipt(Model):
    """A vote that is stored. ``changed`` is false where the same vote stood already."""

    song_id: SongId
    value: int
    tally: Tally
    seq: int | None = None
    changed: bool = True
    key: str


class TipReceipt(Model):
    """A tip that is stored (``pending`` until the payment is confirmed).

    ``duplicate``: the key was known; this is what the first call stored.
    """

    tip: Tip
    duplicate: bool = False
    key: str


class QueueReceipt(Model):
    """A queue change that is stored; ``order`` are the ids of what plays next, in order."""

    item: QueueItem | None = None
    previous: QueueItem | None = None
    order: tuple[ItemId, ...] = ()
    seq: int | None = None
    key: str


class StoredRow(Model):
    """The database's answer about one chat message of a batch."""

    id: MessageId
    status: Literal["stored", "duplicate", "rejected"]
    seq: int | None = None
    created_at: AwareDatetime | None = None
    reason: str | None = None
    retry_after: float | None = None
    detail: Any = None


class LeaderboardEntry(Model):
    """One line of a leaderboard; which members are set depends on the board."""

    rank: int = 0
    dj_id: UserId | None = None
    song_id: SongId | None = None
    username: str = ""
    title: str = ""
    artist: str | None = None
    amount: int | None = None
    currency: str | None = None
    score: int | None = None
    votes: int | None = None
