"""The file of a spool: one SQLite database, used by one thread.

Durable: WAL with ``synchronous=FULL``, so a commit has reached the disk before it returns, as far as the disk keeps its
word. Exclusive: the connection holds SQLite's lock from opening to closing; the operating system frees it when the
process dies, however it dies. Private: the file's mode is 0600 before anything is in it, and SQLite gives its journal
the same.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import SpoolDamagedError, SpoolError, SpoolFullError, SpoolInUseError

#: ``PRAGMA application_id``: "wsnd". Tells a spool from another program's database.
_APPLICATION = 0x77736E64

_MESSAGES = """
create table messages (
  place integer primary key autoincrement,
  project text not null,
  user_id text not null,
  session_id text not null,
  id text not null,
  content text not null,
  username text not null default '',
  role text not null default 'listener',
  unique (project, user_id, session_id, id)
)
"""

#: What brings a file from each version to the next; ``PRAGMA user_version`` says which it has. Entries never change.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (_MESSAGES,),
    (
        "alter table messages add column tries integer not null default 0",
        "create table sign_ins (project text primary key, user_id text not null, refresh_token text not null)",
    ),
)

#: project, user id, session id
Key = tuple[str, str, str]
#: id, content, username, role, tries
Row = tuple[str, str, str, str, int]


class SpoolFile:
    """Opens the file and reads and writes it; every call blocks.

    Args:
        path: the file; it is made if it is not there.

    Raises:
        SpoolInUseError: somebody has it open.
        SpoolDamagedError: no spool, or damaged; it is left as it is.
        SpoolError: it cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            _make_private(path)
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(str(path), f"cannot be opened: {error}; check the folder and its permissions") from error
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        run = self._db.execute
        run("pragma locking_mode = exclusive")
        run("pragma journal_mode = wal")
        run("pragma synchronous = full")
        # The lock of the exclusive mode is taken by the first write and then kept.
        run("begin immediate")
        try:
            version = self._checked_version()
            for step in _MIGRATIONS[version:]:
                for statement in step:
                    run(statement)
            run(f"pragma application_id = {_APPLICATION}")
            run(f"pragma user_version = {len(_MIGRATIONS)}")
        except BaseException:
            run("rollback")
            raise
        run("commit")

    def _checked_version(self) -> int:
        run = self._db.execute
        (verdict,) = run("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise SpoolDamagedError(str(self._path), verdict)
        (application,) = run("pragma application_id").fetchone()
        (version,) = run("pragma user_version").fetchone()
        (tables,) = run("select count(*) from sqlite_master").fetchone()
        if application != _APPLICATION and tables:
            raise SpoolDamagedError(str(self._path), "it is another program's database")
        if version > len(_MIGRATIONS):
            raise SpoolError(str(self._path), "was written by a newer version of whatssound; use that version")
        return int(version)

    def close(self) -> None:
        """Closes the file and frees its lock."""
        self._db.close()

    # --- messages

    def put(self, key: Key, row: Row) -> None:
        """Keeps a message; it is on the disk when this returns."""
        values = (*key, *row)
        with self._transaction():
            self._db.execute(
                "insert into messages (project, user_id, session_id, id, content, username, role, tries)"
                " values (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def rows(self, key: Key) -> list[Row]:
        """What is kept under a key, in order."""
        with self._errors():
            return self._db.execute(
                "select id, content, username, role, tries from messages"
                " where project = ? and user_id = ? and session_id = ? order by place",
                key,
            ).fetchall()

    def remove(self, key: Key, ids: Sequence[str]) -> None:
        """Removes messages."""
        with self._transaction():
            self._db.executemany(
                "delete from messages where project = ? and user_id = ? and session_id = ? and id = ?",
                [(*key, message_id) for message_id in ids],
            )

    def set_tries(self, key: Key, message_id: str, tries: int) -> None:
        """Notes how often a message has failed by its own fault."""
        with self._transaction():
            self._db.execute(
                "update messages set tries = ? where project = ? and user_id = ? and session_id = ? and id = ?",
                (tries, *key, message_id),
            )

    def sums(self, project: str) -> list[tuple[str, str, int, int, str]]:
        """User id, session id, messages, bytes and first id of each key of a project, the oldest first."""
        with self._errors():
            # SQLite takes the bare ``id`` from the row that ``min`` chose.
            rows = self._db.execute(
                "select user_id, session_id, count(*), sum(length(cast(content as blob))), id, min(place)"
                " from messages where project = ? group by user_id, session_id order by min(place)",
                (project,),
            ).fetchall()
        return [row[:5] for row in rows]

    def total(self) -> tuple[int, int]:
        """Messages and bytes of content in the whole file."""
        with self._errors():
            count, size = self._db.execute(
                "select count(*), coalesce(sum(length(cast(content as blob))), 0) from messages"
            ).fetchone()
        return count, size

    # --- anonymous sign-ins

    def keep_sign_in(self, project: str, user_id: str, refresh_token: str) -> None:
        """Keeps what an anonymous user needs to be the same user again."""
        with self._transaction():
            self._db.execute("insert or replace into sign_ins values (?, ?, ?)", (project, user_id, refresh_token))

    def kept_sign_in(self, project: str) -> tuple[str, str] | None:
        """User id and refresh token, if one is kept."""
        with self._errors():
            query = "select user_id, refresh_token from sign_ins where project = ?"
            row: tuple[str, str] | None = self._db.execute(query, (project,)).fetchone()
        return row

    def forget_sign_in(self, project: str) -> None:
        """Forgets it."""
        with self._transaction():
            self._db.execute("delete from sign_ins where project = ?", (project,))

    # --- SQLite's way of saying things

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._errors():
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                # After some errors SQLite has rolled back by itself.
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise SpoolInUseError(str(self._path)) from error
            if name.startswith("SQLITE_FULL"):
                raise SpoolFullError(str(self._path), "the disk is full; free some space and send again") from error
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise SpoolDamagedError(str(self._path), str(error)) from error
            raise SpoolError(str(self._path), f"{error}; check the disk and the file's permissions") from error


def _make_private(path: Path) -> None:
    """Makes the file, or narrows what others may do with it, before anything is read or written."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.close(handle)
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        with contextlib.suppress(FileNotFoundError):
            file.chmod(0o600)
