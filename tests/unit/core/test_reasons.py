"""Every text a real server said to end or refuse something is read as what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from whatssound.core.reasons import WANTS_FRESH_TOKEN, Reason, from_close_code, from_http_status, from_text

SCENARIOS = Path(__file__).parents[2] / "data" / "wire" / "realtime" / "scenarios.jsonl"

#: How the recorded texts begin → what they mean. A recorded text that no line covers fails the test below.
MEANINGS = {
    "ChannelRateLimitReached: ": Reason.RATE_LIMITED,
    "ClientJoinRateLimitReached: ": Reason.RATE_LIMITED,
    "ConnectionRateLimitReached: ": Reason.RATE_LIMITED,
    "Client presence rate limit exceeded": Reason.RATE_LIMITED,
    "Too many messages per second": Reason.RATE_LIMITED,
    "InvalidJWTToken: ": Reason.TOKEN,
    "MalformedJWT: ": Reason.TOKEN,
    "The token provided is not a valid JWT": Reason.TOKEN,
    "Token has expired": Reason.TOKEN,
    "Unauthorized: You do not have permissions": Reason.UNAUTHORIZED,
    "You do not have permissions": Reason.UNAUTHORIZED,
    "PrivateOnly: ": Reason.UNAUTHORIZED,
    "Server requested disconnect": Reason.SERVER_RESTART,
    "Unable to subscribe to changes": Reason.DATABASE,
    "No subscription params": Reason.DATABASE,
    "Error parsing `": Reason.DATABASE,
    "UnknownErrorOnChannel: ": Reason.CRASHED,
    "channel_crash": Reason.CRASHED,
    "Track message size exceeded": Reason.TOO_LARGE,
    "TopicNameRequired: ": Reason.CLOSED,
    "UnableToReplayMessages: ": Reason.CLOSED,
    "Presence track payload must be a map": Reason.CLOSED,
    "unmatched topic": Reason.CLOSED,
}


def texts_of(frame: Any) -> Iterator[str]:
    """The texts of a frame of either protocol version that report trouble."""
    if isinstance(frame, list) and len(frame) == 5:
        frame = {"event": frame[3], "payload": frame[4]}
    if not isinstance(frame, dict) or not isinstance(payload := frame.get("payload"), dict):
        return
    match frame.get("event"):
        case "system" if payload.get("status") == "error" or payload.get("message") == "Server requested disconnect":
            yield payload["message"]
        case "phx_error":
            yield payload["reason"]
        case "phx_reply" if payload.get("status") == "error" and isinstance(payload.get("response"), dict):
            if "reason" in payload["response"]:
                yield payload["response"]["reason"]


@cache
def steps() -> tuple[dict[str, Any], ...]:
    with SCENARIOS.open(encoding="utf-8") as lines:
        return tuple(step for line in lines for step in json.loads(line)["steps"])


def recorded_texts() -> list[str]:
    frames = [frame for step in steps() for frame in (step.get("recv"), *step.get("unordered", []))]
    return sorted({text for frame in frames for text in texts_of(frame)})


def recorded_refusals() -> list[tuple[int, str]]:
    refused = [step["refused"] for step in steps() if "refused" in step]
    return sorted({(entry["status"], json.dumps(entry["body"])) for entry in refused})


@pytest.mark.parametrize("text", recorded_texts())
def test_a_recorded_text_means_what_it_says(text: str) -> None:
    meanings = {meaning for beginning, meaning in MEANINGS.items() if text.startswith(beginning)}
    assert meanings == {from_text(text)}


def test_every_meaning_was_recorded() -> None:
    texts = recorded_texts()
    assert [beginning for beginning in MEANINGS if not any(text.startswith(beginning) for text in texts)] == []


@pytest.mark.parametrize(("status", "body"), recorded_refusals())
def test_body_and_status_of_a_recorded_refused_handshake_agree(status: int, body: str) -> None:
    by_status = from_http_status(status)
    assert by_status in {Reason.TOKEN, Reason.UNAUTHORIZED, Reason.RATE_LIMITED}
    # "API key is missing", "role and exp are required" and an empty body say nothing of their own.
    assert from_text(body) in {by_status, Reason.CLOSED}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("JwtSignatureError: Failed to validate JWT signature", Reason.TOKEN),
        (":signature_error", Reason.TOKEN),
        ("RealtimeRestarting: Realtime is restarting, please standby", Reason.SERVER_RESTART),
        ("RealtimeDisabledForTenant: Realtime was disabled for this tenant", Reason.UNAUTHORIZED),
        ("DatabaseLackOfConnections: Database can't accept more connections", Reason.DATABASE),
        ("Too many database timeouts", Reason.DATABASE),
        ("ConnectionInitializing: Realtime is initializing the connection", Reason.DATABASE),
        ("TenantNotFound: Tenant not found: abc", Reason.NOT_FOUND),
        ("payload_size_exceeded", Reason.TOO_LARGE),
        ("", Reason.CLOSED),
    ],
)
def test_texts_of_servers_in_states_that_were_not_recorded(text: str, meaning: Reason) -> None:
    assert from_text(text) is meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "Unauthorized: You do not have permissions to read from Channel topic: too many jwt",
            Reason.UNAUTHORIZED,
        ),
        (
            "Unable to subscribe to changes: [table: jwt_rate limit, unauthorized]",
            Reason.DATABASE,
        ),
    ],
)
def test_quoted_topics_and_tables_do_not_mislead(text: str, meaning: Reason) -> None:
    assert from_text(text) is meaning


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (None, Reason.CLOSED),
        (1000, Reason.CLOSED),
        (1001, Reason.CLOSED),
        (1006, Reason.CLOSED),
        (1009, Reason.TOO_LARGE),
        (1011, Reason.CRASHED),
        (1012, Reason.SERVER_RESTART),
    ],
)
def test_close_codes(code: int | None, meaning: Reason) -> None:
    assert from_close_code(code) is meaning


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (401, Reason.TOKEN),
        (403, Reason.UNAUTHORIZED),
        (404, Reason.NOT_FOUND),
        (429, Reason.RATE_LIMITED),
        (500, Reason.UNREACHABLE),
        (503, Reason.UNREACHABLE),
    ],
)
def test_http_statuses(status: int, meaning: Reason) -> None:
    assert from_http_status(status) is meaning


def test_a_fresh_token_is_wanted_where_it_may_help() -> None:
    assert {Reason.TOKEN, Reason.UNAUTHORIZED} == WANTS_FRESH_TOKEN
