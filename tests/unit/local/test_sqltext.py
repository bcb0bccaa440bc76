from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.local.sqltext import split_statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; \n; -- nothing\n /* ; */ ", []),
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select ';', \"a;b\"; x", ["select ';', \"a;b\"", "x"]),
        ("select 'it''s;'; x", ["select 'it''s;'", "x"]),
        (r"select E'it\';'; x", [r"select E'it\';'", "x"]),
        (r"select '\'; x", [r"select '\'", "x"]),
        ("do $$ begin; end $$; x", ["do $$ begin; end $$", "x"]),
        ("do $a$ $$;$$ $b$;$b$ $a$; x", ["do $a$ $$;$$ $b$;$b$ $a$", "x"]),
        ("select $1;x$1", ["select $1", "x$1"]),
        ("/* a /* ; */ ; */ select 1; x", ["/* a /* ; */ ; */ select 1", "x"]),
        ("-- says; why\nselect 1;\n-- end;", ["-- says; why\nselect 1"]),
        ("create rule r as on insert to t do (a; b); x", ["create rule r as on insert to t do (a; b)", "x"]),
        (
            "create function f() begin atomic select case when true then 1 end; select 2; end; x",
            ["create function f() begin atomic select case when true then 1 end; select 2; end", "x"],
        ),
        ("begin; select 1; end; x", ["begin", "select 1", "end", "x"]),
        ("select 'open", ["select 'open"]),
        ("select $a$ open; ", ["select $a$ open;"]),
    ],
)
def test_cut_where_postgres_cuts(text: str, expected: list[str]) -> None:
    assert split_statements(text) == expected


@given(st.lists(st.sampled_from(["select 1", "select ';'", "do $x$;$x$", "/*;*/ y", 'a "b;"', "f(1; 2)"]), max_size=8))
def test_joined_statements_come_apart_again(statements: list[str]) -> None:
    assert split_statements(";\n".join(statements)) == statements


@given(st.text(alphabet="ab;'\"$\\/*-()\nE ", max_size=60))
def test_any_text_is_cut_without_loss(text: str) -> None:
    cut = split_statements(text)
    position = 0
    for statement in cut:
        found = text.find(statement, position)
        assert found >= position
        position = found + len(statement)
