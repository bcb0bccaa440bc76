"""Signing in, keeping the token fresh, and saying in our words what went wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import respx

from whatssound._auth import AccessToken, GivenToken, SignedIn, is_public_key, token_claims
from whatssound._postgrest import make_http_client
from whatssound.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidCredentialsError,
    InvalidKeyError,
    NotSignedInError,
    ServerError,
    TokenExpiredError,
    UnreachableError,
    WhatsSoundError,
)

URL = "http://project.test"
KEY = "sb_publishable_very_secret_key"
ANA = "00000000-0000-4000-8000-0000000000aa"
EVE = "00000000-0000-4000-8000-0000000000ee"
NOW = "2026-11-24T00:00:00Z"


def jwt(*, lasts: float = 3600.0, user: str = ANA, number: int = 1, **claims: Any) -> str:
    body = {"sub": user, "exp": int(time.time() + lasts), "n": number, **claims}
    encoded = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded}.very-secret-signature"


def session(*, lasts: float = 3600.0, user: str = ANA, number: int = 1, name: str = "ana") -> dict[str, Any]:
    return {
        "access_token": jwt(lasts=lasts, user=user, number=number, user_metadata={"username": name}),
        "refresh_token": f"very-secret-refresh-{number}",
        "token_type": "bearer",
        "expires_in": 3600,
        "expires_at": int(time.time() + lasts),
        "user": {
            "id": user,
            "aud": "authenticated",
            "app_metadata": {},
            "user_metadata": {"username": name},
            "created_at": NOW,
        },
    }


def refused(status: int, code: str, message: str = "no") -> httpx.Response:
    return httpx.Response(
        status, json={"code": code, "message": message}, headers={"X-Supabase-Api-Version": "2024-01-01"}
    )


@pytest_asyncio.fixture
async def auth() -> AsyncIterator[SignedIn]:
    async with make_http_client() as http:
        yield SignedIn(URL, KEY, http)


def signup() -> respx.Route:
    return respx.post(f"{URL}/auth/v1/signup")


def tokens(grant: str) -> respx.Route:
    return respx.post(f"{URL}/auth/v1/token", params={"grant_type": grant})


def told(error: BaseException) -> str:
    return f"{error} {error!r}"


# --- signing in


@respx.mock
async def test_before_signing_in_the_key_is_the_token(auth: SignedIn) -> None:
    assert await auth.token() == KEY
    assert auth.user_id is None
    assert auth.username is None
    assert auth.expires_in() is None
    await auth.sign_out()


@respx.mock
async def test_signing_in_anonymously_carries_the_name(auth: SignedIn) -> None:
    route = signup().respond(json=session())
    assert await auth.sign_in_anonymously("ana") == ANA
    assert json.loads(route.calls.last.request.content)["data"] == {"username": "ana"}
    assert (auth.user_id, auth.username) == (ANA, "ana")
    assert token_claims(await auth.token())["sub"] == ANA
    assert 3500 < (auth.expires_in() or 0) <= 3600


@respx.mock
async def test_signing_in_with_a_password(auth: SignedIn) -> None:
    route = tokens("password").respond(json=session())
    assert await auth.sign_in("ana@x.test", "secret") == ANA
    assert json.loads(route.calls.last.request.content)["password"] == "secret"


@respx.mock
async def test_signing_up_may_need_a_confirmation(auth: SignedIn) -> None:
    signup().respond(json=session()["user"])
    with pytest.raises(NotSignedInError, match="confirmed"):
        await auth.sign_up("ana@x.test", "secret", "ana")
    assert auth.user_id is None


@respx.mock
async def test_signing_out_ends_this_sign_in_only(auth: SignedIn) -> None:
    signup().respond(json=session())
    route = respx.post(f"{URL}/auth/v1/logout", params={"scope": "local"}).respond(204)
    await auth.sign_in_anonymously(None)
    await auth.sign_out()
    assert route.called
    assert await auth.token() == KEY


@pytest.mark.parametrize(
    ("answer", "error", "retryable"),
    [
        (httpx.ConnectError("refused"), UnreachableError, True),
        (httpx.ReadTimeout("slow"), UnreachableError, True),
        (refused(400, "invalid_credentials"), InvalidCredentialsError, False),
        (refused(422, "anonymous_provider_disabled"), ConfigurationError, False),
        (refused(429, "over_request_rate_limit"), ServerError, True),
        (refused(500, "unexpected_failure"), ServerError, True),
        (httpx.Response(503, html="<html>"), ServerError, True),
        (httpx.Response(500, html="<html>"), ServerError, True),
        (httpx.Response(404, html="<html>"), ServerError, False),
        (httpx.Response(200, html="<html>captive portal</html>"), ServerError, True),
        (httpx.Response(200, json={"surprise": True}), WhatsSoundError, None),
        (httpx.Response(401, json={"message": "Invalid API key"}), InvalidKeyError, False),
        (refused(422, "weak_password_or_so", "too weak"), AuthenticationError, False),
    ],
    ids=str,
)
@respx.mock
async def test_what_goes_wrong_is_one_of_our_errors(
    auth: SignedIn, answer: Any, error: type[WhatsSoundError], retryable: bool | None
) -> None:
    if isinstance(answer, httpx.Response):
        tokens("password").mock(return_value=answer)
    else:
        tokens("password").mock(side_effect=answer)
    with pytest.raises(WhatsSoundError) as caught:
        await auth.sign_in("ana@x.test", "very-secret-password")
    assert isinstance(caught.value, error), repr(caught.value)
    assert retryable is None or caught.value.retryable is retryable
    assert "very-secret" not in told(caught.value)
    assert KEY not in told(caught.value)
    assert auth.user_id is None


# --- keeping the token fresh


@respx.mock
async def test_a_token_that_is_about_to_end_is_refreshed_once_for_all(auth: SignedIn) -> None:
    signup().respond(json=session(lasts=20))
    route = tokens("refresh_token").respond(json=session(number=2))
    await auth.sign_in_anonymously(None)
    got = await asyncio.gather(*(auth.token() for _ in range(10)))
    assert {token_claims(token)["n"] for token in got} == {2}
    assert route.call_count == 1
    assert json.loads(route.calls.last.request.content)["refresh_token"] == "very-secret-refresh-1"


@respx.mock
async def test_a_refused_token_is_refreshed_once_for_all(auth: SignedIn) -> None:
    signup().respond(json=session())
    route = tokens("refresh_token").respond(json=session(number=2))
    await auth.sign_in_anonymously(None)
    old = await auth.token()
    assert not route.called
    got = await asyncio.gather(*(auth.token(refused=old) for _ in range(5)))
    assert {token_claims(token)["n"] for token in got} == {2}
    assert route.call_count == 1


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("x"), httpx.Response(503, html="?"), httpx.Response(500, html="?")]
)
@respx.mock
async def test_an_ending_token_is_better_than_none(auth: SignedIn, answer: Any) -> None:
    signup().respond(json=session(lasts=20))
    tokens("refresh_token").mock(side_effect=[answer, answer, answer])
    await auth.sign_in_anonymously(None)
    assert token_claims(await auth.token())["n"] == 1


@respx.mock
async def test_an_ended_token_and_no_auth_server_is_unreachable(auth: SignedIn) -> None:
    signup().respond(json=session(lasts=-5))
    tokens("refresh_token").mock(side_effect=httpx.ConnectError("down"))
    await auth.sign_in_anonymously(None)
    with pytest.raises(UnreachableError):
        await auth.token()
    tokens("refresh_token").mock(return_value=httpx.Response(200, json=session(number=2)))
    assert token_claims(await auth.token())["n"] == 2, "and it recovers"


@pytest.mark.parametrize("code", ["refresh_token_not_found", "refresh_token_already_used", "session_not_found"])
@respx.mock
async def test_a_sign_in_that_has_ended_says_so(auth: SignedIn, code: str) -> None:
    signup().respond(json=session(lasts=5))
    tokens("refresh_token").mock(return_value=refused(400, code))
    await auth.sign_in_anonymously(None)
    with pytest.raises(TokenExpiredError):
        await auth.token()


@pytest.mark.parametrize("then", ["out", "as somebody else"])
@respx.mock
async def test_who_signs_out_or_in_during_a_refresh_stays_so(auth: SignedIn, then: str) -> None:
    refreshing, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        refreshing.set()
        await answer.wait()
        return httpx.Response(200, json=session(number=2))

    signup().mock(side_effect=[httpx.Response(200, json=session(lasts=5)), httpx.Response(200, json=session(user=EVE))])
    tokens("refresh_token").mock(side_effect=slow)
    respx.post(f"{URL}/auth/v1/logout").respond(204)
    await auth.sign_in_anonymously(None)
    asking = [asyncio.create_task(auth.token()) for _ in range(2)]
    await refreshing.wait()
    if then == "out":
        await auth.sign_out()
    else:
        await auth.sign_in_anonymously(None)
    answer.set()
    got = await asyncio.gather(*asking)
    if then == "out":
        assert got == [KEY, KEY]
        assert auth.user_id is None
    else:
        assert [token_claims(token)["sub"] for token in got] == [EVE, EVE]
        assert auth.user_id == EVE


# --- tokens that the app brings


async def test_a_fixed_token_is_used_until_it_ends() -> None:
    token = jwt(user_metadata={"username": "ana"})
    given = GivenToken(token)
    assert await given.token(refused=token) == token
    assert (given.user_id, given.username) == (ANA, "ana")
    with pytest.raises(TokenExpiredError):
        await GivenToken(jwt(lasts=-1)).token()


async def test_a_function_is_asked_when_it_must_be() -> None:
    asked = 0

    def make() -> str:
        nonlocal asked
        asked += 1
        return jwt(lasts=30 if asked == 1 else 3600, number=asked)

    given = GivenToken(make)
    assert given.user_id is None
    assert token_claims(await given.token())["n"] == 1
    assert token_claims(await given.token())["n"] == 2, "the first was about to end"
    second = await given.token()
    assert token_claims(second)["n"] == 2
    assert token_claims(await given.token(refused="an older one"))["n"] == 2
    got = await asyncio.gather(*(given.token(refused=second) for _ in range(3)))
    assert {token_claims(token)["n"] for token in got} == {3}
    assert given.user_id == ANA


async def test_an_async_function_will_do() -> None:
    async def make() -> str:
        await asyncio.sleep(0)
        return jwt()

    assert await GivenToken(make).token()


def _raises() -> str:
    raise OSError("very-secret in the message")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (_raises, AuthenticationError),
        (lambda: None, AuthenticationError),
        (lambda: "", AuthenticationError),
        (lambda: jwt(lasts=-5), TokenExpiredError),
        (lambda: "two words", AuthenticationError),
    ],
)
async def test_a_function_that_gives_no_token_is_one_of_our_errors(
    make: AccessToken, error: type[WhatsSoundError]
) -> None:
    with pytest.raises(error) as caught:
        await GivenToken(make).token()
    assert "very-secret" not in told(caught.value)


def test_claims_of_what_is_no_token_are_empty() -> None:
    for text in ("", "a.b", "a.b.c", "a.!!!.c", f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c", KEY):
        assert token_claims(text) == {}


def test_public_keys_are_known() -> None:
    assert is_public_key(KEY)
    assert is_public_key(jwt(role="anon"))
    assert not is_public_key(jwt(role="authenticated"))
    assert not is_public_key(jwt(role="service_role"))
