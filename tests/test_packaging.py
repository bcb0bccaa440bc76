"""The wheel, installed where nothing of the checkout is, runs the whole demo."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: pip may have to fetch everything; the demo starts a whole stack.
pytestmark = pytest.mark.timeout(540)


def run(*command: str | Path, cwd: Path, seconds: float = 300) -> str:
    """Runs a command away from the checkout and returns its output; fails with all of it."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "SUPABASE"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, "CI": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def version() -> str:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", version()]


def test_the_wheel_carries_what_a_project_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (meta,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(meta))
    for path in sorted((ROOT / "supabase" / "migrations").glob("*.sql")):
        assert f"whatssound/_assets/supabase/migrations/{path.name}" in names
    assert {
        "whatssound/py.typed",
        "whatssound/local/platform.sql",
        "whatssound/_assets/supabase/config.toml",
        "whatssound/_assets/supabase/seed.sql",
        "whatssound/_assets/livechat.csv",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "examples/"))]
    assert (metadata["Name"], metadata["Version"]) == ("whatssound", version())
    assert set(metadata.get_all("Provides-Extra") or []) >= {"local", "cli"}


def test_the_installed_wheel_plays_the_demo_from_an_empty_directory(wheel: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=empty)
    binaries = tmp_path / "venv" / "bin"
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
    run(binaries / "python", *install, f"{wheel}[cli]", cwd=empty)
    where = run(binaries / "python", "-c", "import whatssound; print(whatssound.__file__)", cwd=empty)
    assert str(tmp_path) in where  # not the checkout

    output = run(
        binaries / "whatssound", "demo", "--seconds", "5", "--listeners", "3", "--plain", cwd=empty, seconds=180
    )
    assert "stored" in output
    assert "\x1b[" not in output
    assert list(empty.iterdir()) == []
