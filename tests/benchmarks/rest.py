"""How fast the local REST interface answers, beside a bare aiohttp handler that runs one query by asyncpg.

Run: python tests/benchmarks/rest.py [requests]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web

from whatssound.local.postgres import PostgresServer
from whatssound.local.rest import RestService
from whatssound.local.tokens import Keyring

CLIENTS = 8
SCHEMA = """
create table public.notes (id int primary key, body text);
insert into public.notes select g, 'note ' || g from generate_series(1, 1000) g;
grant select on public.notes to anon;
create function public.add_numbers(a int, b int) returns int language sql immutable as 'select a + b';
"""


async def measure(url: str, requests: int, method: str = "GET", body: object = None) -> tuple[float, float]:
    """Requests a second of wall-clock time, and of this process' processor time."""

    async def client(share: int, session: aiohttp.ClientSession, offset: int) -> None:
        for number in range(share):
            target = url.replace("{}", str(1 + (offset + number) % 1000))
            async with session.request(method, target, json=body) as response:
                await response.read()
                assert response.status == 200, await response.text()

    async with aiohttp.ClientSession() as session:
        await client(50, session, 0)
        started, used = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for index in range(CLIENTS):
                group.create_task(client(requests // CLIENTS, session, index * 100))
        return requests / (time.perf_counter() - started), requests / (time.process_time() - used)


async def serve(dsn: str, urls: asyncio.Queue[int]) -> None:
    """Serves both on one port until cancelled."""
    service = RestService(lambda user: dsn.replace("postgres:", f"{user}:", 1), Keyring())
    app = web.Application()
    service.mount(app)
    pool = await asyncpg.create_pool(dsn, min_size=CLIENTS, max_size=CLIENTS)

    async def bare(request: web.Request) -> web.Response:
        async with pool.acquire() as connection:
            rows = await connection.fetch("select id, body from notes where id = $1", int(request.query["id"]))
        return web.json_response([dict(row) for row in rows])

    app.router.add_get("/bare", bare)
    await service.start()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await urls.put(runner.addresses[0][1])
    await asyncio.Event().wait()


def child(dsn: str) -> None:
    """The server in a process of its own, so that the clients' work is not counted."""

    async def main() -> None:
        urls: asyncio.Queue[int] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(dsn, urls))
            sys.stdout.write(f"{await urls.get()}\n")
            sys.stdout.flush()

    os.sched_setaffinity(0, {0})
    asyncio.run(main())


async def main(requests: int) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # noqa: PTH101 - the server may run as another user
        async with PostgresServer(Path(directory) / "data", durable=False) as server:
            owner = await asyncpg.connect(server.dsn())
            await owner.execute(SCHEMA)
            await owner.close()
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--serve", server.dsn(), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            root = f"http://127.0.0.1:{int(await process.stdout.readline())}"
            bare, _ = await measure(f"{root}/bare?id={{}}", requests)
            read, _ = await measure(f"{root}/rest/v1/notes?id=eq.{{}}&select=id,body", requests)
            arguments = {"a": 1, "b": 2}
            call, _ = await measure(f"{root}/rest/v1/rpc/add_numbers", requests, "POST", arguments)
            process.terminate()
            await process.wait()
    result = {"bare": bare, "read": read, "rpc": call, "read/bare": read / bare, "rpc/bare": call / bare}
    sys.stdout.write(json.dumps({name: round(value, 2) for name, value in result.items()}) + "\n")


if __name__ == "__main__":
    if "--serve" in sys.argv:
        child(sys.argv[-1])
    else:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000))
