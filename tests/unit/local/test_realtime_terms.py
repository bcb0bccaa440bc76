"""Erlang's hash, size and print of terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whatssound.local.realtime.inspect import Atom, float_text, inspect
from whatssound.local.realtime.terms import binding_id, external_size

SCENARIOS = Path(__file__).parents[2] / "data" / "wire" / "realtime" / "scenarios.jsonl"


def recorded_ids() -> list[tuple[dict[str, Any], int]]:
    found: dict[str, tuple[dict[str, Any], int]] = {}
    for scenario in map(json.loads, SCENARIOS.read_text("utf-8").splitlines()):
        for step in scenario["steps"]:
            frame = step.get("recv")
            payload = frame[4] if isinstance(frame, list) else (frame or {}).get("payload")
            response = payload.get("response") if isinstance(payload, dict) else None
            for binding in response.get("postgres_changes", []) if isinstance(response, dict) else []:
                members = {name: value for name, value in binding.items() if name != "id"}
                found[json.dumps(members, sort_keys=True)] = (members, scenario["real"][binding["id"]])
    return list(found.values())


def test_ids_of_bindings_are_those_of_the_real_server() -> None:
    known = recorded_ids()
    assert len(known) > 30
    assert {json.dumps(members): binding_id(members) for members, _ in known} == {
        json.dumps(members): identity for members, identity in known
    }


def test_the_order_of_members_does_not_matter_to_an_id() -> None:
    members = {"event": "*", "schema": "public", "table": "test_tenant"}
    assert binding_id(members) == binding_id(dict(reversed(members.items()))) == 69379012


@pytest.mark.parametrize("value", [None, True, False, -1, 1 << 40, 1.5, [1, 2, 3, 4, 5], [], ["a", 300], {"x": {}}])
def test_any_member_has_a_hash(value: Any) -> None:
    assert 0 <= binding_id({"filter": value}) < 1 << 27
    assert binding_id({"filter": value}) == binding_id({"filter": value})


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("abc", 9), ("é", 8), ({}, 6), ([], 2), (1, 3), (255, 3), (256, 6), (-1, 6), (1 << 40, 10), (1.5, 10),
        (None, 6), (True, 7), (False, 8), ([1], 9), ({"a": 1}, 14), (b"abc", 9), (("a", 1), 11),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_external_term_format(value: Any, size: int) -> None:
    assert external_size(value) == size


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nil"),
        ({"b": [1, 2.0], "a": None}, '%{"a" => nil, "b" => [1, 2.0]}'),
        ((Atom("error"), 'q"\n#{x}'), '{:error, "q\\"\\n\\#{x}"}'),
        ([], "[]"),
        ({}, "%{}"),
        (list(range(52)), "[" + ", ".join(map(str, range(50))) + ", ...]"),
    ],
)
def test_terms_are_shown_as_elixir_shows_them(value: Any, shown: str) -> None:
    assert inspect(value) == shown


def test_long_terms_are_broken_at_eighty_columns() -> None:
    long = "x" * 90
    assert inspect([("id", "in", long, False)], pretty=True) == f'[\n  {{"id", "in",\n   "{long}",\n   false}}\n]'
    assert inspect({"a": long, "b": 1}, pretty=True) == f'%{{\n  "a" => "{long}",\n  "b" => 1\n}}'
    assert inspect(["a" * 40, "b" * 40], pretty=True) == f'["{"a" * 40}",\n "{"b" * 40}"]'


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.1, "0.1"), (1e5, "1.0e5"), (123456.0, "123456.0"), (1e-4, "0.0001"), (1e-7, "1.0e-7"), (-2.5, "-2.5"),
     (2.0**53, "9.007199254740992e15"), (0.0, "0.0"), (1.25e-5, "1.25e-5"), (12.0, "12.0")],
)  # fmt: skip
def test_floats_are_shown_in_their_shortest_form(value: float, shown: str) -> None:
    assert float_text(value) == shown
