"""`whatssound say`, `vote`, `tip`, `queue`, `watch` and `doctor` on a real stack."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from whatssound import cli
from whatssound.client import WhatsSound
from whatssound.local.stack import LocalStack
from whatssound.testing import StackThread

ACCOUNT = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_ACCESS_TOKEN", "WHATSSOUND_PASSWORD")


async def _open_room(stack: LocalStack) -> tuple[str, str]:
    """A session with one song playing; gives its id and the song's."""
    async with WhatsSound(stack.url, stack.anon_key) as sound:
        await sound.sign_in_anonymously("dj")
        info = await sound.create_session("Commands")
        async with sound.session(info.id) as session:
            receipt = await session.queue.add("Luz", artist="Los Faroles", duration=200)
            await session.queue.advance()
            assert receipt.item is not None
            return info.id, receipt.item.song_id


@pytest.fixture
def stack(whatssound_stack: StackThread, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    for name in ACCOUNT:
        monkeypatch.delenv(name, raising=False)
    stack = whatssound_stack.stack
    monkeypatch.setenv("SUPABASE_URL", stack.url)
    monkeypatch.setenv("SUPABASE_ANON_KEY", stack.anon_key)
    return stack


@pytest.fixture
def room(stack: LocalStack) -> tuple[str, str]:
    return asyncio.run(_open_room(stack))


def test_say_waits_until_it_is_stored(room: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["say", room[0], "hola 🔥", "--name", "ana"]) == 0
    assert re.fullmatch(r"[0-9a-f-]{36} stored at \d+\n", capsys.readouterr().out)


def test_say_reads_lines(
    room: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo\n"))
    assert cli.main(["say", room[0], "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_votes_are_counted_and_taken_back(room: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    session, song = room
    assert cli.main(["vote", session, song, "up"]) == 0
    assert cli.main(["vote", session, song, "down"]) == 0
    assert cli.main(["vote", session, song, "retract"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["1 up, 0 down", "1 up, 1 down"]
    assert lines[2].startswith("1 up, 1 down")


def test_a_tip_is_pending_and_once_a_key(room: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tip", room[0], "500", "--note", "gracias", "--again", str(uuid4())]) == 0
    assert "500 EUR pending" in capsys.readouterr().out
    assert cli.main(["tip", room[0], "0"]) == 1
    assert "amount" in capsys.readouterr().err


def test_the_queue_is_listed_and_changed(room: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    session, song = room
    assert cli.main(["queue", session, "add", "夜の海", "--duration", "90"]) == 0
    assert capsys.readouterr().out.startswith("added: 夜の海 — unknown")
    assert cli.main(["queue", session]) == 0
    plays, waits = capsys.readouterr().out.splitlines()
    assert plays.startswith("plays  Luz — Los Faroles")
    assert song in plays
    assert waits.startswith("waits  夜の海")
    # A listener may not play the next song; the error is one line, and the code 1.
    assert cli.main(["queue", session, "next"]) == 1
    assert capsys.readouterr().err.startswith("whatssound: not_allowed")


def test_what_is_not_there_is_told_in_one_line(
    stack: LocalStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["say", str(uuid4()), "hola"]) == 1
    assert capsys.readouterr().err.startswith("whatssound: session_not_found")
    monkeypatch.delenv("SUPABASE_URL")
    assert cli.main(["queue", str(uuid4())]) == 1
    assert "--url" in capsys.readouterr().err


def test_a_password_is_read_from_the_environment_only(
    room: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["say", room[0], "hola", "--email", "ana@example.com"]) == 1
    assert "WHATSSOUND_PASSWORD" in capsys.readouterr().err


@pytest.fixture
def watching(room: tuple[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "whatssound.cli", "watch", room[0], "--json"], stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_watch_tells_what_happens(
    watching: subprocess.Popen[str], room: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert watching.stdout is not None
    for line in watching.stdout:
        if json.loads(line)["event"] == "StateResynced":
            break
    assert cli.main(["say", room[0], "¿se oye?", "--name", "ana"]) == 0
    for line in watching.stdout:
        event = json.loads(line)
        if event["event"] == "ChatMessage":
            break
    assert event["message"]["content"] == "¿se oye?"
    assert event["message"]["username"] == "ana"


def test_the_doctor_finds_a_sound_project_sound(
    room: tuple[str, str], stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["doctor", "--session", room[0]])
    told = capsys.readouterr().out
    for what in ("sign-in", "database", "private channel"):
        assert f"ok   {what}" in told
    # The stack lets public channels be joined, as new projects do: that splits a room in two, and the doctor says so.
    assert "FAIL public channel" in told
    assert "Allow public access" in told
    assert code == 1


def test_the_doctor_tells_a_wrong_key(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--key", "wrong"]) == 1
    assert "FAIL sign-in" in capsys.readouterr().out


def test_the_doctor_without_a_session_leaves_channels_alone(
    stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor"]) == 0
    assert "--session" in capsys.readouterr().out
