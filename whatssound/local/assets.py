"""Finds the files that ship with the package: the deployed `supabase/` folder and the chat trace."""

from __future__ import annotations

from pathlib import Path

from whatssound.local.errors import LocalStackError

_PACKAGE = Path(__file__).resolve().parent.parent


def supabase_dir() -> Path:
    """The `supabase/` folder (config, migrations, seed).

    A checkout's own folder wins over the packaged copy, so that an edited migration is what runs.

    Raises:
        LocalStackError: neither is there; the installation is broken.
    """
    return _first("supabase", _PACKAGE.parent / "supabase", _PACKAGE / "_assets" / "supabase", marker="migrations")


def migrations_dir() -> Path:
    """The folder of migrations that `supabase db push` applies."""
    return supabase_dir() / "migrations"


def seed_path() -> Path:
    """The seed that follows the migrations on a fresh local database."""
    return supabase_dir() / "seed.sql"


def trace_path() -> Path:
    """The recorded timing of a real live chat, as CSV.

    Raises:
        LocalStackError: the file is not there; the installation is broken.
    """
    return _first(
        "livechat.csv",
        _PACKAGE.parent / "tests" / "data" / "livechat.csv",
        _PACKAGE / "_assets" / "livechat.csv",
    )


def platform_sql() -> Path:
    """The SQL that stands in for what hosted Supabase provides before a project's migrations."""
    return _first("platform.sql", Path(__file__).with_name("platform.sql"))


def _first(name: str, *candidates: Path, marker: str = "") -> Path:
    for candidate in candidates:
        if (candidate / marker if marker else candidate).exists():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise LocalStackError(f"{name} is missing from the installation (looked at {looked}): reinstall whatssound")
