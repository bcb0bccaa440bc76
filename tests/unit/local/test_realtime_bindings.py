"""Change bindings: what is understood, and what the real server says to the rest."""

from __future__ import annotations

from typing import Any

import pytest

from whatssound.local.realtime.bindings import Binding, BindingError, Filter, parse_binding, parse_filters
from whatssound.local.realtime.join_config import JoinCrashError, channel_name, parse_join


@pytest.mark.parametrize(
    ("members", "binding"),
    [
        ({"schema": "public"}, Binding("*", "public", "*", (), None)),
        ({"table": "t"}, Binding("*", "public", "t", (), None)),
        ({"event": "insert", "schema": "s", "table": "t"}, Binding("INSERT", "s", "t", (), None)),
        ({"event": "SELECT", "schema": "s", "table": "t"}, Binding("*", "s", "t", (), None)),
        ({"event": 5, "schema": "*"}, Binding("*", "*", "*", (), None)),
        ({"schema": "s", "table": "t", "select": ["a", 1]}, Binding("*", "s", "t", (), ("a",))),
        ({"schema": "s", "table": "t", "select": []}, Binding("*", "s", "t", (), None)),
        ({"schema": "s", "table": "t", "filter": "  "}, Binding("*", "s", "t", (), None)),
    ],
)
def test_a_binding_is_understood(members: dict[str, Any], binding: Binding) -> None:
    assert parse_binding(members) == binding


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("id=eq.5", [("id", "eq", "5", False)]),
        ("id=not.gt.5,name=like.a%", [("id", "gt", "5", True), ("name", "like", "a%", False)]),
        ("id=in.(1,2),x=is.null", [("id", "in", "{1,2}", False), ("x", "is", "null", False)]),
        ('n=eq."a,b \\"c\\""', [("n", "eq", 'a,b "c"', False)]),
        ('n=in.("a,b",c)', [("n", "in", '{"a,b",c}', False)]),
        ("n=eq.a.b=c", [("n", "eq", "a.b=c", False)]),
        ('n=eq."half', [("n", "eq", '"half', False)]),
        ("n=eq.", [("n", "eq", "", False)]),
        ("n=eq.(a,b)", [("n", "eq", "(a,b)", False)]),
    ],
)
def test_filters_are_understood(text: str, filters: list[tuple[str, str, str, bool]]) -> None:
    assert parse_filters(text) == tuple(Filter(*each) for each in filters)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "at least a `schema` or `table` to subscribe to: %{}"),
        ({"schema": "s", "table": None}, '%{"schema" => "s", "table" => nil}'),
        ({"user_token": "secret"}, "<redacted>"),
        ({"schema": "s", "table": "t", "filter": "undefined"}, 'Error parsing `filter` params: ["undefined"]'),
        ({"schema": "s", "table": "t", "filter": "id=foo.1"}, 'Error parsing `filter` params: ["foo", "1"]'),
        ({"schema": "s", "table": "t", "filter": "id=5"}, 'Error parsing `filter` params: ["5"]'),
        ({"schema": "s", "table": "t", "filter": "id=in.1"}, "`in` filter value must be wrapped by parentheses"),
        ({"schema": "s", "table": "t", "filter": "id=eq.1,"}, "filter must not contain empty segments"),
        ({"schema": "s", "table": "t", "select": "id"}, "Error parsing `select` params"),
        ({"schema": "s", "select": ["id"]}, "Column selection is not supported for wildcard subscriptions"),
    ],
)
def test_the_rest_is_told_why(members: dict[str, Any], message: str) -> None:
    with pytest.raises(BindingError) as refused:
        parse_binding(members)
    assert message in str(refused.value)


def test_wrong_types_in_a_join_fall_back_to_the_defaults() -> None:
    config = parse_join(
        "r",
        {
            "config": {
                "private": 1,
                "broadcast": {"ack": 1, "self": "TRUE", "replay": True},
                "presence": 3,
                "postgres_changes": {"event": "*"},
            }
        },
    )
    assert (config.private, config.ack, config.self_broadcast, config.presence) == (False, False, True, False)
    assert (config.bindings, config.mentions_replay, config.replay) == ((), True, None)


def test_a_join_without_config_means_the_table_of_its_topic() -> None:
    config = parse_join("public:t:id=eq.1", {})
    assert config.old_form
    assert config.bindings == ({"schema": "public", "table": "t", "filter": "id=eq.1"},)
    assert parse_join("room", {}).bindings == ({"schema": "room"},)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"config": "x"}, "no function clause matching in Access.get/3"),
        ({"config": {"broadcast": 5}}, "no function clause matching in Access.get/3"),
        ({"config": []}, "expect the key to be an atom"),
        ({"config": {"postgres_changes": ["x"]}}, "expected a map"),
    ],
)
def test_some_types_make_the_real_join_fail(payload: dict[str, Any], message: str) -> None:
    with pytest.raises(JoinCrashError, match=message):
        parse_join("r", payload)


def test_null_is_neither_private_nor_public() -> None:
    assert parse_join("r", {"config": {"private": None}}).private is None


@pytest.mark.parametrize(("topic", "name"), [("realtime:a:b", "a:b"), ("realtime:", ""), ("room", None), ("", None)])
def test_a_channel_is_named_after_its_topic(topic: str, name: str | None) -> None:
    assert channel_name(topic) == name
