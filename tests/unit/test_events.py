"""The union of events is closed, frozen and honest about what may be dropped."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import get_args

import pytest
from pydantic import ValidationError

from whatssound import events
from whatssound.events import ChatMessage, Event, EventBase, Lagged, Status, TypingStarted
from whatssound.models import Message, MessageId, SessionId, UserId

UNION = get_args(Event)
CLASSES = [
    kind
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if issubclass(kind, EventBase) and kind is not EventBase
]

#: What a reader never loses: money, moderation, withdrawals, the session itself and the stream's own state.
KEPT = {
    "Discontinuity",
    "FeedChanged",
    "Lagged",
    "LoopStalled",
    "MemberChanged",
    "MessageDeleted",
    "MessageWithdrawn",
    "RoomModeChanged",
    "SessionChanged",
    "StateResynced",
    "StatusChanged",
    "TipPending",
    "TipRefunded",
    "TipSent",
}


def test_the_union_is_every_event_there_is() -> None:
    assert set(UNION) == set(CLASSES)
    assert len(UNION) == len(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_event_is_documented_and_frozen(kind: type[EventBase]) -> None:
    assert kind.__doc__
    assert kind.__doc__ != EventBase.__doc__
    assert kind.model_config.get("frozen") is True


def test_what_a_reader_never_loses() -> None:
    assert {kind.__name__ for kind in CLASSES if kind.keep} == KEPT


@pytest.mark.parametrize("kind", CLASSES)
def test_whether_an_event_is_kept_is_no_member_of_it(kind: type[EventBase]) -> None:
    assert "keep" not in kind.model_fields
    assert {"seq", "recovered"} <= set(kind.model_fields)


def test_what_lives_on_the_wire_has_no_place_in_the_log() -> None:
    assert TypingStarted(user_id=UserId("u")).seq is None
    assert Lagged(missed=3).recovered is False


def test_an_event_cannot_be_changed() -> None:
    event = Lagged(missed=3)
    with pytest.raises(ValidationError, match="frozen"):
        event.missed = 4


def test_a_chat_message_hands_on_what_is_asked_most() -> None:
    message = Message(
        id=MessageId("m"),
        session_id=SessionId("s"),
        user_id=UserId("u"),
        username="ana",
        content="hola",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    event = ChatMessage(message=message)
    assert (event.content, event.username, event.own) == ("hola", "ana", False)


def test_a_status_reads_as_its_word() -> None:
    assert [str(status) for status in Status] == ["new", "connecting", "live", "reconnecting", "closed", "failed"]
