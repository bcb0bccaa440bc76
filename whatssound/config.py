"""Settings of a client and of a session: every default, unit and limit in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .errors import ConfigurationError

OutboxPolicy = Literal["wait", "reject", "drop_oldest"]
FeedChoice = Literal["frames", "changes", "auto"]
ChatPathChoice = Literal["broadcast", "stored", "auto"]


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not value > 0:  # NaN is not either
            raise ConfigurationError(name, f"must be greater than 0, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """How commands (RPCs) are retried.

    Attributes:
        attempts: tries in all before `OutcomeUnknownError` or the last error is raised.
        deadline: seconds for the whole call, retries included.
        request_timeout: seconds for one request.
        base: seconds; the first wait is drawn from [0, base), each next from twice as much.
        cap: seconds; the longest wait.
    """

    attempts: int = 6
    deadline: float = 30.0
    request_timeout: float = 10.0
    base: float = 0.2
    cap: float = 5.0

    def __post_init__(self) -> None:
        _positive(self, "attempts", "deadline", "request_timeout", "base", "cap")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """How chat is batched and stored.

    Attributes:
        interval: seconds from the first waiting message to its batch.
        batch_size: messages that make a batch at once, whatever the interval.
        max_messages: messages that may wait, the batch on its way included.
        max_bytes: bytes of UTF-8 that may wait.
        policy: what `Chat.send` does when full: ``wait``, ``reject`` (`OutboxFullError`) or ``drop_oldest`` (the oldest
            waiting message's receipt fails with reason ``dropped``; nothing vanishes without a word).
        row_attempts: tries of a message over which the server alone fails (5xx), while it takes others in between,
            before its receipt fails with reason ``server_error``. A server that fails for everything costs no message.
        spool: a file that keeps accepted messages over restarts; None keeps them in memory. One process at a time; it
            holds at most ``max_messages`` and ``max_bytes`` of all users and sessions together.
        drain_timeout: seconds that closing waits for the last batches.
    """

    interval: float = 0.5
    batch_size: int = 100
    max_messages: int = 10_000
    max_bytes: int = 8_000_000
    policy: OutboxPolicy = "wait"
    row_attempts: int = 20
    spool: Path | str | None = None
    drain_timeout: float = 30.0

    def __post_init__(self) -> None:
        _positive(self, "interval", "batch_size", "max_messages", "max_bytes", "row_attempts", "drain_timeout")
        if self.batch_size > 500:
            raise ConfigurationError("batch_size", "the database takes at most 500 messages a call")
        if self.spool is not None and not str(self.spool).strip():
            raise ConfigurationError("spool", "is empty; give a file's path, or None")
        if self.policy not in ("wait", "reject", "drop_oldest"):
            raise ConfigurationError("policy", f"is {self.policy!r}; use 'wait', 'reject' or 'drop_oldest'")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """How the channel is kept alive.

    Attributes:
        heartbeat_interval: seconds between heartbeats; a dead socket is noticed within twice this.
        open_timeout: seconds for the handshake.
        join_timeout: seconds for the join. A refused join is answered after five seconds, so keep it above that.
        ready_timeout: seconds to wait for the server's word that Postgres Changes flow; without it the session goes
            live anyway and resyncs when the word comes.
        backoff_base: seconds; the first reconnect waits up to this long, each further one up to twice as long.
        backoff_cap: seconds; the longest wait between two attempts.
        rate_limit_floor: seconds to wait at least after a rate limit, since the server averages over a minute.
        hold: seconds a join must hold before the back-off starts from the beginning again.
        max_attempts: attempts in a row before the session fails; ``None`` never gives up.
        max_frame_bytes: the largest frame accepted from the server.
    """

    heartbeat_interval: float = 15.0
    open_timeout: float = 10.0
    join_timeout: float = 15.0
    ready_timeout: float = 10.0
    backoff_base: float = 0.5
    backoff_cap: float = 30.0
    rate_limit_floor: float = 30.0
    hold: float = 10.0
    max_attempts: int | None = None
    max_frame_bytes: int = 10 * 1024 * 1024

    def __post_init__(self) -> None:
        _positive(
            self,
            "heartbeat_interval",
            "open_timeout",
            "join_timeout",
            "ready_timeout",
            "backoff_base",
            "backoff_cap",
            "hold",
            "max_frame_bytes",
        )
        if not self.rate_limit_floor >= 0:
            raise ConfigurationError("rate_limit_floor", "must not be negative")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ConfigurationError("max_attempts", "must be at least 1, or None to never give up")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Settings of one `Session`.

    Attributes:
        private: whether the channel is private (policies on ``realtime.messages`` decide). A plain
            ``supabase.channel('session:…')`` is a different, public channel; ``False`` joins that one. Frames always
            come by a private channel.
        feed: how the session's events reach us: ``frames`` of the database (milliseconds in a small room, and what a
            room of thousands can afford), Postgres ``changes``, or ``auto``: frames where the session has them and we
            may join them.
        chat_path: how chat travels: ``broadcast`` (heard before it is stored), ``stored`` (heard with the next frame),
            or ``auto``: as the database decides from the size of the room and the plan. In a large room listeners
            always take ``stored``, since they have left the topic that carries broadcasts.
        large_room: how many people a small room holds at most; with more it is large: listeners are counted instead of
            shown in presence, and typing is off. It is small again below 80 % of it.
        max_message_length: characters of a chat message before the session's own limit is known.
        reconcile_interval: seconds between two looks at the event log, which confirm chat and find what was missed.
            With frames the log is only asked when something is known to be missing, or after ``silence_timeout``.
        silence_timeout: seconds without any word of how far the log goes, after which a client of frames asks.
        claim_timeout: seconds after which a broadcast chat message that was never stored is reported as
            `ChatUnconfirmed`.
        occupancy_interval: seconds between two heartbeats to the database (its lease lasts 90 s). In a room of more
            than a thousand most members are not counted one by one, and the database has them call less often.
        reaction_interval: seconds over which our own reactions are counted before they are sent together.
        reader_events: unread events one reader may hold; beyond it the oldest that may be dropped go, and `Lagged` says
            how many.
        history: messages kept in `LiveState.messages`.
        typing_ttl: seconds after which somebody who has stopped sending is no longer shown as typing.
        presence_grace: seconds after which somebody who has gone from presence has left; who is back before was only
            reconnecting, and nobody is told.
        track_presence: whether to be seen by others in presence.
        handler_tasks: how long, in seconds, closing waits for handlers to finish the events they hold.
        stall_threshold: seconds for which the event loop may be blocked before `LoopStalled` says by what; ``None``
            never looks. That of the client's own settings counts.
        retry: see `RetryConfig`.
        outbox: see `OutboxConfig`.
        connection: see `ConnectionConfig`.
    """

    private: bool = True
    feed: FeedChoice = "auto"
    chat_path: ChatPathChoice = "auto"
    large_room: int = 300
    max_message_length: int = 500
    reconcile_interval: float = 5.0
    silence_timeout: float = 30.0
    claim_timeout: float = 30.0
    occupancy_interval: float = 25.0
    reaction_interval: float = 0.5
    reader_events: int = 1000
    history: int = 200
    typing_ttl: float = 6.0
    presence_grace: float = 5.0
    track_presence: bool = True
    handler_tasks: float = 5.0
    stall_threshold: float | None = 1.0
    retry: RetryConfig = field(default_factory=RetryConfig)
    outbox: OutboxConfig = field(default_factory=OutboxConfig)
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)

    def __post_init__(self) -> None:
        _positive(
            self,
            "large_room",
            "max_message_length",
            "reconcile_interval",
            "silence_timeout",
            "claim_timeout",
            "occupancy_interval",
            "reaction_interval",
            "reader_events",
            "history",
            "typing_ttl",
            "presence_grace",
            "handler_tasks",
        )
        if self.feed not in ("frames", "changes", "auto"):
            raise ConfigurationError("feed", f"is {self.feed!r}; use 'frames', 'changes' or 'auto'")
        if self.chat_path not in ("broadcast", "stored", "auto"):
            raise ConfigurationError("chat_path", f"is {self.chat_path!r}; use 'broadcast', 'stored' or 'auto'")
        if self.stall_threshold is not None:
            _positive(self, "stall_threshold")
        if self.occupancy_interval > 60:
            raise ConfigurationError("occupancy_interval", "must be at most 60: the lease lasts 90 s")
