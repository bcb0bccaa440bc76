"""Applies `supabase/migrations` and the seed, and keeps the books as the Supabase CLI does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg

from whatssound.local.assets import platform_sql
from whatssound.local.errors import MigrationError
from whatssound.local.sqltext import split_statements

_FILE = re.compile(r"^([0-9]+)_(.*)\.sql$")
_LOCK = 0x77686174  # one migrator at a time per database

# Kept as the CLI makes them, so that either may come first.
_BOOKS = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
create table if not exists supabase_migrations.seed_files (path text not null primary key, hash text not null);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the migrations directory.

    Attributes:
        version: the digits before the first underscore; orders the files.
        name: the rest of the file's name.
        file: where it is.
    """

    version: str
    name: str
    file: Path


async def apply_platform(dsn: str) -> None:
    """Runs `platform.sql`; safe to run again.

    Args:
        dsn: of a superuser.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(platform_sql().read_text(encoding="utf-8"))
    finally:
        await connection.close()


async def keep_message_partitions(dsn: str) -> int:
    """Makes the daily partitions of `realtime.messages` that are missing and drops outdated ones.

    Args:
        dsn: of a superuser.

    Returns:
        How many were made.
    """
    connection = await asyncpg.connect(dsn)
    try:
        made: int = await connection.fetchval("select realtime.keep_message_partitions()")
        return made
    finally:
        await connection.close()


def migration_files(directory: Path) -> list[Migration]:
    """The migrations of a directory in the order they are applied.

    Raises:
        MigrationError: the directory is missing, or two files have one version.
    """
    if not directory.is_dir():
        raise MigrationError(f"no such directory of migrations: {directory}")
    found = [Migration(match[1], match[2], file) for file in directory.iterdir() if (match := _FILE.match(file.name))]
    found.sort(key=lambda migration: migration.version)
    for one, other in pairwise(found):
        if one.version == other.version:
            raise MigrationError(
                f"{one.file.name} and {other.file.name} have the same version: rename one", file=other.file
            )
    return found


async def pending(dsn: str, directory: Path) -> list[Migration]:
    """The migrations of `directory` that the database has not had, in order; changes nothing.

    Raises:
        MigrationError: directory and database disagree about the past.
    """
    async with _connected(dsn) as connection:
        return _missing(migration_files(directory), await _applied(connection))


async def apply_migrations(dsn: str, directory: Path | None) -> list[str]:
    """Applies what is pending, each file whole or not at all.

    Args:
        dsn: of the role that shall own what is made: `postgres`, which is no superuser, as on hosted Supabase.
        directory: holds `<version>_<name>.sql` files; None to do no more than open the books.

    Returns:
        The versions applied now.

    Raises:
        MigrationError: a statement failed (that file is rolled back, earlier ones stay), or directory and database
            disagree about the past.
    """
    files = migration_files(directory) if directory is not None else []
    async with _connected(dsn) as connection:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_BOOKS)
        if directory is None:
            return []
        todo = _missing(files, await _applied(connection))
        for migration in todo:
            await _apply(connection, migration)
        return [migration.version for migration in todo]


async def apply_seed(dsn: str, seed: Path, path: str = "supabase/seed.sql") -> bool:
    """Runs the seed unless this database has had it.

    Args:
        dsn: as for `apply_migrations`.
        seed: the file.
        path: the name it is booked under; the CLI books paths relative to the project.

    Returns:
        Whether it ran.

    Raises:
        MigrationError: a statement failed; nothing of the seed stays.
    """
    text = _read(seed)
    async with _connected(dsn) as connection:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        await connection.execute(_BOOKS)
        if await connection.fetchval("select 1 from supabase_migrations.seed_files where path = $1", path):
            return False
        async with connection.transaction():
            await _run(connection, seed, split_statements(text))
            await connection.execute(
                "insert into supabase_migrations.seed_files (path, hash) values ($1, $2)",
                path,
                hashlib.sha256(text.encode()).hexdigest(),
            )
        return True


async def apply_sql_once(dsn: str, file: Path) -> bool:
    """Runs any SQL file unless this database has had this text of it.

    Args:
        dsn: of a role that may write `supabase_migrations`, which `apply_migrations` has made.
        file: what to run.

    Returns:
        Whether it ran.

    Raises:
        MigrationError: as for `apply_sql`.
    """
    digest = hashlib.sha256(_read(file).encode()).hexdigest()
    path = f"file:{file}"
    async with _connected(dsn) as connection:
        known = await connection.fetchval("select hash from supabase_migrations.seed_files where path = $1", path)
        if known == digest:
            return False
        await apply_sql(dsn, file)
        await connection.execute(
            "insert into supabase_migrations.seed_files (path, hash) values ($1, $2) "
            "on conflict (path) do update set hash = excluded.hash",
            path,
            digest,
        )
        return True


async def tell_plan(dsn: str, events_per_second: int) -> bool:
    """Tells the product's database how many Realtime messages a second the project has.

    Args:
        dsn: of the superuser.
        events_per_second: the limit that Realtime enforces.

    Returns:
        Whether the database could be told: one with other migrations has nothing to take it.
    """
    async with _connected(dsn) as connection:
        found = await connection.fetchval(
            "select to_regprocedure('public.configure_project(integer, integer, integer, integer)') is not null"
        )
        if found:
            await connection.execute("select public.configure_project(p_events_per_second => $1)", events_per_second)
        return bool(found)


async def apply_sql(dsn: str, file: Path) -> None:
    """Runs any SQL file in one go, unbooked.

    Raises:
        MigrationError: a statement failed; nothing of the file stays, unless it commits by itself.
    """
    text = _read(file)
    async with _connected(dsn) as connection:
        try:
            await connection.execute(text)
        except asyncpg.PostgresError as error:
            raise _failure(error, file, 0, text) from error


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MigrationError(f"cannot read {file}: {error}", file=file) from error


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def _applied(connection: Any) -> list[str]:
    if not await connection.fetchval("select to_regclass('supabase_migrations.schema_migrations') is not null"):
        return []
    rows = await connection.fetch("select version from supabase_migrations.schema_migrations order by version")
    return [row["version"] for row in rows]


def _missing(files: list[Migration], applied: list[str]) -> list[Migration]:
    known = {migration.version for migration in files}
    if strangers := [version for version in applied if version not in known]:
        raise MigrationError(
            f"the database has migrations that the directory lacks ({', '.join(strangers)}): "
            "use the directory it was made with, or start afresh with --reset"
        )
    todo = [migration for migration in files if migration.version not in set(applied)]
    if applied and todo and todo[0].version < applied[-1]:
        raise MigrationError(
            f"{todo[0].file.name} comes before {applied[-1]}, which the database already has: "
            "give it a later version, or start afresh with --reset",
            file=todo[0].file,
        )
    return todo


async def _apply(connection: Any, migration: Migration) -> None:
    statements = split_statements(_read(migration.file))
    async with connection.transaction():
        await _run(connection, migration.file, statements)
        await connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)",
            migration.version,
            migration.name,
            statements,
        )
    # A file may leave settings behind; the next one starts as the CLI's would, from a clean session.
    await connection.execute("reset all")


async def _run(connection: Any, file: Path, statements: list[str]) -> None:
    for number, statement in enumerate(statements, 1):
        try:
            await connection.execute(statement)
        except asyncpg.PostgresError as error:
            raise _failure(error, file, number, statement) from error


def _failure(error: asyncpg.PostgresError, file: Path, number: int, statement: str) -> MigrationError:
    facts = error.as_dict()
    where = f"{file.name}, statement {number}" if number else file.name
    lines = [f"{where}: {facts.get('message')} (SQLSTATE {error.sqlstate})"]
    lines += [f"  {name}: {facts[name]}" for name in ("detail", "hint", "where") if facts.get(name)]
    position = int(facts.get("position") or 0)
    start = max(0, position - 1)
    excerpt = " ".join(statement[start : start + 160].split())
    lines.append(f"  at: {excerpt}")
    return MigrationError("\n".join(lines), file=file, statement=number, sqlstate=error.sqlstate)
