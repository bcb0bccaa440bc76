"""The database under a stack: a Postgres of its own, or one that is there already."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from whatssound.local import cluster
from whatssound.local.errors import DataDirectoryInUseError, LocalStackError, PostgresStartError
from whatssound.local.migrate import apply_platform, keep_message_partitions
from whatssound.local.postgres import PASSWORD, PostgresServer

_SUPPORTED = range(15, 19)
_PREFIX = "whatssound-stack-"
_STALE_SECONDS = 3600.0


class Database(Protocol):
    """A database that the services connect to by role."""

    def dsn(self, user: str = "postgres") -> str:
        """The connection string for a role; known once started."""

    async def start(self) -> None:
        """Makes it ready, with `platform.sql` applied."""

    async def stop(self) -> None:
        """Lets it go."""

    async def kill(self) -> None:
        """Ends it as a crash would."""

    async def dispose(self) -> None:
        """Stops it and removes what was thrown away with it."""


class OwnDatabase:
    """A Postgres that lives as long as the stack.

    Args:
        data_dir: where the data is kept; None for a directory that goes with the stack.
    """

    def __init__(self, data_dir: Path | None) -> None:
        self._temporary: Path | None = None
        if data_dir is None:
            _sweep(Path(tempfile.gettempdir()))
            self._temporary = Path(tempfile.mkdtemp(prefix=_PREFIX))
            data_dir = self._temporary / "postgres"
        self.server = PostgresServer(data_dir, durable=self._temporary is None)

    def dsn(self, user: str = "postgres") -> str:
        """The connection string for a role; the same over restarts."""
        return self.server.dsn(user)

    async def start(self) -> None:
        """Starts the server; see `PostgresServer.start`."""
        await self.server.start()

    async def stop(self) -> None:
        """Stops the server and keeps the data."""
        await self.server.stop()

    async def kill(self) -> None:
        """Kills the server (SIGKILL); `start` recovers."""
        await self.server.kill()

    async def dispose(self) -> None:
        """Stops the server and removes a throw-away directory."""
        # Nobody will read throw-away data again, so it needs no orderly end.
        await (self.server.kill() if self._temporary else self.server.stop())
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what killed stacks left behind; one being made is too young for it, one that runs is locked."""
    for left in folder.glob(f"{_PREFIX}*"):
        data_dir = left / "postgres"
        try:
            if time.time() - left.stat().st_mtime < _STALE_SECONDS or not data_dir.is_dir():
                continue
            with PostgresServer(data_dir).claimed():
                shutil.rmtree(left)
        except (OSError, DataDirectoryInUseError):
            continue  # somebody else's, in use, or removed by another sweep meanwhile


class ExistingDatabase:
    """A running Postgres 15 to 18 that belongs to somebody else: prepared at need, never stopped.

    Args:
        url: connection string of a superuser. The other roles are reached with the well-known local password.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in {"postgresql", "postgres"} or not self._url.hostname:
            raise LocalStackError("a database URL looks like postgresql://user:password@host:5432/database")
        self._user = unquote(self._url.username or cluster.SUPERUSER)

    def dsn(self, user: str = "postgres") -> str:
        """The connection string for a role."""
        password = unquote(self._url.password or "") if user == self._user else PASSWORD
        host = f"[{self._url.hostname}]" if ":" in (self._url.hostname or "") else self._url.hostname
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        netloc = f"{login}@{host}:{self._url.port or 5432}"
        query = {name: values[-1] for name, values in parse_qs(self._url.query).items()}
        return urlunsplit(("postgresql", netloc, self._url.path or "/postgres", urlencode(query), ""))

    async def start(self) -> None:
        """Checks the server and applies `platform.sql` where it is no Supabase yet.

        Raises:
            LocalStackError: it cannot be reached, is of another version, or lacks what the stack needs.
        """
        try:
            connection = await asyncpg.connect(self.dsn(self._user), timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            # The error's text names host and role, never the password.
            raise PostgresStartError(f"cannot connect to the database given: {error}") from error
        try:
            version = connection.get_server_version().major
            if version not in _SUPPORTED:
                raise LocalStackError(f"the database is Postgres {version}; 15 to 18 are supported")
            if await connection.fetchval("show wal_level") != "logical":
                raise LocalStackError("the database needs wal_level = logical for Postgres Changes: set it and restart")
            if not await connection.fetchval("select rolsuper from pg_roles where rolname = current_user"):
                raise LocalStackError(f"{self._user} is no superuser of the database, which the local stack needs")
            hosted = await connection.fetchval("select to_regclass('realtime.subscription') is not null")
        finally:
            await connection.close()
        if not hosted:  # a real Supabase has its platform, and its own Realtime keeps it
            await apply_platform(self.dsn(self._user))
            await keep_message_partitions(self.dsn(self._user))

    async def stop(self) -> None:
        """Refuses: the server is not ours.

        Raises:
            LocalStackError: always.
        """
        raise LocalStackError("the database was there before the stack and is not stopped by it")

    async def kill(self) -> None:
        """Refuses: the server is not ours.

        Raises:
            LocalStackError: always.
        """
        await self.stop()

    async def dispose(self) -> None:
        """Leaves the server as it is."""
