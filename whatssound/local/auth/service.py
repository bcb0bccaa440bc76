"""Supabase Auth as a service: routes and life cycle."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import asyncpg
import orjson
from aiohttp import web

from whatssound.local.auth.accounts import Accounts
from whatssound.local.auth.admin import Admin, check_admin
from whatssound.local.auth.errors import AuthError, OAuthError, invalid
from whatssound.local.auth.grants import Grants
from whatssound.local.auth.limits import HourlyLimit
from whatssound.local.auth.settings import AuthSettings
from whatssound.local.auth.users import AUDIENCE, show_user

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from whatssound.local.tokens import Keyring

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ROOT: Final = "/auth/v1"
_USER: Final = "supabase_auth_admin"
_POOL_SIZE: Final = 10
_PAGE_SIZE: Final = 50
_EXTERNAL: Final = (
    "apple", "azure", "bitbucket", "discord", "facebook", "snapchat", "figma", "fly", "github", "gitlab", "google",
    "keycloak", "kakao", "linkedin", "linkedin_oidc", "notion", "spotify", "slack", "slack_oidc", "workos", "twitch",
    "twitter", "phone", "zoom",
)  # fmt: skip


class AuthService:
    """Supabase's `/auth/v1`: accounts, tokens and their keys.

    Args:
        dsn_for: Gives the connection string for a database user.
        keyring: Signs and checks access tokens.
        settings: What a project can set.
        now: The clock, in seconds since the epoch.
    """

    def __init__(
        self,
        dsn_for: Callable[[str], str],
        keyring: Keyring,
        *,
        settings: AuthSettings | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dsn_for = dsn_for
        self._keyring = keyring
        self._settings = settings or AuthSettings()
        self._grants = Grants(keyring, self._settings, now)
        self._accounts = Accounts(self._grants, self._settings, now)
        self._admin = Admin(self._settings)
        self._anonymous_limit = HourlyLimit(self._settings.anonymous_per_hour, now)
        self._pool: asyncpg.Pool | None = None

    @property
    def running(self) -> bool:
        """Whether requests are answered."""
        return self._pool is not None

    async def start(self) -> None:
        """Opens the service. Connections are made when they are needed."""
        if self._pool is None:
            self._pool = await asyncpg.create_pool(self._dsn_for(_USER), min_size=0, max_size=_POOL_SIZE, timeout=10)

    async def stop(self) -> None:
        """Drops all connections; requests under way fail, later ones are answered 503."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/health", self._health),
            ("GET", "/settings", self._show_settings),
            ("GET", "/.well-known/jwks.json", self._jwks),
            ("POST", "/signup", self._sign_up),
            ("POST", "/token", self._token),
            ("GET", "/user", self._user),
            ("PUT", "/user", self._change_user),
            ("POST", "/logout", self._sign_out),
            ("GET", "/admin/users", self._list_users),
            ("POST", "/admin/users", self._create_user),
            ("GET", "/admin/users/{user_id}", self._get_user),
            ("PUT", "/admin/users/{user_id}", self._admin_change_user),
            ("DELETE", "/admin/users/{user_id}", self._delete_user),
            ("*", "/{path:.*}", self._nothing_here),
        )
        for method, path, handler in routes:
            app.router.add_route(method, _ROOT + path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if self._pool is None:
                return web.json_response({"message": "name resolution failed"}, status=503)
            version = request.headers.get("X-Supabase-Api-Version")
            try:
                return await handler(request)
            except AuthError as error:
                return error.response(version)
            except OAuthError as error:
                return error.response()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                failure = AuthError(500, "unexpected_failure", "Database error querying schema")
                return failure.response(version)

        return guarded

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        pool = self._pool
        if pool is None:
            raise AuthError(500, "unexpected_failure", "Database error querying schema")
        async with pool.acquire() as connection:
            yield connection

    async def _health(self, _: web.Request) -> web.Response:
        description = "GoTrue is a user registration and authentication API"
        return web.json_response({"version": "local", "name": "GoTrue", "description": description})

    async def _show_settings(self, _: web.Request) -> web.Response:
        settings = self._settings
        external = {"anonymous_users": settings.anonymous, **dict.fromkeys(_EXTERNAL, False), "email": True}
        return web.json_response(
            {
                "external": external,
                "disable_signup": not settings.signup,
                "mailer_autoconfirm": settings.autoconfirm,
                "phone_autoconfirm": False,
                "sms_provider": "",
                "saml_enabled": False,
            }
        )

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response(self._keyring.jwks(), headers={"Cache-Control": "public, max-age=600"})

    async def _sign_up(self, request: web.Request) -> web.Response:
        body = await _body(request)
        anonymous = not body.get("email") and not body.get("phone")
        if anonymous and not self._settings.anonymous:
            raise AuthError(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
        if anonymous and not self._anonymous_limit.allow(request.remote or ""):
            raise AuthError(429, "over_request_rate_limit", "Request rate limit reached")
        sign_up = self._accounts.sign_up_anonymously if anonymous else self._accounts.sign_up
        async with self._connection() as connection:
            answer = await sign_up(connection, body, self._issuer(request), _agent(request))
        return web.json_response(answer)

    async def _token(self, request: web.Request) -> web.Response:
        kind = request.query.get("grant_type") or ""
        if kind not in {"password", "refresh_token"}:
            raise AuthError(400, "invalid_credentials", "unsupported_grant_type")
        body = await _body(request)
        issuer = self._issuer(request)
        async with self._connection() as connection:
            if kind == "password":
                return web.json_response(await self._accounts.sign_in(connection, body, issuer, _agent(request)))
            async with connection.transaction():
                answer = await self._grants.refresh(connection, str(body.get("refresh_token") or ""), issuer)
        if isinstance(answer, AuthError):
            raise answer
        return web.json_response(answer)

    async def _user(self, request: web.Request) -> web.Response:
        async with self._connection() as connection:
            user, _ = await self._accounts.authenticate(connection, request.headers.get("Authorization"))
            return web.json_response(await show_user(connection, user["id"]))

    async def _change_user(self, request: web.Request) -> web.Response:
        async with self._connection() as connection:
            user, grant = await self._accounts.authenticate(connection, request.headers.get("Authorization"))
            body = await _body(request)
            return web.json_response(await self._accounts.change(connection, user, grant, body))

    async def _sign_out(self, request: web.Request) -> web.Response:
        async with self._connection() as connection:
            user, grant = await self._accounts.authenticate(connection, request.headers.get("Authorization"))
            await self._accounts.sign_out(connection, user, grant, request.query.get("scope", ""))
        return web.Response(status=204)

    async def _list_users(self, request: web.Request) -> web.Response:
        self._check_admin(request)
        page, size = _number(request, "page", 1), _number(request, "per_page", _PAGE_SIZE)
        async with self._connection() as connection:
            users, total = await self._admin.page(connection, max(page, 1), size)
        last = -(-total // size) if size else 0
        links = [_link(request, last, "last")] if page >= last else [
            _link(request, page + 1, "next"), _link(request, last, "last"),
        ]  # fmt: skip
        headers = {"X-Total-Count": str(total), "Link": ", ".join(links)}
        return web.json_response({"users": users, "aud": AUDIENCE}, headers=headers)

    async def _create_user(self, request: web.Request) -> web.Response:
        self._check_admin(request)
        body = await _body(request)
        async with self._connection() as connection:
            return web.json_response(await self._admin.create(connection, body))

    async def _get_user(self, request: web.Request) -> web.Response:
        self._check_admin(request)
        async with self._connection() as connection:
            return web.json_response(await self._admin.get(connection, request.match_info["user_id"]))

    async def _admin_change_user(self, request: web.Request) -> web.Response:
        self._check_admin(request)
        body = await _body(request)
        async with self._connection() as connection:
            return web.json_response(await self._admin.change(connection, request.match_info["user_id"], body))

    async def _delete_user(self, request: web.Request) -> web.Response:
        self._check_admin(request)
        body = await _body(request) if request.body_exists else {}
        soft = bool(body.get("should_soft_delete"))
        async with self._connection() as connection:
            await self._admin.delete(connection, request.match_info["user_id"], soft=soft)
        return web.json_response({})

    async def _nothing_here(self, request: web.Request) -> web.Response:
        what = f"{request.method} {request.path.removeprefix(_ROOT)}"
        raise AuthError(404, "feature_disabled", f"{what} is not part of the local stack's Auth")

    def _check_admin(self, request: web.Request) -> None:
        check_admin(self._grants.claims_of(request.headers.get("Authorization")))

    def _issuer(self, request: web.Request) -> str:
        return self._settings.issuer or f"{request.scheme}://{request.host}{_ROOT}"


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read() or b"{}")
    except ValueError as error:
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {error}") from error
    if not isinstance(body, dict):
        raise AuthError(400, "bad_json", "Could not parse request body as JSON: it must be an object")
    return body


def _link(request: web.Request, page: int, name: str) -> str:
    """A page of the list. Clients read its number from the first parameter, so the names are in order."""
    query = urlencode(sorted({**request.query, "page": str(page)}.items()))
    return f'<{request.path.removeprefix(_ROOT)}?{query}>; rel="{name}"'


def _agent(request: web.Request) -> str | None:
    return request.headers.get("User-Agent")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name) or str(default)
    if not text.isdecimal():
        raise invalid(f'Bad Pagination Parameters: strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)
