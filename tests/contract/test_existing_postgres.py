"""The stack on a Postgres that was there before it: the oldest version it supports, with a superuser named postgres."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from whatssound.local import LocalStack, LocalStackError
from whatssound.local.cluster import os_user

pytestmark = pytest.mark.debian_postgres
PROGRAMS = Path("/usr/lib/postgresql/15/bin")


def start(folder: Path, superuser: str, wal_level: str) -> str:
    """Makes a cluster with a password and starts it; answers its URL."""
    user = os_user()
    run: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": "/"}
    if user is not None:
        os.chown(folder, user.uid, user.gid)
        run |= {"user": user.uid, "group": user.gid, "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = folder / "password"
    password.write_text("s3cret@/:")
    if user is not None:
        os.chown(password, user.uid, user.gid)
    data = folder / "data"
    subprocess.run(
        [
            PROGRAMS / "initdb",
            "-D",
            data,
            "-U",
            superuser,
            "-A",
            "scram-sha-256",
            "--pwfile",
            password,
            "-N",
            "-E",
            "UTF8",
        ],
        check=True,
        **run,
    )
    settings = f"-p {port} -c wal_level={wal_level} -c fsync=off -c listen_addresses=127.0.0.1 -k {folder}"
    subprocess.run(
        [PROGRAMS / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", settings, "start"], check=True, **run
    )
    return f"postgresql://{superuser}:s3cret%40%2F%3A@127.0.0.1:{port}/postgres"


def stop(folder: Path) -> None:
    user = os_user()
    account = {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": list[int]()}
    command = [PROGRAMS / "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **account)  # type: ignore[call-overload]


@pytest.fixture
def folder() -> Iterator[Path]:
    if not (PROGRAMS / "initdb").exists():
        if os.environ.get("WHATSSOUND_REQUIRE_ALL") == "1":
            pytest.fail("Debian's postgresql-15 is not installed")
        pytest.skip("Debian's postgresql-15 is not installed")
    made = Path(tempfile.mkdtemp(prefix="whatssound-existing-"))
    yield made
    if (made / "data" / "postmaster.pid").exists():
        stop(made)
    shutil.rmtree(made)


@pytest.mark.parametrize("superuser", ["postgres", "somebody"])
async def test_a_room_opens_on_postgres_15(folder: Path, superuser: str) -> None:
    url = await asyncio.to_thread(start, folder, superuser, "logical")
    for _ in range(2):  # the second time everything is there already
        async with LocalStack(database_url=url) as stack, aiohttp.ClientSession() as http:
            headers = {"apikey": stack.anon_key}
            async with http.post(f"{stack.url}/auth/v1/signup", json={}, headers=headers) as answer:
                token = (await answer.json())["access_token"]
            headers["Authorization"] = f"Bearer {token}"
            body = {"p_title": "Fifteen"}
            async with http.post(f"{stack.url}/rest/v1/rpc/create_session", json=body, headers=headers) as answer:
                assert (answer.status, (await answer.json())["session"]["title"]) == (200, "Fifteen")
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("select count(*) from public.sessions where title = 'Fifteen'") == 2
    assert await connection.fetchval("select rolsuper from pg_roles where rolname = 'postgres'") is (
        superuser == "postgres"
    )
    await connection.close()


async def test_a_postgres_without_logical_decoding_is_refused_without_its_password(folder: Path) -> None:
    url = await asyncio.to_thread(start, folder, "somebody", "replica")
    with pytest.raises(LocalStackError, match="wal_level") as caught:
        await LocalStack(database_url=url).start()
    assert "s3cret" not in str(caught.value)
