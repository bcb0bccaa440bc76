"""The life of the local REST service: settings, schema changes, stops, a busy pool."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from whatssound.local.postgres import PostgresServer
from whatssound.local.rest import RestService, RestSettings
from whatssound.local.tokens import Keyring

BUSY = """
select count(*) from pg_stat_activity where query like '%"nap"%' and state = 'active' and pid <> pg_backend_pid()
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_anonymous_access_can_be_off(rest_server: PostgresServer, serve_rest: Any) -> None:
    _, rest = await serve_rest(RestSettings(anon_role=None))
    status, body, told = await rest.send("GET", "/items")
    assert (status, body["code"], told["www-authenticate"]) == (401, "PGRST302", "Bearer")


async def test_transactions_can_be_rolled_back(rest_server: PostgresServer, serve_rest: Any) -> None:
    _, rest = await serve_rest(RestSettings(tx_end="commit-allow-override"))
    status, _, told = await rest.send("POST", "/pairs", {"a": 99, "b": "r"}, Prefer="tx=rollback")
    assert (status, told["preference-applied"]) == (201, "tx=rollback")
    assert await rest.get("/pairs?a=eq.99") == (200, [])


async def test_aggregates_can_be_on(rest_server: PostgresServer, serve_rest: Any) -> None:
    _, rest = await serve_rest(RestSettings(aggregates=True))
    assert await rest.get("/many?select=count()") == (200, [{"count": 25}])
    assert await rest.get("/many?select=total:id.sum()::text,id.max()") == (200, [{"total": "325", "max": 25}])
    assert await rest.get("/items?select=mood,count()&order=mood&mood=not.is.null") == (
        200,
        [{"mood": "calm", "count": 1}, {"mood": "wild", "count": 1}],
    )


async def test_a_new_table_is_found_at_once(rest_server: PostgresServer, rest: Any) -> None:
    owner = await asyncpg.connect(rest_server.dsn())
    assert await rest.code("GET", "/brand_new") == (404, "PGRST205")
    await owner.execute("create table brand_new (id int); grant select, insert on brand_new to anon")
    assert await rest.get("/brand_new") == (200, [])
    await owner.execute("alter table brand_new add column more text")
    assert (await rest.send("POST", "/brand_new", {"id": 1, "more": "m"}))[0] == 201
    await owner.execute("drop table brand_new")
    assert await rest.code("GET", "/brand_new") == (404, "42P01")
    assert await rest.code("GET", "/brand_new") == (404, "PGRST205")
    await owner.close()


async def test_a_notification_reloads_the_schema(rest_server: PostgresServer, rest: Any) -> None:
    owner = await asyncpg.connect(rest_server.dsn())
    await owner.execute("create table told (id int); grant insert on told to anon")
    assert (await rest.send("POST", "/told", {"id": 1}))[0] == 201
    # A type that changes is no miss, so only the notification can tell.
    await owner.execute("alter table told alter id type text; notify pgrst, 'reload schema'")
    async with asyncio.timeout(10):
        while (await rest.send("POST", "/told", {"id": "a"}))[0] != 201:  # noqa: ASYNC110 - only an answer can tell
            await asyncio.sleep(0.02)
    await owner.execute("drop table told")
    await owner.close()


async def test_the_hook_runs_between_commit_and_response(rest_server: PostgresServer, serve_rest: Any) -> None:
    service, rest = await serve_rest()
    seen: list[int] = []

    async def look(request: web.Request) -> None:
        owner = await asyncpg.connect(rest_server.dsn())
        seen.append(await owner.fetchval("select count(*) from pairs where a = 77"))
        await owner.close()

    service.after_commit = look
    assert (await rest.send("POST", "/pairs", {"a": 77, "b": "h"}))[0] == 201
    assert seen == [1]
    await rest.send("DELETE", "/pairs?a=eq.77")


async def test_stop_and_start(rest_server: PostgresServer, serve_rest: Any) -> None:
    service, rest = await serve_rest()
    await service.stop()
    status, body, _ = await rest.send("GET", "/items")
    assert (status, body) == (503, {"message": "name resolution failed"})
    await service.start()
    assert (await rest.get("/items?id=eq.1&select=id"))[0] == 200


async def test_a_stop_ends_requests_under_way(rest_server: PostgresServer, serve_rest: Any) -> None:
    owner = await asyncpg.connect(rest_server.dsn())
    await owner.execute("create or replace function nap() returns void language sql as 'select pg_sleep(5)'")
    service, rest = await serve_rest()
    first = asyncio.create_task(rest.code("POST", "/rpc/nap", {}))
    async with asyncio.timeout(5):
        while not await owner.fetchval(BUSY):  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)
        await service.stop()
        assert await first == (503, "PGRST001")
    await owner.close()


async def test_a_busy_pool_says_so(rest_server: PostgresServer, serve_rest: Any) -> None:
    owner = await asyncpg.connect(rest_server.dsn())
    await owner.execute("create or replace function nap() returns void language sql as 'select pg_sleep(0.8)'")
    _, rest = await serve_rest(RestSettings(pool_size=1, pool_timeout=0.05))
    first = asyncio.create_task(rest.send("POST", "/rpc/nap", {}))
    async with asyncio.timeout(5):
        while not await owner.fetchval(BUSY):  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)
    assert await rest.code("GET", "/items") == (504, "PGRST003")
    assert (await first)[0] == 204
    await owner.close()


async def test_a_database_that_goes_and_comes_back(own_dir: Path) -> None:
    async with PostgresServer(own_dir / "gone", durable=False) as server:
        service = RestService(server.dsn, Keyring())
        app = web.Application()
        service.mount(app)
        await service.start()
        async with TestClient(TestServer(app)) as client:
            assert await ask(client) == (404, "PGRST205")
            await server.kill()
            status, code = await ask(client)
            assert (status, code) in {(503, "PGRST000"), (503, "PGRST001"), (503, "57P01")}
            async with client.get("/rest/v1/nowhere") as response:
                assert response.headers["Retry-After"].isdigit()
                assert (await response.json())["code"] == "PGRST000"
            await server.start()
            assert await ask(client) == (404, "PGRST205")
        await service.stop()


async def test_a_database_that_is_late(own_dir: Path) -> None:
    server = PostgresServer(own_dir / "late", durable=False)
    await server.start()
    await server.stop()
    service = RestService(server.dsn, Keyring())
    app = web.Application()
    service.mount(app)
    await service.start()
    async with TestClient(TestServer(app)) as client:
        assert await ask(client) == (503, "PGRST002")
        await server.start()
        async with asyncio.timeout(20):
            while await ask(client) != (404, "PGRST205"):  # noqa: ASYNC110 - only an answer can tell
                await asyncio.sleep(0.05)
    await service.stop()
    await server.stop()


async def ask(client: TestClient[web.Request, web.Application]) -> tuple[int, str]:
    async with client.get("/rest/v1/nowhere") as response:
        return response.status, (await response.json())["code"]


async def test_roles_do_not_mix_in_the_pool(serve_rest: Any) -> None:
    _, rest = await serve_rest(RestSettings(pool_size=3))
    user = f"Bearer {Keyring().sign({'role': 'authenticated', 'sub': 'u'})}"

    async def role_of(headers: dict[str, str]) -> str:
        _, body = await rest.get("/rpc/headers", **headers)
        return str(body["claims"]["role"])

    headers = [{"Authorization": user} if number % 2 else {} for number in range(60)]
    roles = await asyncio.gather(*map(role_of, headers))
    assert roles == ["authenticated" if one else "anon" for one in headers]


async def test_a_client_that_hangs_up_does_not_undo_its_write(rest_server: PostgresServer) -> None:
    service = RestService(rest_server.dsn, Keyring())
    app = web.Application()
    service.mount(app)
    await service.start()
    # As the gateway serves it; aiohttp's own test server cancels the handlers of clients that leave.
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    committed = asyncio.Event()

    async def note(_: web.Request) -> None:
        committed.set()

    service.after_commit = note
    owner = await asyncpg.connect(rest_server.dsn())
    await owner.execute("begin; lock table pairs in share mode")
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    body = b'{"a": 55, "b": "hung up"}'
    writer.write(b"POST /rest/v1/pairs HTTP/1.1\r\nHost: local\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    async with asyncio.timeout(10):
        while not await owner.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        await owner.execute("commit")
        await committed.wait()
    assert await owner.fetchval("select count(*) from pairs where a = 55") == 1
    await owner.execute("delete from pairs where a = 55")
    await owner.close()
    await runner.cleanup()
    await service.stop()
