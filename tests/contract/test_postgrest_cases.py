"""Replays every exchange recorded from a real PostgREST against the local REST interface."""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from whatssound.local.migrate import apply_sql
from whatssound.local.postgres import PostgresServer
from whatssound.local.rest import RestService
from whatssound.local.tokens import Keyring

WIRE = Path(__file__).parents[1] / "data" / "wire" / "postgrest"
CASES: list[dict[str, Any]] = [json.loads(line) for line in (WIRE / "cases.jsonl").read_text("utf-8").splitlines()]
USER = "11111111-1111-4111-8111-111111111111"
KEYRING = Keyring()
COMPARED = ("content-range", "content-type", "preference-applied", "location", "proxy-status", "www-authenticate")
FREE_TEXT = frozenset({"PGRST100"})
"""Codes whose message is free text of a parser."""

_numbers = itertools.count()


@cache
def token(auth: str) -> str:
    far = int(time.time()) + 3600
    claims: dict[str, Any] = {"exp": far, "role": {"service": "service_role"}.get(auth, "authenticated"), "sub": USER}
    if auth == "garbage":
        return "garbage"
    if auth == "bad_signature":
        return Keyring("another-secret-of-at-least-thirty-two-bytes").sign(claims)
    if auth == "anon":
        claims = {"exp": far, "role": "anon"}
    if auth == "service":
        claims.pop("sub")
    if auth == "unknown_role":
        claims["role"] = "nobody_such"
    if auth == "expired":
        claims["exp"] = far - 7200
    return KEYRING.sign(claims)


@pytest.fixture(scope="module")
def own_dir() -> Iterator[Path]:
    """Not below pytest's directory: another pytest that starts meanwhile closes that to the user Postgres runs as."""
    with tempfile.TemporaryDirectory(prefix="whatssound-") as directory:
        yield Path(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(own_dir: Path) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(own_dir / "cases", durable=False) as running:
        admin = await asyncpg.connect(running.dsn("supabase_admin"))
        # The recording's roles had no settings of their own.
        await admin.execute("alter role authenticated reset all; alter role anon reset all")
        await admin.execute("create database recorded")
        await apply_sql(running.dsn("supabase_admin", "recorded"), WIRE / "schema.sql")
        await admin.close()
        yield running


@asynccontextmanager
async def serving(server: PostgresServer, database: str) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    service = RestService(lambda user: server.dsn(user, database), KEYRING)
    app = web.Application()
    service.mount(app)
    await service.start()
    try:
        async with TestClient(TestServer(app)) as client:
            yield client
    finally:
        await service.stop()


@asynccontextmanager
async def fresh_database(server: PostgresServer) -> AsyncIterator[str]:
    name = f"case_{next(_numbers)}"
    admin = await asyncpg.connect(server.dsn("supabase_admin"))
    try:
        await admin.execute(f"create database {name} template recorded strategy file_copy")
        yield name
        await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
@pytest.mark.asyncio(loop_scope="module")
async def test_recorded_case(case: dict[str, Any], server: PostgresServer) -> None:
    async with fresh_database(server) as database, serving(server, database) as client:
        request, expected = case["request"], case["response"]
        status, headers, body = await exchange(client, request)
    told = {name: headers.get(name) for name in COMPARED if name in expected["headers"]}
    wanted = {name: value for name, value in expected["headers"].items() if name in COMPARED}
    expected_body = expected["body"]
    if isinstance(expected_body, dict) and expected_body.get("code") in FREE_TEXT:
        body, expected_body = body["code"], expected_body["code"]
    assert (status, body, told) == (expected["status"], expected_body, wanted)


async def exchange(
    client: TestClient[web.Request, web.Application], request: dict[str, Any]
) -> tuple[int, dict[str, str], Any]:
    path = quote(request["path"], safe="/?&=:,.*()")
    headers = dict(request["headers"])
    if request["auth"] != "none":
        headers["Authorization"] = f"Bearer {token(request['auth'])}"
    data = request["body"]
    if data is not None:
        data = data if isinstance(data, str) else json.dumps(data)
        headers.setdefault("Content-Type", "application/json")
    url = URL(f"/rest/v1{path}", encoded=True)
    async with client.request(
        request["method"], url, headers=headers, data=data, skip_auto_headers=["Content-Type"]
    ) as response:
        raw = await response.read()
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return response.status, lowered, json.loads(raw) if raw else None
