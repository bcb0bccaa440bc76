"""Runs supabase/tests/database/*.test.sql with pg_prove, on each Postgres that is there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from whatssound.local.assets import supabase_dir

if TYPE_CHECKING:
    from tests.database.conftest import Database

FILES = sorted((supabase_dir() / "tests" / "database").glob("*.test.sql"))


def test_there_are_test_files() -> None:
    """An empty directory would pass everything below."""
    assert len(FILES) >= 8


@pytest.mark.debian_postgres
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.sql"))
def test_pgtap(tapped: Database, file: Path) -> None:
    """Every assertion of the file holds."""
    url = urlsplit(tapped.owner)
    server = {
        "PGHOST": str(url.hostname),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGDATABASE": url.path.strip("/"),
    }
    run = subprocess.run(
        ["pg_prove", "--failures", "--comments", str(file)],
        env=os.environ | server,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
