from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from whatssound.local.tokens import Keyring, TokenError

ANON = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24iLCJleHAiOjE5ODM4MTI5OTZ9"
    ".CRXP1A7WOeoJeXxjNni43kdQwgnWNReilDMblYTn_I0"
)
SERVICE = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6InNlcnZpY2Vfcm9sZSIsImV4cCI6MTk4Mz"
    "gxMjk5Nn0.EGIM96RAZx35lJzdJsyH-qQwv8Hdp7fsn3W0YpN81IU"
)


def test_the_well_known_keys_are_those_of_supabase_start() -> None:
    keyring = Keyring()
    assert keyring.anon_key == ANON
    assert keyring.service_key == SERVICE


def test_signed_claims_come_back() -> None:
    keyring = Keyring(now=lambda: 100.0)
    assert keyring.decode(keyring.sign({"role": "anon", "exp": 101})) == {"role": "anon", "exp": 101}


def test_claims_are_copies() -> None:
    keyring = Keyring()
    token = keyring.sign({"role": "anon"})
    keyring.verify(token)["role"] = "service_role"
    assert keyring.verify(token)["role"] == "anon"


@pytest.mark.parametrize("token", ["garbage", "", "a.b", "a.b.c", "a.b.c.d", "ñ.ñ.ñ"])
def test_garbage_is_malformed(token: str) -> None:
    with pytest.raises(TokenError) as caught:
        Keyring().decode(token)
    assert caught.value.kind == "malformed"
    assert caught.value.parts == token.count(".") + 1


def test_another_secret_is_a_wrong_signature() -> None:
    with pytest.raises(TokenError) as caught:
        Keyring().decode(Keyring("x" * 32).sign({"role": "anon"}))
    assert caught.value.kind == "signature"


def test_an_expired_token_says_for_how_long() -> None:
    keyring = Keyring(now=lambda: 130.0)
    token = keyring.sign({"exp": 100})
    with pytest.raises(TokenError) as caught:
        keyring.decode(token)
    assert caught.value.kind == "expired"
    assert caught.value.expired_ago == 30.0
    assert keyring.decode(token, leeway=31.0) == {"exp": 100}
    assert keyring.verify(token) == {"exp": 100}


def test_required_claims_are_named() -> None:
    keyring = Keyring()
    with pytest.raises(TokenError) as caught:
        keyring.decode(keyring.sign({"sub": "x"}), require=("role", "exp"))
    assert caught.value.kind == "claims"
    assert caught.value.missing == ("exp", "role")


def test_an_expiry_that_is_no_number_is_a_claims_error() -> None:
    keyring = Keyring()
    with pytest.raises(TokenError) as caught:
        keyring.decode(keyring.sign({"exp": "soon"}))
    assert caught.value.kind == "claims"


def test_es256_signs_and_still_accepts_the_shared_secret() -> None:
    asymmetric = Keyring(algorithm="ES256")
    token = asymmetric.sign({"role": "authenticated"})
    assert asymmetric.verify(token) == {"role": "authenticated"}
    assert asymmetric.verify(Keyring().sign({"role": "anon"})) == {"role": "anon"}
    with pytest.raises(TokenError) as caught:
        Keyring().verify(token)
    assert caught.value.kind == "signature"
    (key,) = asymmetric.jwks()["keys"]
    assert {key["kty"], key["crv"], key["alg"]} == {"EC", "P-256", "ES256"}
    assert Keyring().jwks() == {"keys": []}


def test_an_es256_key_can_be_given() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    first, second = (Keyring(algorithm="ES256", private_key_pem=pem) for _ in range(2))
    assert first.jwks() == second.jwks()
    assert second.verify(first.sign({"a": 1})) == {"a": 1}


def test_the_wrong_kind_of_key_is_refused() -> None:
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="P-256"):
        Keyring(private_key_pem=pem)


@pytest.mark.parametrize("payload", [b"[]", b"7", b"not json"])
def test_claims_that_are_no_object_are_a_claims_error(payload: bytes) -> None:
    keyring = Keyring()
    token = jwt.PyJWS().encode(payload, keyring.secret, algorithm="HS256")
    with pytest.raises(TokenError) as caught:
        keyring.verify(token)
    assert caught.value.kind == "claims"


@pytest.mark.parametrize(("algorithm", "found"), [("HS512", False), ("none", False), ("HS256", True)])
def test_an_algorithm_without_a_key_is_told_apart(algorithm: str, found: bool) -> None:
    token = jwt.encode({"role": "anon"}, "" if algorithm == "none" else "y" * 64, algorithm=algorithm)
    with pytest.raises(TokenError) as caught:
        Keyring().verify(token)
    assert caught.value.kind == "signature"
    assert caught.value.key_found is found


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring("short")


def test_the_secret_is_not_shown() -> None:
    assert "super-secret" not in repr(Keyring())
