"""Users in the database, and how the API shows them."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from whatssound.local.auth.errors import AuthError, invalid

if TYPE_CHECKING:
    import asyncpg

AUDIENCE: Final = "authenticated"
ROLE: Final = "authenticated"

_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_LONGEST_EMAIL: Final = 255

_OPTIONAL_TIMES: Final = ("email_confirmed_at", "invited_at")
_LATER_TIMES: Final = ("confirmation_sent_at", "confirmed_at", "recovery_sent_at", "email_change_sent_at")

_INSERT: Final = """
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
  raw_app_meta_data, raw_user_meta_data, created_at, updated_at, is_anonymous,
  confirmation_token, recovery_token, email_change_token_new, email_change)
values ('00000000-0000-0000-0000-000000000000', $1, $2, $3, $4, $5, case when $6 then now() end,
  $7::jsonb, $8::jsonb, now(), now(), $9, '', '', '', '')
"""

_INSERT_IDENTITY: Final = """
insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
values ($1::uuid::text, $1::uuid, $2::jsonb, 'email', now(), now(), now())
on conflict (provider_id, provider) do update set identity_data = excluded.identity_data, updated_at = now()
"""


def check_email(email: str) -> str:
    """An address in the form it is kept in.

    Raises:
        AuthError: It is none.
    """
    if len(email) > _LONGEST_EMAIL:
        raise invalid("An email address is too long")
    if not _EMAIL.fullmatch(email):
        raise invalid("Unable to validate email address: invalid format")
    return email.lower()


async def create_user(
    connection: asyncpg.Connection,
    *,
    email: str | None,
    password_hash: str | None,
    user_metadata: dict[str, Any],
    app_metadata: dict[str, Any],
    confirmed: bool,
    role: str = ROLE,
    user_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Makes a user, and the identity that belongs to an e-mail address.

    Args:
        connection: Inside a transaction.
        email: The address; None for an anonymous user.
        password_hash: The password as it is kept.
        user_metadata: What the user says about themselves.
        app_metadata: What the project says about the user.
        confirmed: Whether the address counts as confirmed.
        role: The database role.
        user_id: The id; made anew if absent.

    Returns:
        The id.
    """
    new_id = user_id or uuid.uuid4()
    if email is not None and confirmed:
        user_metadata = {**user_metadata, "email_verified": True}
    values = (orjson.dumps(app_metadata).decode(), orjson.dumps(user_metadata).decode())
    await connection.execute(
        _INSERT, new_id, AUDIENCE, role, email, password_hash, email is not None and confirmed, *values, email is None
    )
    if email is not None:
        await put_email_identity(connection, new_id, email, user_metadata)
    return new_id


async def put_email_identity(
    connection: asyncpg.Connection, user_id: uuid.UUID, email: str, more: dict[str, Any] | None = None
) -> None:
    """Makes or renews the identity that belongs to a user's e-mail address."""
    reserved = {"sub": str(user_id), "email": email, "email_verified": False, "phone_verified": False}
    data = {**(more or {}), **reserved}
    await connection.execute(_INSERT_IDENTITY, user_id, orjson.dumps(data).decode())


async def user_by_id(connection: asyncpg.Connection, user_id: uuid.UUID) -> asyncpg.Record | None:
    """Finds a user by id."""
    return await connection.fetchrow("select * from auth.users where id = $1 and deleted_at is null", user_id)


async def user_by_email(connection: asyncpg.Connection, email: str) -> asyncpg.Record | None:
    """Finds a user by e-mail address."""
    return await connection.fetchrow(
        "select * from auth.users where lower(email) = $1 and aud = $2 and not is_sso_user and deleted_at is null",
        email.lower(), AUDIENCE,
    )  # fmt: skip


async def update_metadata(
    connection: asyncpg.Connection, user: asyncpg.Record, column: str, changes: dict[str, Any]
) -> None:
    """Sets members of a metadata column; a member set to null goes away.

    Args:
        connection: Inside a transaction.
        user: The user.
        column: `raw_user_meta_data` or `raw_app_meta_data`.
        changes: New values.
    """
    merged = {name: value for name, value in {**json_of(user[column]), **changes}.items() if value is not None}
    await connection.execute(
        f"update auth.users set {column} = $2::jsonb, updated_at = now() where id = $1",
        user["id"], orjson.dumps(merged).decode(),
    )  # fmt: skip


async def show_user(connection: asyncpg.Connection, user_id: uuid.UUID) -> dict[str, Any]:
    """A user as the API shows it, with identities.

    Raises:
        AuthError: 404 `user_not_found`.
    """
    user = await user_by_id(connection, user_id)
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    identities = await connection.fetch(
        "select * from auth.identities where user_id = $1 order by created_at, id", user_id
    )
    return user_json(user, identities)


def user_json(user: asyncpg.Record, identities: list[asyncpg.Record]) -> dict[str, Any]:
    """A user as the API shows it.

    Args:
        user: The row.
        identities: Rows of its identities.
    """
    shown: dict[str, Any] = {
        "id": str(user["id"]), "aud": user["aud"] or "", "role": user["role"] or "", "email": user["email"] or "",
    }  # fmt: skip
    _add_times(shown, user, _OPTIONAL_TIMES)
    shown["phone"] = user["phone"] or ""
    _add_times(shown, user, ("phone_confirmed_at", *_LATER_TIMES))
    if user["email_change"]:
        shown["new_email"] = user["email_change"]
    _add_times(shown, user, ("last_sign_in_at",))
    shown["app_metadata"] = json_of(user["raw_app_meta_data"])
    shown["user_metadata"] = json_of(user["raw_user_meta_data"])
    shown["identities"] = [_identity_json(identity) for identity in identities]
    shown["created_at"] = time_text(user["created_at"])
    shown["updated_at"] = time_text(user["updated_at"])
    _add_times(shown, user, ("banned_until", "deleted_at"))
    shown["is_anonymous"] = user["is_anonymous"]
    return shown


def json_of(value: str | None) -> dict[str, Any]:
    """The value of a JSON column."""
    loaded = orjson.loads(value) if value else {}
    return loaded if isinstance(loaded, dict) else {}


def time_text(value: datetime | None) -> str | None:
    """A time as the API writes it."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _add_times(shown: dict[str, Any], row: asyncpg.Record, names: tuple[str, ...]) -> None:
    shown.update({name: time_text(row[name]) for name in names if row[name] is not None})


def _identity_json(row: asyncpg.Record) -> dict[str, Any]:
    shown = {
        "identity_id": str(row["id"]), "id": row["provider_id"], "user_id": str(row["user_id"]),
        "identity_data": json_of(row["identity_data"]), "provider": row["provider"],
        "last_sign_in_at": time_text(row["last_sign_in_at"]), "created_at": time_text(row["created_at"]),
        "updated_at": time_text(row["updated_at"]),
    }  # fmt: skip
    return shown | ({"email": row["email"]} if row["email"] else {})
