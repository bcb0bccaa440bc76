"""What the service key may do about anybody's account."""

from __future__ import annotations

import re
import secrets
import uuid
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from whatssound.local.auth.accounts import EMAIL_PROVIDER
from whatssound.local.auth.errors import AuthError, email_taken, invalid
from whatssound.local.auth.passwords import check_password, hash_password
from whatssound.local.auth.users import (
    AUDIENCE,
    ROLE,
    check_email,
    create_user,
    put_email_identity,
    show_user,
    update_metadata,
    user_by_email,
    user_by_id,
    user_json,
)

if TYPE_CHECKING:
    from whatssound.local.auth.settings import AuthSettings

_ADMIN_ROLES: Final = frozenset({"service_role", "supabase_admin"})
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:h|m|s|ms))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


_CHANGE: Final = """
update auth.users set
  email = coalesce($2, email), encrypted_password = coalesce($3, encrypted_password), role = coalesce($4, role),
  email_confirmed_at = case when $5 then now() else email_confirmed_at end,
  is_anonymous = is_anonymous and not ($5 and $2 is not null), updated_at = now()
where id = $1
"""


def check_admin(claims: dict[str, Any]) -> None:
    """Refuses everybody but the service key.

    Raises:
        AuthError: 403 `not_admin`.
    """
    if claims.get("role") not in _ADMIN_ROLES:
        raise AuthError(403, "not_admin", "User not allowed")


class Admin:
    """The service key's side of the API.

    Args:
        settings: What is allowed.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings

    async def create(self, connection: asyncpg.Connection, body: dict[str, Any]) -> dict[str, Any]:
        """Makes a user.

        Raises:
            AuthError: A value is missing, not allowed, or taken.
        """
        if body.get("phone"):
            raise AuthError(400, "phone_provider_disabled", "Phone signups are disabled")
        if not body.get("email"):
            raise invalid("Cannot create a user without either an email or phone")
        email = check_email(str(body["email"]))
        user_id = _user_id(str(body["id"])) if body.get("id") else None
        password = str(body.get("password") or secrets.token_urlsafe(48))
        hashed = await hash_password(password)
        async with connection.transaction():
            if await user_by_email(connection, email) is not None:
                raise email_taken()
            try:
                created = await create_user(
                    connection, email=email, password_hash=hashed, user_metadata=dict(body.get("user_metadata") or {}),
                    app_metadata={**EMAIL_PROVIDER, **(body.get("app_metadata") or {})},
                    confirmed=bool(body.get("email_confirm")), role=str(body.get("role") or ROLE), user_id=user_id,
                )  # fmt: skip
            except asyncpg.UniqueViolationError as error:
                raise email_taken() from error
            except asyncpg.PostgresError as error:
                raise AuthError(500, "unexpected_failure", "Database error creating new user") from error
            await _ban(connection, created, body)
        return await show_user(connection, created)

    async def page(self, connection: asyncpg.Connection, number: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """Lists users, newest first.

        Args:
            connection: To read with.
            number: Which page, from 1.
            size: How many users a page has.

        Returns:
            The users of the page, and how many there are in all.
        """
        total = await connection.fetchval(
            "select count(*) from auth.users where aud = $1 and deleted_at is null", AUDIENCE
        )
        rows = await connection.fetch(
            "select * from auth.users where aud = $1 and deleted_at is null "
            "order by created_at desc, id limit $2 offset $3",
            AUDIENCE, size, (number - 1) * size,
        )  # fmt: skip
        identities = await connection.fetch(
            "select * from auth.identities where user_id = any ($1) order by created_at, id",
            [row["id"] for row in rows],
        )
        by_user: dict[uuid.UUID, list[asyncpg.Record]] = {}
        for identity in identities:
            by_user.setdefault(identity["user_id"], []).append(identity)
        return [user_json(row, by_user.get(row["id"], [])) for row in rows], total

    async def get(self, connection: asyncpg.Connection, user_id: str) -> dict[str, Any]:
        """Shows a user.

        Raises:
            AuthError: There is no such user.
        """
        return await show_user(connection, _user_id(user_id))

    async def change(self, connection: asyncpg.Connection, user_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Changes a user.

        Raises:
            AuthError: There is no such user, or a value is not allowed.
        """
        user = await self._existing(connection, user_id)
        email = check_email(str(body["email"])) if body.get("email") else None
        hashed = None
        if body.get("password"):
            check_password(str(body["password"]), self._settings.password_min_length)
            hashed = await hash_password(str(body["password"]))
        async with connection.transaction():
            if email is not None and email != user["email"]:
                if await user_by_email(connection, email) is not None:
                    raise email_taken()
                await put_email_identity(connection, user["id"], email)
            await connection.execute(
                _CHANGE, user["id"], email, hashed, body.get("role"), bool(body.get("email_confirm"))
            )
            if hashed is not None:
                await connection.execute("delete from auth.sessions where user_id = $1", user["id"])
            for column, name in (("raw_user_meta_data", "user_metadata"), ("raw_app_meta_data", "app_metadata")):
                if body.get(name) is not None:
                    await update_metadata(connection, user, column, dict(body[name]))
            await _ban(connection, user["id"], body)
        return await show_user(connection, user["id"])

    async def delete(self, connection: asyncpg.Connection, user_id: str, *, soft: bool) -> None:
        """Deletes a user with everything that hangs on them.

        Args:
            connection: To delete with.
            user_id: Who.
            soft: Whether the row stays, without its data.

        Raises:
            AuthError: There is no such user.
        """
        user = await self._existing(connection, user_id)
        if not soft:
            try:
                await connection.execute("delete from auth.users where id = $1", user["id"])
            except asyncpg.PostgresError as error:
                raise AuthError(500, "unexpected_failure", "Database error deleting user") from error
            return
        async with connection.transaction():
            await connection.execute(
                "update auth.users set deleted_at = now(), email = null, phone = null, encrypted_password = null, "
                "raw_user_meta_data = '{}', raw_app_meta_data = '{}' where id = $1",
                user["id"],
            )
            await connection.execute("delete from auth.identities where user_id = $1", user["id"])
            await connection.execute("delete from auth.sessions where user_id = $1", user["id"])

    async def _existing(self, connection: asyncpg.Connection, user_id: str) -> asyncpg.Record:
        user = await user_by_id(connection, _user_id(user_id))
        if user is None:
            raise AuthError(404, "user_not_found", "User not found")
        return user


async def _ban(connection: asyncpg.Connection, user_id: uuid.UUID, body: dict[str, Any]) -> None:
    duration = body.get("ban_duration")
    if not duration:
        return
    if duration == "none":
        await connection.execute("update auth.users set banned_until = null where id = $1", user_id)
        return
    if not _DURATION.fullmatch(str(duration)):
        raise invalid(f'invalid format for ban duration: time: invalid duration "{duration}"')
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(str(duration)))
    await connection.execute(
        "update auth.users set banned_until = now() + make_interval(secs => $2) where id = $1", user_id, seconds
    )


def _user_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise AuthError(404, "validation_failed", "user_id must be an UUID") from None
