"""Sign-ins: access tokens, and the chain of refresh tokens behind each."""

from __future__ import annotations

import secrets
import string
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from whatssound.local.auth.errors import AuthError, OAuthError, bad_token
from whatssound.local.auth.users import json_of, show_user, user_by_id
from whatssound.local.tokens import Keyring, TokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from whatssound.local.auth.settings import AuthSettings

_ALPHABET: Final = string.ascii_lowercase + string.digits
_TOKEN_LENGTH: Final = 12

_FIND: Final = """
select t.id, t.token, t.user_id::uuid as user_id, t.revoked, t.updated_at, t.session_id
from auth.refresh_tokens t where t.token = $1 for update
"""


class Grants:
    """Issues, renews and checks tokens.

    Args:
        keyring: Signs and checks access tokens.
        settings: How long tokens live.
        now: The clock, in seconds since the epoch.
    """

    def __init__(self, keyring: Keyring, settings: AuthSettings, now: Callable[[], float]) -> None:
        self._keyring = keyring
        self._settings = settings
        self._now = now

    async def sign_in(
        self, connection: asyncpg.Connection, user_id: uuid.UUID, issuer: str, agent: str | None
    ) -> dict[str, Any]:
        """Starts a sign-in of a user.

        Args:
            connection: Inside a transaction.
            user_id: Who.
            issuer: The `iss` claim.
            agent: The client's name.

        Returns:
            The response with its tokens.
        """
        grant = uuid.uuid4()
        await connection.execute(
            "insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent) "
            "values ($1, $2, clock_timestamp(), clock_timestamp(), 'aal1', $3)",
            grant, user_id, agent,
        )  # fmt: skip
        refresh = await _insert_token(connection, user_id, grant, None)
        await connection.execute("update auth.users set last_sign_in_at = now() where id = $1", user_id)
        return await self._response(connection, user_id, grant, refresh, issuer)

    async def refresh(self, connection: asyncpg.Connection, token: str, issuer: str) -> dict[str, Any] | AuthError:
        """Exchanges a refresh token.

        A token is good once. It is good again if the answer to its first use seems lost: while its successor is
        unused, or within the reuse interval. Used later than that, it ends its family.

        Args:
            connection: Inside a transaction.
            token: The refresh token.
            issuer: The `iss` claim.

        Returns:
            The response with its tokens; or a refusal to send once the transaction has been committed, since it
            comes with an end of the family that must stay.

        Raises:
            AuthError: The token is unknown, or its user is banned.
            OAuthError: There is no token.
        """
        if not token:
            raise OAuthError("invalid_request", "refresh_token required")
        found = await connection.fetchrow(_FIND, token)
        user = await user_by_id(connection, found["user_id"]) if found is not None else None
        if found is None or user is None:
            raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        if is_banned(user, self._now()):
            raise AuthError(400, "user_banned", "Invalid Refresh Token: User Banned")
        grant = found["session_id"]
        if grant is None:
            raise AuthError(400, "session_not_found", "Invalid Refresh Token: No Valid Session Found")
        successor = None
        if found["revoked"]:
            successor = await _unused_successor(connection, grant, token)
            if successor is None and self._now() > found["updated_at"].timestamp() + self._settings.reuse_seconds:
                if self._settings.rotation:
                    await self._end_family(connection, grant)
                return AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        if successor is None:
            await connection.execute(
                "update auth.refresh_tokens set revoked = true, updated_at = to_timestamp($2) where id = $1",
                found["id"], self._now(),
            )  # fmt: skip
            successor = await _insert_token(connection, user["id"], grant, token)
        await connection.execute(
            "update auth.sessions set refreshed_at = (now() at time zone 'utc'), updated_at = now() where id = $1",
            grant,
        )
        return await self._response(connection, user["id"], grant, successor, issuer)

    async def _end_family(self, connection: asyncpg.Connection, grant: uuid.UUID) -> None:
        await connection.execute(
            "update auth.refresh_tokens set revoked = true, updated_at = to_timestamp($2) "
            "where session_id = $1 and not revoked",
            grant, self._now(),
        )  # fmt: skip

    def claims_of(self, authorization: str | None) -> dict[str, Any]:
        """The claims of the bearer token of a request.

        Args:
            authorization: The `Authorization` header.

        Raises:
            AuthError: There is none, or it is not good.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise AuthError(401, "no_authorization", "This endpoint requires a valid Bearer token")
        try:
            return self._keyring.decode(token.strip())
        except TokenError as error:
            raise bad_token(f"invalid JWT: unable to parse or verify signature, {_go_text(error)}") from error

    async def _response(
        self, connection: asyncpg.Connection, user_id: uuid.UUID, grant: uuid.UUID, refresh: str, issuer: str
    ) -> dict[str, Any]:
        user = await user_by_id(connection, user_id)
        assert user is not None
        started = await connection.fetchval("select created_at from auth.sessions where id = $1", grant)
        issued = int(self._now())
        lifetime = self._settings.token_seconds
        method = "anonymous" if user["is_anonymous"] else "password"
        claims = {
            "iss": issuer,
            "sub": str(user_id),
            "aud": user["aud"],
            "exp": issued + lifetime,
            "iat": issued,
            "email": user["email"] or "",
            "phone": user["phone"] or "",
            "app_metadata": json_of(user["raw_app_meta_data"]),
            "user_metadata": json_of(user["raw_user_meta_data"]),
            "role": user["role"],
            "aal": "aal1",
            "amr": [{"method": method, "timestamp": int(started.timestamp())}],
            "session_id": str(grant),
            "is_anonymous": user["is_anonymous"],
        }
        return {
            "access_token": self._keyring.sign(claims),
            "token_type": "bearer",
            "expires_in": lifetime,
            "expires_at": issued + lifetime,
            "refresh_token": refresh,
            "user": await show_user(connection, user_id),
        }


def is_banned(user: asyncpg.Record, now: float) -> bool:
    """Whether a user is banned at a time in seconds since the epoch."""
    until = user["banned_until"]
    return until is not None and until > datetime.fromtimestamp(now, UTC)


async def _insert_token(
    connection: asyncpg.Connection, user_id: uuid.UUID, grant: uuid.UUID, parent: str | None
) -> str:
    token = "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_LENGTH))
    await connection.execute(
        "insert into auth.refresh_tokens (instance_id, token, user_id, revoked, parent, session_id, created_at, "
        "updated_at) values ('00000000-0000-0000-0000-000000000000', $1, $2::uuid::text, false, $3, $4, now(), now())",
        token, user_id, parent, grant,
    )  # fmt: skip
    return token


async def _unused_successor(connection: asyncpg.Connection, grant: uuid.UUID, token: str) -> str | None:
    """The newest token of the family, if it came from this one and was never used."""
    newest = await connection.fetchrow(
        "select token, parent from auth.refresh_tokens where session_id = $1 and not revoked order by id desc limit 1",
        grant,
    )
    return newest["token"] if newest is not None and newest["parent"] == token else None


def _go_text(error: TokenError) -> str:
    """The words of the library that Supabase Auth checks tokens with."""
    if error.kind == "expired":
        return "token has invalid claims: token is expired"
    if error.kind == "signature":
        return "token signature is invalid: signature is invalid"
    if error.kind == "malformed" and error.parts != 3:
        return "token is malformed: token contains an invalid number of segments"
    return "token is malformed: could not JSON decode header"
