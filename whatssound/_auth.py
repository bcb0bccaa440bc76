"""Who we are: sign-in and token refresh through supabase_auth, or tokens that an app brings.

supabase_auth's own auto-refresh gives up after ten attempts in two minutes and tells nobody, so refreshing is done
here: before a token ends, when a server has refused it, and once for everybody who asks at the same time.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import httpx
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError, AuthUnknownError

from ._postgrest import not_the_api, transport_error
from .errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidCredentialsError,
    InvalidKeyError,
    NotSignedInError,
    ServerError,
    SpoolError,
    TokenExpiredError,
    TransportError,
    UnreachableError,
    WhatsSoundError,
)

if TYPE_CHECKING:
    from supabase_auth.types import AuthResponse, Session

    from supabase import AsyncClient

_log = logging.getLogger("whatssound.auth")

#: Seconds before its end at which a token is replaced. Long enough for a request that is retried for half a minute.
REFRESH_MARGIN = 60.0

AccessToken = str | Callable[[], str | Awaitable[str]]


def token_claims(token: str) -> Mapping[str, Any]:
    """Reads a JWT's claims without checking it (the server checks); empty for a key that is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def is_public_key(token: str) -> bool:
    """Tells whether a token is a project's anon (publishable) key, and nobody's own."""
    return token.startswith("sb_publishable_") or token_claims(token).get("role") == "anon"


def checked_token(token: object) -> str:
    """Returns a token that can stand in a header.

    Raises:
        ConfigurationError: it is empty, or holds what no token holds.
    """
    if not isinstance(token, str) or not token:
        raise ConfigurationError("access_token", "is empty; pass a user's JWT, or None to sign in here")
    if not token.isascii() or any(character.isspace() for character in token):
        raise ConfigurationError("access_token", "holds white space or characters that no token has; copy it again")
    return token


def _expires_in(token: str) -> float | None:
    expiry = token_claims(token).get("exp")
    return expiry - time.time() if isinstance(expiry, int | float) else None


def _name_of(claims: Mapping[str, Any]) -> str | None:
    metadata = claims.get("user_metadata")
    name = metadata.get("username") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name else None


class GivenToken:
    """A token that the app brings: fixed, or from a function that makes a fresh one.

    Args:
        token: the token, or a function (sync or async) that returns one.
    """

    def __init__(self, token: AccessToken) -> None:
        self._given = checked_token(token) if isinstance(token, str) else token
        self._current = token if isinstance(token, str) else ""
        self._lock = asyncio.Lock()

    @property
    def user_id(self) -> str | None:
        """``sub`` of the token."""
        subject = token_claims(self._current).get("sub")
        return subject if isinstance(subject, str) else None

    @property
    def username(self) -> str | None:
        """``user_metadata.username`` of the token."""
        return _name_of(token_claims(self._current))

    def expires_in(self) -> float | None:
        """Seconds until the token ends; None where it does not say."""
        return _expires_in(self._current)

    async def token(self, *, refused: str | None = None) -> str:
        """Returns the token; asks the function again if the last one was refused or is about to end."""
        if isinstance(self._given, str):
            left = self.expires_in()
            if left is not None and left <= 0:
                raise TokenExpiredError("the access token has expired; pass a fresh one, or a function that makes one")
            return self._given
        async with self._lock:
            left = self.expires_in()
            ending = left is not None and left < REFRESH_MARGIN
            if not self._current or ending or refused == self._current:
                self._current = await self._made(self._given)
            return self._current

    @staticmethod
    async def _made(make: Callable[[], str | Awaitable[str]]) -> str:
        try:
            made = make()
            token = await made if inspect.isawaitable(made) else made
        except WhatsSoundError:
            raise
        except Exception as error:
            # The app's own failure must not end a live session: it is tried again like any token that is not there yet.
            raise AuthenticationError(f"the access_token function raised {type(error).__name__}") from error
        if not isinstance(token, str) or not token:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise AuthenticationError(f"the access_token function returned no token but {type(token).__name__}")
        try:
            left = _expires_in(checked_token(token))
        except ConfigurationError as error:
            # Not a setting of ours: the function may do better next time, so nothing that waits for a token is lost.
            raise AuthenticationError(f"the access_token function: {error.problem}") from error
        if left is not None and left <= 0:
            raise TokenExpiredError("the access_token function gave a token that has expired; make a fresh one")
        return token


class SupabaseToken:
    """The tokens of an app's own `supabase.AsyncClient`; the app signs in and out as it likes.

    Args:
        client: the app's client.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._current = client.supabase_key

    @property
    def user_id(self) -> str | None:
        """``sub`` of the client's current token."""
        subject = token_claims(self._current).get("sub")
        return subject if isinstance(subject, str) else None

    @property
    def username(self) -> str | None:
        """``user_metadata.username`` of the client's current token."""
        return _name_of(token_claims(self._current))

    def expires_in(self) -> float | None:
        """Seconds until the token ends; None where it does not say."""
        return _expires_in(self._current)

    async def token(self, *, refused: str | None = None) -> str:
        """Returns the client's token; makes it refresh its session if the last one was refused."""
        try:
            session = await self._client.auth.get_session()
            if session is not None and refused == session.access_token:
                session = (await self._client.auth.refresh_session()).session
        except (AuthError, httpx.HTTPError, ValueError) as error:
            raise auth_error(error, str(self._client.supabase_url)) from error
        self._current = session.access_token if session is not None else self._client.supabase_key
        return self._current


class SignInKeeper(Protocol):
    """Keeps the sign-in of an anonymous user over restarts."""

    async def keep_sign_in(self, user_id: str, refresh_token: str) -> None:
        """Keeps it in place of the one before."""
        ...

    async def kept_sign_in(self) -> tuple[str, str] | None:
        """Returns user id and refresh token, if there is one."""
        ...

    async def forget_sign_in(self) -> None:
        """Forgets it."""
        ...


class SignedIn:
    """Signs in at Supabase Auth and keeps the token fresh.

    Args:
        url: the project's URL.
        key: its API key.
        http: the HTTP client to use; it is not closed here.
    """

    def __init__(self, url: str, key: str, http: httpx.AsyncClient) -> None:
        self._key = key
        self._where = f"{url}/auth/v1"
        self._auth = AsyncGoTrueClient(
            url=self._where,
            headers={"apikey": key, "Authorization": f"Bearer {key}"},
            auto_refresh_token=False,
            persist_session=False,
            http_client=http,
        )
        self._session: Session | None = None
        self._name: str | None = None
        self._keeper: SignInKeeper | None = None
        self._lock = asyncio.Lock()

    @property
    def user_id(self) -> str | None:
        """The signed-in user's id."""
        return self._session.user.id if self._session else None

    @property
    def username(self) -> str | None:
        """The name given at sign-in."""
        if self._session is None:
            return None
        return self._name or _name_of(token_claims(self._session.access_token))

    def expires_in(self) -> float | None:
        """Seconds until the token ends; None before sign-in."""
        return _expires_in(self._session.access_token) if self._session else _expires_in(self._key)

    async def sign_in_anonymously(self, username: str | None, *, keeper: SignInKeeper | None = None) -> str:
        """Makes a new anonymous user, or goes on as the kept one, and returns its id.

        Args:
            username: the name others see.
            keeper: keeps the sign-in, and may have one of an earlier run.
        """
        data = {"username": username} if username else {}
        if keeper is not None and (session := await self._resumed(keeper)) is not None:
            self._entered(session)
            self._name = username
        else:
            await self._enter(self._auth.sign_in_anonymously({"options": {"data": data}}))
        self._keeper = keeper
        entered = self._session
        if entered is None:
            raise NotSignedInError("signed out while signing in; sign in again")
        await self._keep(entered)
        return entered.user.id

    async def _resumed(self, keeper: SignInKeeper) -> Session | None:
        """Signs in as the anonymous user of an earlier run; None if there is none, or it has gone."""
        kept = await keeper.kept_sign_in()
        if kept is None:
            return None
        user_id, refresh_token = kept
        try:
            session = (await self._auth.refresh_session(refresh_token)).session
        except (AuthError, httpx.HTTPError, ValueError) as error:
            ours = auth_error(error, self._where)
            if not isinstance(ours, AuthenticationError) or isinstance(ours, InvalidKeyError):
                raise ours from error  # nothing is known about the sign-in, so it is kept for a better time
            session = None
        if session is None:
            await keeper.forget_sign_in()
            _log.warning("the anonymous user %s of an earlier run has gone; what it wrote stays in the spool", user_id)
        return session

    async def _keep(self, session: Session) -> None:
        if self._keeper is None:
            return
        try:
            await self._keeper.keep_sign_in(session.user.id, session.refresh_token)
        except SpoolError as error:
            _log.warning("the next run cannot go on as this anonymous user: %s", error)

    async def sign_in(self, email: str, password: str) -> str:
        """Signs in with e-mail and password and returns the user's id."""
        return await self._enter(self._auth.sign_in_with_password({"email": email, "password": password}))

    async def sign_up(self, email: str, password: str, username: str | None) -> str:
        """Makes a user with e-mail and password and returns its id."""
        data = {"username": username} if username else {}
        return await self._enter(self._auth.sign_up({"email": email, "password": password, "options": {"data": data}}))

    async def sign_out(self) -> None:
        """Ends the signed-in session at the server (this one only)."""
        if self._session is None:
            return
        token = self._session.access_token
        self._session = None
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.forget_sign_in()
        try:
            await self._auth.admin.sign_out(token, "local")
        except (AuthError, httpx.HTTPError) as error:
            raise auth_error(error, self._where) from error

    async def token(self, *, refused: str | None = None) -> str:
        """Returns the access token, refreshed when it is about to end or was refused; the API key before sign-in."""
        if self._session is None:
            return self._key
        async with self._lock:
            session = self._session
            # Signed out while waiting for the lock, which pyright's narrowing does not think of.
            if session is None:  # pyright: ignore[reportUnnecessaryComparison]
                return self._key
            left = _expires_in(session.access_token)
            ending = left is not None and left < min(REFRESH_MARGIN, session.expires_in / 4)
            if ending or refused == session.access_token:
                fresh = await self._refresh(session)
                if self._session is session:
                    self._session = fresh
                    if fresh is not session:
                        await self._keep(fresh)
                # Else somebody has signed in or out meanwhile, and that counts.
            now = self._session
            return now.access_token if now is not None else self._key  # pyright: ignore[reportUnnecessaryComparison]

    async def _refresh(self, session: Session) -> Session:
        try:
            fresh = (await self._auth.refresh_session(session.refresh_token)).session
        except (AuthError, httpx.HTTPError, ValueError) as error:
            ours = auth_error(error, self._where)
            left = _expires_in(session.access_token)
            if isinstance(ours, TransportError) and left is not None and left > 0:
                # The auth server is away but the token still lives: better an ending token than none.
                return session
            raise ours from error
        if fresh is None:
            raise TokenExpiredError
        return fresh

    async def _enter(self, answer: Awaitable[AuthResponse]) -> str:
        try:
            session = (await answer).session
        except (AuthError, httpx.HTTPError, ValueError) as error:
            raise auth_error(error, self._where) from error
        if session is None:
            raise NotSignedInError("signed up, but the e-mail address must be confirmed before signing in")
        self._entered(session)
        return session.user.id

    def _entered(self, session: Session) -> None:
        self._session = session
        self._name = None
        self._keeper = None


def auth_error(error: AuthError | httpx.HTTPError | ValueError, where: str) -> WhatsSoundError:
    """Makes our error of what supabase_auth, httpx or (as a ValueError) the reading of an answer raised."""
    if isinstance(error, ValueError):
        return not_the_api(200, where)
    if isinstance(error, httpx.HTTPError):
        return transport_error(error, where)
    if isinstance(error, AuthApiError):
        if error.status == 429 or error.status >= 500:
            return ServerError(error.status, error.message)
        if error.code in ("invalid_credentials", "user_not_found"):
            return InvalidCredentialsError("e-mail and password do not match a user of this project")
        if error.code in ("refresh_token_not_found", "refresh_token_already_used", "session_not_found"):
            return TokenExpiredError("the sign-in has ended; sign in again")
        if error.code == "anonymous_provider_disabled":
            return ConfigurationError("auth", "this project does not allow anonymous sign-ins; enable them")
        if error.status == 401 or "api key" in error.message.lower():
            return InvalidKeyError()
        return AuthenticationError(error.message)
    if isinstance(error, AuthUnknownError) and isinstance(error.__cause__, httpx.HTTPStatusError):
        return not_the_api(error.__cause__.response.status_code, where)  # a page instead of JSON
    if isinstance(error, AuthRetryableError):
        return UnreachableError(where, error.message) if error.status == 0 else ServerError(error.status, error.message)
    return AuthenticationError(error.message)
