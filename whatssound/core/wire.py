"""JSON of the wire ↔ events. The only place that knows member names.

Three sources speak of the same things: client broadcasts (chat, typing, reactions), rows of Postgres Changes (votes,
tips, queue_items) and entries of the session's event log, which also come in frames. Each becomes the same event.
Shapes are documented in ``docs/reference/wire.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import InvalidInputError, ProtocolError
from ..events import (
    ChatMessage,
    Event,
    MemberChanged,
    MessageDeleted,
    QueueChanged,
    SessionChanged,
    TipPending,
    TipRefunded,
    TipSent,
    UnknownEvent,
    VoteCast,
)
from ..models import Frame, Member, Message, Presence, QueueItem, SessionInfo, Tally, Tip
from .identifiers import as_uuid
from .reactions import believable_counts

Json = Mapping[str, Any]

CHAT = "chat"
TYPING = "typing"
REACTION = "reaction"
FRAME = "frame"

#: The most characters of a broadcast message that are believed: what is longer cannot be stored by any session.
MAX_CLAIM_LENGTH = 10_000

#: The most characters of a name in a broadcast that are believed: no profile has a longer one.
MAX_CLAIM_NAME = 32


def chat_payload(message: Message) -> dict[str, Any]:
    """Makes the payload of a ``chat`` broadcast."""
    return {
        "message": {
            "id": message.id,
            "session_id": message.session_id,
            "user_id": message.user_id,
            "username": message.username,
            "content": message.content,
            "created_at": message.created_at.isoformat(),
        }
    }


def typing_payload(user_id: str, username: str, *, typing: bool) -> dict[str, Any]:
    """Makes the payload of a ``typing`` broadcast."""
    return {"user_id": user_id, "username": username, "typing": typing}


def reaction_payload(user_id: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Makes the payload of a ``reaction`` broadcast."""
    return {"user_id": user_id, "counts": dict(counts)}


def presence_payload(member: Presence) -> dict[str, Any]:
    """Makes what presence tracks."""
    return {
        "user_id": member.user_id,
        "username": member.username,
        "role": member.role,
        "online_at": member.online_at.isoformat() if member.online_at else None,
    }


def chat_claim(payload: Any, session_id: str) -> Message | None:
    """Reads a ``chat`` broadcast; None if it is not one.

    Anybody may send anything, so a bad claim is ignored rather than raised.
    ``confirmed``, ``seq`` and ``role`` of a claim are never taken over: only the database may say those. Ids become
    canonical, so that the database's word finds the claim it is about.
    """
    body = payload.get("message") if isinstance(payload, Mapping) else None
    if not isinstance(body, dict):
        return None
    try:
        ids = {name: as_uuid(body[name], name) for name in ("id", "user_id")}
        message = Message.model_validate(
            {**body, **ids, "session_id": session_id, "confirmed": False, "seq": None, "role": "listener"}
        )
    except (KeyError, InvalidInputError, ValidationError):
        return None
    if (
        not message.content.strip()
        or len(message.content) > MAX_CLAIM_LENGTH
        or len(message.username) > MAX_CLAIM_NAME
        or body.get("session_id", session_id) != session_id
    ):
        return None
    return message


def reaction_claim(payload: Any) -> tuple[str, dict[str, int]] | None:
    """Reads a ``reaction`` broadcast: who says to have reacted, and how often; None if it is not one."""
    if not isinstance(payload, Mapping) or not isinstance(payload.get("user_id"), str):
        return None
    counts = believable_counts(payload.get("counts"))
    return (payload["user_id"], counts) if counts else None


def presence_members(metas_by_key: Any) -> dict[str, Presence]:
    """Reads ``presence_state`` or one side of a ``presence_diff``: user id → who they say they are.

    Somebody on several devices has several metas; the last one that can be read describes them.
    """
    members: dict[str, Presence] = {}
    for key, entry in metas_by_key.items() if isinstance(metas_by_key, Mapping) else ():
        metas = entry.get("metas") if isinstance(entry, dict) else None
        for meta in metas if isinstance(metas, list) else []:
            if not isinstance(meta, dict):
                continue
            try:
                members[key] = Presence.model_validate({"user_id": key, **meta})
            except ValidationError:
                members.setdefault(key, Presence.model_validate({"user_id": key}))
    return members


def row_event(table: str, record: Json) -> Event | None:
    """Reads a row of Postgres Changes; None where the row tells nothing new by itself.

    Raises:
        ProtocolError: the row lacks members that this version needs.
    """
    try:
        if table == "votes":
            return _vote_row(record)
        if table == "queue_items":
            item = QueueItem.model_validate(record)
            return QueueChanged(action=item.action, item=item, seq=item.seq)
        if table == "tips":
            return _tip_row(Tip.model_validate(record))
    except (ValueError, KeyError, TypeError) as error:  # pydantic's is a ValueError
        raise ProtocolError(f"a row of {table} cannot be read: {error}") from error
    return None


def _vote_row(record: Json) -> Event:
    # The log's tally has the same members, so both ways to learn of a vote give equal events.
    tally = Tally.model_validate({"up": record["tally_up"], "down": record["tally_down"], "seq": record["seq"]})
    return VoteCast(
        song_id=record["song_id"],
        user_id=record["user_id"],
        username=record.get("username") or "",
        value=record["value"],
        tally=tally.model_copy(update={"score": tally.up - tally.down}),
        seq=record["seq"],
    )


def _tip_row(tip: Tip) -> Event | None:
    if tip.status == "pending":
        return TipPending(tip=tip)
    if tip.status == "refunded" and tip.seq is None:
        # Only tipper and DJ see such a row: the payment never came about, so the log has no word of it.
        return TipRefunded(tip=tip, counted=False)
    if tip.seq is None:
        # Without its place in the log it would be counted again when the log brings it.
        raise ValueError(f"a {tip.status} tip has no seq")
    if tip.status == "refunded":
        return None  # whether it had been counted is not in the row; the log's entry says so
    return TipSent(tip=tip, seq=tip.seq)


def frame(payload: Any, session_id: str) -> Frame:
    """Reads a ``frame``, which only the database can send.

    Raises:
        ProtocolError: it does not have a frame's shape, is another session's, or its events do not fill what it says
            it covers.
    """
    try:
        read = Frame.model_validate(payload)
    except ValidationError as error:
        raise ProtocolError(f"a frame cannot be read: {error}") from error
    if read.session_id != session_id:
        raise ProtocolError("a frame of another session arrived")
    first = read.to_seq - len(read.events) + 1
    expected = read.from_seq if read.from_seq is not None else read.to_seq + 1
    if first != expected or any(entry.get("seq") != first + at for at, entry in enumerate(read.events)):
        raise ProtocolError(f"a frame of the events {read.from_seq} to {read.to_seq} does not have them")
    return read


def log_event(entry: Json, session_id: str, *, me: str | None, recovered: bool) -> Event:
    """Reads an entry of ``session_events``: ``{seq, kind, payload, created_at}``.

    Args:
        entry: the entry.
        session_id: the session it belongs to.
        me: the signed-in user, to mark own messages.
        recovered: whether it is fetched after a gap.

    Raises:
        ProtocolError: the entry has a known kind but not its shape. An unknown kind is an `UnknownEvent`.
    """
    try:
        return _log_event(entry, session_id, me, recovered)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's is a ValueError
        raise ProtocolError(
            f"event {entry.get('seq')} of kind {entry.get('kind')!r} cannot be read: {error}"
        ) from error


def _log_event(entry: Json, session_id: str, me: str | None, recovered: bool) -> Event:
    seq, kind, payload = entry["seq"], entry["kind"], entry["payload"]
    common: dict[str, Any] = {"seq": seq, "recovered": recovered}
    match kind:
        case "message":
            if payload.get("deleted"):
                # The words were taken out of the log: this entry, too, tells of the deletion.
                return MessageDeleted(message_id=payload["id"], user_id=payload.get("user_id"), **common)
            message = stored_message(payload, session_id, seq)
            return ChatMessage(message=message, own=message.user_id == me, **common)
        case "message_deleted":
            return MessageDeleted(
                message_id=payload["id"], user_id=payload.get("user_id"), by=payload.get("by"), **common
            )
        case "vote":
            tally = Tally.model_validate({**payload["tally"], "seq": seq})
            return VoteCast.model_validate({**payload, "tally": tally, **common})
        case "tip":
            return TipSent(tip=Tip.model_validate({**payload["tip"], "seq": seq}), **common)
        case "tip_refunded":
            tip = Tip.model_validate({**payload["tip"], "seq": seq})
            return TipRefunded(tip=tip, counted=payload.get("was", "confirmed") == "confirmed", **common)
        case "queue":
            return QueueChanged(action=payload["action"], item=_logged_item(payload, seq), **common)
        case "member":
            action = payload["action"]
            member = Member.model_validate({"banned": action == "banned", **payload})
            return MemberChanged(
                action=action, member=member, by=payload.get("by"), reason=payload.get("reason"), **common
            )
        case "session":
            return SessionChanged(
                action=payload["action"], session=SessionInfo.model_validate(payload["session"]), **common
            )
        case _:
            return UnknownEvent(kind=kind, payload=payload, created_at=entry.get("created_at"), **common)


def _logged_item(payload: Json, seq: int) -> QueueItem:
    # The entry's own place and action win: the state orders an item's changes by them.
    return QueueItem.model_validate({**payload["item"], "seq": seq, "action": payload["action"]})


def stored_message(payload: Json, session_id: str, seq: int | None) -> Message:
    """Reads a message that the database vouches for."""
    return Message.model_validate({**payload, "session_id": session_id, "seq": seq, "confirmed": True})
