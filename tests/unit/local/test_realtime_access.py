"""What Realtime says to tokens it does not take, and who has lost the right to read."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from whatssound.local.realtime.access import Policies, TokenRefusedError, check_token
from whatssound.local.tokens import Keyring

KEYRING = Keyring()
STRANGER = Keyring("somebody-else-has-this-very-long-secret")
ELLIPTIC = Keyring(algorithm="ES256")
NOW = int(time.time())
#: Far beyond the run: the module is read long before its last test is played.
LATER = NOW + 86_400


def refused(token: str, keyring: Keyring = KEYRING) -> TokenRefusedError:
    with pytest.raises(TokenRefusedError) as caught:
        check_token(keyring, token)
    return caught.value


def test_a_token_may_hold_blanks_and_escapes() -> None:
    token = KEYRING.sign({"role": "anon", "exp": LATER})
    assert check_token(KEYRING, f" {token[:10]}\n{token[10:]} ")["role"] == "anon"
    assert check_token(KEYRING, token.replace(".", "%2E"))["role"] == "anon"


@pytest.mark.parametrize("claims", [{"role": "anon"}, {"exp": LATER}, {}])
def test_role_and_expiry_are_required(claims: dict[str, Any]) -> None:
    error = refused(KEYRING.sign(claims))
    assert (error.code, error.sentence) == ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "e30.e30.e30x"])
def test_nonsense_is_no_token(token: str) -> None:
    assert refused(token).code in {"MalformedJWT", "JwtSignerError"}


def test_expiry_outranks_missing_claims() -> None:
    error = refused(KEYRING.sign({"exp": NOW - 5}))
    assert error.handshake == "Token has expired"
    assert error.sentence.startswith("Token has expired ")


def test_a_strangers_signature_is_named_in_each_place() -> None:
    error = refused(STRANGER.sign({"role": "anon", "exp": LATER}))
    assert (error.code, error.system) == ("JwtSignatureError", ":signature_error")
    assert error.handshake == "Failed to validate JWT signature"


def test_a_key_that_the_project_lacks_is_named() -> None:
    token = ELLIPTIC.sign({"role": "anon", "exp": LATER})
    assert check_token(ELLIPTIC, token)["role"] == "anon"
    plain = refused(token)
    assert plain.sentence == "Failed to generate JWT signer, check your JWT secret or JWKS configuration"
    assert plain.system == ":error_generating_signer"
    other = refused(token, Keyring(algorithm="ES256"))
    assert other.sentence.startswith('Failed to generate JWT signer for key ID (kid) "')


def test_an_unsigned_token_is_refused() -> None:
    token = jwt.encode({"role": "service_role", "exp": LATER}, "", algorithm="none")
    assert refused(token).code == "JwtSignerError"


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (Policies(broadcast_read=True), Policies(broadcast_read=False, presence_read=True), True),
        (Policies(presence_read=True), Policies(broadcast_read=True, presence_read=False), True),
        (Policies(broadcast_read=False), Policies(broadcast_read=False), False),
        (Policies(), Policies(broadcast_read=False), False),
    ],
)
def test_a_right_that_was_there_can_be_lost(before: Policies, after: Policies, lost: bool) -> None:
    assert before.lost_read(after) is lost
