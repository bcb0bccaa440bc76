"""Measures the database: history at growing size, batches, votes, and partitions made under load.

Starts a Postgres of its own, with fsync unless told otherwise, fills it as a year of sessions would have, measures,
prints a table and optionally writes JSON. The seed-style way (one plain table, one INSERT a message) runs beside it in
the same server.

    python tests/benchmarks/database.py --scales 100000,1000000,10000000 --json result.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from whatssound.local.assets import migrations_dir
from whatssound.local.migrate import apply_migrations
from whatssound.local.postgres import PostgresServer

SESSIONS = 1000
_SETUP = """
update whatssound.rate_limits set capacity = 1000000000, per_second = 1000000;
create function whatssound.bench_id(p_kind text, p_number bigint) returns uuid language sql immutable as $$
  select (p_kind || '000000-0000-4000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid $$;
create schema bench;
create table bench.messages (
  id uuid primary key, session_id uuid not null, user_id uuid not null, content text not null,
  created_at timestamptz not null default now());
create index on bench.messages (session_id, created_at desc);
create table bench.votes (
  session_id uuid, song_id uuid, user_id uuid, value smallint, primary key (session_id, song_id, user_id));
insert into public.profiles (user_id, username)
  select whatssound.bench_id('e2', n), 'u' || n from generate_series(0, 4999) n;
-- A session every nine hours or so for a year, of four hours each; the last ones are live.
insert into public.sessions (id, title, dj_id, settings, started_at, status, ended_at)
  select whatssound.bench_id('e1', n), 't', whatssound.bench_id('e2', n), whatssound.merge_settings('{}', '{}'), s.at,
         case when n <= 100 then 'live' else 'ended' end, case when n > 100 then s.at + interval '4 hours' end
  from generate_series(1, 1000) n, lateral (select now() - interval '4 hours' - n * interval '7.8 hours' as at) s;
insert into public.session_clock (session_id, last_seq, framed_seq)
  select s.id, 100000000, 100000000 from public.sessions s;
insert into public.songs (id, title, added_by) values (whatssound.bench_id('e3', 1), 's', whatssound.bench_id('e2', 1));
insert into public.queue_items (session_id, song_id, title, rank, added_by, seq, status, started_at)
  select s.id, whatssound.bench_id('e3', 1), 's', 1, whatssound.bench_id('e2', 1), 1, 'played', now()
  from public.sessions s;
"""
# Messages number $1 to $2 of each session, spread over its four hours.
_FILL = """
with made as (
  select (lpad(to_hex((extract(epoch from s.started_at + interval '4 hours' * n / $3::int) * 1000)::bigint), 12, '0')
      || '7' || substr(r.hex, 1, 3) || '8' || substr(r.hex, 4, 15))::uuid as id,
    s.id as session_id, whatssound.bench_id('e2', (random() * 4999)::int) as user_id, n as seq
  from public.sessions s, generate_series($1::int, $2::int) n,
    lateral (select md5(s.id::text || n) as hex) r
  where s.id between whatssound.bench_id('e1', $4::int) and whatssound.bench_id('e1', $5::int)
  -- As they came: the sessions of this year followed each other.
  order by s.started_at, n
), kept as (
  insert into public.messages (id, session_id, user_id, username, role, content, created_at, seq)
  select m.id, m.session_id, m.user_id, 'somebody', 'listener', 'What a tune, play it again! ' || m.seq,
         whatssound.uuid7_time(m.id), m.seq from made m
  returning id, session_id, user_id, content, created_at)
insert into bench.messages select * from kept
"""


def uuid7() -> str:
    """A UUIDv7 of now."""
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = 0x70 | raw[6] & 0x0F, 0x80 | raw[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(raw)))


def named(kind: str, number: int) -> str:
    """The fixed id of a filled row."""
    return f"{kind}000000-0000-4000-8000-{number:012x}"


async def as_role(connection: Any, user: str | None) -> None:
    """Sets the claims for this connection; the RPCs read them, as they do from the API."""
    claims = {"role": "authenticated", "sub": user} if user else {"role": "service_role"}
    await connection.execute("select set_config('request.jwt.claims', $1, false)", json.dumps(claims))


def latencies(samples: list[float]) -> dict[str, float]:
    """Milliseconds: median, 95th and 99th percentile."""
    cuts = statistics.quantiles(samples, n=100)
    return {
        "p50_ms": round(cuts[49] * 1000, 3),
        "p95_ms": round(cuts[94] * 1000, 3),
        "p99_ms": round(cuts[98] * 1000, 3),
    }


async def timed(call: Awaitable[Any]) -> float:
    """Seconds until it answered."""
    started = time.perf_counter()
    await call
    return time.perf_counter() - started


class Bench:
    """One server, and what was measured on it."""

    def __init__(self, server: PostgresServer, seconds: float) -> None:
        self.server = server
        self.seconds = seconds
        self.rows: list[dict[str, Any]] = []

    def note(self, what: str, **facts: Any) -> None:
        """Keeps and prints one line of the table."""
        self.rows.append({"what": what, **facts})
        sys.stdout.write(f"{what:<58} " + "  ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
        sys.stdout.flush()

    async def fill(self, connection: Any, done: int, wanted: int) -> None:
        """Fills up to so many messages; both ways hold the same."""
        first, last = done // SESSIONS + 1, wanted // SESSIONS
        started = time.monotonic()
        for low in range(1, SESSIONS + 1, 50):
            await connection.execute(_FILL, first, last, last, low, low + 49, timeout=600)
        for table in ("public.messages", "bench.messages"):
            await connection.execute(f"vacuum analyze {table}", timeout=600)
        self.note(f"filled to {wanted:,} messages", seconds=round(time.monotonic() - started, 1))

    async def history(self, connection: Any, scale: int) -> None:
        """Pages of 50 at random places of random sessions."""
        per_session = scale // SESSIONS
        await as_role(connection, named("e2", 1))
        ours = await connection.prepare("select public.message_history($1, $2, 50)")
        plain = await connection.prepare(
            "select * from bench.messages where session_id = $1 and created_at < $2 order by created_at desc limit 50"
        )
        spots = [(random.randint(1, SESSIONS), random.randint(min(60, per_session), per_session)) for _ in range(600)]
        times: dict[str, list[float]] = {"history RPC": [], "plain table, bare SELECT": []}
        for number, before in spots:
            session = named("e1", number)
            at = await connection.fetchval(
                "select created_at from public.messages where session_id = $1 and seq = $2", session, before
            )
            times["history RPC"].append(await timed(ours.fetchval(session, before)))
            times["plain table, bare SELECT"].append(await timed(plain.fetch(session, at)))
        for name, samples in times.items():
            # The first hundred warm caches and plans up.
            self.note(f"{name}, page of 50 at {scale:,}", **latencies(samples[100:]))

    async def repeat(self, connections: int, work: Callable[[Any, int], Awaitable[int]]) -> float:
        """Runs work on so many connections for the set time; returns units a second."""
        opened = [await asyncpg.connect(self.server.dsn()) for _ in range(connections)]
        total, until = 0, time.monotonic() + self.seconds

        async def loop(place: int) -> int:
            done = 0
            while time.monotonic() < until:
                done += await work(opened[place], place)
            return done

        started = time.monotonic()
        total = sum(await asyncio.gather(*(loop(place) for place in range(connections))))
        rate = total / (time.monotonic() - started)
        for connection in opened:
            await connection.close()
        return rate

    async def batches(self) -> None:
        """Messages stored a second, one connection, by size of batch; and the seed-style way."""

        async def single(connection: Any, _place: int) -> int:
            await connection.execute(
                "insert into bench.messages (id, session_id, user_id, content) values ($1, $2, $3, $4)",
                uuid7(), named("e1", 1), named("e2", random.randint(0, 4999)), "What a tune, play it again!",
            )  # fmt: skip
            return 1

        self.note("plain table, single INSERTs", rows_per_s=round(await self.repeat(1, single)))
        for size in (1, 10, 100, 500):

            async def batch(connection: Any, _place: int, size: int = size) -> int:
                rows = [
                    {
                        "id": uuid7(),
                        "content": "What a tune, play it again!",
                        "user_id": named("e2", random.randint(0, 4999)),
                    }
                    for _ in range(size)
                ]
                await connection.execute(
                    "select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', false)"
                )
                reply = await connection.fetchval(
                    "select public.insert_messages($1, $2)", named("e1", 1), json.dumps(rows)
                )
                return sum(result["status"] == "stored" for result in json.loads(reply)["results"])

            self.note(f"insert_messages, batches of {size}", rows_per_s=round(await self.repeat(1, batch)))

    async def votes(self) -> None:
        """Votes a second, each a change, on one song of one session and over a hundred sessions."""
        song = named("e3", 1)
        for spread, sessions in (("one song", 1), ("100 sessions", 100)):
            for connections in (1, 8, 32):
                turn: dict[str, int] = {}

                async def vote(
                    connection: Any, place: int, sessions: int = sessions, turn: dict[str, int] = turn
                ) -> int:
                    user, number = (
                        named("e2", random.randrange(place * 100, place * 100 + 100)),
                        random.randint(1, sessions),
                    )
                    key = f"{user}{number}"
                    turn[key] = -turn.get(key, random.choice([-1, 1]))
                    await as_role(connection, user)
                    await connection.fetchval(
                        "select public.cast_vote($1, $2, $3::smallint, $4)",
                        named("e1", number),
                        song,
                        turn[key],
                        uuid.uuid4(),
                    )
                    return 1

                self.note(
                    f"cast_vote, {spread}, {connections} connections",
                    votes_per_s=round(await self.repeat(connections, vote)),
                )

        async def plain(connection: Any, place: int) -> int:
            user = named("e2", random.randrange(place * 100, place * 100 + 100))
            await connection.execute(
                "insert into bench.votes values ($1, $2, $3, $4) on conflict (session_id, song_id, user_id)"
                " do update set value = excluded.value",
                named("e1", 1), song, user, random.choice([-1, 1]),
            )  # fmt: skip
            return 1

        for connections in (1, 8, 32):
            rate = await self.repeat(connections, plain)
            self.note(f"plain upsert without log, one song, {connections} connections", votes_per_s=round(rate))

    async def partitions(self) -> None:
        """Partitions made while four connections insert: how long the longest insert took, with and without."""
        longest: list[float] = []

        async def insert(connection: Any, place: int) -> int:
            row = [{"id": uuid7(), "content": "x", "user_id": named("e2", place)}]
            await as_role(connection, None)
            started = time.perf_counter()
            await connection.fetchval("select public.insert_messages($1, $2)", named("e1", place + 1), json.dumps(row))
            longest.append(time.perf_counter() - started)
            return 1

        await self.repeat(4, insert)
        self.note(
            "insert latency without making partitions", max_ms=round(max(longest) * 1000, 1), **latencies(longest)
        )
        longest.clear()
        maker = await asyncpg.connect(self.server.dsn())
        made: list[float] = []

        async def make() -> None:
            for month in range(1, 13):
                started = time.perf_counter()
                await maker.execute("select whatssound.make_message_partition($1::text::date)", f"2090-{month:02d}-01")
                made.append(time.perf_counter() - started)
                await asyncio.sleep(self.seconds / 14)

        await asyncio.gather(self.repeat(4, insert), make())
        await maker.close()
        self.note(
            "insert latency while 12 partitions are made", max_ms=round(max(longest) * 1000, 1), **latencies(longest)
        )
        self.note(
            "making a partition under load",
            median_ms=round(statistics.median(made) * 1000, 1),
            max_ms=round(max(made) * 1000, 1),
        )


async def run(scales: list[int], seconds: float, directory: Path, *, fsync: bool) -> list[dict[str, Any]]:
    """Runs everything on a new server."""
    server = PostgresServer(directory / "data", durable=fsync)
    await server.start()
    try:
        root = await asyncpg.connect(server.dsn("supabase_admin"))
        for setting in ("shared_buffers = '2GB'", "max_wal_size = '8GB'", "synchronous_commit = on", "jit = off"):
            await root.execute(f"alter system set {setting}")
        await root.close()
        await server.restart()
        await apply_migrations(server.dsn(), migrations_dir())
        bench = Bench(server, seconds)
        connection = await asyncpg.connect(server.dsn())
        await connection.execute(_SETUP)
        done = 0
        for scale in scales:
            await bench.fill(connection, done, scale)
            await bench.history(connection, scale)
            done = scale
        pages = [row["p50_ms"] for row in bench.rows if row["what"].startswith("history RPC")]
        bench.note("history RPC, median at the largest over the smallest", ratio=round(pages[-1] / pages[0], 2))
        await connection.close()
        await bench.batches()
        await bench.votes()
        await bench.partitions()
        return bench.rows
    finally:
        await server.stop()


def main() -> int:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", default="10000,100000", help="messages at which history is measured, growing")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each throughput measurement")
    parser.add_argument("--no-fsync", action="store_true", help="leave the disk out: what the processor alone allows")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    scales = sorted(int(text) for text in options.scales.split(","))
    with tempfile.TemporaryDirectory(prefix="whatssound-bench-", ignore_cleanup_errors=True) as directory:
        rows = asyncio.run(run(scales, options.seconds, Path(directory), fsync=not options.no_fsync))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
