"""Passwords: how strong they must be, and how they are kept."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from whatssound.local.auth.errors import AuthError, invalid

if TYPE_CHECKING:
    import asyncpg

_LONGEST: Final = 72
_COST: Final = 2**12
_BLOCK: Final = 8
_SALT_BYTES: Final = 16
_STORED: Final = re.compile(r"\$scrypt\$n=(\d+),r=(\d+)\$([^$]+)\$([^$]+)")
_BCRYPT: Final = "$2"


def check_password(password: str, least: int) -> None:
    """Refuses a password that is too short or too long.

    Args:
        password: The password.
        least: Least length, in bytes.

    Raises:
        AuthError: 422 `weak_password`, or 400.
    """
    if len(password.encode()) > _LONGEST:
        raise invalid(f"Password cannot be longer than {_LONGEST} characters")
    if len(password.encode()) < least:
        text = f"Password should be at least {least} characters."
        raise AuthError(422, "weak_password", text, weak_reasons=("length",))


async def hash_password(password: str) -> str:
    """Makes the form in which a password is kept; takes its time in a thread."""
    salt = os.urandom(_SALT_BYTES)
    derived = await asyncio.to_thread(_derive, password, salt, _COST, _BLOCK)
    return f"$scrypt$n={_COST},r={_BLOCK}${b64encode(salt).decode()}${b64encode(derived).decode()}"


async def matches(password: str, stored: str, connection: asyncpg.Connection) -> bool:
    """Whether a password is the one that is kept.

    Args:
        password: What was typed.
        stored: What is kept: by `hash_password`, or by a seed file with pgcrypto's bcrypt.
        connection: Checks bcrypt, if its database has pgcrypto.
    """
    found = _STORED.fullmatch(stored)
    if found is not None:
        salt, wanted = b64decode(found[3]), b64decode(found[4])
        derived = await asyncio.to_thread(_derive, password, salt, int(found[1]), int(found[2]))
        return hmac.compare_digest(derived, wanted)
    if stored.startswith(_BCRYPT) and await _has_pgcrypto(connection):
        return bool(await connection.fetchval("select extensions.crypt($1, $2) = $2", password, stored))
    return False


async def _has_pgcrypto(connection: asyncpg.Connection) -> bool:
    found = await connection.fetchval("select to_regprocedure('extensions.crypt(text, text)') is not null")
    return bool(found)


def _derive(password: str, salt: bytes, cost: int, block: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=1, dklen=32)
