"""Real parts of Supabase in the place of ours: a PostgREST binary, or a Realtime that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from whatssound.local.errors import LocalStackError
from whatssound.local.tokens import Keyring

_START_TIMEOUT = 20.0
_POLL = 0.05
# A connection's own headers say nothing about the next connection's.
_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
)
_UNAVAILABLE = {"message": "name resolution failed"}


class _Forwarder:
    """Passes requests on to one upstream."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        # Bodies go through as they are, and a redirect is the client's to follow.
        self._client = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def forward(self, request: web.Request, url: str) -> web.StreamResponse:
        """Sends a request on and its answer back; 503 while closed, 502 when the upstream cannot be reached."""
        if self._client is None:
            return web.json_response(_UNAVAILABLE, status=503)
        body = await request.read()
        try:
            async with self._client.request(
                request.method,
                _target(url, request),
                headers=_without_hop(request.headers),
                data=body or None,
                allow_redirects=False,
            ) as answer:
                return web.Response(
                    status=answer.status, headers=_without_hop(answer.headers), body=await answer.read()
                )
        except aiohttp.ClientError:
            text = "An invalid response was received from the upstream server"
            return web.json_response({"message": text}, status=502)

    async def bridge(self, request: web.Request, url: str) -> web.StreamResponse:
        """Joins a WebSocket with one of the upstream's until either ends."""
        if self._client is None:
            return web.json_response(_UNAVAILABLE, status=503)
        try:
            far = await self._client.ws_connect(_target(url, request), max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            return web.json_response({"error": error.message}, status=error.status)
        except aiohttp.ClientError:
            return web.json_response(_UNAVAILABLE, status=503)
        near = web.WebSocketResponse(max_msg_size=0)
        await near.prepare(request)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(near, far))
                group.create_task(_pump(far, near))
        finally:
            await far.close()
        return near


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        # A side that closed meanwhile ends its own pump; what was still on the way to it is lost, as on any network.
        with contextlib.suppress(ConnectionError):
            if message.type is aiohttp.WSMsgType.TEXT:
                await sink.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)
    with contextlib.suppress(ConnectionError):
        await sink.close(code=source.close_code or 1000)


def _target(url: str, request: web.Request) -> URL:
    query = request.rel_url.raw_query_string
    # As it came: what the client encoded and what it did not may matter.
    return URL(f"{url}?{query}" if query else url, encoded=True)


def _without_hop(headers: object) -> CIMultiDict[str]:
    kept: CIMultiDict[str] = CIMultiDict(headers)  # type: ignore[arg-type]  # either side's kind of multi-dict
    for name in _HOP:
        kept.popall(name, None)
    return kept


class PostgrestProcess:
    """Runs a real PostgREST behind `/rest/v1`.

    Args:
        binary: the program.
        dsn_for: connection string by database role.
        keyring: its secret checks tokens.
    """

    def __init__(self, binary: Path, dsn_for: Callable[[str], str], keyring: Keyring) -> None:
        self._binary = binary
        self._dsn_for = dsn_for
        self._keyring = keyring
        self._process: asyncio.subprocess.Process | None = None
        self._forwarder = _Forwarder()
        self._port = 0

    async def start(self) -> None:
        """Starts the program and waits until it takes connections.

        Raises:
            LocalStackError: it cannot be run, ends, or is not ready in time.
        """
        if self._process is not None:
            return
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(self._binary),
                env=os.environ | self._settings(),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise LocalStackError(f"cannot run {self._binary}: {error.strerror}") from error
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await self._ready(self._process)
        except TimeoutError:
            await self.stop()
            raise LocalStackError(f"{self._binary} was not ready after {_START_TIMEOUT:.0f} s") from None
        await self._forwarder.open()

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        async with aiohttp.ClientSession() as client:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"http://127.0.0.1:{self._port}/") as answer:
                        if answer.status < 500:
                            return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _POLL)
        self._process = None
        raise LocalStackError(f"{self._binary} ended with status {process.returncode}; is it a PostgREST?")

    def _settings(self) -> dict[str, str]:
        # Those of `supabase start`.
        return {
            "PGRST_DB_URI": self._dsn_for("authenticator"),
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_JWT_SECRET": self._keyring.secret,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self._port),
        }

    async def stop(self) -> None:
        """Ends the program."""
        await self._forwarder.close()
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_route("*", "/rest/v1/{path:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path.removeprefix("/rest/v1")
        return await self._forwarder.forward(request, f"http://127.0.0.1:{self._port}{path}")


class RealtimeProxy:
    """Passes `/realtime/v1` on to a Realtime that runs elsewhere, as Supabase's gateway does.

    Args:
        url: its address, such as `http://realtime-dev.localhost:4000`; the first label of the host is the tenant.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        schemes = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
        if parts.scheme not in schemes or not parts.netloc:
            raise LocalStackError("a Realtime URL looks like http://realtime-dev.localhost:4000")
        self._base = f"{schemes[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"
        self._forwarder = _Forwarder()

    async def start(self) -> None:
        """Passes requests on from now on."""
        await self._forwarder.open()

    async def stop(self) -> None:
        """Cuts what goes through; requests are answered 503 from now on."""
        await self._forwarder.close()

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        for path in ("/realtime/v1/websocket", "/socket/websocket"):
            app.router.add_get(path, self._socket)
        app.router.add_route("*", "/realtime/v1/api/{path:.*}", self._api)
        app.router.add_route("*", "/api/{path:.*}", self._api)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return await self._forwarder.bridge(request, f"{self._base}/socket/websocket")

    async def _api(self, request: web.Request) -> web.StreamResponse:
        return await self._forwarder.forward(
            request, self._base + request.rel_url.raw_path.removeprefix("/realtime/v1")
        )
