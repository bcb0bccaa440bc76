"""Who sends a request: its bearer token, checked as PostgREST checks it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from whatssound.local.rest import errors
from whatssound.local.tokens import Keyring, TokenError

if TYPE_CHECKING:
    from whatssound.local.rest.errors import ApiError

_SKEW: Final = 30
"""Seconds by which clocks may differ."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The role a request runs as, and what its token claims.

    Args:
        role: The database role.
        claims: The claims as JSON, with the role.
    """

    role: str
    claims: str


def identify(authorization: str | None, keyring: Keyring, anon_role: str | None, now: float) -> Caller:
    """Checks the `Authorization` header; anything but a bearer token is as good as none.

    Args:
        authorization: The header.
        keyring: The keys tokens are signed with.
        anon_role: The role without a token; None refuses.
        now: Seconds since the epoch.

    Raises:
        ApiError: PGRST301, PGRST302 or PGRST303.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    bearer = authorization is not None and scheme.lower() == "bearer"
    claims: dict[str, Any] = {}
    if bearer:
        claims = _verified(token.strip(), keyring)
        _check_claims(claims, now)
    role = claims.get("role", anon_role)
    if role is None:
        raise errors.token_required()
    name = role if isinstance(role, str) else json.dumps(role)
    return Caller(name, json.dumps({**claims, "role": name}, ensure_ascii=False, separators=(",", ":")))


def _verified(token: str, keyring: Keyring) -> dict[str, Any]:
    if not token:
        raise errors.bad_token("Empty JWT is sent in Authorization header")
    try:
        return keyring.verify(token)
    except TokenError as error:
        raise _refusal(error) from error


def _refusal(error: TokenError) -> ApiError:
    if error.kind == "malformed" and error.parts != 3:
        return errors.bad_token(f"Expected 3 parts in JWT; got {error.parts}")
    if error.kind == "malformed":
        return errors.bad_token("JWT couldn't be decoded")
    if error.kind == "claims":
        return errors.bad_claims("Parsing claims failed")
    tried = "None of the keys was able to decode the JWT"
    details = tried if error.key_found else "No suitable key was found to decode the JWT"
    return errors.bad_token("No suitable key or wrong key type", details)


def _check_claims(claims: dict[str, Any], now: float) -> None:
    seconds = math.floor(now)
    expires, starts, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is not None and seconds - _SKEW > expires:
        raise errors.bad_claims("JWT expired")
    if starts is not None and seconds + _SKEW < starts:
        raise errors.bad_claims("JWT not yet valid")
    if issued is not None and seconds + _SKEW < issued:
        raise errors.bad_claims("JWT issued at future")
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience or ""]
    if not all(isinstance(name, str) for name in listed):
        raise errors.bad_claims("The JWT 'aud' claim must be a string or an array of strings")


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise errors.bad_claims(f"The JWT '{name}' claim must be a number")
    return value
