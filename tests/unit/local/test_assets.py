from __future__ import annotations

from pathlib import Path

import pytest

from whatssound.local import assets
from whatssound.local.errors import LocalStackError


def test_a_checkouts_own_files_are_found() -> None:
    root = Path(__file__).parents[3]
    assert assets.supabase_dir() == root / "supabase"
    assert assets.migrations_dir() == root / "supabase" / "migrations"
    assert assets.seed_path().is_file()
    assert assets.platform_sql().is_file()
    assert assets.trace_path().read_text().count("\n") > 100


def test_an_installed_wheel_has_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "whatssound"
    (package / "_assets" / "supabase" / "migrations").mkdir(parents=True)
    (package / "_assets" / "livechat.csv").write_text("t\n")
    monkeypatch.setattr(assets, "_PACKAGE", package)
    assert assets.supabase_dir() == package / "_assets" / "supabase"
    assert assets.trace_path() == package / "_assets" / "livechat.csv"


def test_another_projects_supabase_folder_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "supabase").mkdir()  # without migrations
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "whatssound")
    with pytest.raises(LocalStackError, match="reinstall"):
        assets.supabase_dir()
