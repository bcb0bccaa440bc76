"""The server's life: fresh, restarted, crashed, in the way of another."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from whatssound.local import cluster
from whatssound.local.errors import (
    DataDirectoryError,
    DataDirectoryInUseError,
    LocalStackError,
    PortInUseError,
    PostgresMissingError,
)
from whatssound.local.postgres import PostgresServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(tmp_path / "data", durable=False) as running:
        yield running


async def value(server: PostgresServer, sql: str, user: str = "postgres") -> object:
    connection = await asyncpg.connect(server.dsn(user))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while alive(pid):  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.02)


async def test_postgres_is_no_superuser_and_settings_are_those_of_a_stack(server: PostgresServer) -> None:
    assert await value(server, "select rolsuper from pg_roles where rolname = current_user") is False
    assert await value(server, "select rolbypassrls and rolcreaterole from pg_roles where rolname = 'postgres'") is True
    assert await value(server, "show wal_level") == "logical"
    assert await value(server, "show autovacuum") == "on"
    assert await value(server, "show timezone") == "UTC"
    assert await value(server, "show fsync") == "off"
    assert await value(server, "select rolsuper from pg_roles where rolname = current_user", "supabase_admin") is True


async def test_data_and_port_outlive_stop_restart_and_kill(server: PostgresServer) -> None:
    dsn = server.dsn()
    await value(server, "create table public.kept as select 1 as n")
    await server.restart()
    assert (server.dsn(), await value(server, "select n from kept")) == (dsn, 1)
    await server.kill()
    assert not server.running
    with pytest.raises(ConnectionError):
        await asyncpg.connect(dsn)
    await server.start()
    assert await value(server, "select n from kept") == 1
    await server.stop()
    await server.stop()
    await server.start()
    assert (server.dsn(), await value(server, "select n from kept")) == (dsn, 1)


async def test_stop_shuts_down_cleanly_though_clients_are_connected(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.dsn())
    pid = server.pid
    assert pid is not None
    await server.stop()
    assert not alive(pid)
    assert not (server.data_dir / "postmaster.pid").exists()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("select 1")
    connection.terminate()


async def test_a_stale_pid_file_is_no_obstacle(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "data", durable=False)
    await server.start()
    await server.kill()
    assert (tmp_path / "data" / "postmaster.pid").exists()
    async with PostgresServer(tmp_path / "data", durable=False) as successor:
        assert await value(successor, "select 1") == 1


async def test_a_server_whose_owner_died_is_taken_over(tmp_path: Path) -> None:
    # An owner that is killed cannot run its exit code: the keeper stops the server, and a successor may come at once.
    code = (
        "import asyncio,sys\nfrom pathlib import Path\nfrom whatssound.local.postgres import PostgresServer\n"
        "async def main():\n"
        "    s = PostgresServer(Path(sys.argv[1]), durable=False)\n    await s.start()\n"
        "    print(s.pid, flush=True)\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    assert owner.stdout is not None
    orphan = int(await owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    await owner.communicate()
    async with PostgresServer(tmp_path / "data", durable=False) as successor:
        assert await value(successor, "select 1") == 1
        assert successor.pid != orphan
    await gone(orphan)


async def test_a_running_servers_directory_is_refused(server: PostgresServer) -> None:
    with pytest.raises(DataDirectoryInUseError, match="another stack"):
        await PostgresServer(server.data_dir).start()
    assert await value(server, "select 1") == 1


async def test_two_servers_run_side_by_side(server: PostgresServer, tmp_path: Path) -> None:
    async with PostgresServer(tmp_path / "other", durable=False) as other:
        assert other.port != server.port
        assert await value(other, "select 1") == 1


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = PostgresServer(tmp_path / "data", port=port, durable=False)
        with pytest.raises(PortInUseError, match=str(port)) as caught:
            await server.start()
        assert caught.value.port == port
        assert not server.running
    await server.start()
    assert server.port == port
    await server.stop()


async def test_another_postgres_on_the_port_is_not_mistaken_for_ours(server: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(PortInUseError):
        await PostgresServer(tmp_path / "other", port=server.port, durable=False).start()


async def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("hello")
    with pytest.raises(DataDirectoryError, match="no Postgres data directory"):
        await PostgresServer(tmp_path / "letters").start()
    assert (tmp_path / "letters" / "dear.txt").read_text() == "hello"


async def test_a_directory_that_was_being_filled_is_filled_anew(tmp_path: Path) -> None:
    half = tmp_path / "data"
    (half / "base").mkdir(parents=True)
    (half / "base" / "1").write_text("torn")
    (half / "PG_VERSION").write_text("18\n")
    (half / ".whatssound.incomplete").touch()
    async with PostgresServer(half, durable=False) as server:
        assert await value(server, "select 1") == 1
    assert not (half / ".whatssound.incomplete").exists()


def test_root_finds_an_account_where_none_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cluster, "_OS_USER", "nobody_of_this_name")
    monkeypatch.setattr("subprocess.run", _no_useradd)
    chosen = cluster.os_user.__wrapped__()
    assert chosen is not None
    assert chosen.name in {"postgres", "nobody"}
    monkeypatch.setattr(cluster, "_account", lambda _: None)
    with pytest.raises(LocalStackError, match="ordinary user"):
        cluster.os_user.__wrapped__()


def _no_useradd(*_: object, **__: object) -> None:
    raise FileNotFoundError


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match="file/data"):
        await PostgresServer(tmp_path / "file" / "data").start()


async def test_without_the_wheel_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise PostgresMissingError

    monkeypatch.setattr(cluster, "bin_dir", missing)
    with pytest.raises(PostgresMissingError, match="pip install"):
        await PostgresServer(tmp_path / "data").start()


async def test_an_older_platform_is_brought_up_to_date(server: PostgresServer) -> None:
    (server.data_dir / "whatssound.platform").write_text("older")
    connection = await asyncpg.connect(server.dsn("supabase_admin"))
    await connection.execute("drop function auth.email()")
    await connection.close()
    await server.restart()
    assert await value(server, "select auth.email()") is None
    assert cluster.is_current(server.data_dir)


async def test_a_way_that_was_closed_meanwhile_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs Postgres as somebody else")
    launch = PostgresServer._launch
    closed: list[int] = []

    async def launch_behind_a_closed_door(self: PostgresServer, port: int) -> None:
        if not closed:
            closed.append(port)
            tmp_path.chmod(0o700)  # noqa: ASYNC240
        await launch(self, port)

    monkeypatch.setattr(PostgresServer, "_launch", launch_behind_a_closed_door)
    async with PostgresServer(tmp_path / "way" / "data", durable=False) as server:
        assert await value(server, "select 1") == 1
    assert closed


async def test_cancelling_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "data", durable=False)
    starting = asyncio.create_task(server.start())
    async with asyncio.timeout(30):
        while not (tmp_path / "data" / "postmaster.pid").exists():  # noqa: ASYNC110 - made by another process
            await asyncio.sleep(0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not server.running
    async with PostgresServer(tmp_path / "data", durable=False) as again:
        assert await value(again, "select 1") == 1


def test_repr_has_no_password(tmp_path: Path) -> None:
    assert "postgres@" not in repr(PostgresServer(tmp_path))
