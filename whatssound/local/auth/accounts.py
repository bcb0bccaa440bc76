"""What a user does about their own account: sign up, sign in, change, sign out."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from whatssound.local.auth.errors import AuthError, bad_token, email_taken, invalid, wrong_credentials
from whatssound.local.auth.grants import is_banned
from whatssound.local.auth.passwords import check_password, hash_password, matches
from whatssound.local.auth.users import (
    check_email,
    create_user,
    put_email_identity,
    show_user,
    update_metadata,
    user_by_email,
    user_by_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from whatssound.local.auth.grants import Grants
    from whatssound.local.auth.settings import AuthSettings

EMAIL_PROVIDER: Final = {"provider": "email", "providers": ["email"]}
_SCOPES: Final = frozenset({"", "global", "local", "others"})


class Accounts:
    """The users' own side of the API.

    Args:
        grants: Issues tokens.
        settings: What is allowed.
        now: The clock, in seconds since the epoch.
    """

    def __init__(self, grants: Grants, settings: AuthSettings, now: Callable[[], float]) -> None:
        self._grants = grants
        self._settings = settings
        self._now = now

    async def sign_up_anonymously(
        self, connection: asyncpg.Connection, body: dict[str, Any], issuer: str, agent: str | None
    ) -> dict[str, Any]:
        """Makes a user without any credentials and signs them in.

        Raises:
            AuthError: Sign-ups are off, or a trigger of the project refused.
        """
        self._check_signup()
        async with connection.transaction():
            try:
                user_id = await create_user(
                    connection, email=None, password_hash=None, user_metadata=_mapping(body, "data"), app_metadata={},
                    confirmed=False,
                )  # fmt: skip
            except asyncpg.PostgresError as error:
                raise AuthError(500, "unexpected_failure", "Database error creating anonymous user") from error
            return await self._grants.sign_in(connection, user_id, issuer, agent)

    async def sign_up(
        self, connection: asyncpg.Connection, body: dict[str, Any], issuer: str, agent: str | None
    ) -> dict[str, Any]:
        """Makes a user with an e-mail address and a password.

        Returns:
            Tokens, or the bare user where addresses must be confirmed first.

        Raises:
            AuthError: Something is missing, too weak, or taken.
        """
        self._check_signup()
        password = _text(body, "password")
        if not password:
            raise invalid("Signup requires a valid password")
        check_password(password, self._settings.password_min_length)
        if _text(body, "phone"):
            raise AuthError(400, "phone_provider_disabled", "Phone signups are disabled")
        email = check_email(_text(body, "email"))
        hashed = await hash_password(password)
        async with connection.transaction():
            existing = await user_by_email(connection, email)
            if existing is not None and existing["email_confirmed_at"] is not None:
                raise AuthError(422, "user_already_exists", "User already registered")
            if existing is not None:
                return await show_user(connection, existing["id"])
            try:
                user_id = await create_user(
                    connection, email=email, password_hash=hashed, user_metadata=_mapping(body, "data"),
                    app_metadata=EMAIL_PROVIDER, confirmed=self._settings.autoconfirm,
                )  # fmt: skip
            except asyncpg.UniqueViolationError as error:
                raise AuthError(422, "user_already_exists", "User already registered") from error
            except asyncpg.PostgresError as error:
                raise AuthError(500, "unexpected_failure", "Database error saving new user") from error
            if not self._settings.autoconfirm:
                return await show_user(connection, user_id)
            return await self._grants.sign_in(connection, user_id, issuer, agent)

    async def sign_in(
        self, connection: asyncpg.Connection, body: dict[str, Any], issuer: str, agent: str | None
    ) -> dict[str, Any]:
        """Signs in with an e-mail address and a password.

        Raises:
            AuthError: They are wrong, or the user is banned or not confirmed.
        """
        email = _text(body, "email")
        if _text(body, "phone"):
            if email:
                raise invalid("Only an email address or phone number should be provided on login.")
            raise AuthError(422, "phone_provider_disabled", "Phone logins are disabled")
        if not email:
            raise invalid("missing email or phone")
        user = await user_by_email(connection, email)
        if user is None or not user["encrypted_password"]:
            raise wrong_credentials()
        if is_banned(user, self._now()):
            raise AuthError(400, "user_banned", "User is banned")
        if not await matches(_text(body, "password"), user["encrypted_password"], connection):
            raise wrong_credentials()
        if user["email_confirmed_at"] is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        async with connection.transaction():
            return await self._grants.sign_in(connection, user["id"], issuer, agent)

    async def authenticate(
        self, connection: asyncpg.Connection, authorization: str | None
    ) -> tuple[asyncpg.Record, uuid.UUID | None]:
        """Finds the user of a request, and the sign-in its token belongs to.

        Args:
            connection: To look with.
            authorization: The `Authorization` header.

        Raises:
            AuthError: The token is no good, or its user or sign-in is gone.
        """
        claims = self._grants.claims_of(authorization)
        subject = claims.get("sub")
        if not subject:
            raise bad_token("invalid claim: missing sub claim")
        user_id = _uuid(subject)
        if user_id is None:
            raise AuthError(400, "bad_jwt", "invalid claim: sub claim must be a UUID")
        user = await user_by_id(connection, user_id)
        if user is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        grant = None
        if claims.get("session_id"):
            grant = _uuid(claims["session_id"])
            if grant is None:
                raise bad_token("invalid claim: session_id claim must be a UUID")
            if not await connection.fetchval("select exists (select from auth.sessions where id = $1)", grant):
                raise AuthError(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        if is_banned(user, self._now()):
            raise AuthError(403, "user_banned", "User is banned")
        return user, grant

    async def change(
        self, connection: asyncpg.Connection, user: asyncpg.Record, grant: uuid.UUID | None, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Changes metadata, e-mail address or password of a user.

        Args:
            connection: To change with.
            user: The user.
            grant: The sign-in that asks; a new password ends all others.
            body: What to change.

        Raises:
            AuthError: A value is not allowed.
        """
        if body.get("app_metadata") is not None:
            raise AuthError(403, "not_admin", "Updating app_metadata requires admin privileges")
        if _text(body, "phone"):
            raise AuthError(400, "phone_provider_disabled", "Phone changes are disabled")
        email = check_email(_text(body, "email")) if _text(body, "email") else None
        password = _text(body, "password") or None
        hashed = await self._new_password(connection, user, email, password)
        async with connection.transaction():
            if email is not None and email != user["email"]:
                await self._change_email(connection, user, email)
            if hashed is not None:
                await self._change_password(connection, user, grant, hashed)
            if body.get("data") is not None:
                fresh = await user_by_id(connection, user["id"])
                assert fresh is not None
                await update_metadata(connection, fresh, "raw_user_meta_data", _mapping(body, "data"))
        return await show_user(connection, user["id"])

    async def sign_out(
        self, connection: asyncpg.Connection, user: asyncpg.Record, grant: uuid.UUID | None, scope: str
    ) -> None:
        """Ends sign-ins of a user.

        Args:
            connection: To end with.
            user: The user.
            grant: The sign-in that asks.
            scope: Which: `local` is this one, `others` are the others, `global` are all.

        Raises:
            AuthError: There is no such scope.
        """
        if scope not in _SCOPES:
            raise invalid(f'Unsupported logout scope "{scope}"')
        if grant is not None and scope == "local":
            await connection.execute("delete from auth.sessions where id = $1", grant)
        elif grant is not None and scope == "others":
            await connection.execute("delete from auth.sessions where user_id = $1 and id <> $2", user["id"], grant)
        else:
            await connection.execute("delete from auth.sessions where user_id = $1", user["id"])

    def _check_signup(self) -> None:
        if not self._settings.signup:
            raise AuthError(422, "signup_disabled", "Signups not allowed for this instance")

    async def _new_password(
        self, connection: asyncpg.Connection, user: asyncpg.Record, email: str | None, password: str | None
    ) -> str | None:
        if password is None:
            return None
        check_password(password, self._settings.password_min_length)
        if user["is_anonymous"] and email is None:
            text = "Updating password of an anonymous user without an email or phone is not allowed"
            raise AuthError(422, "validation_failed", text)
        if user["encrypted_password"] and await matches(password, user["encrypted_password"], connection):
            raise AuthError(422, "same_password", "New password should be different from the old password.")
        return await hash_password(password)

    async def _change_email(self, connection: asyncpg.Connection, user: asyncpg.Record, email: str) -> None:
        """Changes the address at once: nobody would read a mail to confirm it."""
        if await user_by_email(connection, email) is not None:
            raise email_taken()
        try:
            await connection.execute(
                "update auth.users set email = $2, email_confirmed_at = now(), is_anonymous = false, "
                "updated_at = now() where id = $1",
                user["id"], email,
            )  # fmt: skip
        except asyncpg.UniqueViolationError as error:
            raise email_taken() from error
        await put_email_identity(connection, user["id"], email)
        await update_metadata(connection, user, "raw_app_meta_data", EMAIL_PROVIDER)
        await update_metadata(connection, user, "raw_user_meta_data", {"email_verified": True})

    async def _change_password(
        self, connection: asyncpg.Connection, user: asyncpg.Record, grant: uuid.UUID | None, hashed: str
    ) -> None:
        await connection.execute(
            "update auth.users set encrypted_password = $2, updated_at = now() where id = $1", user["id"], hashed
        )
        await connection.execute(
            "delete from auth.sessions where user_id = $1 and ($2::uuid is null or id <> $2)", user["id"], grant
        )


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {name} must be a string")
    return value


def _mapping(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AuthError(400, "bad_json", f"Could not parse request body as JSON: {name} must be an object")
    return value


def _uuid(text: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(text))
    except ValueError:
        return None
