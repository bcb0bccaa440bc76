"""Migrations: whole or not at all, in order, once, booked as the CLI books them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from whatssound.local.errors import MigrationError
from whatssound.local.migrate import apply_migrations, apply_platform, apply_seed, apply_sql, pending
from whatssound.local.postgres import PostgresServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path / "data", durable=False) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "migrations"
    made.mkdir()
    (made / "20260101000000_first.sql").write_text("create table public.a (n int);\ninsert into public.a values (1);")
    (made / "20260101000100_second_step.sql").write_text("-- why\ncreate table public.b (n int);")
    (made / "README.md").write_text("not a migration")
    return made


async def rows(server: PostgresServer, sql: str, user: str = "postgres") -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(server.dsn(user))
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def test_applied_once_in_order_and_booked(server: PostgresServer, folder: Path) -> None:
    assert [m.version for m in await pending(server.dsn(), folder)] == ["20260101000000", "20260101000100"]
    assert await apply_migrations(server.dsn(), folder) == ["20260101000000", "20260101000100"]
    assert await apply_migrations(server.dsn(), folder) == []
    assert await pending(server.dsn(), folder) == []
    assert await rows(server, "table supabase_migrations.schema_migrations order by version") == [
        ("20260101000000", ["create table public.a (n int)", "insert into public.a values (1)"], "first"),
        ("20260101000100", ["-- why\ncreate table public.b (n int)"], "second_step"),
    ]
    assert await rows(server, "select tableowner from pg_tables where tablename in ('a', 'b')") == [
        ("postgres",),
        ("postgres",),
    ]


async def test_a_later_file_is_applied_alone(server: PostgresServer, folder: Path) -> None:
    await apply_migrations(server.dsn(), folder)
    (folder / "20260102000000_third.sql").write_text("alter table public.a add m int")
    assert await apply_migrations(server.dsn(), folder) == ["20260102000000"]


async def test_a_failing_file_leaves_no_trace_and_says_where(server: PostgresServer, folder: Path) -> None:
    bad = folder / "20260102000000_bad.sql"
    bad.write_text("create table public.c (n int);\n\ninsert into public.c (missing) values (1);")
    with pytest.raises(MigrationError, match=r"20260102000000_bad\.sql, statement 2") as caught:
        await apply_migrations(server.dsn(), folder)
    assert (caught.value.file, caught.value.statement, caught.value.sqlstate) == (bad, 2, "42703")
    assert "missing) values" in str(caught.value)
    assert await rows(server, "select to_regclass('public.c')::text, to_regclass('public.b')::text") == [(None, "b")]
    assert [m.version for m in await pending(server.dsn(), folder)] == ["20260102000000"]
    bad.write_text("create table public.c (n int);")
    assert await apply_migrations(server.dsn(), folder) == ["20260102000000"]


async def test_what_needs_a_superuser_fails_as_on_hosted(server: PostgresServer, folder: Path) -> None:
    (folder / "20260102000000_super.sql").write_text("alter system set fsync = off")
    with pytest.raises(MigrationError) as caught:
        await apply_migrations(server.dsn(), folder)
    assert caught.value.sqlstate in {"42501", "25001"}


async def test_settings_of_one_file_do_not_reach_the_next(server: PostgresServer, folder: Path) -> None:
    (folder / "20260102000000_set.sql").write_text("set search_path = extensions")
    (folder / "20260102000100_after.sql").write_text("create table c ()")
    await apply_migrations(server.dsn(), folder)
    assert await rows(server, "select schemaname from pg_tables where tablename = 'c'") == [("public",)]


async def test_strangers_and_latecomers_are_refused(server: PostgresServer, folder: Path) -> None:
    await apply_migrations(server.dsn(), folder)
    late = folder / "20250101000000_late.sql"
    late.write_text("select 1")
    with pytest.raises(MigrationError, match="comes before"):
        await apply_migrations(server.dsn(), folder)
    late.unlink()
    (folder / "20260101000100_second_step.sql").unlink()
    with pytest.raises(MigrationError, match="20260101000100"):
        await pending(server.dsn(), folder)


async def test_two_files_of_one_version_are_refused(server: PostgresServer, folder: Path) -> None:
    (folder / "20260101000000_again.sql").write_text("select 1")
    with pytest.raises(MigrationError, match="same version"):
        await apply_migrations(server.dsn(), folder)


async def test_a_missing_directory_is_named(server: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="nowhere"):
        await apply_migrations(server.dsn(), tmp_path / "nowhere")


async def test_two_migrators_at_once_do_the_work_once(server: PostgresServer, folder: Path) -> None:
    done = await asyncio.gather(*(apply_migrations(server.dsn(), folder) for _ in range(3)))
    assert sorted(map(len, done)) == [0, 0, 2]
    assert await rows(server, "table public.a") == [(1,)]


async def test_the_seed_runs_once(server: PostgresServer, folder: Path, tmp_path: Path) -> None:
    await apply_migrations(server.dsn(), folder)
    seed = tmp_path / "seed.sql"
    seed.write_text("insert into public.a values (2);\ninsert into public.a values (3);")
    assert await apply_seed(server.dsn(), seed) is True
    assert await apply_seed(server.dsn(), seed) is False
    assert await rows(server, "select n from public.a order by n") == [(1,), (2,), (3,)]


async def test_any_file_can_be_run(server: PostgresServer) -> None:
    wire = Path(__file__).parents[2] / "data" / "wire"
    await apply_sql(server.dsn("supabase_admin"), wire / "realtime" / "fixture.sql")
    await apply_sql(server.dsn("supabase_admin"), wire / "realtime" / "fixture.sql")
    await apply_sql(server.dsn("supabase_admin"), wire / "postgrest" / "schema.sql")
    assert await rows(server, "select count(*) > 0 from public.rooms") == [(True,)]


async def test_a_failing_file_is_named(server: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_text("select 1; selec 2")
    with pytest.raises(MigrationError, match=r"x\.sql.*selec"):
        await apply_sql(server.dsn(), tmp_path / "x.sql")
    with pytest.raises(MigrationError, match="cannot read"):
        await apply_sql(server.dsn(), tmp_path / "y.sql")


async def test_the_platform_can_be_applied_again_over_a_project(server: PostgresServer, folder: Path) -> None:
    await apply_migrations(server.dsn(), folder)
    await apply_platform(server.dsn("supabase_admin"))
    assert await rows(server, "select count(*) from public.a") == [(1,)]
