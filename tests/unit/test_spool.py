"""The spool's file: durable, exclusive, private, bounded, and open to files of older versions."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from whatssound.core.identifiers import Uuid7Source
from whatssound.errors import SpoolDamagedError, SpoolError, SpoolFullError, SpoolInUseError
from whatssound.models import Message, MessageId, SessionId, UserId
from whatssound.spool import Spool

PROJECT = "https://abc.supabase.test"
ANA = UserId("00000000-0000-4000-8000-0000000000aa")
EVE = UserId("00000000-0000-4000-8000-0000000000ee")
ROOM = SessionId("5e551010-0000-4000-8000-000000000001")
OTHER_ROOM = SessionId("5e551010-0000-4000-8000-000000000002")
IDS = Uuid7Source(Random(1).getrandbits)


def message(content: str, *, user_id: UserId = ANA, session_id: SessionId = ROOM) -> Message:
    at = 1_790_000_000_000
    return Message(
        id=MessageId(IDS.make(at)),
        session_id=session_id,
        user_id=user_id,
        username="ana",
        role="moderator",
        content=content,
        created_at=datetime.fromtimestamp(at / 1000, UTC),
    )


def spool_at(path: Path, *, messages: int = 100, size: int = 10_000, project: str = PROJECT) -> Spool:
    return Spool(path, project=project, max_messages=messages, max_bytes=size)


@pytest_asyncio.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = spool_at(tmp_path / "chat.spool")
    await spool.open()
    yield spool
    await spool.aclose()


async def contents(spool: Spool, user_id: str = ANA, session_id: str = ROOM) -> list[str]:
    return [left.message.content for left in await spool.take(user_id, session_id)]


async def test_what_was_put_is_there_in_the_next_run_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "chat.spool"
    said = [message(f"¡{number}!") for number in range(5)]
    first = spool_at(path)
    await first.open()
    for each in said:
        await first.put(each)
    await first.aclose()
    second = spool_at(path)
    await second.open()
    assert [left.message for left in await second.take(ANA, ROOM)] == said
    await second.aclose()


async def test_each_user_session_and_project_has_its_own(spool: Spool) -> None:
    await spool.put(message("a"))
    await spool.put(message("b", user_id=EVE))
    await spool.put(message("ñ", session_id=OTHER_ROOM))
    spool.release([left.message for left in await spool.take(ANA, ROOM)])
    entries = await spool.waiting()
    assert [(entry.user_id, entry.session_id, entry.messages, entry.bytes) for entry in entries] == [
        (ANA, ROOM, 1, 1),
        (EVE, ROOM, 1, 1),
        (ANA, OTHER_ROOM, 1, 2),
    ]
    assert entries[0].oldest_at == datetime.fromtimestamp(1_790_000_000, UTC)
    path = spool.path
    await spool.aclose()
    stranger = spool_at(path, project="https://other.supabase.test")
    await stranger.open()
    assert await stranger.waiting() == ()
    assert await stranger.take(ANA, ROOM) == []
    await stranger.aclose()


async def test_what_somebody_sends_is_claimed_until_released(spool: Spool) -> None:
    mine = message("a")
    await spool.put(mine)
    assert await spool.take(ANA, ROOM) == []
    assert await spool.discard(ANA, None) == 0
    spool.release([mine])
    assert await contents(spool) == ["a"]
    await spool.remove([mine])
    assert await spool.waiting() == ()


async def test_discarding_lets_go_of_one_session_or_all_of_a_user(spool: Spool) -> None:
    said = [message("a"), message("b", session_id=OTHER_ROOM), message("c", user_id=EVE)]
    for each in said:
        await spool.put(each)
    spool.release(said)
    assert await spool.discard(ANA, OTHER_ROOM) == 1
    assert await contents(spool) == ["a"]
    spool.release(said)
    assert await spool.discard(ANA, None) == 1
    assert [entry.user_id for entry in await spool.waiting()] == [EVE]


async def test_a_cancelled_put_leaves_nothing_behind_once_retracted(spool: Spool) -> None:
    for _ in range(20):
        each = message("never mind")
        putting = asyncio.create_task(spool.put(each))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        spool.retract(each)
    assert await spool.waiting() == ()


# --- bounds


async def test_it_holds_no_more_messages_and_bytes_than_it_may(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "chat.spool", messages=3, size=10)
    await spool.open()
    await spool.put(message("123456"))
    with pytest.raises(SpoolFullError, match="flush_spool"):
        await spool.put(message("12345", session_id=OTHER_ROOM))
    await spool.put(message("1234"))
    await spool.put(message(""))
    with pytest.raises(SpoolFullError, match="3 messages"):
        await spool.put(message(""))
    assert sum(entry.messages for entry in await spool.waiting()) == 3
    await spool.aclose()


async def test_a_full_disk_is_told_and_the_message_not_kept(spool: Spool) -> None:
    await spool.put(message("fits"))
    file = spool._open_file()
    (pages,) = file._db.execute("pragma page_count").fetchone()
    file._db.execute(f"pragma max_page_count = {pages}")  # what SQLite says then is what it says of a full disk
    with pytest.raises(SpoolFullError, match="disk is full"):
        await spool.put(message("x" * 9_000))
    assert sum(entry.messages for entry in await spool.waiting()) == 1
    file._db.execute("pragma max_page_count = 1000000")
    await spool.put(message("x" * 9_000))


# --- one process at a time, and nobody else's business


async def test_a_second_client_of_the_same_process_is_refused(spool: Spool) -> None:
    second = spool_at(spool.path)
    with pytest.raises(SpoolInUseError, match="close the other client"):
        await second.open()
    await second.aclose()
    await spool.put(message("still mine"))


_HOLD = """
import asyncio, sys
from pathlib import Path
from whatssound.spool import Spool
async def main():
    spool = Spool(Path(sys.argv[1]), project="p", max_messages=9, max_bytes=9)
    await spool.open()
    print("open", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_another_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "chat.spool"
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, str(path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"open\n"
        spool = spool_at(path)
        with pytest.raises(SpoolInUseError):
            await spool.open()
    finally:
        holder.kill()
        await holder.wait()
    await spool.open()
    assert await spool.waiting() == ()
    await spool.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="file modes")
async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "chat.spool"
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        spool = spool_at(path)
        await spool.open()
        await spool.keep_sign_in(ANA, "very-secret")
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
        assert modes == {"chat.spool": 0o600, "chat.spool-wal": 0o600}
        await spool.aclose()
    finally:
        os.umask(before)


async def test_a_kept_sign_in_is_never_shown(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await spool.keep_sign_in(ANA, "very-secret")
    assert await spool.kept_sign_in() == (ANA, "very-secret")
    await spool.keep_sign_in(ANA, "more-secret")
    assert await spool.kept_sign_in() == (ANA, "more-secret")
    assert "secret" not in repr(spool) + str(vars(spool)) + caplog.text
    await spool.forget_sign_in()
    assert await spool.kept_sign_in() is None


# --- files as they are found


async def test_a_file_of_version_1_opens(tmp_path: Path) -> None:
    path = tmp_path / "chat.spool"
    old = message("from long ago")
    database = sqlite3.connect(path)
    database.executescript(
        """
        create table messages (
          place integer primary key autoincrement, project text not null, user_id text not null,
          session_id text not null, id text not null, content text not null, username text not null default '',
          role text not null default 'listener', unique (project, user_id, session_id, id));
        pragma application_id = 2004053604;
        pragma user_version = 1;
        """
    )
    database.execute(
        "insert into messages (project, user_id, session_id, id, content) values (?, ?, ?, ?, ?)",
        (PROJECT, ANA, ROOM, old.id, old.content),
    )
    database.commit()
    database.close()
    spool = spool_at(path)
    await spool.open()
    (left,) = await spool.take(ANA, ROOM)
    assert (left.message.id, left.message.content, left.tries) == (old.id, "from long ago", 0)
    await spool.set_tries(left.message, 7)
    await spool.keep_sign_in(ANA, "token")
    await spool.aclose()
    again = spool_at(path)
    await again.open()
    assert [left.tries for left in await again.take(ANA, ROOM)] == [7]
    await again.aclose()


async def test_a_file_of_a_newer_version_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "chat.spool"
    spool = spool_at(path)
    await spool.open()
    await spool.aclose()
    database = sqlite3.connect(path)
    database.execute("pragma user_version = 99")
    database.close()
    with pytest.raises(SpoolError, match="newer version"):
        await spool.open()
    database = sqlite3.connect(path)
    assert database.execute("pragma user_version").fetchone() == (99,)
    database.close()


async def test_a_file_that_is_no_spool_is_refused_and_left(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_bytes(b"my notes, nothing for a database to write into " * 100)
    with pytest.raises(SpoolDamagedError, match="move the file away"):
        await spool_at(text).open()
    assert text.read_bytes() == b"my notes, nothing for a database to write into " * 100
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("create table accounts (id integer)")
    database.close()
    with pytest.raises(SpoolDamagedError, match="another program's database"):
        await spool_at(other).open()


async def test_a_damaged_file_is_told_and_left(tmp_path: Path) -> None:
    path = tmp_path / "chat.spool"
    spool = spool_at(path, size=1_000_000)
    await spool.open()
    for _ in range(50):
        await spool.put(message("x" * 1_000))
    await spool.aclose()
    whole = path.read_bytes()
    damaged = whole[:4096] + b"\xff" * 8192 + whole[4096 + 8192 :]
    path.write_bytes(damaged)
    with pytest.raises(SpoolDamagedError):
        await spool.open()
    assert path.read_bytes() == damaged


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="check the folder"):
        await spool_at(tmp_path / "nowhere" / "chat.spool").open()


async def test_closed_it_says_so_and_opens_again(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "chat.spool")
    with pytest.raises(SpoolError, match="is closed"):
        await spool.put(message("x"))
    await spool.open()
    await spool.put(message("x"))
    await spool.aclose()
    with pytest.raises(SpoolError, match="is closed"):
        await spool.waiting()
    await spool.open()
    assert [entry.messages for entry in await spool.waiting()] == [1]
    await spool.aclose()
