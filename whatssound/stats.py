"""What an open session counts."""

from __future__ import annotations

from dataclasses import dataclass

from .features import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStats:
    """Counters of one open session.

    Attributes:
        sent: chat messages accepted by `Chat.send`.
        stored: of these, stored.
        duplicates: stored rows that an earlier try had stored already.
        rejected: refused by the database.
        waiting: outcome not known yet.
        batches: batches the database answered.
        rows: rows in them.
        retried: rows that had to go again.
        rpc_retries: RPC tries beyond the first.
        rpc_errors: RPCs that failed in the end.
        reconnects: times the connection was lost or an attempt failed.
        frames: frames of the database heard.
        gaps: of these, those with others missing before them.
        forged: frames heard where members can write, and ignored.
        flushes: times we asked for a frame that our own writes waited for.
        reactions_dropped: own reactions that could not be sent.
    """

    sent: int
    stored: int
    duplicates: int
    rejected: int
    waiting: int
    batches: int
    rows: int
    retried: int
    rpc_retries: int
    rpc_errors: int
    reconnects: int
    frames: int
    gaps: int
    forged: int
    flushes: int
    reactions_dropped: int


def session_stats(parts: Features) -> SessionStats:
    """Returns the counters of a session's parts as they are now."""
    room = parts.room
    outbox, feed = room.outbox.stats, room.feed
    return SessionStats(
        sent=outbox.accepted,
        stored=outbox.stored,
        duplicates=outbox.duplicates,
        rejected=outbox.rejected,
        waiting=room.outbox.waiting,
        batches=outbox.batches,
        rows=outbox.rows,
        retried=outbox.retried,
        rpc_retries=room.gateway.retries,
        rpc_errors=room.gateway.errors,
        reconnects=room.connection.reconnects,
        frames=feed.frames.heard,
        gaps=feed.frames.gaps,
        forged=feed.forged,
        flushes=feed.flusher.asked,
        reactions_dropped=parts.reactions.dropped,
    )
