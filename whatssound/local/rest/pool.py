"""Database connections of the REST interface: few, kept, and replaced when they break."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from whatssound.local.rest.errors import no_connection, no_free_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CONNECT_TIMEOUT: Final = 10.0
_CLOSE_TIMEOUT: Final = 2.0
_STATEMENTS: Final = 500
"""Prepared statements kept by each connection."""


class ConnectionPool:
    """Lends connections, one to each request.

    asyncpg's own pool resets a connection after each use, at the price of a round trip; here every use is one
    transaction with local settings, which leaves nothing behind.

    Args:
        dsn: Where to connect to.
        size: Most connections at once.
        timeout: Seconds to wait for a free one.
    """

    def __init__(self, dsn: str, *, size: int, timeout: float) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._places = asyncio.Semaphore(size)
        self._idle: deque[asyncpg.Connection] = deque()
        self._lent: set[asyncpg.Connection] = set()
        self._generation = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lends a connection. It must come back outside any transaction, or it is thrown away.

        Raises:
            ApiError: PGRST000 if the database takes no connection, PGRST003 if all stay busy.
        """
        await self._take_place()
        try:
            connection = self._take_idle() or await self._connect()
            generation = self._generation
            self._lent.add(connection)
            try:
                yield connection
            finally:
                self._lent.discard(connection)
                if connection.is_closed():
                    pass
                elif generation != self._generation or connection.is_in_transaction():
                    connection.terminate()
                else:
                    self._idle.append(connection)
        finally:
            self._places.release()

    def flush(self) -> None:
        """Replaces every connection when it is next free: old ones hold what the catalogue said before."""
        self._generation += 1
        while self._idle:
            self._idle.pop().terminate()

    def close(self) -> None:
        """Drops every connection at once, busy ones too."""
        self.flush()
        for connection in list(self._lent):
            connection.terminate()

    async def connect(self) -> asyncpg.Connection:
        """Opens a connection beside the pool, for whoever keeps one.

        Raises:
            ApiError: PGRST000.
        """
        return await self._connect()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._places.acquire()
        except TimeoutError:
            raise no_free_connection() from None

    def _take_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            # The one used last has the warmest caches.
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _connect(self) -> asyncpg.Connection:
        try:
            return await asyncpg.connect(
                self._dsn,
                timeout=_CONNECT_TIMEOUT,
                statement_cache_size=_STATEMENTS,
                max_cached_statement_lifetime=0,
                server_settings={"application_name": "postgrest", "jit": "off"},
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise no_connection(str(error) or type(error).__name__) from error
