"""Reading through the local REST interface: filters, order, columns, counts, ranges."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("price=eq.1.50", [1]),
        ("price=isdistinct.3", [1, 2]),
        ("price=not.isdistinct.3", [3]),
        ("mood=eq.calm", [1]),
        ("mood=in.(calm,wild)", [1, 2]),
        ("mood=neq.calm", [2]),
        ("code=eq.abc", [1]),
        ("code2=eq.ab", [1]),
        ("name=eq.it's \\ \"three\"", [3]),
        ('name=in.("it\'s \\\\ \\"three\\"",one)', [1, 3]),
        ("name=match.^o", [1]),
        ("name=imatch.^TW", [2]),
        ("name=not.match.^o", [2, 3]),
        ("name=like(any).{o*,t*}", [1, 2]),
        ("name=eq(any).{one,two}", [1, 2]),
        ("id=gt(all).{1,2}", [3]),
        ("tags=cs.{x}", [1]),
        ("tags=cd.{x,y,z}", [1, 3]),
        ("tags=ov.{y,z}", [1]),
        ("tags=eq.{x,y}", [1]),
        ("tags=is.null", [2]),
        ("tags=is.not_null", [1, 3]),
        ("tags=not.is.null", [1, 3]),
        ('facts=cs.{"n":3}', [1]),
        ("facts->a->b->>1=eq.20", [1]),
        ("facts->n=eq.3", [1]),
        ("facts->a->b->-1=eq.20", [1]),
        ("facts->>n=is.null", [2, 3]),
        ("words=fts.cat", [1]),
        ("computed=fts(simple).cat", [1]),
        ("words=fts(simple).dog%26cat", [1]),
        ("name=plfts(english).one", [1]),
        ("at=gte.2026-01-01", [1]),
        ("odd name=eq.7", [1]),
        ('"odd name"=eq.7', [1]),
        ("and=(id.gt.1,id.lt.3)", [2]),
        ("not.or=(id.eq.1,id.eq.2)", [3]),
        ("or=(id.eq.1,not.and(id.gte.1,id.lte.2))", [1, 3]),
        ("or=(tags.cs.{x,y},mood.in.(wild))", [1, 2]),
        ('or=(name.eq."it\'s \\\\ \\"three\\"",id.eq.1)', [1, 3]),
        ("or=(facts->a->b->>0.eq.10,price.is.null)", [1, 2]),
        ("or=(name.fts.one,id.eq.3)", [1, 3]),
        ("id=in.()", []),
        ("nothing_at_all=eq.ONE", [1]),
        ("id=eq.1&id=eq.2", []),
    ],
)  # fmt: skip
async def test_filters(rest: Any, query: str, ids: list[int]) -> None:
    status, body = await rest.get(f"/items?select=id&order=id&{query}")
    assert (status, body) == (200, [{"id": number} for number in ids])


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("order=price.desc", [2, 3, 1]),
        ("order=price.desc.nullslast", [3, 1, 2]),
        ("order=price.nullsfirst", [2, 1, 3]),
        ("order=facts->n.desc.nullslast,id", [1, 3, 2]),
        ("order=facts->>n.asc,id.desc", [1, 3, 2]),
        ("order=id.desc&limit=1&offset=1", [2]),
        ("order=id&offset=2", [3]),
        ("order=id&limit=0", []),
        ("order=id&offset=-1", [1, 2, 3]),
        ("order=id&limit=3&offset=-2", [1]),
        ("order=id&limit=abc", [1, 2, 3]),
        ('order="odd name".nullslast,id.desc', [1, 3, 2]),
    ],
)
async def test_order_and_limits(rest: Any, query: str, ids: list[int]) -> None:
    assert await rest.get(f"/items?select=id&{query}") == (200, [{"id": number} for number in ids])


@pytest.mark.parametrize(
    ("select", "row"),
    [
        ("id,label:name", {"id": 1, "label": "one"}),
        ("price::int", {"price": 2}),
        ("facts->a->b->0", {"b": 10}),
        ("facts->a->b->>0", {"b": "10"}),
        ("facts->n::text", {"n": "3"}),
        ("x:facts->a->b->>-1", {"x": "20"}),
        ("tags->0", {"tags": "x"}),
        ('"odd name"', {"odd name": 7}),
        ("code,code2", {"code": "abc", "code2": "ab "}),
        ("nothing_at_all", {"nothing_at_all": "ONE"}),
        (" id , name ", {"id": 1, "name": "one"}),
    ],
)
async def test_select(rest: Any, select: str, row: dict[str, Any]) -> None:
    assert await rest.get(f"/items?id=eq.1&select={select}") == (200, [row])


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/items?id=foo.1", 400, "PGRST100"),
        ("/items?id=1", 400, "PGRST100"),
        ("/items?id=is.maybe", 400, "PGRST100"),
        ("/items?id=in.1", 400, "PGRST100"),
        ("/items?or=()", 400, "PGRST100"),
        ("/items?or=(id.eq.1", 400, "PGRST100"),
        ("/items?or=(id.xx.1)", 400, "PGRST100"),
        ("/items?order=id.up", 400, "PGRST100"),
        ("/items?order=id.desc.nulls", 400, "PGRST100"),
        ("/items?select=id[]", 400, "PGRST100"),
        ("/items?select=id::", 400, "PGRST100"),
        ("/items?rooms.id=eq.1", 400, "PGRST108"),
        ("/items?rooms.order=id", 400, "PGRST108"),
        ("/items?order=rooms(id)", 400, "PGRST108"),
        ("/items?select=id,rooms(*)", 400, "PGRST127"),
        ("/items?select=...rooms(*)", 400, "PGRST127"),
        ("/items?select=rooms(*)&rooms.id=eq.1", 400, "PGRST127"),
        ("/painted", 400, "PGRST127"),
        ("/items?select=id.sum()", 400, "PGRST123"),
        ("/items?select=count()", 400, "PGRST123"),
        ("/items?limit=-1", 416, "PGRST103"),
        ("/items?limit=0&offset=5", 416, "PGRST103"),
        ("/items?id=like.1", 404, "42883"),
        ("/items?name=fts.a b", 400, "42601"),
        ("/items?id=eq.99999999999", 400, "22003"),
        ("/items?mood=eq.sad", 400, "22P02"),
        ("/items?select=name::nope", 400, "42704"),
        ("/items?name=eq.a%00b", 400, "22021"),
        ("/a/b/c", 404, "PGRST125"),
        ("/items/", 404, "PGRST125"),
        ("/", 404, "PGRST126"),
        ("/itemz", 404, "PGRST205"),
        ("/rpc/not_a_function", 404, "PGRST202"),
        ("/rpc/same?a=1", 300, "PGRST203"),
    ],
)
async def test_refused_reads(rest: Any, path: str, status: int, code: str) -> None:
    assert await rest.code("GET", path) == (status, code)


async def test_parser_errors_say_where(rest: Any) -> None:
    _, body = await rest.get("/items?id=foo.1")
    assert body["message"] == '"failed to parse filter (foo.1)" (line 1, column 1)'
    assert body["details"] == 'unexpected "f" expecting "not" or operator (eq, gt, ...)'


async def test_names_that_were_meant(rest: Any) -> None:
    assert (await rest.get("/itemss"))[1]["hint"] == "Perhaps you meant the table 'public.items'"
    assert (await rest.get("/zzz"))[1]["hint"] is None
    body = (await rest.send("POST", "/rpc/sayy", {"word": "a"}))[1]
    assert body["hint"] == "Perhaps you meant to call the function public.say"
    body = (await rest.send("POST", "/rpc/say", {"wort": "a", "other": "b"}))[1]
    assert body["message"] == "Could not find the function public.say(other, wort) in the schema cache"
    assert body["hint"] == "Perhaps you meant to call the function public.say(other, word)"


async def test_media_types(rest: Any) -> None:
    assert await rest.code("GET", "/items", Accept="text/csv") == (400, "PGRST127")
    status, body, _ = await rest.send("GET", "/items", Accept="text/html, application/pdf")
    assert (status, body["code"]) == (406, "PGRST107")
    assert body["message"] == "None of these media types are available: text/html, application/pdf"
    plan = "application/vnd.pgrst.plan+json"
    assert await rest.code("GET", "/items", Accept=plan) == (406, "PGRST107")
    for accept in ("text/html, application/json", "application/*, */*;q=0.5", "application/vnd.pgrst.array+json"):
        status, _, told = await rest.send("GET", "/items", Accept=accept)
        assert (status, told["content-type"]) == (200, "application/json; charset=utf-8")
    accept = "application/vnd.pgrst.object+json;nulls=stripped"
    status, body, told = await rest.send("GET", "/items?id=eq.2&select=id,price", Accept=accept)
    assert (status, body, told["content-type"]) == (200, {"id": 2}, f"{accept}; charset=utf-8")


async def test_counts(rest: Any) -> None:
    status, body, told = await rest.send("GET", "/many?select=id", Prefer="count=exact")
    assert (status, len(body), told["content-range"]) == (206, 20, "0-19/25")
    status, _, told = await rest.send("GET", "/many?select=id&limit=5", Prefer="count=estimated")
    assert (status, told["preference-applied"]) == (206, "count=estimated")
    assert int(told["content-range"].split("/")[1]) >= 21
    _, _, told = await rest.send("GET", "/many?id=lt.3", Prefer="count=estimated")
    assert told["content-range"] == "0-1/2"
    _, _, told = await rest.send("GET", "/items", Prefer="count=planned")
    assert told["content-range"].split("/")[1].isdigit()
    _, _, told = await rest.send("POST", "/rpc/numbers?limit=2", {"n": 5}, Prefer="count=exact")
    assert told["content-range"] == "0-1/5"
    status, body, told = await rest.send("HEAD", "/items?id=eq.1")
    assert (status, body, told["content-range"]) == (200, None, "0-0/*")
    status, _, told = await rest.send("GET", "/items?id=eq.99", Prefer="count=exact")
    assert (status, told["content-range"]) == (200, "*/0")


async def test_range_header(rest: Any) -> None:
    status, body, told = await rest.send("GET", "/items?select=id&order=id", Range="1-")
    assert (status, body, told["content-range"]) == (200, [{"id": 2}, {"id": 3}], "1-2/*")
    assert await rest.code("GET", "/items", Range="5-2") == (416, "PGRST103")
    status, body, _ = await rest.send("GET", "/items?select=id&order=id&limit=5", Range="2-3")
    assert body == [{"id": 3}]


async def test_profiles(rest: Any) -> None:
    status, body, told = await rest.send("GET", "/things", Accept_Profile="other")
    assert (status, body, told["content-profile"]) == (200, [{"id": 1, "name": "elsewhere"}], "other")
    _, _, told = await rest.send("GET", "/items")
    assert told["content-profile"] == "public"
    status, body, _ = await rest.send("GET", "/things", Accept_Profile="auth")
    assert (status, body["code"]) == (406, "PGRST106")
    assert body["hint"] == "Only the following schemas are exposed: public, other"
    assert await rest.code("POST", "/things", {"id": 5}, Content_Profile="other") == (401, "42501")


async def test_preferences(rest: Any) -> None:
    status, body, _ = await rest.send("GET", "/items", Prefer="handling=strict, anything, count=most")
    assert (status, body["code"]) == (400, "PGRST122")
    assert body["details"] == "Invalid preferences: anything, count=most"
    status, _, told = await rest.send("GET", "/items", Prefer="handling=lenient, anything, tx=rollback")
    assert (status, told["preference-applied"]) == (200, "handling=lenient")
    _, body, told = await rest.send("GET", "/items?select=at&id=eq.1", Prefer="timezone=America/Los_Angeles")
    assert body == [{"at": "2026-01-01T04:00:00-08:00"}]
    assert told["preference-applied"] == "timezone=America/Los_Angeles"
    assert await rest.code("GET", "/items", Prefer="timezone=Mars/Base") == (400, "22023")
    body = (await rest.send("POST", "/rpc/zone", {}))[1]
    assert body == "UTC"
