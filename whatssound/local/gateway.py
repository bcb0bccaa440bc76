"""The one port of a stack: what Supabase's API gateway does before a service sees a request."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from whatssound.local.calls import RpcCalls, counting
from whatssound.local.errors import PortInUseError
from whatssound.local.faults import Faults, Handler
from whatssound.local.ports import Service
from whatssound.local.tokens import Keyring, TokenError

_CHECKED = ("/rest/v1/", "/auth/v1/")  # Realtime answers for its own keys, after its own delay
_OWN_CORS = ("/realtime/v1/", "/api/", "/socket/")  # Realtime tells browsers itself what they may
_BACKLOG = 4096
_MAX_BODY = 64 * 1024 * 1024
_SHUTDOWN_SECONDS = 2.0
_EXPOSED = "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Preference-Applied, Server"
_METHODS = "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"


PUBLISHABLE_KEY = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"
"""The new kind of public key, the one that every `supabase start` prints."""
SECRET_KEY = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"  # noqa: S105 - public on purpose, for local use only
"""The new kind of secret key, likewise."""


class Gateway:
    """Serves the services on one port.

    Args:
        host: address to listen on.
        port: TCP port, 0 for a free one.
        keyring: knows the project's keys.
        faults: is asked about every request.
        calls: counts calls of the database's functions.
        services: by name; mounted in this order.
        status: tells the state of the stack for `/`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        keyring: Keyring,
        faults: Faults,
        calls: RpcCalls,
        services: Iterable[Service],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._host = host
        self._keyring = keyring
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        middlewares = [_quiet, _cors, _faulty(faults), counting(calls), _translating_keys(keyring)]
        middlewares.append(_checking_key(keyring))
        self.app = web.Application(middlewares=middlewares, client_max_size=_MAX_BODY)

        async def health(_: web.Request) -> web.Response:
            return web.json_response(status())

        self.app.router.add_get("/", health)
        self.app.router.add_get("/health", health)
        for service in services:
            service.mount(self.app)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where clients connect; `127.0.0.1` rather than `localhost`, which may mean another address first."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", ""} else self._host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def open(self) -> None:
        """Takes connections from now on; before, they are refused."""
        self._runner = web.AppRunner(
            self.app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=_BACKLOG).start()

    async def close(self) -> None:
        """Ends every connection and frees the port."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self._socket.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port) from error
        raise
    return bound


@web.middleware
async def _quiet(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionResetError:
        if request.transport is not None and not request.transport.is_closing():
            raise
        # The client hung up in the middle of its own request: nobody is left to be answered, and nothing is wrong here.
        return web.Response(status=499)


@web.middleware
async def _cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith(_OWN_CORS):
        return await handler(request)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", "*"),
            "Access-Control-Max-Age": "3600",
        }
        return web.Response(status=200, headers=headers)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.setdefault("Access-Control-Allow-Origin", "*")
        raise
    if not response.prepared:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        if "Origin" in request.headers:
            response.headers.setdefault("Access-Control-Expose-Headers", _EXPOSED)
    return response


def _faulty(faults: Faults) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_local/"):  # the way out of a fault is never faulty
            return await handler(request)
        return await faults.apply(request, handler)

    return middleware


def _translating_keys(keyring: Keyring) -> Middleware:
    """The new keys are opaque: the services are given the tokens that they stand for."""
    tokens = {PUBLISHABLE_KEY: keyring.anon_key, SECRET_KEY: keyring.service_key}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        in_url = request.query.get("apikey")
        key = request.headers.get("apikey") or in_url
        token = tokens.get(key or "")
        if token is None:
            return await handler(request)
        headers = request.headers.copy()
        headers["apikey"] = token
        bearer = headers.get("Authorization", "").removeprefix("Bearer ")
        if not bearer or bearer in tokens:
            headers["Authorization"] = f"Bearer {token}"
        url = request.rel_url.update_query(apikey=token) if in_url in tokens else request.rel_url
        return await handler(request.clone(headers=headers, rel_url=url))

    return middleware


def _checking_key(keyring: Keyring) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        key = request.headers.get("apikey") or request.query.get("apikey")
        if key and request.path.startswith(_CHECKED) and not _known(keyring, key):
            hint = "Double check your Supabase `anon` or `service_role` API key."
            return web.json_response({"message": "Invalid API key", "hint": hint}, status=401)
        return await handler(request)

    return middleware


def _known(keyring: Keyring, key: str) -> bool:
    if key in {keyring.anon_key, keyring.service_key}:
        return True
    try:
        keyring.verify(key)  # a user's own token is let through; the service says what it thinks of its age
    except TokenError:
        return False
    return True
