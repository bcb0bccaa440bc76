"""Measures what those cost the database who only listen and react: heartbeats by size of room, reactions beside writes.

Starts a Postgres of its own without fsync (leases and reactions are in unlogged tables, which never wait for the disk),
prints a table and optionally writes JSON.

    python tests/benchmarks/crowd.py --seconds 4 --json result.json
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg

from tests.benchmarks.database import Bench, as_role, latencies, timed, uuid7
from whatssound.local.assets import migrations_dir
from whatssound.local.migrate import apply_migrations
from whatssound.local.postgres import PostgresServer

SIZES = (100, 1_000, 5_000, 50_000)
# Listeners 1 to $2 hold leases as far as they are sampled, for longer than the measurement takes; renewing them writes.
_LEASES = """
insert into whatssound.leases (session_id, user_id, expires_at)
  select $1::uuid, u.id, now() + interval '60 seconds' from public.session_clock c, generate_series(1, $2::integer) n,
    lateral (select md5('listener' || n)::uuid as id) u
  where c.session_id = $1 and whatssound.is_sampled(whatssound.lease_bucket($1, u.id), c.sampling)
"""


def listener(number: int) -> str:
    """The id of a listener, as the statement above makes it."""
    return str(uuid.UUID(hashlib.md5(f"listener{number}".encode(), usedforsecurity=False).hexdigest()))


class CrowdBench(Bench):
    """A server with one room, and what was measured in it."""

    def __init__(self, server: PostgresServer, seconds: float) -> None:
        super().__init__(server, seconds)
        self.session = str(uuid.uuid4())

    async def open(self, connection: Any) -> None:
        """Opens the room on a plan that gives it a tick as soon as it is large."""
        await connection.execute("update whatssound.rate_limits set capacity = 1000000000, per_second = 1000000")
        await connection.execute("update whatssound.project set events_per_second = 2500")
        await as_role(connection, str(uuid.uuid4()))
        await connection.fetchval("select public.create_session('Room', '{}', $1)", self.session)

    async def heartbeats(self, connection: Any) -> None:
        """Latency of a heartbeat that counts and one that does not, and how many a second such a room sends."""
        for people in SIZES:
            # Twice: the first round tells how large the room is, the second holds leases accordingly.
            for _ in range(2):
                await connection.execute("delete from whatssound.leases where session_id = $1", self.session)
                await connection.execute(_LEASES, self.session, people)
                await connection.execute("update public.session_clock set rate_at = now() - interval '10 seconds'")
                await as_role(connection, str(uuid.uuid4()))
                await connection.fetchval("select public.heartbeat($1)", self.session)
            await connection.execute("vacuum analyze whatssound.leases")
            listeners = [listener(n) for n in random.sample(range(1, people + 1), min(people, 500))]
            times: list[float] = []
            every: dict[bool, int] = {}
            occupancy = 0
            for user in listeners:
                await as_role(connection, user)
                started = time.perf_counter()
                reply = json.loads(await connection.fetchval("select public.heartbeat($1)", self.session))
                times.append(time.perf_counter() - started)
                every[reply["sampled"]], occupancy = reply["heartbeat_s"], reply["occupancy"]
            sampling = await connection.fetchval(
                "select sampling from public.session_clock where session_id = $1", self.session
            )
            share = 0.5**sampling
            calls = sum(
                people * part / every[sampled]
                for sampled, part in ((True, share), (False, 1 - share))
                if sampled in every
            )
            self.note(
                f"heartbeat among {people:,}",
                # The first ones warm caches and plans up.
                **latencies(times[20:]),
                leases=await connection.fetchval(
                    "select count(*) from whatssound.leases where session_id = $1", self.session
                ),
                occupancy=occupancy,
                others_call_every_s=every.get(False, 25),
                heartbeats_per_s=round(calls),
            )

    async def reactions(self, connection: Any) -> None:
        """Reactions a second, and what they do to those who write in the same room."""
        await connection.execute("delete from whatssound.leases where session_id = $1", self.session)
        await connection.execute("update public.session_clock set tick_ms = 500, fixed_tick = true")

        async def react(connection: Any, place: int) -> int:
            await as_role(connection, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{place}-{random.randrange(100)}")))
            counts = {kind: random.randint(1, 5) for kind in random.sample(["🔥", "👏", "🎉", "💃", "😍"], 2)}
            await connection.fetchval("select public.send_reactions($1, $2)", self.session, json.dumps(counts))
            return 1

        for connections in (1, 8, 32):
            rate = await self.repeat(connections, react)
            self.note(f"send_reactions, one room, {connections} connections", calls_per_s=round(rate))

        written: list[float] = []

        async def write(connection: Any, place: int) -> int:
            await as_role(connection, str(uuid.uuid5(uuid.NAMESPACE_URL, f"writer-{place}")))
            row = json.dumps([{"id": uuid7(), "content": "What a tune, play it again!"}])
            written.append(await timed(connection.fetchval("select public.insert_messages($1, $2)", self.session, row)))
            await asyncio.sleep(0.02)
            return 1

        async def react_at_pace(connection: Any, place: int) -> int:
            await react(connection, place)
            await asyncio.sleep(0.02)
            return 1

        await self.repeat(2, write)
        self.note("insert_messages, two writers, nobody reacts", **latencies(written))
        written.clear()
        _, rate = await asyncio.gather(self.repeat(2, write), self.repeat(8, react_at_pace))
        self.note("insert_messages, two writers, while others react", reactions_per_s=round(rate), **latencies(written))
        written.clear()
        # Ten writers instead of two: what the same calls would cost as events.
        await self.repeat(10, write)
        self.note("insert_messages, ten writers, nobody reacts", **latencies(written))


async def run(seconds: float, directory: Path) -> list[dict[str, Any]]:
    """Runs everything on a new server."""
    server = PostgresServer(directory / "data", durable=False)
    await server.start()
    try:
        await apply_migrations(server.dsn(), migrations_dir())
        bench = CrowdBench(server, seconds)
        connection = await asyncpg.connect(server.dsn())
        await bench.open(connection)
        await bench.heartbeats(connection)
        await bench.reactions(connection)
        await connection.close()
        return bench.rows
    finally:
        await server.stop()


def main() -> int:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each throughput measurement")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whatssound-bench-", ignore_cleanup_errors=True) as directory:
        rows = asyncio.run(run(options.seconds, Path(directory)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
