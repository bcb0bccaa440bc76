"""Models are frozen, validated at the door, and tolerant of what a newer database adds."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from whatssound import models
from whatssound.models import (
    Member,
    Message,
    Model,
    QueueItem,
    SessionInfo,
    SessionSettings,
    Snapshot,
    StoredRow,
    Tip,
    VoteReceipt,
)

MODELS = [
    kind for _, kind in inspect.getmembers(models, inspect.isclass) if issubclass(kind, Model) and kind is not Model
]
NOW = "2026-01-02T03:04:05.678+00:00"
SESSION: dict[str, Any] = {"id": "s", "title": "Noche", "dj_id": "d", "status": "live"}
MESSAGE: dict[str, Any] = {"id": "m", "session_id": "s", "user_id": "u", "content": "hola", "created_at": NOW}
ITEM: dict[str, Any] = {
    "id": "i",
    "session_id": "s",
    "song_id": "g",
    "title": "Cumbia",
    "rank": 1,
    "status": "queued",
    "version": 1,
}
TIP: dict[str, Any] = {
    "id": "t",
    "session_id": "s",
    "tipper_id": "u",
    "dj_id": "d",
    "amount": 500,
    "currency": "EUR",
    "status": "pending",
    "created_at": NOW,
}
SNAPSHOT: dict[str, Any] = {"session": SESSION, "seq": 3, "server_time": NOW}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_is_documented_frozen_and_ignores_what_it_does_not_know(kind: type[Model]) -> None:
    assert kind.__doc__
    assert kind.model_config.get("frozen") is True
    assert kind.model_config.get("extra") == "ignore"


def test_a_model_cannot_be_changed() -> None:
    member = Member.model_validate({"user_id": "u"})
    with pytest.raises(ValidationError, match="frozen"):
        member.role = "dj"


@pytest.mark.parametrize(
    ("kind", "members"),
    [(SessionInfo, SESSION), (Message, MESSAGE), (QueueItem, ITEM), (Tip, TIP), (Snapshot, SNAPSHOT)],
)
def test_members_of_a_newer_database_are_ignored_and_json_round_trips(
    kind: type[Model], members: dict[str, Any]
) -> None:
    model = kind.model_validate(members)
    assert kind.model_validate({**members, "added_in_2030": 1}) == model
    assert kind.model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize(
    ("kind", "members", "wrong"),
    [
        (SessionInfo, SESSION, {"status": "paused"}),
        (SessionInfo, SESSION, {"visibility": "secret"}),
        (Message, MESSAGE, {"content": None}),
        (Message, MESSAGE, {"created_at": "2026-01-02T03:04:05"}),
        (QueueItem, ITEM, {"status": "lost"}),
        (QueueItem, ITEM, {"rank": "first"}),
        (QueueItem, ITEM, {"action": "eaten"}),
        (Tip, TIP, {"amount": 0}),
        (Tip, TIP, {"amount": -5}),
        (Tip, TIP, {"amount": 4.5}),
        (Tip, TIP, {"status": "promised"}),
        (Snapshot, SNAPSHOT, {"seq": None}),
        (Snapshot, SNAPSHOT, {"server_time": "2026-01-02T03:04:05"}),
    ],
)
def test_what_the_database_never_says_is_refused(
    kind: type[Model], members: dict[str, Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        kind.model_validate({**members, **wrong})


def test_a_message_is_a_claim_until_somebody_says_otherwise() -> None:
    message = Message.model_validate(MESSAGE)
    assert (message.confirmed, message.seq, message.role) == (False, None, "listener")


def test_times_know_their_zone() -> None:
    assert Message.model_validate(MESSAGE).created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


def test_an_empty_session_has_an_empty_snapshot() -> None:
    snapshot = Snapshot.model_validate(SNAPSHOT)
    assert (snapshot.queue, snapshot.messages, snapshot.tallies, snapshot.my_votes) == ((), (), {}, {})
    assert (snapshot.me, snapshot.now_playing, snapshot.tips.count) == (None, None, 0)
    assert snapshot.session.settings == SessionSettings()


def test_defaults_are_not_shared_between_models() -> None:
    one, other = Snapshot.model_validate(SNAPSHOT), Snapshot.model_validate(SNAPSHOT)
    assert one.tallies is not other.tallies
    assert one.tips.totals is not models.TipTotals().totals


def test_a_batchs_row_has_one_of_three_outcomes() -> None:
    assert StoredRow.model_validate({"id": "m", "status": "rejected", "reason": "muted"}).retry_after is None
    with pytest.raises(ValidationError, match="status"):
        StoredRow.model_validate({"id": "m", "status": "lost"})


def test_a_receipt_needs_its_key() -> None:
    with pytest.raises(ValidationError, match="key"):
        VoteReceipt.model_validate({"song_id": "g", "value": 1, "tally": {}})
