"""How the RPCs' own statements run: which index, and only the partitions they need.

The plans are those of the real statements inside the functions, reported by auto_explain while an RPC runs over tables
that are large enough for the planner to care.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.database.conftest import Database

SESSION = "e1000000-0000-4000-8000-000000000001"
USER = "e2000000-0000-4000-8000-000000000001"
BIG = re.compile(
    r"^(messages(_\d{4}_\d\d)?|session_events|votes|tips|song_tallies|queue_items|session_members|profiles|sessions|leases)$"
)

_FILL = """
set local session_replication_role = replica;
create function pg_temp.id(p_kind text, p_number bigint) returns uuid language sql immutable as $$
  select (p_kind || '000000-0000-4000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid $$;
insert into public.profiles (user_id, username) select pg_temp.id('e2', n), 'u' || n from generate_series(1, 2000) n;
insert into public.sessions (id, title, dj_id, settings, started_at)
  select pg_temp.id('e1', n), 't', pg_temp.id('e2', n), whatssound.merge_settings('{}', '{}'),
         now() - interval '2 hours'
  from generate_series(1, 200) n;
insert into public.session_clock (session_id, last_seq, framed_seq) select s.id, 2000, 2000 from public.sessions s;
insert into public.session_members (session_id, user_id)
  select s.id, pg_temp.id('e2', n) from public.sessions s, generate_series(1, 100) n;
insert into whatssound.leases
  select m.session_id, m.user_id, now() + interval '1 hour' from public.session_members m;
insert into public.songs (id, title, added_by)
  select pg_temp.id('e3', n), 's' || n, pg_temp.id('e2', 1) from generate_series(1, 40) n;
insert into public.queue_items (session_id, song_id, title, rank, added_by, seq, status, started_at)
  select s.id, o.id, 's', 1, pg_temp.id('e2', 1), 1, 'played', now() from public.sessions s, public.songs o;
insert into public.votes (session_id, song_id, user_id, username, value, seq, tally_up, tally_down)
  select m.session_id, pg_temp.id('e3', n), m.user_id, 'u', 1, 1, 1, 0
  from public.session_members m, generate_series(1, 3) n;
insert into public.song_tallies (session_id, song_id, up, seq)
  select s.id, o.id, 5, 1 from public.sessions s, public.songs o;
insert into public.tips (
    session_id, tipper_id, dj_id, username, amount, currency, status, key, seq, settled_at)
  select s.id, pg_temp.id('e2', n), s.dj_id, 'u', n, case when n % 2 = 0 then 'EUR' else 'USD' end,
         'confirmed', gen_random_uuid(), 1, now()
  from generate_series(1, 30) n, public.sessions s;
insert into public.session_events (session_id, seq, kind, payload)
  select s.id, n, 'vote', '{}' from public.sessions s, generate_series(1, 300) n;
insert into public.messages (id, session_id, user_id, username, role, content, created_at, seq)
  select i.id, s.id, pg_temp.id('e2', 1), 'u', 'listener', 'hello', whatssound.uuid7_time(i.id), n
  from generate_series(1, 400) n, public.sessions s,
    lateral (select (
      lpad(to_hex((extract(epoch from now() - interval '1 hour' * (n % 7000)) * 1000)::bigint), 12, '0')
      || '7' || substr(md5(s.id::text || n), 1, 3) || '8' || substr(md5(n || s.id::text), 1, 15))::uuid as id) i;
"""


@pytest.fixture(scope="module")
def full(wheel: Database) -> Iterator[str]:
    """A second database of the same server, filled and analysed; the superuser's way in."""
    name = "whatssound_plans"
    url = wheel.superuser.rsplit("/", 1)[0] + f"/{name}"

    async def fill() -> None:
        root = await asyncpg.connect(wheel.superuser)
        try:
            await root.execute(f"create database {name} template template0")
        finally:
            await root.close()
        await _copy_schema(wheel, url)

    async def drop() -> None:
        root = await asyncpg.connect(wheel.superuser)
        try:
            await root.execute(f"drop database {name} with (force)")
        finally:
            await root.close()

    asyncio.run(fill())
    yield url
    asyncio.run(drop())


async def _copy_schema(wheel: Database, url: str) -> None:
    from whatssound.local.assets import migrations_dir
    from whatssound.local.migrate import apply_migrations, apply_platform

    await apply_platform(url)
    await apply_migrations(wheel.owner.rsplit("/", 1)[0] + "/whatssound_plans", migrations_dir())
    root = await asyncpg.connect(url)
    try:
        async with root.transaction():
            await root.execute(_FILL)
        await root.execute("vacuum analyze")
    finally:
        await root.close()


async def plans(url: str, call: str, *, user: str | None = USER) -> list[dict[str, Any]]:
    """Every plan that runs inside a call, as JSON."""
    connection = await asyncpg.connect(url)
    messages: list[str] = []
    connection.add_log_listener(lambda _connection, message: messages.append(message.message))
    try:
        await connection.execute(
            "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;"
            "set auto_explain.log_analyze = on; set auto_explain.log_timing = off; set auto_explain.log_format = json"
        )
        claims = {"role": "authenticated", "sub": user} if user else {"role": "service_role"}
        await connection.execute("select set_config('request.jwt.claims', $1, false)", json.dumps(claims))
        await connection.execute("set client_min_messages = log")
        await connection.execute(f"select {call}")
        await connection.execute("set client_min_messages = warning")
    finally:
        await connection.close()
    found = [json.loads(text[text.index("{") :]) for text in messages if "plan:" in text and "{" in text]
    assert found, "auto_explain reported nothing"
    return found


def nodes(plan: dict[str, Any], table: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All nodes of a plan with the table they read; the index part of a bitmap scan names it only above."""
    table = plan.get("Relation Name", table)
    yield table, plan
    for child in plan.get("Plans", []):
        yield from nodes(child, table if plan["Node Type"].startswith("Bitmap") else "")


def scans(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(table, node type, index) of everything that was really read from a large table."""
    return [
        (table, node["Node Type"], node.get("Index Name", ""))
        for one in found
        for table, node in nodes(one["Plan"])
        if BIG.match(table)
        and "Scan" in node["Node Type"]
        and node["Node Type"] != "Bitmap Heap Scan"
        and node.get("Actual Loops", 1) > 0
    ]


def assert_no_whole_table(read: list[tuple[str, str, str]]) -> None:
    """Nothing large is read from end to end."""
    whole = [table for table, kind, _ in read if kind == "Seq Scan"]
    assert not whole, f"read whole: {sorted(set(whole))}"


def partitions(read: list[tuple[str, str, str]]) -> set[str]:
    """The months that were touched."""
    return {table for table, _, _ in read if table.startswith("messages_")}


async def test_history_touches_its_months_by_index(full: str) -> None:
    """A page reads by (session_id, seq), in the months of the session's life only."""
    read = scans(await plans(full, f"public.message_history('{SESSION}', 300)"))
    assert_no_whole_table(read)
    assert 1 <= len(partitions(read)) <= 2
    assert all("session_id_seq" in index for table, _, index in read if table.startswith("messages_"))


async def test_a_page_reads_no_more_than_a_page(full: str) -> None:
    """After plans are cached for any caller, a page still stops at its limit instead of sorting the session."""
    calls = ", ".join(f"public.message_history('{SESSION}', {300 - turn}, 20)" for turn in range(12))
    pages = [one for one in await plans(full, calls) if "from public.messages m" in one["Query Text"]]

    assert len(pages) == 12
    for one in pages:
        kinds = {node["Node Type"] for _, node in nodes(one["Plan"])}
        assert "Sort" not in kinds
        read = [node["Actual Rows"] for table, node in nodes(one["Plan"]) if table.startswith("messages_")]
        assert sum(read) <= 25


async def test_snapshot_reads_by_index(full: str) -> None:
    """The whole snapshot reads no large table from end to end, and one or two months."""
    read = scans(await plans(full, f"public.session_snapshot('{SESSION}')"))
    assert_no_whole_table(read)
    assert 1 <= len(partitions(read)) <= 2
    indexes = {index for _, _, index in read}
    assert {"session_events_pkey", "votes_pkey", "song_tallies_pkey", "idx_tips_session"} <= indexes


async def test_events_since_reads_by_primary_key(full: str) -> None:
    """The log is read by (session_id, seq) alone."""
    read = scans(await plans(full, f"public.events_since('{SESSION}', 200)"))
    assert_no_whole_table(read)
    assert {index for table, _, index in read if table == "session_events"} == {"session_events_pkey"}


async def test_a_vote_reads_by_index(full: str) -> None:
    """Casting a vote looks up one row of each table."""
    song = "e3000000-0000-4000-8000-000000000001"
    read = scans(await plans(full, f"public.cast_vote('{SESSION}', '{song}', -1::smallint, gen_random_uuid())"))
    assert_no_whole_table(read)
    assert ("votes", "Index Scan", "votes_pkey") in read
    assert any(index == "idx_queue_items_song" for _, _, index in read)


async def test_votes_of_a_song_are_counted_over_their_index(full: str) -> None:
    """Counting the rows of a song, as a check of its tally does, uses idx_votes_session_song."""
    song = "e3000000-0000-4000-8000-000000000001"
    count = f"count(*) from public.votes where session_id = '{SESSION}' and song_id = '{song}'"
    read = scans(await plans(full, count))
    assert "idx_votes_session_song" in {index for _, _, index in read}


async def test_dj_leaderboard_runs_over_its_index(full: str) -> None:
    """Tips are added up over idx_tips_dj_amount without reading the table."""
    read = scans(await plans(full, "public.dj_leaderboard('EUR')"))
    assert ("tips", "Index Only Scan", "idx_tips_dj_amount") in read
    assert_no_whole_table(read)


async def test_song_leaderboard_of_a_session_reads_its_tallies(full: str) -> None:
    """The ranking of one session reads its tallies by primary key."""
    read = scans(await plans(full, f"public.song_leaderboard('{SESSION}')"))
    assert {index for table, _, index in read if table == "song_tallies"} == {"song_tallies_pkey"}


async def test_a_batch_touches_the_months_of_its_ids(full: str) -> None:
    """Looking for duplicates reads the month in the id and no other."""
    identifier = "01a20000-0000-7000-8000-000000000001"
    batch = f"""'[{{"id": "{identifier}", "content": "x"}}]'::json"""
    read = scans(await plans(full, f"public.insert_messages('{SESSION}', {batch})"))
    assert_no_whole_table(read)
    assert len(partitions(read)) == 1


async def test_heartbeat_reads_by_index(full: str) -> None:
    """A heartbeat looks at one lease, one clock, one session."""
    assert_no_whole_table(scans(await plans(full, f"public.heartbeat('{SESSION}')")))
