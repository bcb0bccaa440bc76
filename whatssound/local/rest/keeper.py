"""Keeps the schema cache: loads it, reloads it when told or when something is missing, survives the database."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import asyncpg

from whatssound.local.rest.catalog import read_catalog
from whatssound.local.rest.errors import ApiError, no_schema_cache

if TYPE_CHECKING:
    from whatssound.local.rest.pool import ConnectionPool
    from whatssound.local.rest.schema import SchemaCache

_CHANNEL: Final = "pgrst"
_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 2.0
# A server that dies in the middle of an answer leaves asyncpg in a state it calls an internal error.
_FAILURES: Final = (
    ApiError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_log = logging.getLogger(__name__)


class SchemaKeeper:
    """Holds the newest schema cache.

    Args:
        pool: Where connections come from; flushed on each reload, as they cache the catalogue too.
        schemas: The exposed schemas.
    """

    def __init__(self, pool: ConnectionPool, schemas: tuple[str, ...]) -> None:
        self._pool = pool
        self._schemas = schemas
        self._cache: SchemaCache | None = None
        self._reloading: asyncio.Lock = asyncio.Lock()
        self._begun = 0
        self._done = 0

    @property
    def current(self) -> SchemaCache:
        """The cache.

        Raises:
            ApiError: PGRST002 if the database could not be read since the start.
        """
        if self._cache is None:
            raise no_schema_cache()
        return self._cache

    async def load(self) -> None:
        """Loads the cache if the database can be reached; if not, `run` goes on trying."""
        try:
            await self.reload()
        except _FAILURES:
            _log.warning("REST cannot read the schema yet")

    async def reload(self, *, flush: bool = False) -> SchemaCache:
        """Reads the schema anew. Callers that come while it is being read share the next reading.

        Args:
            flush: Replace the pool's connections even if nothing changed, since settings of roles may have.

        Raises:
            ApiError: The database takes no connection.
            PostgresError: It refuses to tell.
        """
        begun = self._begun
        async with self._reloading:
            # A reading that began while the call waited here has seen all that the call wants to see.
            if self._cache is None or self._done <= begun:
                self._begun += 1
                number = self._begun
                async with self._pool.connection() as connection:
                    cache = await read_catalog(connection, self._schemas)
                flush = flush or cache != self._cache
                self._cache, self._done = cache, number
            if flush:
                self._pool.flush()
            return self._cache

    async def run(self) -> None:
        """Listens for `notify pgrst` until cancelled; reconnects, and reloads whenever it does."""
        delay = _FIRST_RETRY
        while True:
            try:
                await self._listen()
                delay = _FIRST_RETRY
            except* _FAILURES:
                _log.debug("REST lost its listening connection")
                delay = min(delay * 2, _LONGEST_RETRY)
            await asyncio.sleep(delay)

    async def _listen(self) -> None:
        """One life of the listening connection."""
        connection = await self._pool.connect()
        ended, told = asyncio.Event(), asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(_CHANNEL, lambda *_: told.set())
            await self.reload(flush=True)
            async with asyncio.TaskGroup() as group:
                reloading = group.create_task(self._reload_when_told(told))
                await ended.wait()
                reloading.cancel()
        finally:
            connection.terminate()

    async def _reload_when_told(self, told: asyncio.Event) -> None:
        while True:
            await told.wait()
            # Cleared first: a migration notifies many times, and what comes during the reading wants another.
            told.clear()
            await self.reload(flush=True)
