"""What a migration and a client find on the bare platform, before the project's own migrations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from whatssound.local.postgres import PostgresServer

USER = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    server = PostgresServer(tmp_path_factory.mktemp("platform") / "data", durable=False)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server
        runner.run(server.stop())


@pytest.fixture
async def db(shared: PostgresServer) -> AsyncIterator[Any]:
    """A connection as `postgres` whose work is undone."""
    connection = await asyncpg.connect(shared.dsn())
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def become(db: Any, role: str, **claims: Any) -> None:
    await db.execute("select set_config('request.jwt.claims', $1, true)", json.dumps({"role": role, **claims}))
    await db.execute(f"set local role {role}")


async def test_claims_are_read_in_both_forms(db: Any) -> None:
    assert await db.fetchrow("select auth.uid(), auth.role(), auth.email(), auth.jwt()") == (None, None, None, None)
    await become(db, "authenticated", sub=USER, email="a@b.c")
    row = await db.fetchrow("select auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'sub'")
    assert tuple(row) == (USER, "authenticated", "a@b.c", USER)
    await db.execute("select set_config('request.jwt.claims', '', true)")
    await db.execute("select set_config('request.jwt.claim.sub', $1, true)", USER)
    assert str(await db.fetchval("select auth.uid()")) == USER


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_a_new_table_is_closed_until_it_is_granted(db: Any, role: str) -> None:
    await db.execute("create table public.fresh (n int)")
    await become(db, role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.execute("table public.fresh")


async def test_a_publication_waits_for_the_projects_tables(db: Any) -> None:
    await db.execute("create table public.fresh (n int)")
    await db.execute("alter publication supabase_realtime add table public.fresh")
    tables = await db.fetch("select tablename from pg_publication_tables where pubname = 'supabase_realtime'")
    assert [row["tablename"] for row in tables] == ["fresh"]


async def test_sending_needs_a_policy_only_for_clients(db: Any) -> None:
    await db.execute("""select realtime.send('{"n": 1}', 'e', 'room:1')""")
    row = await db.fetchrow("select payload, private, extension, event, id::text from realtime.messages")
    payload = json.loads(row["payload"])
    assert payload == {"n": 1, "id": row["id"]}
    assert (row["private"], row["extension"], row["event"]) == (True, "broadcast", "e")
    await become(db, "authenticated", sub=USER)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await db.execute("insert into realtime.messages (topic, extension) values ('t', 'broadcast')")


async def test_a_policy_opens_a_topic(db: Any) -> None:
    await db.execute(
        "create policy w on realtime.messages for insert to authenticated with check (realtime.topic() = 'room:1')"
    )
    await become(db, "authenticated", sub=USER)
    await db.execute("select set_config('realtime.topic', 'room:1', true)")
    await db.execute("insert into realtime.messages (topic, extension) values ('room:1', 'broadcast')")


async def test_a_lost_message_is_a_warning_and_nothing_more(db: Any) -> None:
    warnings: list[str] = []
    db.add_log_listener(lambda _, message: warnings.append(message.message))
    await become(db, "anon")
    await db.execute("""select realtime.send('{}', 'e', 't')""")
    await asyncio.sleep(0)  # listeners are called by the loop
    assert [text.partition(":")[0] for text in warnings] == ["WarnSendingBroadcastMessage"]


async def test_changes_are_sent_by_a_trigger(db: Any) -> None:
    await db.execute("""
        create table public.fresh (n int);
        create function public.tell() returns trigger language plpgsql security definer set search_path = '' as $$
        begin perform realtime.broadcast_changes('room:1', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
        return null; end $$;
        create trigger tell after insert on public.fresh for each row execute function public.tell();
        insert into public.fresh values (7);
    """)
    payload = json.loads(await db.fetchval("select payload from realtime.messages"))
    del payload["id"]
    assert payload == {
        "schema": "public", "table": "fresh", "operation": "INSERT", "record": {"n": 7}, "old_record": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "ddl",
    [
        "alter table realtime.messages add x int",
        "alter table realtime.messages disable row level security",
        "create index on realtime.messages (topic)",
        "create table realtime.mine (n int)",
        "drop table realtime.messages",
        "drop function realtime.topic()",
        "create or replace function realtime.topic() returns text language sql as $$ select '' $$",
        "create trigger t after insert on realtime.messages execute function pg_catalog.tsvector_update_trigger()",
    ],
)
async def test_realtime_belongs_to_the_platform(db: Any, ddl: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.execute(ddl)


async def test_policies_can_be_made_altered_and_dropped_but_not_commented(db: Any) -> None:
    await db.execute("create policy p on realtime.messages for select to authenticated using (true)")
    await db.execute("alter policy p on realtime.messages using (false)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction():
            await db.execute("comment on policy p on realtime.messages is 'why'")
    await db.execute("drop policy p on realtime.messages")


async def test_own_schemas_and_triggers_on_users_are_allowed(db: Any) -> None:
    await db.execute("""
        create schema mine;
        create table mine.profiles (id uuid primary key references auth.users (id));
        create function mine.follow() returns trigger language plpgsql security definer set search_path = '' as $$
        begin insert into mine.profiles values (new.id); return new; end $$;
        create trigger follow after insert on auth.users for each row execute function mine.follow();
    """)
    await db.execute("insert into auth.users (id, email) values ($1, 'a@b.c')", USER)
    assert await db.fetchval("select count(*) from mine.profiles") == 1


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_users_are_closed_to_clients(db: Any, role: str) -> None:
    await become(db, role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.execute("table auth.users")


async def test_partitions_are_made_ahead_and_closed(shared: PostgresServer, db: Any) -> None:
    admin = await asyncpg.connect(shared.dsn("supabase_admin"))
    assert await admin.fetchval("select realtime.keep_message_partitions()") == 0
    assert await admin.fetchval("select realtime.keep_message_partitions(5)") == 2
    await admin.execute(
        "create table realtime.messages_2020_01_01 partition of realtime.messages "
        "for values from ('2020-01-01') to ('2020-01-02')"
    )
    await admin.fetchval("select realtime.keep_message_partitions(5)")
    names = await admin.fetch(
        "select inhrelid::regclass::text n from pg_inherits where inhparent = 'realtime.messages'::regclass"
    )
    assert len(names) >= 7
    assert "realtime.messages_2020_01_01" not in {row["n"] for row in names}
    await admin.close()
    await become(db, "anon")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.execute(f"table {names[-1]['n']}")


async def test_hosted_timeouts_are_set_per_role(db: Any) -> None:
    found = await db.fetch("select rolname, rolconfig from pg_roles where rolname in ('anon', 'authenticator')")
    settings = {row["rolname"]: row["rolconfig"] for row in found}
    assert "statement_timeout=3s" in settings["anon"]
    assert "statement_timeout=8s" in settings["authenticator"]
