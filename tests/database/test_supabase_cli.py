"""The real Supabase CLI against the same databases: it deploys, agrees on what is applied, finds nothing wrong, and the
committed types are the ones it generates.

After a change of the schema run with WHATSSOUND_WRITE_TYPES=1 to write the types anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whatssound.local.assets import migrations_dir
from whatssound.local.migrate import pending
from whatssound.local.postgres import PostgresServer

if TYPE_CHECKING:
    from tests.database.conftest import Database

pytestmark = pytest.mark.supabase_cli
ROOT = Path(__file__).parents[2]
VERSIONS = sorted(file.name.split("_")[0] for file in migrations_dir().glob("*.sql"))


def _find_cli() -> str | None:
    installed = ROOT / "tests" / "interop" / "node_modules" / ".bin" / "supabase"
    return str(installed) if installed.exists() else shutil.which("supabase")


def run_cli(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the CLI on this project, with a home of its own."""
    cli = _find_cli()
    if cli is None:
        reason = "the Supabase CLI is not installed (npm install in tests/interop)"
        if os.environ.get("WHATSSOUND_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [cli, *arguments, "--workdir", str(ROOT)],
        env=os.environ | {"HOME": str(home), "SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def _url(dsn: str) -> str:
    """The CLI wants to be told that there is no TLS."""
    return dsn if "sslmode" in dsn else f"{dsn}?sslmode=disable"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A platform without any migration."""
    server = PostgresServer(tmp_path_factory.mktemp("bare") / "data", durable=False)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server
        runner.run(server.stop())


def test_push_deploys_everything_and_both_agree(bare: PostgresServer, tmp_path: Path) -> None:
    """`db push` applies every file; `migration list` and our own migrator then have nothing left to do."""
    pushed = run_cli(tmp_path, "db", "push", "--yes", f"--remote={_url(bare.dsn())}")
    listed = run_cli(tmp_path, "migration", "list", f"--remote={_url(bare.dsn())}")

    assert pushed.returncode == 0, pushed.stderr
    assert all(f"{version}_" in pushed.stdout + pushed.stderr for version in VERSIONS)
    rows = [line.split("|") for line in listed.stdout.splitlines() if line.count("|") == 2]
    applied = [(row[0].strip(" `"), row[1].strip(" `")) for row in rows if row[0].strip(" `").isdigit()]
    assert applied == [(version, version) for version in VERSIONS]
    assert asyncio.run(pending(bare.dsn(), migrations_dir())) == []


@pytest.mark.debian_postgres
def test_lint_finds_nothing(debian: Database, tmp_path: Path) -> None:
    """`db lint` (plpgsql_check) has no warning about any function."""
    linted = run_cli(
        tmp_path, "db", "lint", f"--remote={_url(debian.owner)}", "--level", "warning", "--fail-on", "warning"
    )

    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "No schema errors found" in linted.stdout + linted.stderr
    assert "Linting schema: whatssound" in linted.stdout + linted.stderr


def test_advisors_have_nothing_to_say(wheel: Database, tmp_path: Path) -> None:
    """`db advisors` has neither security nor performance warnings."""
    advised = run_cli(tmp_path, "db", "advisors", f"--remote={_url(wheel.owner)}", "--level", "warn", "-o", "json")

    assert advised.returncode == 0, advised.stderr
    advice = json.loads(advised.stdout) if advised.stdout.strip().startswith("[") else []
    assert [entry["detail"] for entry in advice] == []
    assert "[" in advised.stdout or "No issues" in advised.stdout + advised.stderr


@pytest.mark.parametrize(("language", "name"), [("python", "database_types.py"), ("typescript", "database.types.ts")])
def test_committed_types_are_current(wheel: Database, tmp_path: Path, language: str, name: str) -> None:
    """`gen types` says what docs/reference says."""
    arguments = ["gen", "types", f"--lang={language}", "--schema", "public", f"--remote={_url(wheel.owner)}"]
    generated = run_cli(tmp_path, *arguments)
    committed = ROOT / "docs" / "reference" / name
    assert generated.returncode == 0, generated.stderr
    if os.environ.get("WHATSSOUND_WRITE_TYPES") == "1":
        committed.write_text(generated.stdout, encoding="utf-8")

    assert committed.read_text(encoding="utf-8") == generated.stdout
