from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from whatssound.cli.demo import run, stage
from whatssound.cli.demo.options import Options, Target
from whatssound.cli.demo.readback import read_rows
from whatssound.cli.demo.show import PlainShow
from whatssound.testing import StackThread

SMALL = Options(seconds=4.0, speed=3.0, listeners=5, plain=True)

#: Loses a message, turns a vote round, tells a change of the queue twice; each says what it did it to.
SPOIL = (
    """
    with one as (select id from public.messages where session_id = $1 limit 1)
    delete from public.messages m using one where m.session_id = $1 and m.id = one.id returning m.id
    """,
    """
    with one as (select user_id, song_id from public.votes where session_id = $1 limit 1)
    update public.votes v set value = case v.value when 1 then -1 else 1 end from one
    where v.session_id = $1 and v.user_id = one.user_id and v.song_id = one.song_id returning v.song_id
    """,
    """
    with top as (select max(seq) as seq from public.session_events where session_id = $1)
    insert into public.session_events (session_id, seq, kind, payload)
    select e.session_id, top.seq + 1, e.kind, e.payload from public.session_events e, top
    where e.session_id = $1 and e.kind = 'queue' order by e.seq limit 1 returning seq
    """,
)


@pytest.fixture
def target(whatssound_stack: StackThread) -> Target:
    stack = whatssound_stack.stack
    return Target(url=stack.url, anon_key=stack.anon_key, service_key=stack.service_key, db_url=stack.db_url)


async def test_a_room_on_an_existing_project_is_stored_and_seen(target: Target, tmp_path: Path) -> None:
    lines: list[str] = []
    options = replace(SMALL, target=target, svg=tmp_path / "demo.svg", report=tmp_path / "demo.json")
    report = await run.play(options, PlainShow(lines.append))

    assert report.offences == ()
    told = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
    chat = told["chat"]
    assert chat["sent"] == chat["accepted"] == chat["stored"] == chat["seen_by_everybody"] > 50
    assert chat["stored_twice"] == chat["shown_twice"] == 0
    assert chat["batches"] < chat["stored"]
    assert told["votes"]["rows"] > 0
    assert told["queue"]["accepted"]["add"] >= 6
    assert told["rpc_errors"] == 0
    assert (tmp_path / "demo.svg").read_text(encoding="utf-8").startswith("<svg")
    assert any("7 here" in line for line in lines)
    assert "exactly once" in lines[-1]


async def test_what_the_database_lost_or_doubled_fails_the_demo(
    target: Target, monkeypatch: pytest.MonkeyPatch, whatssound_stack: StackThread
) -> None:
    """Between the last word and the audit somebody with a superuser's rights spoils the database."""
    superuser = whatssound_stack.stack.dsn("supabase_admin")

    async def spoiled(db_url: str, session_id: str) -> Any:
        connection = await asyncpg.connect(superuser)
        try:
            lost.extend([str(await connection.fetchval(statement, session_id)) for statement in SPOIL])
        finally:
            await connection.close()
        return await read_rows(db_url, session_id)

    lost: list[str] = []
    monkeypatch.setattr(stage, "read_rows", spoiled)
    lines: list[str] = []
    report = await run.play(replace(SMALL, target=target), PlainShow(lines.append))

    stories = [str(offence) for offence in report.offences]
    assert not report.passed
    assert f"chat: message {lost[0]} is missing" in stories
    assert any(story.startswith("vote: ") and lost[1] in story for story in stories)
    assert any(story.startswith(f"queue: event {lost[2]} ") for story in stories)
    assert "promises were not kept" in "\n".join(lines)


def test_the_exit_code_tells_whether_promises_were_kept(
    monkeypatch: pytest.MonkeyPatch, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    played = replace(SMALL, target=target, seconds=1.0)
    assert run.run(played) == 0

    async def nothing(db_url: str, session_id: str) -> Any:
        rows = await read_rows(db_url, session_id)
        rows.messages.clear()
        return rows

    monkeypatch.setattr(stage, "read_rows", nothing)
    assert run.run(played) == 1
    assert "is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "spoil", [{"anon_key": "wrong"}, {"url": "http://127.0.0.1:9"}, {"db_url": "postgresql://127.0.0.1:9/x"}]
)
def test_a_room_that_cannot_be_is_told_in_a_line(
    spoil: dict[str, str], target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.run(replace(SMALL, seconds=0.5, target=replace(target, **spoil))) == 1
    told = capsys.readouterr().err.splitlines()
    assert told
    assert all(line.startswith("whatssound demo: ") for line in told)


def test_one_command_makes_the_room_and_takes_it_away() -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-m", "whatssound.cli", "demo", "--seconds", "2", "--speed", "2", "--listeners", "3"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything accepted is in the database exactly once" in done.stdout
    assert "\x1b[" not in done.stdout
    assert done.stderr == ""
