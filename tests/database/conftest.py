"""Databases for these tests: the wheel's Postgres and, where installed, Debian's Postgres 15 with its extensions."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from whatssound.local.assets import migrations_dir
from whatssound.local.migrate import apply_migrations, apply_platform
from whatssound.local.postgres import PostgresServer

DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
DEBIAN_EXTENSIONS = Path("/usr/share/postgresql/15/extension")
PGTAP = DEBIAN_EXTENSIONS / "pgtap--1.2.0.sql"


@dataclass(frozen=True)
class Database:
    """A migrated database: its name in test ids, and how to connect as each role."""

    name: str
    owner: str
    superuser: str


def missing(reason: str) -> None:
    """Skips, or fails where everything is required to run."""
    if os.environ.get("WHATSSOUND_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


async def _install_pgtap(superuser: str) -> None:
    connection = await asyncpg.connect(superuser)
    try:
        available = await connection.fetchval("select count(*) from pg_available_extensions where name = 'pgtap'")
        if available:
            await connection.execute("create extension if not exists pgtap with schema extensions")
        else:
            # A Postgres without the extension's files takes its script as plain SQL.
            text = PGTAP.read_text("utf-8").replace("@extschema@", "extensions")
            await connection.execute(f"set search_path = extensions;\n{text.replace(chr(92) + 'echo', '-- echo')}")
        await connection.execute("grant usage on schema extensions to public")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The wheel's Postgres with all migrations; shared, so tests make sessions of their own."""
    server = PostgresServer(tmp_path_factory.mktemp("wheel") / "data", durable=False)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            runner.run(apply_migrations(server.dsn(), migrations_dir()))
            yield Database("wheel", server.dsn(), server.dsn("supabase_admin"))
        finally:
            runner.run(server.stop())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _as_postgres(*command: str) -> None:
    """Runs a program of Debian's Postgres, which refuses to run as root."""
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=60,
        cwd="/",
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


@pytest.fixture(scope="session")
def debian() -> Iterator[Database]:
    """Debian's Postgres 15 with pgTAP, plpgsql_check and a preloaded pg_cron, all migrations applied."""
    needed = [
        DEBIAN_BIN / "postgres",
        PGTAP,
        DEBIAN_EXTENSIONS / "plpgsql_check.control",
        DEBIAN_EXTENSIONS / "pg_cron.control",
    ]
    if absent := [str(path) for path in needed if not path.exists()]:
        missing(f"Debian's Postgres 15 packages are not complete: {', '.join(absent)}")
    home = Path(tempfile.mkdtemp(prefix="whatssound-debian-"))
    if os.getuid() == 0:
        shutil.chown(home, "postgres")
    data, port = str(home / "data"), _free_port()
    settings = (
        f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
        " -c wal_level=logical -c shared_preload_libraries=pg_cron -c cron.database_name=postgres"
    )
    _as_postgres(
        str(DEBIAN_BIN / "initdb"), "-D", data, "-U", "supabase_admin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"
    )
    try:
        _as_postgres(str(DEBIAN_BIN / "pg_ctl"), "-D", data, "-w", "-l", str(home / "log"), "-o", settings, "start")
        root, owner = (f"postgresql://{user}@127.0.0.1:{port}/postgres" for user in ("supabase_admin", "postgres"))
        with asyncio.Runner() as runner:
            runner.run(apply_platform(root))
            runner.run(_allow_extensions(root))
            runner.run(apply_migrations(owner, migrations_dir()))
        yield Database("debian15", owner, root)
    finally:
        _as_postgres(str(DEBIAN_BIN / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(home)


async def _allow_extensions(superuser: str) -> None:
    """What a hosted project does when these are switched on in its dashboard."""
    connection = await asyncpg.connect(superuser)
    try:
        await connection.execute(
            "create extension pg_cron; grant usage on schema cron to postgres;"
            "create extension plpgsql_check with schema extensions"
        )
    finally:
        await connection.close()


@pytest.fixture(scope="session", params=["wheel", "debian"])
def tapped(request: pytest.FixtureRequest) -> Database:
    """Each Postgres in turn, with pgTAP."""
    if not PGTAP.exists() or shutil.which("pg_prove") is None:
        missing("pgTAP and pg_prove are not installed (postgresql-15-pgtap, libtap-parser-sourcehandler-pgtap-perl)")
    database: Database = request.getfixturevalue(request.param)
    asyncio.run(_install_pgtap(database.superuser))
    return database


def uuid7(at: float | None = None) -> str:
    """A UUIDv7 for a time in seconds since 1970, now by default."""
    milliseconds = int((time.time() if at is None else at) * 1000)
    raw = bytearray(milliseconds.to_bytes(6, "big") + os.urandom(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(raw)))


class RefusedError(Exception):
    """An RPC's refusal: its code and facts."""

    def __init__(self, code: str, detail: dict[str, Any]) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Room:
    """One session of its own on a shared database, and RPC calls as anybody, each on a connection of a pool."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.id = str(uuid.uuid4())
        self.dj = str(uuid.uuid4())

    async def call(self, user: str | None, function: str, /, *, rollback: bool = False, **arguments: Any) -> Any:
        """Calls an RPC as a user, or as the service role, in a transaction of its own."""
        claims = {"role": "authenticated", "sub": user} if user else {"role": "service_role"}
        async with self.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute("select set_config('request.jwt.claims', $1, true)", json.dumps(claims))
                await connection.execute(f"set local role {claims['role']}")
                listed = ", ".join(f"{name} => ${place}" for place, name in enumerate(arguments, 1))
                values = [
                    json.dumps(value) if isinstance(value, list | dict) else value for value in arguments.values()
                ]
                reply = json.loads(await connection.fetchval(f"select public.{function}({listed})", *values))
            except asyncpg.PostgresError as error:
                await transaction.rollback()
                if not (error.sqlstate or "").startswith("PT"):
                    raise
                raise RefusedError(error.hint, json.loads(error.detail)) from error
            await (transaction.rollback() if rollback else transaction.commit())
            return reply

    async def command(self, user: str, function: str, /, **arguments: Any) -> Any:
        """Calls an RPC on this session with a fresh idempotency key."""
        return await self.call(user, function, p_session_id=self.id, p_key=str(uuid.uuid4()), **arguments)

    async def say(self, user: str | None, *messages: dict[str, str], **options: Any) -> Any:
        """Stores a batch and returns its results."""
        reply = await self.call(user, "insert_messages", p_session_id=self.id, p_messages=list(messages), **options)
        return reply["results"]

    async def fetch(self, query: str, *arguments: Any) -> Any:
        """Asks the database as its owner."""
        async with self.pool.acquire() as connection:
            return await connection.fetch(query, *arguments)

    async def seqs(self) -> list[int]:
        """The numbers in the event log."""
        rows = await self.fetch("select seq from public.session_events where session_id = $1 order by seq", self.id)
        return [row["seq"] for row in rows]

    async def frames(self) -> list[tuple[int, int]]:
        """First and last seq of each frame, in the order of the lock they were sent under."""
        rows = await self.fetch(
            "select (payload ->> 'from_seq')::bigint as f, (payload ->> 'to_seq')::bigint as t from realtime.messages"
            " where topic = $1 and event = 'frame' order by payload ->> 'server_time'",
            f"session:{self.id}:frames",
        )
        return [(row["f"], row["t"]) for row in rows]


@pytest.fixture
async def room(wheel: Database) -> AsyncIterator[Room]:
    """A live session with a DJ, no rate limits, tick 0."""
    pool = await asyncpg.create_pool(wheel.owner, min_size=12, max_size=12)
    try:
        made = Room(pool)
        limits = await made.fetch("select bucket, capacity, per_second from whatssound.rate_limits")
        await made.fetch("update whatssound.rate_limits set capacity = 1000000000, per_second = 1000000")
        try:
            await made.call(made.dj, "create_session", p_title="A room", p_id=made.id)
            yield made
        finally:
            # The database is shared with tests of the limits.
            async with pool.acquire() as connection:
                await connection.executemany(
                    "update whatssound.rate_limits set capacity = $2, per_second = $3 where bucket = $1",
                    [tuple(limit) for limit in limits],
                )
    finally:
        await pool.close()
