"""The pure parts of the local REST interface: what query strings, headers and bodies mean."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.local.rest.errors import ApiError
from whatssound.local.rest.fuzzy import best_match
from whatssound.local.rest.media import media_type, negotiate
from whatssound.local.rest.payload import read_payload
from whatssound.local.rest.prefer import parse_preferences
from whatssound.local.rest.query_string import Query, parse_query
from whatssound.local.rest.ranges import RowRange, content_range, read_status, requested_range
from whatssound.local.rest.sql import array_literal, quote_ident, quote_literal
from whatssound.local.rest.terms import Compare, Field, Filter, In, JsonStep, Logic, SelectItem


def test_a_filter_and_its_parts() -> None:
    query = parse_query(
        "select=id,n:a->b->>0::int&c->>d=not.in.(1,%22x,y%22)&or=(e.eq.1,f.is.null)", takes_arguments=False
    )
    path = (JsonStep("b", as_text=False, is_index=False), JsonStep("+0", as_text=True, is_index=True))
    assert query.select == (SelectItem(Field("id")), SelectItem(Field("a", path), "n", "int"))
    step = JsonStep("d", as_text=True, is_index=False)
    assert query.filters == [Filter(Field("c", (step,)), In(("1", "x,y")), negated=True)]
    (logic,) = query.logic
    assert isinstance(logic, Logic)
    assert logic.operands[0] == Filter(Field("e"), Compare("=", "1"))


def test_the_label_of_a_json_path_is_its_last_key() -> None:
    for select, label in (("a->b", "b"), ("a->b->0", "b"), ("a->0", "a"), ("a", None), ("x:a->b", "x")):
        assert parse_query(f"select={select}", takes_arguments=False).select[0].label == label


def test_arguments_are_what_is_no_filter() -> None:
    query = parse_query("a=1&b=eq.2&c=x+y", takes_arguments=True)
    assert query.arguments == [("a", "1"), ("c", "x y")]
    assert [condition.field.name for condition in query.filters] == ["b"]


TEMPLATES = ("{}", "select={}", "order={}", "id={}", "or=({})", "and={}", "columns={}", "{}=eq.1", "id=in.({})")


@given(st.text(max_size=60))
def test_no_query_string_breaks_the_parser(text: str) -> None:
    for template in TEMPLATES:
        assert outcome(template.format(quote(text))) in {"parsed", "PGRST100", "PGRST108", "PGRST127"}


def test_nesting_without_end_is_refused() -> None:
    assert outcome("and=(" + "and(" * 3000) == "PGRST100"


def outcome(text: str) -> str:
    try:
        parse_query(text, takes_arguments=False)
    except ApiError as error:
        return error.code
    return "parsed"


@given(st.lists(st.text(alphabet='a,)("\\. x', max_size=8), min_size=1, max_size=4))
def test_quoted_list_elements_come_back(values: list[str]) -> None:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    listed = ",".join(f'"{value}"' for value in escaped)
    query = parse_query(f"id=in.({quote(listed)})", takes_arguments=False)
    assert query.filters[0].operation == In(tuple(values))


def test_quoting() -> None:
    assert quote_ident('a"b') == '"a""b"'
    assert quote_literal("it's") == "'it''s'"
    assert quote_literal("a\\b'") == " E'a\\\\b'''"
    assert array_literal(["a", 'b"', "c\\"]) == '{"a","b\\"","c\\\\"}'
    for quoted in (quote_ident, quote_literal):
        with pytest.raises(ApiError, match="0x00"):
            quoted("a\0")


@pytest.mark.parametrize(
    ("header", "query", "rows"),
    [
        (None, Query(), RowRange()),
        ("0-4", Query(), RowRange(0, 4)),
        ("3-", Query(), RowRange(3)),
        ("nonsense", Query(), RowRange()),
        (None, Query(has_limit=True, limit=5), RowRange(0, 4)),
        (None, Query(has_limit=True, limit=5, offset=2), RowRange(2, 6)),
        ("1-9", Query(has_limit=True, limit=3), RowRange(1, 2)),
        (None, Query(has_limit=True, limit=0), RowRange(0, -1)),
        (None, Query(offset=7), RowRange(7)),
    ],
)
def test_ranges(header: str | None, query: Query, rows: RowRange) -> None:
    assert requested_range("GET", header, query) == rows


def test_the_range_header_is_for_get_only() -> None:
    assert requested_range("HEAD", "1-2", Query()).is_all


def test_content_range_and_status() -> None:
    assert content_range(0, 4, None) == "0-4/*"
    assert content_range(1, 0, 3) == "*/3"
    assert content_range(0, -1, 0) == "*/0"
    assert [read_status(0, 1, 5), read_status(0, 4, 5), read_status(9, 8, 5), read_status(0, 1, None)] == [
        206,
        200,
        416,
        200,
    ]
    assert read_status(5, 4, 5) == 206


def test_the_first_preference_counts() -> None:
    prefer = parse_preferences(
        ["count=exact, count=planned", "return=minimal,tx=commit , max-affected=3, odd"], tx_override=False
    )
    assert (prefer.count, prefer.returning, prefer.tx, prefer.max_affected) == ("exact", "minimal", None, 3)
    assert prefer.unknown == ("odd",)
    assert prefer.applied(writes=True) == "return=minimal, count=exact"


def test_media_types() -> None:
    assert media_type("Application/JSON; charset=utf-8") == "application/json"
    assert media_type("application/vnd.pgrst.object") == "application/vnd.pgrst.object+json"
    assert media_type("application/vnd.pgrst.array+json; nulls=stripped").endswith("nulls=stripped")
    assert negotiate("text/html;q=0.9, application/json;q=0.1").media_type == "application/json"


@pytest.mark.parametrize(
    ("body", "keys"),
    [(b'{"b":1,"a":2}', ("a", "b")), (b'[{"a":1},{"a":2}]', ("a",)), (b"[]", ()), (b"7", ()), (b"null", ())],
)
def test_payload_keys(body: bytes, keys: tuple[str, ...]) -> None:
    assert read_payload(body, None, Query(), takes_columns=True, calls=False).keys == keys


@pytest.mark.parametrize("body", [b"", b"{", b'[{"a":1},{"b":2}]', b'[{"a":1},2]', b"[1]", b"\xff"])
def test_bad_payloads(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        read_payload(body, "application/json", Query(), takes_columns=True, calls=False)
    assert caught.value.code == "PGRST102"


def test_names_that_were_meant() -> None:
    names = ["projects", "clients", "Items"]
    assert best_match(names, "projectx", 0.75) == "projects"
    assert best_match(names, "projecxx", 0.75) == "projects"
    assert best_match(names, "projxxxx", 0.75) is None
    assert best_match(names, "items", 0.75) == "Items"
    assert best_match([], "a", 0.1) is None
