"""`whatssound dev` as a person or a script meets it: a process, its output, its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

ROOT = Path(__file__).parents[3]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "whatssound.cli", "dev", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


class Dev:
    def __init__(self, process: asyncio.subprocess.Process, env: dict[str, str]) -> None:
        self.process = process
        self.env = env
        self.output = ""

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        output, _ = await asyncio.wait_for(self.process.communicate(), 60)
        self.output = output.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def dev(folder: Path, *arguments: str | Path) -> AsyncIterator[Dev]:
    """Starts it and waits for its env file, as a script would."""
    env_file = folder / "stack.env"
    process = await asyncio.create_subprocess_exec(
        *command("--env-file", env_file, *arguments),
        cwd=folder, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not env_file.exists():
                assert process.returncode is None, await process.communicate()
                await asyncio.sleep(0.02)
        lines = [line for line in env_file.read_text().splitlines() if not line.startswith("#")]
        yield Dev(process, dict(line.split("=", 1) for line in lines))
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def sql(dsn: str, text: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(text)
    finally:
        await connection.close()


async def test_ready_when_the_env_file_is_there_and_gone_after_ctrl_c(tmp_path: Path) -> None:
    async with dev(tmp_path, "--port", "0", "--plan", "free") as running:
        assert set(running.env) == {
            "SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_PUBLISHABLE_KEY",
            "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET", "SUPABASE_DB_URL",
        }  # fmt: skip
        assert stat.S_IMODE((tmp_path / "stack.env").stat().st_mode) == 0o600
        async with aiohttp.ClientSession() as http, http.get(running.env["SUPABASE_URL"]) as answer:
            assert (await answer.json())["status"] == "ok"
        data = await sql(running.env["SUPABASE_DB_URL"], "select current_setting('port')")
        assert await running.end() == 0
    assert "ready in" in running.output
    assert "Hosted Supabase would have counted 0 Realtime messages" in running.output
    assert "on free" in running.output
    assert not (tmp_path / "stack.env").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(data))) != 0


async def test_data_is_kept_by_port_until_reset(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with dev(tmp_path, "--port", "0", "--data-dir", data, "--migrations", "none") as first:
        await sql(first.env["SUPABASE_DB_URL"], "create table public.kept as select 7 as n")
        assert await first.end(signal.SIGTERM) == 0
    async with dev(tmp_path, "--port", "0", "--data-dir", data, "--migrations", "none") as second:
        assert await sql(second.env["SUPABASE_DB_URL"], "select n from public.kept") == 7
        # Nobody may pull the data from under a running stack.
        refused = await asyncio.to_thread(run, tmp_path, "--port", "0", "--data-dir", data, "--reset")
        assert (refused.returncode, "another stack is running" in refused.stderr) == (1, True)
    async with dev(tmp_path, "--port", "0", "--data-dir", data, "--migrations", "none", "--reset") as third:
        assert await sql(third.env["SUPABASE_DB_URL"], "select to_regclass('public.kept')::text") is None


async def test_killed_without_warning_it_can_be_started_again(tmp_path: Path) -> None:
    options = ("--port", "0", "--data-dir", tmp_path / "data", "--migrations", "none")
    async with dev(tmp_path, *options) as first:
        await sql(first.env["SUPABASE_DB_URL"], "create table public.kept as select 7 as n")
        await first.end(signal.SIGKILL)
    (tmp_path / "stack.env").unlink()
    async with dev(tmp_path, *options) as second:
        assert await sql(second.env["SUPABASE_DB_URL"], "select n from public.kept") == 7


async def test_any_schema_can_be_served(tmp_path: Path) -> None:
    schema = ROOT / "tests" / "data" / "wire" / "postgrest" / "schema.sql"
    async with dev(tmp_path, "--port", "0", "--migrations", "none", "--sql", schema) as running:
        headers = {"apikey": running.env["SUPABASE_ANON_KEY"]}
        async with (
            aiohttp.ClientSession() as http,
            http.get(running.env["SUPABASE_URL"] + "/rest/v1/rooms?select=id&limit=1", headers=headers) as answer,
        ):
            assert (answer.status, await answer.json()) == (200, [{"id": 1}])


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run(tmp_path, "--port", str(port), "--data-dir", tmp_path / "data")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"port {port} on 127.0.0.1 is in use" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = run(tmp_path, "--port", "0", "--data-dir", tmp_path / "file" / "data")
    assert refused.returncode == 1
    assert "cannot use the data directory" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_strangers_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "own.env").write_text("SECRET=mine\n")
    refused = run(tmp_path, "--port", "0", "--env-file", tmp_path / "own.env")
    assert (refused.returncode, (tmp_path / "own.env").read_text()) == (1, "SECRET=mine\n")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    refused = run(tmp_path, "--port", "0", "--data-dir", tmp_path / "photos", "--reset")
    assert (refused.returncode, (tmp_path / "photos" / "cat.jpg").exists()) == (1, True)


def test_a_failing_migration_is_shown(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1_bad.sql").write_text("create table a ();\nselec 1;")
    refused = run(tmp_path, "--port", "0", "--migrations", tmp_path / "m")
    assert refused.returncode == 1
    assert "1_bad.sql, statement 2" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "70000"),
        ("--plan", "gold"),
        ("--limit", "joins"),
        ("--jwt-expiry", "0"),
        ("--migrations", "/nowhere"),
        ("--database-url", "postgresql://h/d", "--reset"),
    ],
)
def test_misuse_has_its_own_exit_code(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = run(tmp_path, *arguments)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_a_missing_supabase_cli_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = run(tmp_path, "--supabase-cli")
    assert (refused.returncode, "not on the PATH" in refused.stderr) == (1, True)


def test_a_running_supabase_start_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "supabase"
    fake.write_text(
        "#!/bin/sh\necho 'API_URL=\"http://127.0.0.1:54321\"'\necho 'ANON_KEY=\"a\"'\necho 'SERVICE_ROLE_KEY=\"s\"'\n"
        "echo 'JWT_SECRET=\"j\"'\necho 'DB_URL=\"postgresql://d\"'\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    shown = run(tmp_path, "--supabase-cli", "--env-file", tmp_path / "cli.env")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, "SUPABASE_URL=http://127.0.0.1:54321")
    assert "SUPABASE_DB_URL=postgresql://d" in (tmp_path / "cli.env").read_text()


def test_help_needs_no_extras(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "whatssound.cli", "--help"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert shown.returncode == 0
    assert "dev" in shown.stdout
