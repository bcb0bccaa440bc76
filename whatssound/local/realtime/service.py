"""Realtime as one service of the local stack: starts, stops, and mounts itself on a web application."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final

import asyncpg
from aiohttp import web

from . import codec
from .access import TokenRefusedError, check_token
from .changes import Changes
from .database import Database, DatabaseUnavailableError
from .feed import Feed
from .http_api import BareResponse, HttpApi, json_response
from .hub import Hub
from .limits import Limits
from .nursery import Nursery
from .server import Server
from .socket import Socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tokens import Keyring
    from .codec import Version
    from .hooks import RealtimeHooks

_log = logging.getLogger(__name__)
REFUSED_HANDSHAKE_SECONDS: Final = 2.0
"""How long the answer to a refused handshake takes."""
_SOCKET_PATHS: Final = ("/realtime/v1/websocket", "/realtime/v1/socket/websocket", "/socket/websocket")
_API: Final = "/api"
_GATEWAY: Final = "/realtime/v1"
_VERSION_ONE: Final = re.compile(r"1\.0\.\d+")
_VERSION_TWO: Final = re.compile(r"2\.0\.\d+")
_START_SECONDS: Final = 30.0
_PARTITIONS_EVERY: Final = 6 * 3600.0
_REFUSED: Final = {"InvalidJWTToken": 401, "MalformedJWT": 401, "JwtSignatureError": 401}


class RealtimeService:
    """Supabase Realtime for one database, in this process.

    Args:
        dsn_for: The connection string for a database role.
        keyring: The keys of the stack.
        limits: The tenant's quotas (None: those of a self-hosted server); see `Limits.for_plan`.
        tenant: The tenant's name in the management API.
        changes_interval: Seconds between two looks at changed rows; the real server takes 0.1 to 0.5.
        resubscribe: The shortest and longest wait in seconds before a channel with changes subscribes anew after
            a new token or a lost database.
        sweep: Seconds between two rounds in which sockets without a channel are killed, as the real server does.
    """

    def __init__(
        self,
        dsn_for: Callable[[str], str],
        keyring: Keyring,
        *,
        limits: Limits | None = None,
        tenant: str = "realtime-dev",
        changes_interval: float = 0.05,
        resubscribe: tuple[float, float] = (1.0, 3.0),
        sweep: float = 600.0,
    ) -> None:
        self._sweep = sweep
        self._keyring = keyring
        self.tenant = tenant
        self._hub = Hub(limits or Limits())
        self._hub.hooks.on_thaw(self._flush)
        self._database = Database(dsn_for)
        self._changes = Changes(interval=changes_interval, resubscribe=resubscribe)
        self._server: Server | None = None
        self._api: HttpApi | None = None

    @property
    def hooks(self) -> RealtimeHooks:
        """Switches that make the server misbehave on purpose."""
        return self._hub.hooks

    @property
    def limits(self) -> Limits:
        """The quotas in force; assigning new ones starts the rates anew."""
        return self._hub.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._hub.change_limits(limits)

    # -------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Connects to the database and begins to answer.

        Raises:
            DatabaseUnavailableError: The database cannot be reached.
        """
        if self._server is not None:
            return
        await self._database.open()
        nursery = Nursery()
        await nursery.open()
        feed = Feed(self._hub, self._database, self._changes.lost)
        server = Server(
            hub=self._hub,
            keyring=self._keyring,
            database=self._database,
            nursery=nursery,
            feed=feed,
            changes=self._changes,
        )
        self._changes.attach(server)
        nursery.spawn(feed.run, "feed")
        nursery.spawn(self._changes.run, "changes")
        nursery.spawn(self._sweep_sockets, "sweep")
        nursery.spawn(self._keep_partitions, "partitions")
        self._server = server
        self._api = HttpApi(server, self.tenant, self._disconnect)
        # Whoever writes right after the start must be heard.
        if not await feed.wait_ready(_START_SECONDS):
            await self.stop()
            raise DatabaseUnavailableError(f"the database does not stream its changes: {feed.failure}")

    async def stop(self) -> None:
        """Cuts all sockets and database connections; `start` works again afterwards."""
        server, self._server, self._api = self._server, None, None
        if server is None:
            return
        for socket in list(self._hub.sockets):
            socket.abort()
            socket.cancel()
        await server.nursery.close()
        await self._database.close()

    def mount(self, app: web.Application) -> None:
        """Adds the routes.

        Args:
            app: The application of the stack.
        """
        for path in _SOCKET_PATHS:
            app.router.add_get(path, self._handshake)
        for prefix in ("", _GATEWAY):
            app.router.add_route("*", f"{prefix}{_API}/{{rest:.*}}", self._request)
        app.on_response_prepare.append(_strip)

    # ------------------------------------------------------------------------------------------------------- faults

    async def drop_sockets(self, code: int | None = 1012, reason: str = "") -> int:
        """Closes all sockets.

        Args:
            code: The close code; None cuts the TCP connections without a close frame.
            reason: The close reason.

        Returns:
            How many there were.
        """
        sockets = list(self._hub.sockets)
        for socket in sockets:
            if code is None:
                socket.abort()
            else:
                socket.close_soon(code, reason)
        return len(sockets)

    async def kick(self, topic: str, message: str, *, extension: str = "system") -> int:
        """Ends channels as the server does on its own accord: a `system` error, then `phx_close`.

        Args:
            topic: The topic, with or without `realtime:`.
            message: The error.
            extension: Who says it.

        Returns:
            How many channels there were.
        """
        name = topic.removeprefix("realtime:")
        channels = [channel for channel in self._hub.channels() if channel.name == name]
        for channel in channels:
            channel.shutdown(message, extension=extension)
        return len(channels)

    def usage(self) -> dict[str, int]:
        """What hosted Supabase would count: messages so far, connections and channels now, and the peak."""
        return {
            "messages": self._hub.usage.messages,
            "connections": len(self._hub.sockets),
            "peak_connections": self._hub.usage.peak_connections,
            "channels": len(self._hub.channels()),
        }

    async def _sweep_sockets(self) -> None:
        while True:
            await asyncio.sleep(self._sweep)
            for socket in list(self._hub.sockets):
                if socket.forsaken:
                    socket.abort()

    async def _keep_partitions(self) -> None:
        # A stack may run for days, and a message without a partition for its day is lost.
        while True:
            await asyncio.sleep(_PARTITIONS_EVERY)
            try:
                async with self._database.connection() as connection:
                    await connection.execute("select realtime.keep_message_partitions()")
            except (DatabaseUnavailableError, asyncpg.PostgresError) as error:
                _log.warning("the partitions of realtime.messages could not be kept: %s", error)

    def _flush(self) -> None:
        for socket in self._hub.sockets:
            socket.flush()

    async def _disconnect(self) -> None:
        for channel in self._hub.channels():
            payload = codec.system_payload("Server requested disconnect", "ok", "system", None)
            channel.socket.write_text(
                codec.message(
                    channel.version,
                    join_ref=None,
                    ref=None,
                    topic=channel.wire_topic,
                    event="system",
                    payload=payload,
                )
            )
        await self.drop_sockets(1012)

    # ------------------------------------------------------------------------------------------------------ requests

    async def _request(self, request: web.Request) -> web.StreamResponse:
        await self.hooks.thawed()
        path = request.rel_url.raw_path
        gateway = path.startswith(_GATEWAY)
        if gateway and request.method == "OPTIONS":
            return _preflight(request)
        if self._api is None:
            return _unavailable()
        return await self._api.handle(request, path.removeprefix(_GATEWAY))

    async def _handshake(self, request: web.Request) -> web.StreamResponse:
        await self.hooks.thawed()
        server = self._server
        if server is None:
            return _unavailable()
        version = _version(request.query.get("vsn"))
        if version is None:
            return BareResponse(status=403)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="Bad Request")
        token = request.headers.get("x-api-key") or request.query.get("apikey")
        refusal = self._refusal(token)
        if refusal is not None:
            await asyncio.sleep(REFUSED_HANDSHAKE_SECONDS)
            return json_response(refusal[0], {"error": refusal[1]})
        headers = {name.lower(): value for name, value in request.headers.items() if name.lower().startswith("x-")}
        return await Socket(server, request, version=version, token=token or "", headers=headers).run()

    def _refusal(self, token: str | None) -> tuple[int, str] | None:
        hub = self._hub
        if hub.limits.suspend:
            return 403, "Realtime was disabled for this tenant"
        if token is None:
            return 401, "API key is missing"
        try:
            check_token(self._keyring, token)
        except TokenRefusedError as refused:
            return _REFUSED.get(refused.code, 401), refused.handshake
        if len(hub.users) >= hub.limits.max_concurrent_users:
            return 429, "Too many connected users"
        if hub.joins.over:
            return 429, "Too many joins per second"
        return None


def _version(asked: str | None) -> Version | None:
    if asked is None or _VERSION_ONE.fullmatch(asked):
        return "1.0.0"
    return "2.0.0" if _VERSION_TWO.fullmatch(asked) else None


def _unavailable() -> web.Response:
    return json_response(503, {"message": "name resolution failed"})


def _preflight(request: web.Request) -> web.Response:
    # On hosted it is the gateway that answers browsers.
    wanted = request.headers.get("Access-Control-Request-Headers", "*")
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS",
        "Access-Control-Allow-Headers": wanted,
        "Access-Control-Max-Age": "3600",
    }
    return web.Response(status=200, headers=headers)


async def _strip(_request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, BareResponse):
        response.headers.pop("Content-Type", None)
