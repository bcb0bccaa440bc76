"""The wire: what is sent can be read, what anybody may forge never passes for the database's word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from whatssound.core.wire import (
    MAX_CLAIM_LENGTH,
    MAX_CLAIM_NAME,
    chat_claim,
    chat_payload,
    frame,
    log_event,
    presence_members,
    presence_payload,
    row_event,
    stored_message,
    typing_payload,
)
from whatssound.errors import ProtocolError
from whatssound.events import (
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
from whatssound.models import Message, MessageId, Presence, SessionId, UserId

SESSION = SessionId("5e551010-0000-4000-8000-000000000000")
ME = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
SONG = "50000000-0000-4000-8000-000000000000"
NOW = "2026-01-02T03:04:05.678901+00:00"
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)

UUIDS = st.uuids().map(str)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([ME, SESSION, NOW]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = ("id", "session_id", "user_id", "username", "role", "content", "created_at", "seq", "confirmed")


def claim(**members: Any) -> dict[str, Any]:
    body = {
        "id": SONG,
        "session_id": SESSION,
        "user_id": OTHER,
        "username": "eva",
        "content": "hola",
        "created_at": NOW,
    }
    return {"message": {**body, **members}}


# --- chat by broadcast ------------------------------------------------------------------------------------------------


@given(message_id=UUIDS, user_id=UUIDS, username=st.text(max_size=MAX_CLAIM_NAME), content=TEXTS, at=TIMES)
def test_a_message_survives_its_broadcast(
    message_id: str, user_id: str, username: str, content: str, at: datetime
) -> None:
    message = Message(
        id=MessageId(message_id),
        session_id=SESSION,
        user_id=UserId(user_id),
        username=username,
        content=content,
        created_at=at,
    )
    assert chat_claim(chat_payload(message), SESSION) == (message if content.strip() else None)


@given(payload=JSON | st.fixed_dictionaries({"message": JSON}))
def test_garbage_is_no_claim(payload: Any) -> None:
    assert chat_claim(payload, SESSION) is None


@given(members=st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=4), missing=st.sets(st.sampled_from(MEMBERS)))
def test_whatever_a_claim_says_it_is_never_confirmed(members: dict[str, Any], missing: set[str]) -> None:
    body = {name: value for name, value in claim(**members)["message"].items() if name not in missing}
    message = chat_claim({"message": body}, SESSION)
    if message is not None:
        assert (message.confirmed, message.seq, message.role) == (False, None, "listener")
        assert message.session_id == SESSION
        assert message.created_at.tzinfo is not None


def test_a_claim_cannot_promote_itself() -> None:
    message = chat_claim(claim(confirmed=True, seq=7, role="dj"), SESSION)
    assert message is not None
    assert (message.confirmed, message.seq, message.role) == (False, None, "listener")


def test_ids_become_canonical_so_that_the_databases_word_finds_the_claim() -> None:
    message = chat_claim(claim(id=SONG.upper(), user_id=f"{{{OTHER.upper()}}}"), SESSION)
    assert message is not None
    assert (message.id, message.user_id) == (SONG, OTHER)


@pytest.mark.parametrize(
    "members",
    [
        {"content": ""},
        {"content": " \n"},
        {"content": "x" * (MAX_CLAIM_LENGTH + 1)},
        {"content": None},
        {"username": "x" * (MAX_CLAIM_NAME + 1)},
        {"session_id": OTHER},
        {"id": "not-a-uuid"},
        {"user_id": 5},
        {"created_at": "2026-01-02T03:04:05"},
        {"created_at": "yesterday"},
        {"created_at": 1e300},
    ],
    ids="-".join,
)
def test_a_claim_that_no_session_could_store_is_ignored(members: dict[str, Any]) -> None:
    assert chat_claim(claim(), SESSION) is not None
    assert chat_claim(claim(**members), SESSION) is None


def test_typing_names_its_user() -> None:
    assert typing_payload(ME, "ana", typing=True) == {"user_id": ME, "username": "ana", "typing": True}


# --- presence ---------------------------------------------------------------------------------------------------------


@given(username=st.text(max_size=20), role=st.sampled_from(["dj", "listener", "robot"]), at=st.none() | TIMES)
def test_a_presence_survives_the_wire(username: str, role: str, at: datetime | None) -> None:
    member = Presence(user_id=UserId(ME), username=username, role=role, online_at=at)
    meta = {**presence_payload(member), "phx_ref": "F1"}
    assert presence_members({ME: {"metas": [meta]}}) == {ME: member}


@given(state=JSON | st.dictionaries(UUIDS, JSON | st.fixed_dictionaries({"metas": JSON}), max_size=3))
def test_garbage_in_presence_never_raises(state: Any) -> None:
    for key, member in presence_members(state).items():
        assert key in state
        assert isinstance(member, Presence)


def test_the_last_readable_meta_describes_somebody_on_several_devices() -> None:
    good, newer, bad = {"username": "old"}, {"username": "new"}, {"online_at": "never"}
    assert presence_members({ME: {"metas": [good, newer, bad]}})[ME].username == "new"
    assert presence_members({ME: {"metas": [bad]}}) == {ME: Presence(user_id=UserId(ME))}
    assert presence_members({ME: {"metas": []}}) == {}


# --- the database's word ----------------------------------------------------------------------------------------------

MESSAGE = {"id": SONG, "user_id": OTHER, "username": "eva", "role": "moderator", "content": "hola", "created_at": NOW}
VOTE = {"song_id": SONG, "user_id": OTHER, "username": "eva", "value": -1}
ITEM = {
    "id": "17e30000-0000-4000-8000-000000000000",
    "session_id": SESSION,
    "song_id": SONG,
    "title": "Cumbia sobre el mar",
    "artist": "Quantic",
    "duration_ms": 200_000,
    "source_url": None,
    "rank": 1.5,
    "status": "playing",
    "version": 3,
    "added_by": OTHER,
    "action": "started",
    "seq": 7,
    "started_at": NOW,
    "created_at": NOW,
}
TIP = {
    "id": "71900000-0000-4000-8000-000000000000",
    "session_id": SESSION,
    "tipper_id": OTHER,
    "dj_id": ME,
    "amount": 500,
    "currency": "EUR",
    "note": "gracias",
    "username": "eva",
    "status": "confirmed",
    "created_at": NOW,
    "seq": 7,
}
MEMBER = {"user_id": OTHER, "username": "eva", "role": "listener", "muted_until": NOW, "by": ME, "reason": "spam"}
LIVE = {"id": SESSION, "title": "Noche", "dj_id": ME, "status": "live", "settings": {"slow_mode_seconds": 5}}
PAYLOADS: dict[str, dict[str, Any]] = {
    "message": MESSAGE,
    "message_deleted": {"id": SONG, "user_id": OTHER, "by": ME},
    "vote": {**VOTE, "tally": {"up": 2, "down": 3, "score": -1}},
    "tip": {"tip": TIP},
    "tip_refunded": {"tip": {**TIP, "status": "refunded"}},
    "queue": {"action": "started", "item": ITEM},
    "member": {"action": "muted", **MEMBER},
    "session": {"action": "updated", "session": LIVE},
}


def read(kind: str, payload: Any, *, seq: Any = 7, recovered: bool = False) -> Event:
    return log_event(
        {"seq": seq, "kind": kind, "payload": payload, "created_at": NOW}, SESSION, me=ME, recovered=recovered
    )


@pytest.mark.parametrize("recovered", [True, False])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("message", ChatMessage),
        ("message_deleted", MessageDeleted),
        ("vote", VoteCast),
        ("tip", TipSent),
        ("tip_refunded", TipRefunded),
        ("queue", QueueChanged),
        ("member", MemberChanged),
        ("session", SessionChanged),
    ],
)
def test_each_kind_becomes_its_event_with_its_place(kind: str, expected: type[Event], recovered: bool) -> None:
    found = read(kind, PAYLOADS[kind], recovered=recovered)
    assert type(found) is expected
    assert (found.seq, found.recovered) == (7, recovered)
    assert (
        EVENTS.validate_json(EVENTS.dump_json(found)).model_dump().items() >= {"seq": 7, "recovered": recovered}.items()
    )


def test_a_stored_message_is_confirmed_and_knows_whether_it_is_ones_own() -> None:
    found = read("message", MESSAGE)
    assert isinstance(found, ChatMessage)
    assert (found.message.confirmed, found.message.seq, found.message.role, found.own) == (True, 7, "moderator", False)
    assert found.message == stored_message(MESSAGE, SESSION, 7)
    mine = read("message", {**MESSAGE, "user_id": ME})
    assert isinstance(mine, ChatMessage)
    assert mine.own


def test_a_message_whose_words_were_taken_out_is_a_deletion() -> None:
    found = read("message", {**MESSAGE, "content": "", "deleted": True})
    assert found == MessageDeleted(message_id=MessageId(SONG), user_id=UserId(OTHER), seq=7)


def test_a_newer_members_extra_data_is_ignored_and_an_unknown_kind_is_handed_on() -> None:
    assert read("vote", {**PAYLOADS["vote"], "weight": 2}) == read("vote", PAYLOADS["vote"])
    found = read("raid", {"from": "elsewhere"}, recovered=True)
    expected = {"kind": "raid", "payload": {"from": "elsewhere"}, "created_at": datetime.fromisoformat(NOW)}
    assert found == UnknownEvent.model_validate({**expected, "seq": 7, "recovered": True})


@pytest.mark.parametrize(("action", "banned"), [("banned", True), ("unbanned", False), ("role", False)])
def test_a_ban_is_read_from_the_action_unless_the_payload_says_so_itself(action: str, banned: bool) -> None:
    found = read("member", {**MEMBER, "action": action})
    assert isinstance(found, MemberChanged)
    assert found.member.banned is banned
    told = read("member", {**MEMBER, "action": action, "banned": True})
    assert isinstance(told, MemberChanged)
    assert told.member.banned


@pytest.mark.parametrize(("was", "counted"), [(None, True), ("confirmed", True), ("pending", False)])
def test_a_refund_says_whether_the_tip_had_counted(was: str | None, counted: bool) -> None:
    found = read("tip_refunded", {**PAYLOADS["tip_refunded"], **({"was": was} if was else {})})
    assert isinstance(found, TipRefunded)
    assert found.counted is counted


@pytest.mark.parametrize("kind", PAYLOADS)
@given(data=st.data())
def test_an_entry_without_its_shape_is_a_protocol_error(kind: str, data: st.DataObject) -> None:
    payload = data.draw(JSON)
    with pytest.raises(ProtocolError, match=f"event 7 of kind '{kind}'"):
        read(kind, payload)


@pytest.mark.parametrize("kind", PAYLOADS)
@given(data=st.data())
def test_a_damaged_entry_is_read_or_refused_but_never_anything_else(kind: str, data: st.DataObject) -> None:
    payload = dict(PAYLOADS[kind])
    payload[data.draw(st.sampled_from(sorted(payload)))] = data.draw(JSON)
    try:
        found = read(kind, payload)
    except ProtocolError:
        return
    assert found.seq == 7


# --- rows of Postgres Changes -----------------------------------------------------------------------------------------


@given(
    up=st.integers(0, 10**6), down=st.integers(0, 10**6), value=st.sampled_from([-1, 0, 1]), seq=st.integers(1, 2**60)
)
def test_a_votes_row_and_its_entry_are_the_same_event(up: int, down: int, value: int, seq: int) -> None:
    vote = {**VOTE, "value": value}
    row = {**vote, "session_id": SESSION, "seq": seq, "tally_up": up, "tally_down": down, "updated_at": NOW}
    entry = {**vote, "tally": {"up": up, "down": down, "score": up - down}}
    assert row_event("votes", row) == read("vote", entry, seq=seq)


@given(rank=st.floats(allow_nan=False, allow_infinity=False), seq=st.integers(1, 2**60))
def test_a_queue_row_and_its_entry_are_the_same_event(rank: float, seq: int) -> None:
    item = {**ITEM, "rank": rank, "seq": seq}
    assert row_event("queue_items", item) == read("queue", {"action": "started", "item": item}, seq=seq)


def test_an_entrys_place_and_action_order_the_item() -> None:
    bare = {name: value for name, value in ITEM.items() if name not in ("seq", "action")}
    found = read("queue", {"action": "started", "item": bare}, seq=9)
    assert isinstance(found, QueueChanged)
    assert (found.item.seq, found.item.action) == (9, "started")


def test_a_confirmed_tips_row_and_its_entry_are_the_same_event() -> None:
    assert row_event("tips", TIP) == read("tip", {"tip": TIP})


def test_a_pending_tip_has_no_place_in_the_log() -> None:
    found = row_event("tips", {**TIP, "status": "pending", "seq": None})
    assert isinstance(found, TipPending)
    assert found.seq is None


def test_a_refunded_tips_row_waits_for_the_entry_that_says_whether_it_counted() -> None:
    assert row_event("tips", {**TIP, "status": "refunded"}) is None


def test_a_refunded_row_without_a_seq_was_never_counted() -> None:
    found = row_event("tips", {**TIP, "status": "refunded", "seq": None})
    assert isinstance(found, TipRefunded)
    assert not found.counted


def test_a_settled_tip_without_a_place_would_be_counted_twice() -> None:
    with pytest.raises(ProtocolError, match="no seq"):
        row_event("tips", {**TIP, "seq": None})


def test_other_tables_tell_nothing() -> None:
    assert row_event("messages", MESSAGE) is None


ROWS: dict[str, dict[str, Any]] = {
    "votes": {**VOTE, "seq": 7, "tally_up": 1, "tally_down": 0},
    "queue_items": ITEM,
    "tips": TIP,
}


@pytest.mark.parametrize("table", ROWS)
@given(data=st.data())
def test_a_damaged_row_is_read_or_refused_but_never_anything_else(table: str, data: st.DataObject) -> None:
    row = dict(ROWS[table])
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(JSON)
    try:
        found = row_event(table, row)
    except ProtocolError:
        return
    assert found is None or found.recovered is False


@pytest.mark.parametrize("table", ROWS)
@given(row=JSON)
def test_a_row_that_is_none_is_a_protocol_error(table: str, row: Any) -> None:
    with pytest.raises(ProtocolError, match=table):
        row_event(table, row)


def test_times_of_other_zones_are_the_same_moment() -> None:
    elsewhere = datetime.fromisoformat(NOW).astimezone(timezone(timedelta(hours=-5)))
    assert stored_message({**MESSAGE, "created_at": elsewhere.isoformat()}, SESSION, 7) == stored_message(
        MESSAGE, SESSION, 7
    )


FRAME: dict[str, Any] = {
    "session_id": SESSION,
    "from_seq": 3,
    "to_seq": 4,
    "last_seq": 7,
    "events": [
        {"seq": 3, "kind": "message_deleted", "payload": {"id": "1"}, "created_at": "2026-11-24T00:00:00+00:00"},
        {"seq": 4, "kind": "new", "payload": {}, "created_at": "2026-11-24T00:00:00+00:00"},
    ],
    "tallies": [],
    "occupancy": 12,
    "tick_ms": 500,
    "server_time": "2026-11-24T00:00:00+00:00",
}


def test_a_frame_is_read_with_its_events_in_order() -> None:
    read = frame(FRAME, SESSION)
    assert (read.from_seq, read.to_seq, read.last_seq, read.occupancy, read.tick_ms) == (3, 4, 7, 12, 500)
    kinds = [type(log_event(entry, SESSION, me=None, recovered=False)) for entry in read.events]
    assert kinds == [MessageDeleted, UnknownEvent]
    assert read.reactions == {}


def test_a_frame_of_what_the_log_no_longer_has_tells_how_far_it_goes() -> None:
    read = frame({**FRAME, "from_seq": None, "to_seq": 7, "events": []}, SESSION)
    assert (read.from_seq, read.to_seq, read.events) == (None, 7, ())


@pytest.mark.parametrize(
    "change",
    [
        {"session_id": "5e551010-0000-4000-8000-000000000001"},
        {"from_seq": 2},
        {"to_seq": 10**15},
        {"from_seq": None},
        {"events": FRAME["events"][::-1]},
        {"events": "x"},
        {"events": [1, 2]},
        {"last_seq": "x"},
        {"reactions": [1]},
    ],
)
def test_a_frame_that_is_not_dense_or_not_ours_is_a_protocol_error(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        frame({**FRAME, **change}, SESSION)


@given(st.data())
def test_a_damaged_frame_is_read_or_refused_but_never_anything_else(data: st.DataObject) -> None:
    member = data.draw(st.sampled_from(sorted(FRAME)))
    junk = data.draw(st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.just({"a": 1}))
    try:
        read = frame({**FRAME, member: junk}, SESSION)
    except ProtocolError:
        return
    assert [entry["seq"] for entry in read.events] == list(range(read.to_seq - len(read.events) + 1, read.to_seq + 1))
