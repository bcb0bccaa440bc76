"""The questions that Realtime asks the database: policies and messages to replay."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from .access import Policies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .access import Caller

_SUPERUSER: Final = "supabase_admin"
_CONNECTIONS: Final = 5
_TIMEOUT: Final = 10.0
_LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)


async def _leave_as_is(_connection: asyncpg.Connection) -> None:
    """Nothing here outlives its transaction, so the usual reset would only cost a round trip."""


class DatabaseUnavailableError(Exception):
    """The database does not answer now."""


class Database:
    """A small pool of superuser connections.

    Args:
        dsn_for: The connection string for a role.
    """

    def __init__(self, dsn_for: Callable[[str], str]) -> None:
        self._dsn_for = dsn_for
        self._pool: asyncpg.Pool | None = None

    @property
    def dsn(self) -> str:
        """The connection string of the superuser."""
        return self._dsn_for(_SUPERUSER)

    async def open(self) -> None:
        """Connects, and makes the objects that only Realtime uses.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        self._pool = await asyncpg.create_pool(
            self.dsn,
            min_size=0,
            max_size=_CONNECTIONS,
            command_timeout=_TIMEOUT,
            timeout=_TIMEOUT,
            reset=_leave_as_is,
            server_settings={"TimeZone": "UTC", "application_name": "realtime_local"},
        )
        script = files(__package__).joinpath("server.sql").read_text()
        async with self.connection() as connection, connection.transaction():
            # Two services starting on one database would else replace a function at the same moment.
            await connection.execute("select pg_advisory_xact_lock(hashtext('_realtime_local'))")
            await connection.execute(script)

    async def close(self) -> None:
        """Drops all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool.

        Raises:
            DatabaseUnavailableError: None can be had, or it broke while in use.
        """
        if self._pool is None:
            raise DatabaseUnavailableError("the service is stopped")
        try:
            async with self._pool.acquire(timeout=_TIMEOUT) as connection:
                yield connection
        except _LOST as error:
            raise DatabaseUnavailableError("the database does not answer") from error

    async def alive(self) -> bool:
        """Whether the database answers."""
        try:
            async with self.connection() as connection:
                await connection.execute("select 1")
        except DatabaseUnavailableError:
            return False
        return True

    async def publications(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of these publications exist.

        Args:
            names: Their names.

        Raises:
            DatabaseUnavailableError: The database does not answer.
        """
        async with self.connection() as connection:
            rows = await connection.fetch("select pubname from pg_publication where pubname = any ($1)", list(names))
        return tuple(sorted(row[0] for row in rows))

    async def read_policies(self, caller: Caller, topic: str, *, presence: bool) -> Policies:
        """What a caller may read of a topic.

        Args:
            caller: Who asks.
            topic: The channel's name.
            presence: Whether presence is asked about, too.

        Raises:
            DatabaseUnavailableError: The database does not answer.
            asyncpg.PostgresError: A policy or the role made the question fail.
        """
        row = await self._ask(
            "select * from _realtime_local.read_policies($1, $2, $3, $4, $5, $6)", caller, topic, presence
        )
        return Policies(broadcast_read=row["broadcast"], presence_read=row["presence"])

    async def write_policies(self, caller: Caller, topic: str) -> tuple[bool, bool]:
        """Whether a caller may send broadcasts to a topic, and be present on it.

        Args:
            caller: Who asks.
            topic: The channel's name.

        Raises:
            DatabaseUnavailableError: The database does not answer.
            asyncpg.PostgresError: A policy or the role made the question fail.
        """
        row = await self._ask("select * from _realtime_local.write_policies($1, $2, $3, $4, $5)", caller, topic)
        return row["broadcast"], row["presence"]

    async def _ask(self, query: str, caller: Caller, topic: str, *more: Any) -> Any:
        role, sub = caller.claims.get("role"), caller.claims.get("sub")
        if not isinstance(role, str) or not role:
            raise asyncpg.InvalidRoleSpecificationError("the role is no name")
        arguments = (
            topic,
            role,
            json.dumps(caller.claims),
            sub if isinstance(sub, str) else None,
            json.dumps(caller.headers),
        )
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                return await connection.fetchrow(query, *arguments, *more)
            finally:
                if not connection.is_closed():
                    await asyncio.shield(transaction.rollback())

    async def messages_since(self, topic: str, since_ms: int, limit: int) -> list[Any]:
        """The newest private messages that the database sent to a topic, oldest first.

        Args:
            topic: The channel's name.
            since_ms: The earliest time, in milliseconds of the epoch.
            limit: How many at most.

        Raises:
            DatabaseUnavailableError: The database does not answer.
            asyncpg.PostgresError: The time is out of range.
        """
        query = """
            select id::text, event, payload::text as payload, binary_payload from realtime.messages
            where topic = $1 and private and extension = 'broadcast'
              and inserted_at >= timestamp 'epoch' + $2::bigint * interval '1 millisecond'
              and inserted_at < (now() at time zone 'utc') + interval '1 minute'
            order by inserted_at desc limit $3"""
        async with self.connection() as connection:
            rows = await connection.fetch(query, topic, since_ms, limit)
        return list(reversed(rows))
