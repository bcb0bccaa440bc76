from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from whatssound.cli.watch import as_json, as_line
from whatssound.events import (
    ChatMessage,
    Event,
    PresenceJoined,
    PresenceLeft,
    QueueChanged,
    SessionChanged,
    StateResynced,
    Status,
    StatusChanged,
    TipSent,
    VoteCast,
)
from whatssound.models import Message, Presence, QueueItem, SessionInfo, Tally
from whatssound.models import Tip as TipModel

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def made(kind: type[Any], **members: Any) -> Any:
    return kind.model_validate(members)


MESSAGE = made(Message, id="m", session_id="s", user_id="u", username="ana", content="hola 🔥", created_at=NOW)
TIP = made(
    TipModel, id="t", session_id="s", tipper_id="u", dj_id="d", amount=550, currency="EUR", note="gracias",
    status="confirmed", username="ana", created_at=NOW,
)  # fmt: skip
ITEM = made(QueueItem, id="i", session_id="s", song_id="g", title="Luz", rank=1, status="queued", version=1)
ANA = made(Presence, user_id="u", username="ana")
SESSION = made(SessionInfo, id="s", title="Noche", dj_id="d", status="ended")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ChatMessage(message=MESSAGE), "ana: hola 🔥"),
        (made(VoteCast, song_id="g", user_id="u", username="ana", value=-1, tally=Tally(up=1, down=2, score=-1)),
         "* ana votes -1 on g: -1"),
        (TipSent(tip=TIP), "* ana tips 5.50 EUR (gracias)"),
        (QueueChanged(action="moved", item=ITEM), "* Luz moved"),
        (PresenceJoined(member=ANA), "* ana comes"),
        (PresenceLeft(member=ANA), "* ana leaves"),
        (SessionChanged(action="ended", session=SESSION), "* session ended"),
        (StatusChanged(status=Status.RECONNECTING, reason="closed"), "* reconnecting: closed"),
        (StatusChanged(status=Status.LIVE), "* live"),
        (StateResynced(fetched=3), None),
    ],
)  # fmt: skip
def test_events_are_told_in_a_line(event: Event, line: str | None) -> None:
    assert as_line(event) == line


def test_json_names_the_event_and_has_all_of_it() -> None:
    told = json.loads(as_json(TipSent(tip=TIP, seq=4)))
    assert told["event"] == "TipSent"
    assert told["seq"] == 4
    assert told["tip"]["amount"] == 550
    assert "\n" not in as_json(ChatMessage(message=MESSAGE))
    assert "🔥" in as_json(ChatMessage(message=MESSAGE))
