"""Runs the Edge Function's own Deno tests against a migrated database, through a real pooler in transaction mode."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from whatssound.local.assets import supabase_dir

if TYPE_CHECKING:
    from tests.database.conftest import Database

ROOT = Path(__file__).parents[2]
FUNCTION = supabase_dir() / "functions" / "tip-webhook"
_POOLER = """
[databases]
postgres = host=127.0.0.1 port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
pool_mode = transaction
default_pool_size = 2
auth_type = any
ignore_startup_parameters = extra_float_digits
"""


def _skip(reason: str) -> None:
    if os.environ.get("WHATSSOUND_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _deno() -> str:
    installed = ROOT / "tests" / "interop" / "node_modules" / ".bin" / "deno"
    found = str(installed) if installed.exists() else shutil.which("deno")
    if found is None:
        _skip("deno is not installed (npm install in tests/interop)")
    return str(found)


@pytest.fixture
def pooler(wheel: Database) -> Iterator[str]:
    """PgBouncer in transaction mode before the wheel's Postgres: two server connections for everybody."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        _skip("pgbouncer is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = probe.getsockname()[1]
    # It refuses to run as root, and nobody else may look into pytest's directories.
    home = Path(tempfile.mkdtemp(prefix="whatssound-pooler-"))
    home.chmod(0o755)
    config = home / "pgbouncer.ini"
    config.write_text(_POOLER.format(port=urlsplit(wheel.owner).port, listen=listen), encoding="utf-8")
    config.chmod(0o644)
    process = subprocess.Popen(
        [str(program), str(config)],
        user=pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", listen)) == 0:
                    break
            assert process.poll() is None, "pgbouncer stopped"
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.02)
        yield f"postgresql://postgres@127.0.0.1:{listen}/postgres"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(home)


@pytest.mark.node
def test_the_function_passes_its_tests_through_the_pooler(wheel: Database, pooler: str) -> None:
    """Signatures, replays, amounts, races: all of supabase/functions/tip-webhook/*_test.ts."""
    run = subprocess.run(
        [_deno(), "test", "--allow-env", "--allow-net"],
        cwd=FUNCTION,
        env=os.environ
        | {"TIP_DATABASE_URL": pooler, "TIP_OWNER_URL": wheel.owner, "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "16 passed | 0 failed" in run.stdout
    assert "ignored" not in run.stdout.splitlines()[-2:][0]


@pytest.mark.node
@pytest.mark.parametrize("check", [["lint"], ["fmt", "--check"]], ids=["lint", "format"])
def test_the_function_is_tidy(check: list[str]) -> None:
    """`deno lint` and `deno fmt` have nothing to say."""
    run = subprocess.run([_deno(), *check], cwd=FUNCTION, capture_output=True, text=True, timeout=60, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
