"""Who gets which row: operators on all kinds of columns, and the errors of bindings that cannot work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from whatssound.local.postgres import PostgresServer
from whatssound.local.realtime import RealtimeService
from whatssound.local.tokens import Keyring

KEYRING = Keyring()
TABLE = """
create type public.mood as enum ('sad', 'happy');
create table public.things (
  id int primary key, n numeric, t text, c char(5), b boolean, u uuid, at timestamptz, j jsonb, raw bytea, a int[],
  m public.mood, f float8, secret text);
grant select (id, n, t, c, b, u, at, j, raw, a, m, f) on public.things to anon;
grant select on public.things to service_role;
create table public.keyless (t text);
alter table public.keyless replica identity full;
grant select on public.keyless to anon;
create table public."Odd Näme" ("the key" int primary key, "größe" text);
grant select on public."Odd Näme" to anon;
alter publication supabase_realtime add table public.things, public.keyless, public."Odd Näme";
"""
ROW = """
insert into public.things values (1, 1.50, 'Hello, "World"', 'ab', true, '33333333-3333-3333-3333-333333333333',
  '2026-01-02 03:04:05+00', '{"a": 1}', '\\xdeadbeef', '{1,2}', 'happy', 'NaN', 'hush')
"""


class Room:
    """A socket per binding, and the database behind them."""

    def __init__(self, session: aiohttp.ClientSession, url: str, dsn: str, admin: Any) -> None:
        self._session = session
        self._url = url
        self.dsn = dsn
        self.admin = admin

    async def listen(self, binding: dict[str, Any], token: str = KEYRING.anon_key) -> tuple[Any, dict[str, Any]]:
        """Joins with one binding; answers the socket and the payload of the `system` message."""
        ws = await self._session.ws_connect(f"{self._url}/socket/websocket?apikey={token}&vsn=2.0.0")
        members = {"schema": "public", "table": "things", **binding}
        await ws.send_str(json.dumps(["1", "1", "realtime:x", "phx_join", {"config": {"postgres_changes": [members]}}]))
        await ws.receive(5)
        return ws, json.loads((await ws.receive(5)).data)[4]


async def next_row(ws: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((await ws.receive(5)).data)[4]["data"]
    return data


async def hears_nothing(ws: Any, seconds: float = 0.2) -> bool:
    try:
        await ws.receive(seconds)
    except TimeoutError:
        return True
    return False


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with PostgresServer(tmp_path / "data", durable=False) as postgres:
        service = RealtimeService(postgres.dsn, KEYRING)
        app = web.Application()
        service.mount(app)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await service.start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        admin = await asyncpg.connect(postgres.dsn("supabase_admin"))
        await admin.execute(TABLE)
        async with aiohttp.ClientSession() as session:
            yield Room(session, f"http://127.0.0.1:{runner.addresses[0][1]}", postgres.dsn("supabase_admin"), admin)
        await admin.close()
        await service.stop()
        await runner.cleanup()


MATCH = [
    "id=eq.1",
    "id=neq.2",
    "id=gt.0",
    "id=gte.1",
    "id=lt.2",
    "id=lte.1",
    "id=in.(5,1)",
    "id=not.eq.2",
    "id=not.in.(2)",
    "n=eq.1.5",
    "n=gt.1",
    't=eq."Hello, \\"World\\""',
    "t=like.Hello%",
    "t=ilike.hello%",
    "t=match.^H.*d",
    "t=imatch.^h",
    "t=not.like.x%",
    "c=eq.ab",
    "b=is.true",
    "b=eq.true",
    "b=not.is.null",
    "u=in.(33333333-3333-3333-3333-333333333333)",
    "at=gt.2026-01-01",
    "at=eq.2026-01-02 04:04:05+01",
    'j=eq.{"a": 1}',
    "raw=eq.\\xdeadbeef",
    'a=eq."{1,2}"',
    "m=eq.happy",
    "m=gt.sad",
    "id=isdistinct.2",
    "id=gt.0,id=lt.2",
    " id=eq.1 , n=gte.1 ",
]
MISS = [
    "id=eq.2",
    "id=in.(2,3)",
    "id=not.eq.1",
    "n=gt.1.5",
    "t=like.hello%",
    "t=not.ilike.hello%",
    "b=is.false",
    "b=is.null",
    "at=lt.2026-01-02",
    "m=eq.sad",
    "a=eq.{1}",
    "id=isdistinct.1",
    "id=gt.0,id=gt.1",
    "c=eq.a",
    "f=eq.1",
]


async def test_operators_mean_what_they_mean_in_postgres(room: Room) -> None:
    matching = [(text, *await room.listen({"event": "INSERT", "filter": text})) for text in MATCH]
    missing = [(text, *await room.listen({"event": "INSERT", "filter": text})) for text in MISS]
    assert [(text, said["message"]) for text, _, said in matching + missing if said["status"] != "ok"] == []
    await room.admin.execute(ROW)
    for text, ws, _ in matching:
        assert (await next_row(ws))["record"]["id"] == 1, text
    silent = await asyncio.gather(*(hears_nothing(ws) for _, ws, _ in missing))
    assert [text for (text, _, _), is_silent in zip(missing, silent, strict=True) if not is_silent] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id=like.1%", "operator like requires a text-compatible column type, got integer"),
        ("id=match.1", "operator match requires a text-compatible column type, got integer"),
        ("t=match.(", "invalid regular expression for match filter: invalid regular expression: parentheses"),
        ("id=is.true", "is true filter requires a boolean column, got integer"),
        ("b=is.maybe", "invalid value for is filter: must be null, true, false, or unknown"),
        ("secret=eq.x", "invalid column for filter secret"),
        ("m=eq.angry", '22P02 (invalid_text_representation) invalid input value for enum mood: "angry"'),
        ("id=in.(x)", '22P02 (invalid_text_representation) invalid input syntax for type integer: "x"'),
    ],
)
async def test_a_filter_that_cannot_work_is_told_why(room: Room, text: str, message: str) -> None:
    _, said = await room.listen({"filter": text})
    assert said["status"] == "error"
    assert message in said["message"]


async def test_columns_follow_the_grants_of_the_role(room: Room) -> None:
    anon, _ = await room.listen({"event": "INSERT"})
    service, _ = await room.listen({"event": "INSERT"}, KEYRING.service_key)
    await room.admin.execute(ROW)
    shown, all_of_it = await next_row(anon), await next_row(service)
    assert "secret" not in shown["record"]
    assert "secret" not in [column["name"] for column in shown["columns"]]
    assert all_of_it["record"]["secret"] == "hush"
    assert shown["record"]["f"] == "NaN"
    assert shown["record"]["c"] == "ab   "
    assert {"name": "m", "type": "mood"} in shown["columns"]


async def test_names_may_be_anything(room: Room) -> None:
    ws, said = await room.listen({"table": "Odd Näme", "filter": "größe=eq.ß", "select": ["größe"]})
    assert said["status"] == "ok"
    await room.admin.execute("""insert into public."Odd Näme" values (1, 'ß'), (2, 's')""")
    row = await next_row(ws)
    assert (row["table"], row["record"]) == ("Odd Näme", {"the key": 1, "größe": "ß"})
    assert await hears_nothing(ws)


async def test_a_table_without_a_key_costs_nobody_else_a_row(room: Room) -> None:
    keyless, said = await room.listen({"table": "keyless"})
    assert said["status"] == "ok"
    everything, _ = await room.listen({"table": "*", "event": "INSERT"})
    await room.admin.execute("insert into public.keyless values ('x'); insert into public.things (id) values (7)")
    assert (await next_row(everything))["record"]["id"] == 7
    assert await hears_nothing(keyless)


async def test_a_role_that_the_database_lacks_is_told(room: Room) -> None:
    token = KEYRING.sign({"role": "nobody_knows", "exp": 4_000_000_000})
    _, said = await room.listen({}, token)
    assert 'ERROR 42704 (undefined_object) role "nobody_knows" does not exist' in said["message"]


async def test_without_a_partition_for_today_private_joins_are_refused(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whatssound.local.realtime.socket.REFUSAL_SECONDS", 0.0)
    partitions = "select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass"
    for (name,) in await room.admin.fetch(partitions):
        await room.admin.execute(f"drop table {name}")
    ws, _ = await room.listen({"event": "INSERT"})
    await ws.send_str(json.dumps(["2", "2", "realtime:y", "phx_join", {"config": {"private": True}}]))
    reason = json.loads((await ws.receive(5)).data)[4]["response"]["reason"]
    assert reason == "MissingPartition: Realtime was unable to find the expected messages partition"


async def test_a_row_is_looked_at_only_when_its_transaction_is_over(room: Room) -> None:
    running = await room.admin.fetchval("select (pg_snapshot_xmax(pg_current_snapshot())::text::bigint) & 4294967295")
    waiter = asyncio.create_task(room.admin.execute("select _realtime_local.await_commit($1)", running))
    assert not (await asyncio.wait({waiter}, timeout=0.2))[0]
    # The number is not taken yet: the next transaction that writes takes it and ends.
    other = await asyncpg.connect(room.dsn)
    await other.execute("insert into public.things (id) values (1)")
    await other.close()
    await asyncio.wait_for(waiter, 5)
    await room.admin.execute("select _realtime_local.await_commit($1)", (running - 100) & 0xFFFFFFFF)
