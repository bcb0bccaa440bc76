"""The REST interface as a service: routes, life cycle, and what happens around each transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from whatssound.local.rest import callers, responses, transactions
from whatssound.local.rest.errors import ApiError
from whatssound.local.rest.keeper import SchemaKeeper
from whatssound.local.rest.pool import ConnectionPool
from whatssound.local.rest.requests import Incoming, Planner
from whatssound.local.rest.settings import RestSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from whatssound.local.rest.requests import Job
    from whatssound.local.tokens import Keyring

_ROOT: Final = "/rest/v1"
_USER: Final = "authenticator"
_MISSES: Final = frozenset({"PGRST202", "PGRST204", "PGRST205"})
"""Errors that a schema changed a moment ago explains."""
_STALE: Final = frozenset({"42883", "42P01", "42703", "42704"})
"""What Postgres says when the cache still holds what is no longer there."""

_log = logging.getLogger(__name__)


class RestService:
    """Supabase's `/rest/v1`, as PostgREST answers it.

    Args:
        dsn_for: Gives the connection string for a database user.
        keyring: The keys tokens are signed with.
        settings: What a project can set.
        now: The clock, in seconds since the epoch.

    Attributes:
        after_commit: Awaited between the commit and the response of each transaction; for faults such as a lost
            response. None for nothing.
    """

    def __init__(
        self,
        dsn_for: Callable[[str], str],
        keyring: Keyring,
        *,
        settings: RestSettings | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dsn_for = dsn_for
        self._keyring = keyring
        self._settings = settings or RestSettings()
        self._now = now
        self._pool: ConnectionPool | None = None
        self._keeper: SchemaKeeper | None = None
        self._listening: asyncio.Task[None] | None = None
        self.after_commit: Callable[[web.Request], Awaitable[None]] | None = None

    @property
    def running(self) -> bool:
        """Whether requests are answered."""
        return self._pool is not None

    async def start(self) -> None:
        """Opens the service. A database that is not there yet is waited for in the background."""
        if self._pool is not None:
            return
        settings = self._settings
        pool = ConnectionPool(self._dsn_for(_USER), size=settings.pool_size, timeout=settings.pool_timeout)
        keeper = SchemaKeeper(pool, settings.schemas)
        self._pool, self._keeper = pool, keeper
        await keeper.load()
        self._listening = asyncio.create_task(keeper.run(), name="rest: schema cache")

    async def stop(self) -> None:
        """Drops all connections; requests under way fail, later ones are answered 503."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
        pool, self._pool, self._keeper = self._pool, None, None
        if pool is not None:
            pool.close()

    async def reload_schema(self) -> None:
        """Reads the schema anew, as `notify pgrst` would make it do, and returns when that is done.

        Raises:
            ApiError: The database takes no connection.
        """
        if self._keeper is not None:
            await self._keeper.reload()

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_route("*", _ROOT + "/{path:.*}", self._handle)
        app.router.add_route("*", _ROOT, self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._pool is None or self._keeper is None:
            return web.json_response({"message": "name resolution failed"}, status=503)
        try:
            return await self._respond(request, self._pool, self._keeper)
        except ApiError as error:
            return responses.error_response(error)

    async def _respond(self, request: web.Request, pool: ConnectionPool, keeper: SchemaKeeper) -> web.StreamResponse:
        settings = self._settings
        authorization = request.headers.get("Authorization")
        caller = callers.identify(authorization, self._keyring, settings.anon_role, self._now())
        cache = keeper.current
        body = await request.read() if request.body_exists else b""
        path, _, query = request.raw_path.partition("?")
        incoming = Incoming(request, path.removeprefix(_ROOT) or "/", query, body, caller)
        try:
            planned = Planner(cache, settings).plan(incoming)
        except ApiError as error:
            if error.code not in _MISSES:
                raise
            # Supabase hears of every DDL; here the first request that misses something looks again.
            planned = Planner(await keeper.reload(), settings).plan(incoming)
        if isinstance(planned, web.Response):
            return planned
        return await self._run(request, planned, pool, keeper, anonymous=caller.role == settings.anon_role)

    async def _run(
        self, request: web.Request, job: Job, pool: ConnectionPool, keeper: SchemaKeeper, *, anonymous: bool
    ) -> web.StreamResponse:
        try:
            result = await transactions.run(pool, job.transaction, anonymous=anonymous)
        except ApiError as error:
            if error.code in _STALE:
                await keeper.load()
            raise
        if self.after_commit is not None:
            await self.after_commit(request)
        return responses.finish(job.answer(result), result, job.profile)
