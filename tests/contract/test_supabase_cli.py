"""Our migrator and the real Supabase CLI keep the same books: either may follow the other."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from whatssound.local.assets import supabase_dir
from whatssound.local.migrate import apply_migrations, pending
from whatssound.local.postgres import PostgresServer

pytestmark = pytest.mark.supabase_cli
ROOT = Path(__file__).parents[2]


def cli(project: Path, *arguments: str) -> str:
    """Runs the CLI on a project and answers what it said; it must succeed."""
    installed = ROOT / "tests" / "interop" / "node_modules" / ".bin" / "supabase"
    program = str(installed) if installed.exists() else shutil.which("supabase")
    if program is None:
        reason = "the Supabase CLI is not installed (npm ci in tests/interop)"
        if os.environ.get("WHATSSOUND_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [program, *arguments, "--workdir", str(project)],
        env=os.environ | {"HOME": str(project), "SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def listed(text: str) -> list[tuple[str, str]]:
    """Versions here and there, as `migration list` shows them."""
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in text.splitlines() if line.count("|") == 2]
    return [(row[0], row[1]) for row in rows if any(cell.isdigit() for cell in row[:2])]


async def books(dsn: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        sql = "select version, name, statements from supabase_migrations.schema_migrations order by version"
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    running = PostgresServer(tmp_path / "data", durable=False)
    with asyncio.Runner() as runner:
        runner.run(running.start())
        yield running
        runner.run(running.stop())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of ours, to add migrations to."""
    shutil.copytree(supabase_dir(), tmp_path / "project" / "supabase", ignore=shutil.ignore_patterns(".temp"))
    return tmp_path / "project"


def test_what_we_applied_the_cli_takes_as_applied(server: PostgresServer, project: Path) -> None:
    versions = asyncio.run(apply_migrations(server.dsn(), project / "supabase" / "migrations"))
    assert versions
    assert listed(cli(project, "migration", "list", f"--remote={server.dsn()}")) == [(v, v) for v in versions]
    assert "up to date" in cli(project, "db", "push", "--yes", f"--remote={server.dsn()}")


def test_each_continues_where_the_other_stopped(server: PostgresServer, project: Path) -> None:
    migrations = project / "supabase" / "migrations"
    first = asyncio.run(apply_migrations(server.dsn(), migrations))
    (migrations / "29990101000000_by_the_cli.sql").write_text("create table public.one (n int);")
    cli(project, "db", "push", "--yes", f"--remote={server.dsn()}")
    assert asyncio.run(pending(server.dsn(), migrations)) == []
    (migrations / "29990102000000_by_us.sql").write_text("alter table public.one add m int;")
    assert listed(cli(project, "migration", "list", f"--remote={server.dsn()}"))[-1] == ("29990102000000", "")
    assert asyncio.run(apply_migrations(server.dsn(), migrations)) == ["29990102000000"]
    everything = [*first, "29990101000000", "29990102000000"]
    assert listed(cli(project, "migration", "list", f"--remote={server.dsn()}")) == [(v, v) for v in everything]


def test_both_write_the_same_into_the_books(server: PostgresServer, project: Path, tmp_path: Path) -> None:
    (project / "supabase" / "migrations" / "29990101000000_odd.sql").write_text(
        "-- a comment; with a semicolon\n"
        "create table public.odd (\"a;b\" text default 'x;''y', c text default E'it\\'s;');\n\n"
        "/* a block; /* nested; */ */\n"
        "create function public.f() returns int language sql "
        "begin atomic select 1; select case when true then 2 end; end;\n"
        "do $body$ begin perform ';'; execute $x$select ';'$x$; end $body$;\n"
        "insert into public.odd (c) values ('last')\n"
    )
    cli(project, "db", "push", "--yes", f"--remote={server.dsn()}")
    theirs = asyncio.run(books(server.dsn()))

    async def ours() -> list[tuple[Any, ...]]:
        async with PostgresServer(tmp_path / "other", durable=False) as other:
            await apply_migrations(other.dsn(), project / "supabase" / "migrations")
            return await books(other.dsn())

    assert asyncio.run(ours()) == theirs
