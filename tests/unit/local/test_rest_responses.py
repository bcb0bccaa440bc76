"""What functions, tokens and errors do to a response of the local REST interface."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whatssound.local.tokens import Keyring

KEYRING = Keyring()

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_request_can_be_asked_about(rest: Any) -> None:
    token = KEYRING.sign({"role": "authenticated", "sub": "u", "exp": 2000})
    _, body, _ = await rest.send(
        "GET", "/rpc/headers?select=", X_Probe="yes", Cookie="crumb=c", Authorization=f"Bearer {token}"
    )
    assert body == {
        "method": "GET", "path": "/rpc/headers", "agent": "yes", "cookie": "c",
        "claims": {"role": "authenticated", "sub": "u", "exp": 2000},
    }  # fmt: skip


async def test_functions_shape_responses(rest: Any) -> None:
    status, body, told = await rest.send("POST", "/rpc/own_response", {})
    assert (status, body, told["x-pot"]) == (418, "short and stout", "tea")
    assert await rest.code("POST", "/rpc/bad_headers", {}) == (500, "PGRST111")
    assert await rest.code("POST", "/rpc/bad_status", {}) == (500, "PGRST112")
    status, body, told = await rest.send("POST", "/rpc/raise_all", {})
    assert (status, told["x-header"], told["proxy-status"]) == (332, "str", "PostgREST; error=123")
    assert body == {"code": "123", "message": "ABC", "details": "DEF", "hint": "XYZ"}
    status, body, _ = await rest.send("POST", "/rpc/raise_bad", {})
    assert (status, body["code"], body["details"]) == (500, "PGRST121", "Invalid JSON value for MESSAGE: 'INVALID'")


@pytest.mark.parametrize(
    ("state", "status"),
    [("PT418", 418), ("PTABC", 500), ("08000", 503), ("40001", 500), ("53300", 503), ("42P01", 404), ("42883", 404),
     ("P0002", 500), ("22012", 400), ("28000", 403), ("0L000", 403), ("XX000", 500), ("42501", 401), ("25000", 500),
     ("57014", 500), ("21000", 500), ("23514", 400)],
)  # fmt: skip
async def test_statuses_of_database_errors(rest: Any, state: str, status: int) -> None:
    answered, body, _ = await rest.send("POST", "/rpc/fail_with", {"state": state})
    assert (answered, body["code"], body["message"]) == (status, state, "m")


async def test_role_and_function_settings(rest: Any) -> None:
    assert await rest.get("/rpc/timeout") == (200, "3s")
    assert await rest.get("/rpc/isolation") == (200, "serializable")


@pytest.mark.parametrize(
    ("token", "code", "message"),
    [
        ("", "PGRST301", "Empty JWT is sent in Authorization header"),
        ("garbage", "PGRST301", "Expected 3 parts in JWT; got 1"),
        ("a.b.c", "PGRST301", "JWT couldn't be decoded"),
        (KEYRING.sign({"exp": 960}), "PGRST303", "JWT expired"),
        (KEYRING.sign({"nbf": 1040}), "PGRST303", "JWT not yet valid"),
        (KEYRING.sign({"iat": 1040}), "PGRST303", "JWT issued at future"),
        (KEYRING.sign({"exp": "soon"}), "PGRST303", "The JWT 'exp' claim must be a number"),
        (KEYRING.sign({"aud": 1}), "PGRST303", "The JWT 'aud' claim must be a string or an array of strings"),
    ],
)
async def test_tokens_that_are_refused(rest: Any, token: str, code: str, message: str) -> None:
    status, body, told = await rest.send("GET", "/nowhere", Authorization=f"Bearer {token}")
    assert (status, body["code"], body["message"]) == (401, code, message)
    quoted = json.dumps(message)
    assert told["www-authenticate"] == f'Bearer error="invalid_token", error_description={quoted}'


async def test_tokens_within_the_skew_and_other_schemes_are_accepted(rest: Any) -> None:
    for header in (f"Bearer {KEYRING.sign({'role': 'anon', 'exp': 975})}", "Basic abc", "bearer " + KEYRING.anon_key):
        assert (await rest.get("/items?id=eq.1&select=id", Authorization=header))[0] == 200


async def test_options(rest: Any) -> None:
    for path, allowed in (
        ("/items", "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("/totals", "OPTIONS,GET,HEAD"),
        ("/many", "OPTIONS,GET,HEAD,POST,PATCH,DELETE"),
        ("/rpc/out_pair", "OPTIONS,POST"),
        ("/rpc/zone", "OPTIONS,GET,HEAD,POST"),
    ):
        status, _, told = await rest.send("OPTIONS", path)
        assert (status, told.get("allow")) == (200, allowed), path


async def test_other_headers(rest: Any) -> None:
    _, _, told = await rest.send("GET", "/items?select=id&id=eq.1")
    assert told["content-location"] == "/items?id=eq.1&select=id"
    assert told["vary"] == "Accept, Prefer, Range"
    assert told["server"].startswith("postgrest/")
    assert told["content-length"] == str(len('[{"id":1}]'))
