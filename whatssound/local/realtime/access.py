"""Tokens and policies: who may connect, read and write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import jwt

from ..tokens import TokenError
from .inspect import inspect

if TYPE_CHECKING:
    from ..tokens import Keyring

_SPACE: Final = re.compile(r"\s")
_CLAIMS: Final = "Fields `role` and `exp` are required in JWT"
_CHECK_KEYS: Final = "check your JWT secret or JWKS configuration"
_MALFORMED: Final = "The token provided is not a valid JWT"


class TokenRefusedError(Exception):
    """A token that Realtime does not accept, with the texts that clients get to see.

    Attributes:
        code: The code before a refused join's sentence.
        sentence: The sentence of a refused join.
        handshake: The sentence of a refused handshake.
        system: The `system` message of a refused refresh.
    """

    def __init__(self, code: str, sentence: str, *, handshake: str | None = None, system: str | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.handshake = handshake or sentence
        self.system = system or sentence


def check_token(keyring: Keyring, token: str) -> dict[str, Any]:
    """Checks a token and answers its claims.

    Args:
        keyring: The keys of the stack.
        token: The token as it came from the client.

    Raises:
        TokenRefusedError: It is malformed, signed by somebody else, expired, or lacks a claim.
    """
    try:
        claims = keyring.decode(_SPACE.sub("", unquote(token)))
    except TokenError as error:
        raise _refusal(keyring, token, error) from error
    if claims.get("exp") is None or "role" not in claims:
        raise TokenRefusedError("InvalidJWTToken", _CLAIMS)
    return claims


def _refusal(keyring: Keyring, token: str, error: TokenError) -> TokenRefusedError:
    if error.kind == "expired":
        ago = int(error.expired_ago or 0)
        sentence = f"Token has expired {ago} seconds ago"
        return TokenRefusedError("InvalidJWTToken", sentence, handshake="Token has expired")
    if error.kind == "signature":
        signer = _signer_refusal(keyring, token)
        if signer is not None:
            return signer
        return TokenRefusedError("JwtSignatureError", "Failed to validate JWT signature", system=":signature_error")
    if error.kind == "claims":
        return TokenRefusedError("InvalidJWTToken", _CLAIMS)
    return TokenRefusedError("MalformedJWT", _MALFORMED)


def _signer_refusal(keyring: Keyring, token: str) -> TokenRefusedError | None:
    """The refusal of a token whose algorithm or key the project does not have; None if it has them."""
    header = jwt.get_unverified_header(token)
    algorithm, key_id = str(header.get("alg")), header.get("kid")
    if algorithm in {"HS256", "HS384", "HS512"}:
        return None
    if isinstance(key_id, str) and algorithm[:2] in {"RS", "ES", "Ed"} and keyring.jwks()["keys"]:
        if any(key["kid"] == key_id for key in keyring.jwks()["keys"]):
            return None
        sentence = f"Failed to generate JWT signer for key ID (kid) {inspect(key_id)}, {_CHECK_KEYS}"
        return TokenRefusedError("JwtSignerError", sentence)
    sentence = f"Failed to generate JWT signer, {_CHECK_KEYS}"
    return TokenRefusedError("JwtSignerError", sentence, system=":error_generating_signer")


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf the database is asked.

    Attributes:
        claims: The claims of the token.
        headers: Headers of the request whose names start with `x-`.
    """

    claims: dict[str, Any]
    headers: dict[str, str]

    @property
    def role(self) -> Any:
        """The database role; policies refuse anything but text."""
        return self.claims.get("role")


@dataclass(slots=True)
class Policies:
    """What policies say about one channel; None where they have not been asked yet.

    Attributes:
        broadcast_read: Whether broadcasts may be heard.
        broadcast_write: Whether broadcasts may be sent.
        presence_read: Whether presences may be seen.
        presence_write: Whether one may be present.
    """

    broadcast_read: bool | None = None
    broadcast_write: bool | None = None
    presence_read: bool | None = None
    presence_write: bool | None = None

    def lost_read(self, later: Policies) -> bool:
        """Whether a right to read is gone.

        Args:
            later: The policies asked again.
        """
        return (self.broadcast_read is True and later.broadcast_read is False) or (
            self.presence_read is True and later.presence_read is False
        )
