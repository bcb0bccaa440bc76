"""The keys of a local stack: signs and checks the tokens that every part of Supabase accepts."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

WELL_KNOWN_SECRET: Final = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105 - public on purpose
"""The HS256 secret of every `supabase start`: for local use only."""

_KEY_EXPIRY: Final = 1983812996
_REMEMBERED_TOKENS: Final = 1024
_SECRET_MIN_BYTES: Final = 32
_SIGNATURES: Final = jwt.PyJWS()

TokenErrorKind = Literal["malformed", "signature", "expired", "claims"]


class TokenError(Exception):
    """A token that is not accepted.

    Args:
        kind: Not a token at all, not signed by this stack, expired, or claims absent or of a wrong type.
        message: A sentence for people; it never holds the token.
        parts: How many dot-separated parts a malformed token had.
        expired_ago: Seconds since an expired token ended.
        missing: Names of required claims that are absent or unusable.
        key_found: False if the token's algorithm fits no key of the stack, so that no signature was tried.
    """

    def __init__(
        self,
        kind: TokenErrorKind,
        message: str,
        *,
        parts: int | None = None,
        expired_ago: float | None = None,
        missing: tuple[str, ...] = (),
        key_found: bool = True,
    ) -> None:
        super().__init__(message)
        self.kind: TokenErrorKind = kind
        self.parts = parts
        self.expired_ago = expired_ago
        self.missing = missing
        self.key_found = key_found


class Keyring:
    """Signs and checks JSON web tokens with one HS256 secret and, if wanted, an ES256 key pair.

    Tokens signed by either key are accepted at all times, as Supabase does while a project moves to
    asymmetric keys; `algorithm` only decides how new ones are signed.

    Args:
        secret: The shared HS256 secret, at least 32 bytes.
        algorithm: How `sign` signs.
        private_key_pem: The ES256 private key (PEM); made anew when absent and `algorithm` is "ES256".
        now: The clock, in seconds since the epoch.

    Raises:
        ValueError: The secret is too short, or the key is no P-256 private key.
    """

    def __init__(
        self,
        secret: str = WELL_KNOWN_SECRET,
        *,
        algorithm: Literal["HS256", "ES256"] = "HS256",
        private_key_pem: bytes | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if len(secret.encode()) < _SECRET_MIN_BYTES:
            raise ValueError(f"the token secret must have at least {_SECRET_MIN_BYTES} bytes")
        self._secret = secret
        self._now = now
        self._algorithm = algorithm
        self._private_key: ec.EllipticCurvePrivateKey | None = None
        if private_key_pem is not None:
            self._private_key = _load_private_key(private_key_pem)
        elif algorithm == "ES256":
            self._private_key = ec.generate_private_key(ec.SECP256R1())
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.anon_key: Final = self._project_key("anon")
        self.service_key: Final = self._project_key("service_role")

    @override
    def __repr__(self) -> str:
        """Shows the algorithm only: a keyring ends up in logs sooner or later."""
        return f"Keyring(algorithm={self._algorithm!r})"

    @property
    def secret(self) -> str:
        """The HS256 secret, as other parts of a stack need it in their configuration."""
        return self._secret

    @property
    def algorithm(self) -> str:
        """How new tokens are signed."""
        return self._algorithm

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Signs claims as they are: nothing is added, so tests can make any token.

        Args:
            claims: The payload; times are whole seconds since the epoch.
        """
        if self._algorithm == "ES256" and self._private_key is not None:
            return jwt.encode(dict(claims), self._private_key, algorithm="ES256", headers={"kid": self._kid()})
        return jwt.encode(dict(claims), self._secret, algorithm="HS256")

    def verify(self, token: str) -> dict[str, Any]:
        """Checks the signature alone and returns the claims, whatever they say about time.

        Args:
            token: The compact form, without "Bearer".

        Raises:
            TokenError: `malformed` or `signature`.
        """
        known = self._verified.get(token)
        if known is None:
            known = self._verify_anew(token)
            self._verified[token] = known
            if len(self._verified) > _REMEMBERED_TOKENS:
                self._verified.popitem(last=False)
        # A copy, so that a caller who edits its claims does not edit everybody's.
        return dict(known)

    def decode(self, token: str, *, leeway: float = 0.0, require: Collection[str] = ()) -> dict[str, Any]:
        """Checks signature, expiry and the presence of claims.

        Args:
            token: The compact form, without "Bearer".
            leeway: Seconds that a token is still accepted after it expired.
            require: Claims that must be present; `exp` is checked only where present or required.

        Raises:
            TokenError: Any kind; `expired` carries `expired_ago`, `claims` carries `missing`.
        """
        claims = self.verify(token)
        missing = tuple(sorted(name for name in require if claims.get(name) in {None, ""}))
        if missing:
            raise TokenError("claims", f"the token lacks {', '.join(missing)}", missing=missing)
        expiry = claims.get("exp")
        if expiry is not None:
            if isinstance(expiry, bool) or not isinstance(expiry, int | float):
                raise TokenError("claims", "the token's exp is not a number", missing=("exp",))
            ago = self._now() - expiry
            if ago >= leeway:
                raise TokenError("expired", f"the token expired {ago:.0f} s ago", expired_ago=ago)
        return claims

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The public keys as a JSON web key set; empty while only the shared secret is in use."""
        if self._private_key is None:
            return {"keys": []}
        numbers = self._private_key.public_key().public_numbers()
        coordinates = {"x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        key = {"kty": "EC", "crv": "P-256", **coordinates, "alg": "ES256", "use": "sig", "kid": self._kid()}
        return {"keys": [{**key, "key_ops": ["verify"], "ext": True}]}

    def _kid(self) -> str:
        assert self._private_key is not None
        numbers = self._private_key.public_key().public_numbers()
        # RFC 7638's thumbprint: the same key has the same name in every process.
        members = {"crv": "P-256", "kty": "EC", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        return _b64(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())

    def _project_key(self, role: str) -> str:
        # This very order of claims gives the keys that `supabase start` prints for the well-known secret.
        claims = {"iss": "supabase-demo", "role": role, "exp": _KEY_EXPIRY}
        return jwt.encode(claims, self._secret, algorithm="HS256", sort_headers=True)

    def _verify_anew(self, token: str) -> dict[str, Any]:
        parts = token.count(".") + 1
        if parts != 3:
            raise TokenError("malformed", "a token has three parts", parts=parts)
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
        except jwt.InvalidTokenError as error:
            raise TokenError("malformed", "the token's header cannot be read", parts=parts) from error
        key: Any = self._secret if algorithm == "HS256" else None
        if algorithm == "ES256" and self._private_key is not None:
            key = self._private_key.public_key()
        if key is None:
            raise TokenError("signature", "no key of this stack fits the token", parts=parts, key_found=False)
        try:
            payload = _SIGNATURES.decode(token, key, algorithms=[str(algorithm)])
        except jwt.InvalidSignatureError as error:
            raise TokenError("signature", "the token was not signed by this stack", parts=parts) from error
        except jwt.InvalidTokenError as error:
            raise TokenError("malformed", "the token cannot be read", parts=parts) from error
        try:
            claims = json.loads(payload)
        except ValueError as error:
            raise TokenError("claims", "the token's claims are no JSON", parts=parts) from error
        if not isinstance(claims, dict):
            raise TokenError("claims", "the token's claims are no JSON object", parts=parts)
        return claims


def _load_private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the signing key must be a P-256 private key")  # noqa: TRY004 - the file is wrong, not a type
    return key


def _coordinate(number: int) -> str:
    return _b64(number.to_bytes(32, "big"))


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
