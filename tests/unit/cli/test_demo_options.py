from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from whatssound.cli import demo
from whatssound.cli.demo.options import Options, Target, add_arguments, read_options

KEYS = ("SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_DB_URL")


def parsed(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_options(parser.parse_args(words))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_of_the_settings() -> None:
    assert parsed() == Options()


def test_everything_can_be_set() -> None:
    options = parsed(
        "--speed",
        "2",
        "--seconds",
        "5",
        "--listeners",
        "3",
        "--plain",
        "--svg",
        "a.svg",
        "--json",
        "b.json",
        "--seed",
        "9",
    )
    assert options == Options(
        speed=2.0, seconds=5.0, listeners=3, plain=True, svg=Path("a.svg"), report=Path("b.json"), seed=9
    )


@pytest.mark.parametrize("words", [("--speed", "0"), ("--seconds", "inf"), ("--listeners", "0"), ("--seconds", "nan")])
def test_what_cannot_work_is_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*words)
    assert "must be" in capsys.readouterr().err


def test_an_existing_project_needs_all_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="--db-url"):
        parsed("--url", "http://there", "--key", "anon")
    with pytest.raises(ValueError, match="need --url"):
        parsed("--key", "anon")
    for name in KEYS:
        monkeypatch.setenv(name, name.lower())
    assert parsed("--url", "http://there", "--key", "mine").target == Target(
        url="http://there", anon_key="mine", service_key="supabase_service_role_key", db_url="supabase_db_url"
    )


def test_keys_stay_out_of_sight() -> None:
    target = Target(url="http://there", anon_key="a-key", service_key="s-key", db_url="postgresql://u:secret@h/d")
    assert repr(target) == "<Target http://there>"
    assert "s-key" not in repr(Options(target=target))


def test_half_a_project_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    demo.register(parser.add_subparsers())
    arguments = parser.parse_args(["demo", "--url", "http://there"])
    assert arguments.run(arguments) == 2
    assert "--service-key" in capsys.readouterr().err
