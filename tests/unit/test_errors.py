"""Every error: documented, classified, full of facts, and whole after copying and pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from whatssound import errors
from whatssound.errors import (
    REFUSALS,
    AuthenticationError,
    BannedError,
    BatchTooLargeError,
    ChatFrozenError,
    ConfigurationError,
    ConnectionRefusedByServerError,
    DatabaseBusyError,
    EmptyMessageError,
    FramesUnavailableError,
    IdempotencyMismatchError,
    InvalidCredentialsError,
    InvalidInputError,
    InvalidKeyError,
    InvalidTextError,
    MessageRejectedError,
    MessageTooLongError,
    NotFoundError,
    NotSignedInError,
    OutboxFullError,
    OutcomeUnknownError,
    ProtocolError,
    QueueConflictError,
    RateLimitedError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    SessionClosedError,
    SessionNotFoundError,
    SlowModeError,
    SlowReaderError,
    SpoolDamagedError,
    SpoolError,
    SpoolFullError,
    SpoolInUseError,
    TipError,
    TokenExpiredError,
    TransportError,
    UnreachableError,
    WhatsSoundError,
    refusal,
)

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, WhatsSoundError) and kind.__module__ == errors.__name__
}

#: What the database may put into a hint, apart from ``not_signed_in``.
CODES = [
    "session_not_found",
    "session_ended",
    "not_allowed",
    "banned",
    "muted",
    "slow_mode",
    "rate_limited",
    "chat_frozen",
    "too_long",
    "empty",
    "invalid_text",
    "invalid_argument",
    "bad_id",
    "bad_clock",
    "unknown_song",
    "unknown_item",
    "unknown_member",
    "unknown_tip",
    "unknown_message",
    "queue_conflict",
    "queue_full",
    "idempotency_mismatch",
    "id_conflict",
    "tip_too_large",
    "tip_state",
    "busy",
    "batch_too_large",
]

EXAMPLES: list[tuple[WhatsSoundError, dict[str, Any]]] = [
    (ConfigurationError("url", "has no scheme"), {"setting": "url", "problem": "has no scheme"}),
    (InvalidInputError("song_id", "must be a UUID"), {"argument": "song_id", "problem": "must be a UUID"}),
    (EmptyMessageError(), {"argument": "text"}),
    (MessageTooLongError(501, 500), {"length": 501, "limit": 500, "argument": "text"}),
    (InvalidTextError("note", "NUL", 3), {"argument": "note", "what": "NUL", "position": 3}),
    (AuthenticationError("no"), {}),
    (NotSignedInError(), {}),
    (InvalidKeyError(), {}),
    (InvalidCredentialsError("wrong password"), {}),
    (TokenExpiredError(), {}),
    *(
        (
            refusal(code, "words", status=409, retry_after=2.5, facts={"order": ["a"]}),
            {"code": code, "message": "words", "status": 409, "retry_after": 2.5, "facts": {"order": ["a"]}},
        )
        for code in CODES
    ),
    (
        MessageRejectedError("m1", "muted", retry_after=3.0, detail="by a moderator"),
        {"message_id": "m1", "reason": "muted", "retry_after": 3.0, "detail": "by a moderator"},
    ),
    (TransportError("cut", sent=False), {"sent": False, "retryable": True}),
    (UnreachableError("https://a.example", "refused"), {"where": "https://a.example", "sent": False}),
    (RequestTimeoutError("no answer"), {"sent": True}),
    (ServerError(503, "busy", retry_after=1.0), {"status": 503, "retry_after": 1.0, "sent": True}),
    (ConnectionRefusedByServerError("Unauthorized: no"), {"reason": "Unauthorized: no", "sent": False}),
    (
        OutcomeUnknownError("send_tip", "k", 6, TimeoutError("late")),
        {"operation": "send_tip", "key": "k", "attempts": 6, "retryable": True},
    ),
    (FramesUnavailableError("deploy the migrations"), {"problem": "deploy the migrations"}),
    (OutboxFullError(10, 2000), {"waiting": 10, "waiting_bytes": 2000}),
    (SpoolError("chat.spool", "cannot be opened"), {"path": "chat.spool", "problem": "cannot be opened"}),
    (SpoolInUseError("chat.spool"), {"path": "chat.spool"}),
    (SpoolDamagedError("chat.spool", "malformed"), {"path": "chat.spool", "detail": "malformed"}),
    (SpoolFullError("chat.spool", "the disk is full"), {"path": "chat.spool", "retryable": True}),
    (SlowReaderError(1000), {"held": 1000}),
    (SessionClosedError(), {}),
    (ProtocolError("a row of votes cannot be read"), {}),
]


def documented_tree() -> dict[str, str]:
    """Reads the tree of the module's docstring: class → the class above it."""
    above: list[tuple[int, str]] = []
    parents: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        names = re.findall(r"\b(?!Value)[A-Z]\w+Error\b", line)
        if not names or line.lstrip()[:1] not in "├└│W":
            continue
        depth = re.search(r"\w", line)
        assert depth is not None
        while above and above[-1][0] >= depth.start():
            above.pop()
        for name in names:
            if above:
                parents[name] = above[-1][1]
        above.append((depth.start(), names[0]))
    return parents


def test_the_tree_in_the_documentation_is_the_tree_of_the_classes() -> None:
    true = {
        name: next(base.__name__ for base in kind.__bases__ if issubclass(base, WhatsSoundError))
        for name, kind in CLASSES.items()
        if kind is not WhatsSoundError
    }
    assert documented_tree() == true


def test_there_is_an_example_of_every_class() -> None:
    assert {type(error) for error, _ in EXAMPLES} == set(CLASSES.values()) - {WhatsSoundError}


@pytest.mark.parametrize(("error", "facts"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_facts_are_attributes_and_the_text_is_composed(error: WhatsSoundError, facts: dict[str, Any]) -> None:
    assert {name: getattr(error, name) for name in facts} == facts
    assert str(error)
    assert type(error).__doc__
    assert isinstance(error.retryable, bool)


@pytest.mark.parametrize(("error", "facts"), EXAMPLES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_and_copying(again: Any, error: WhatsSoundError, facts: dict[str, Any]) -> None:
    revived = again(error)
    assert type(revived) is type(error)
    assert str(revived) == str(error)
    assert revived.args == error.args
    assert {name: getattr(revived, name) for name in facts} == facts


def test_every_refusal_of_the_database_has_its_class() -> None:
    assert sorted(REFUSALS) == sorted(CODES)


def test_the_migrations_speak_of_the_same_refusals() -> None:
    migrations = Path(__file__).parents[2] / "supabase" / "migrations"
    sql = next(migrations.glob("*_foundations.sql")).read_text(encoding="utf-8")
    body = sql[sql.index("function whatssound.refusals()") : sql.index("comment on function whatssound.refusals()")]
    assert set(re.findall(r"\('(\w+)', \d{3},", body)) == {*REFUSALS, "not_signed_in"}


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("session_not_found", SessionNotFoundError, False),
        ("banned", BannedError, False),
        ("slow_mode", SlowModeError, False),
        ("rate_limited", RateLimitedError, True),
        ("busy", DatabaseBusyError, True),
        ("chat_frozen", ChatFrozenError, False),
        ("queue_conflict", QueueConflictError, False),
        ("unknown_song", NotFoundError, False),
        ("id_conflict", IdempotencyMismatchError, False),
        ("tip_state", TipError, False),
        ("batch_too_large", BatchTooLargeError, False),
        ("something_new", RefusedError, False),
    ],
)
def test_a_code_becomes_its_class(code: str, kind: type[RefusedError], retryable: bool) -> None:
    error = refusal(code)
    assert type(error) is kind
    assert error.retryable is retryable
    assert (error.code, error.facts, error.retry_after) == (code, {}, None)


def test_a_refusals_text_has_message_wait_and_advice() -> None:
    error = refusal("queue_conflict", "the queue has changed", retry_after=1.5)
    assert str(error) == (
        "queue_conflict: the queue has changed (try again in 1.5 s); read session.state.queue and decide again"
    )
    assert str(refusal("slow_mode")) == "slow_mode"


def test_a_refusals_facts_are_its_own() -> None:
    facts = {"order": ["a"]}
    error = refusal("queue_conflict", facts=facts)
    facts["order"] = []
    assert error.facts == {"order": ["a"]}


def test_bad_arguments_are_value_errors_too() -> None:
    for kind in (ConfigurationError, InvalidInputError, EmptyMessageError, MessageTooLongError, InvalidTextError):
        assert issubclass(kind, ValueError)


def test_an_unreachable_server_got_nothing_and_a_silent_one_may_have() -> None:
    assert not UnreachableError("x", "y").sent
    assert RequestTimeoutError("x").sent


def test_an_unknown_outcome_names_the_key_that_makes_a_repetition_safe() -> None:
    assert "key='k1'" in str(OutcomeUnknownError("send_tip", "k1", 6))


def test_texts_of_credentials_hold_no_credentials() -> None:
    """Errors about keys and tokens take a description, never the key: there is no argument to put it in."""
    for kind in (NotSignedInError, InvalidKeyError, TokenExpiredError):
        names = [name for name in inspect.signature(kind).parameters if re.search("key|token|password|secret", name)]
        assert names == []
        assert "eyJ" not in str(kind())
