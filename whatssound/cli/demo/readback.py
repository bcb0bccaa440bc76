"""Reads what a session left in the database, with SQL and without the SDK."""

from __future__ import annotations

import json
from uuid import UUID

import asyncpg

from .audit import EventRow, MessageRow, Rows, TipRow, VoteRow

# One insert_messages call is one transaction, which xmin names: so batches are counted by what was committed.
_MESSAGES = "select id::text, user_id::text, content, xmin::text as batch from public.messages where session_id = $1"
_VOTES = "select user_id::text, song_id::text, value::int from public.votes where session_id = $1"
_TIPS = """
    select id::text, tipper_id::text, amount, currency, key::text, status from public.tips where session_id = $1
"""
_EVENTS = "select seq, kind, payload::text from public.session_events where session_id = $1 order by seq"


async def read_rows(db_url: str, session_id: str) -> Rows:
    """Reads everything about one session, as of one moment.

    Args:
        db_url: of the database, as a role that bypasses row level security.
        session_id: the session.

    Raises:
        OSError: the database cannot be reached.
        asyncpg.PostgresError: it refuses, or has other tables.
    """
    connection = await asyncpg.connect(db_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            session = UUID(session_id)
            return Rows(
                messages=[MessageRow(**row) for row in await connection.fetch(_MESSAGES, session)],
                votes=[VoteRow(**row) for row in await connection.fetch(_VOTES, session)],
                tips=[TipRow(**row) for row in await connection.fetch(_TIPS, session)],
                events=[
                    read_event(row["seq"], row["kind"], row["payload"])
                    for row in await connection.fetch(_EVENTS, session)
                ],
            )
    finally:
        await connection.close()


def read_event(seq: int, kind: str, payload: str) -> EventRow:
    """Makes one entry of the log comparable; ``payload`` is its JSON text."""
    body = json.loads(payload)
    match kind:
        case "message" | "message_deleted":
            return EventRow(seq, kind, str(body.get("id")), str(body.get("user_id")))
        case "vote":
            return EventRow(seq, kind, str(body["song_id"]), str(body["user_id"]), str(body["value"]))
        case "tip" | "tip_refunded":
            return EventRow(seq, kind, str(body["tip"]["id"]), str(body["tip"]["tipper_id"]))
        case "queue":
            return EventRow(seq, kind, str(body["item"]["id"]), "", str(body["action"]))
        case _:
            return EventRow(seq, kind, "")
