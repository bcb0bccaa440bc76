"""A project of version 0.1.0 with people in it takes the later migrations and goes on where it was."""

from __future__ import annotations

import json
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.database.test_races import message
from whatssound.local.assets import migrations_dir
from whatssound.local.migrate import apply_migrations, pending
from whatssound.local.postgres import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

LAST_OF_0_1_0 = "20261124001800"


async def _call(connection: Any, user: str, query: str, *arguments: Any) -> Any:
    claims = {"role": "authenticated", "sub": user}
    await connection.execute("select set_config('request.jwt.claims', $1, false)", json.dumps(claims))
    return json.loads(await connection.fetchval(query, *arguments))


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The migrations of 0.1.0."""
    folder = tmp_path / "released"
    folder.mkdir()
    for file in sorted(migrations_dir().glob("*.sql")):
        if file.name.split("_")[0] <= LAST_OF_0_1_0:
            shutil.copy(file, folder)
    return folder


async def test_a_room_survives_the_upgrade(tmp_path: Path, released: Path) -> None:
    """Members, log, leases and frames of a live session are as before, and what is new works there."""
    server = PostgresServer(tmp_path / "data", durable=False)
    dj, session = str(uuid.uuid4()), str(uuid.uuid4())
    await server.start()
    try:
        assert (await apply_migrations(server.dsn(), released))[-1] == LAST_OF_0_1_0
        connection = await asyncpg.connect(server.dsn())
        await _call(connection, dj, "select public.create_session('Before', '{}', $1)", session)
        said = json.dumps([message("before")])
        await _call(connection, dj, "select public.insert_messages($1, $2)", session, said)
        before = await _call(connection, dj, "select public.heartbeat($1)", session)
        await connection.close()

        later = [migration.version for migration in await pending(server.dsn(), migrations_dir())]
        assert later
        assert await apply_migrations(server.dsn(), migrations_dir()) == later

        connection = await asyncpg.connect(server.dsn())
        after = await _call(connection, dj, "select public.heartbeat($1)", session)
        assert (after["last_seq"], after["occupancy"]) == (before["last_seq"], before["occupancy"]) == (2, 1)
        assert (after["sampled"], after["heartbeat_s"]) == (True, 25)
        joined = await _call(connection, dj, "select public.join_session($1)", session)
        assert joined["session"]["title"] == "Before"
        await _call(connection, dj, "select public.send_reactions($1, '{\"🔥\": 2}')", session)
        await _call(connection, dj, "select public.insert_messages($1, $2)", session, json.dumps([message("after")]))
        frames = await connection.fetch(
            "select payload from realtime.messages where event = 'frame' order by payload ->> 'server_time'"
        )
        carried = [json.loads(row["payload"]) for row in frames]
        assert [event["seq"] for frame in carried for event in frame["events"]] == [1, 2, 3]
        assert [frame["reactions"] for frame in carried if "reactions" in frame] == [{"🔥": 2}]
        await connection.close()
    finally:
        await server.stop()
