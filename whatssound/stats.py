"""What an open session counts."""

from __future__ import annotations

from dataclasses import dataclass

from .room import Room


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


def session_stats(room: Room) -> SessionStats:
    """Returns the counters of a session's parts as they are now."""
    outbox = room.outbox.stats
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
    )
