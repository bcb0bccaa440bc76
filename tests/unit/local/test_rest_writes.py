"""Writing and calling through the local REST interface."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_inserts(rest: Any) -> None:
    status, body, told = await rest.send("POST", "/pairs", {"a": 1, "b": "x y&z"}, Prefer="return=headers-only")
    assert (status, body, told["location"]) == (201, None, "/pairs?a=eq.1&b=eq.x%20y%26z")
    assert "content-type" not in told
    rows = [{"a": 1, "b": "x y&z", "value": 5}]
    for expected in (200, 200):
        prefer = "resolution=merge-duplicates,return=representation"
        status, body, _ = await rest.send("POST", "/pairs", rows, Prefer=prefer)
        assert (status, body) == (expected, rows)
    status, body, told = await rest.send("POST", "/pairs", rows, Prefer="resolution=ignore-duplicates")
    assert (status, told["preference-applied"]) == (201, "resolution=ignore-duplicates")
    assert await rest.code("POST", "/pairs", rows) == (409, "23505")
    assert await rest.code("POST", "/pairs?on_conflict=value", rows, Prefer="resolution=merge-duplicates") == (
        400,
        "42P10",
    )
    assert await rest.code("POST", "/totals", {"total": 1}) == (500, "55000")
    status, body, _ = await rest.send("DELETE", "/pairs?a=eq.1", Prefer="return=representation")
    assert (status, body) == (200, rows)


async def test_missing_columns(rest: Any) -> None:
    prefer = "return=representation,missing=default"
    path = "/items?columns=id,name,price&select=id,name,price"
    _, body, told = await rest.send("POST", path, [{"id": 50}, {"id": 51, "name": "n"}], Prefer=prefer)
    assert body == [{"id": 50, "name": "nameless", "price": None}, {"id": 51, "name": "n", "price": None}]
    assert told["preference-applied"] == "missing=default, return=representation"
    assert await rest.code("POST", path, [{"id": 52}]) == (400, "23502")
    status, _, _ = await rest.send("PATCH", "/items?columns=name&id=eq.50", {}, Prefer="missing=default")
    assert status == 204
    _, body, _ = await rest.send("POST", "/items?select=name", {}, Prefer="return=representation")
    assert body == [{"name": "nameless"}]
    await rest.send("DELETE", "/items?id=gte.50")
    await rest.send("DELETE", "/items?name=eq.nameless")


async def test_any_text_survives_the_way_in_and_back(rest: Any) -> None:
    source = random.Random(7)
    alphabet = "ab'\"\\;$,.(){}%*:- \n\t|é🎧"
    for number in range(25):
        text = "".join(source.choice(alphabet) for _ in range(source.randint(1, 12)))
        key = {"a": 1000 + number, "b": text}
        assert (await rest.send("POST", "/pairs", key))[0] == 201
        for condition in (f"b=eq.{quote(text)}", f"b=in.({quote(quoted(text))})", f"and=(b.eq.{quote(quoted(text))})"):
            _, body, _ = await rest.send("GET", f"/pairs?a=eq.{key['a']}&select=b&{condition}")
            assert body == [{"b": text}], (text, condition)
        assert (await rest.send("DELETE", f"/pairs?b=eq.{quote(text)}", Prefer="count=exact"))[2][
            "content-range"
        ] == "*/1"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def test_whole_bodies(rest: Any) -> None:
    for body in ({"a": [1]}, [{"a": 1}]):
        assert (await rest.send("POST", "/rpc/keep", body))[1] == body
    form = "application/x-www-form-urlencoded"
    status, answer, _ = await rest.send("POST", "/rpc/keep", raw=b"a=1", Content_Type=form)
    assert (status, answer["code"]) == (404, "PGRST202")
    assert "unnamed" not in answer["details"]


async def test_form_bodies(rest: Any) -> None:
    form = "application/x-www-form-urlencoded"
    status, body, _ = await rest.send(
        "POST", "/pairs", raw=b"a=7&b=hi+there", Content_Type=form, Prefer="return=representation"
    )
    assert (status, body) == (201, [{"a": 7, "b": "hi there", "value": None}])
    await rest.send("DELETE", "/pairs?a=eq.7")
    _, body, _ = await rest.send("POST", "/rpc/say", raw=b"word=a&other=b", Content_Type=form)
    assert body == "ab"


async def test_put(rest: Any) -> None:
    row = {"a": 3, "b": "c", "value": 1}
    status, body, told = await rest.send("PUT", "/pairs?a=eq.3&b=eq.c", row, Prefer="return=representation")
    assert (status, body) == (201, [row])
    assert "content-range" not in told
    status, _, _ = await rest.send("PUT", "/pairs?a=eq.3&b=eq.c", row, Prefer="return=representation")
    assert status == 200
    assert (await rest.send("PUT", "/pairs?a=eq.3&b=eq.c", row))[0] == 204
    assert await rest.code("PUT", "/pairs?a=eq.3", row) == (405, "PGRST105")
    assert await rest.code("PUT", "/pairs?a=eq.3&b=gt.c", row) == (405, "PGRST105")
    assert await rest.code("PUT", "/pairs?a=eq.4&b=eq.c", row) == (400, "PGRST115")
    assert await rest.code("PUT", "/pairs?a=eq.3&b=eq.c&limit=1", row) == (400, "PGRST114")
    await rest.send("DELETE", "/pairs?a=eq.3")


async def test_updates(rest: Any) -> None:
    status, body, told = await rest.send("PATCH", "/pairs?a=eq.1", {}, Prefer="return=representation")
    assert (status, body, told["content-range"]) == (200, [], "*/*")
    await rest.send("POST", "/pairs", [{"a": 8, "b": "x", "value": 1}, {"a": 8, "b": "y", "value": 2}])
    prefer = "handling=strict,max-affected=1,return=representation"
    status, body, _ = await rest.send("PATCH", "/pairs?a=eq.8", {"value": 9}, Prefer=prefer)
    assert (status, body["code"], body["details"]) == (400, "PGRST124", "The query affects 2 rows")
    single = "application/vnd.pgrst.object+json"
    path = "/pairs?a=eq.8"
    assert await rest.code("PATCH", path, {"value": 9}, Prefer="return=representation", Accept=single) == (
        406,
        "PGRST116",
    )
    assert [row["value"] for row in (await rest.get("/pairs?a=eq.8&order=b"))[1]] == [1, 2]
    status, _, told = await rest.send("DELETE", path, Prefer="count=exact,handling=strict,max-affected=5")
    assert (status, told["content-range"]) == (204, "*/2")
    assert told["preference-applied"] == "count=exact, handling=strict, max-affected=5"
    assert await rest.code("PATCH", "/pairs", {"nope": 1}) == (400, "PGRST204")


async def test_views(rest: Any) -> None:
    assert await rest.get("/cheap?select=id,name") == (200, [{"id": 1, "name": "one"}])
    body = {"id": 60, "name": "v", "price": 1}
    prefer = "resolution=merge-duplicates,return=headers-only"
    status, _, told = await rest.send("POST", "/cheap", body, Prefer=prefer)
    assert (status, told["location"]) == (201, "/cheap?id=eq.60")
    assert (await rest.send("POST", "/cheap", body, Prefer="resolution=merge-duplicates"))[0] == 200
    assert (await rest.send("DELETE", "/cheap?id=eq.60"))[0] == 204


async def test_bodies_that_are_refused(rest: Any) -> None:
    assert await rest.code("POST", "/pairs", Content_Type="text/csv") == (400, "PGRST127")
    assert await rest.code("POST", "/pairs", Content_Type="text/html") == (400, "PGRST102")
    assert await rest.code("POST", "/pairs", [1]) == (400, "PGRST102")
    assert await rest.code("POST", "/pairs") == (400, "PGRST102")
    assert (await rest.send("POST", "/pairs", 5))[0] == 201
    assert await rest.code("PATCH", "/rpc/say", {}) == (405, "PGRST101")
    assert await rest.code("TRACE", "/items") == (405, "PGRST117")


async def test_calls(rest: Any) -> None:
    assert await rest.get("/rpc/say?word=a") == (200, "ax")
    assert await rest.get("/rpc/overload?a=1") == (200, "int")
    assert (await rest.send("POST", "/rpc/overload", {"a": 1, "b": 2}))[1] == "two"
    assert await rest.get("/rpc/most?n=1&n=5&n=3") == (200, 5)
    assert (await rest.send("POST", "/rpc/most", {"n": [4, 2]}))[1] == 4
    assert (await rest.send("POST", "/rpc/shout", raw=b"hey", Content_Type="text/plain"))[1] == "HEY"
    assert (await rest.send("POST", "/rpc/size_of", raw=b"\x00\xff1", Content_Type="application/octet-stream"))[1] == 3
    assert (await rest.send("POST", "/rpc/numbers", {"n": 3}))[1] == [1, 2, 3]
    assert (await rest.send("POST", "/rpc/out_pair", {}))[1] == {"a": 1, "b": "b"}
    assert (await rest.send("POST", "/rpc/say?columns=word", {"word": "a", "other": "z"}))[1] == "ax"
    single = "application/vnd.pgrst.object+json"
    assert (await rest.send("POST", "/rpc/say", {"word": "a"}, Accept=single))[1] == "ax"
    assert await rest.code("POST", "/rpc/numbers", {"n": 2}, Accept=single) == (406, "PGRST116")
    strict = "handling=strict,max-affected=1"
    assert await rest.code("POST", "/rpc/say", {"word": "a"}, Prefer=strict) == (400, "PGRST128")
    assert await rest.code("POST", "/rpc/numbers", {"n": 2}, Prefer=strict) == (400, "PGRST124")
    assert (await rest.send("HEAD", "/rpc/say?word=a"))[:2] == (200, None)
