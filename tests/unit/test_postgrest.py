"""Every way in which a call can fail is one of our errors, says what is true, and tells no secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import respx

from whatssound._postgrest import PostgrestRpc, classify_response, make_http_client, retry_after
from whatssound.errors import (
    REFUSALS,
    BannedError,
    DatabaseBusyError,
    InvalidKeyError,
    NotAllowedError,
    NotSignedInError,
    ProtocolError,
    QueueConflictError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    SlowModeError,
    TokenExpiredError,
    TransportError,
    UnreachableError,
    WhatsSoundError,
)
from whatssound.testing import FakeTokens

URL = "http://project.test"
RPC = f"{URL}/rest/v1/rpc/cast_vote"
KEY = "sb_publishable_very_secret_key"
TOKEN = "eyJ.very.secret-1"


class Caller:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.tokens = FakeTokens("u1", token=TOKEN)
        self.rpc = PostgrestRpc(URL, KEY, self.tokens, http)

    async def call(self, *, within: float = 5.0) -> dict[str, Any]:
        return await self.rpc.call("cast_vote", {"p_value": 1}, within=within)

    async def fails(self, *, within: float = 5.0) -> WhatsSoundError:
        with pytest.raises(WhatsSoundError) as caught:
            await self.call(within=within)
        told = f"{caught.value} {caught.value!r} {vars(caught.value)}"
        assert KEY not in told
        assert "very.secret" not in told
        return caught.value


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Caller]:
    async with make_http_client() as http:
        yield Caller(http)


def refused(status: int, hint: str, message: str = "no", **facts: Any) -> httpx.Response:
    body = {"code": f"PT{status}", "message": message, "hint": hint, "details": json.dumps(facts) if facts else None}
    return httpx.Response(status, json=body)


@respx.mock
async def test_a_call_names_its_arguments_and_who_asks(caller: Caller) -> None:
    route = respx.post(RPC).respond(json={"ok": True})
    assert await caller.call() == {"ok": True}
    request = route.calls.last.request
    assert json.loads(request.content) == {"p_value": 1}
    assert request.headers["apikey"] == KEY
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("failure", "error", "sent"),
    [
        (httpx.ConnectError("refused"), UnreachableError, False),
        (httpx.ConnectTimeout("slow"), UnreachableError, False),
        (httpx.PoolTimeout("full"), RequestTimeoutError, False),
        (httpx.ReadTimeout("slow"), RequestTimeoutError, True),
        (httpx.WriteTimeout("slow"), RequestTimeoutError, True),
        (httpx.ReadError("reset"), TransportError, True),
        (httpx.RemoteProtocolError("disconnected"), TransportError, True),
        (httpx.UnsupportedProtocol("odd"), UnreachableError, False),
    ],
)
@respx.mock
async def test_what_breaks_on_the_way(
    caller: Caller, failure: Exception, error: type[TransportError], sent: bool
) -> None:
    respx.post(RPC).mock(side_effect=failure)
    got = await caller.fails()
    assert type(got) is error
    assert isinstance(got, TransportError)
    assert (got.sent, got.retryable) == (sent, True)


async def test_nobody_listens(unused_tcp_port: int) -> None:
    async with make_http_client() as http:
        rpc = PostgrestRpc(f"http://127.0.0.1:{unused_tcp_port}", KEY, FakeTokens(), http)
        with pytest.raises(UnreachableError):
            await rpc.call("f", {}, within=5)


@respx.mock
async def test_no_answer_in_time(caller: Caller) -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    respx.post(RPC).mock(side_effect=never)
    got = await caller.fails(within=0.05)
    assert isinstance(got, RequestTimeoutError)
    assert got.sent


HTML = httpx.Response(502, html="<html>Bad Gateway</html>")


@pytest.mark.parametrize(
    ("response", "error", "retryable"),
    [
        (httpx.Response(401, json={"message": "Invalid API key"}), InvalidKeyError, False),
        (httpx.Response(401, html="<html>who?</html>"), InvalidKeyError, False),
        (httpx.Response(401, json={"code": "PGRST301", "message": "JWSError"}), InvalidKeyError, False),
        (
            httpx.Response(401, json={"code": "PGRST302", "message": "Anonymous access is disabled"}),
            InvalidKeyError,
            False,
        ),
        (httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"}), TokenExpiredError, False),
        (httpx.Response(401, json={"code": "42501", "message": "permission denied"}), NotSignedInError, False),
        (httpx.Response(403, json={"code": "42501", "message": "permission denied"}), NotAllowedError, False),
        (httpx.Response(403, html="<html>Forbidden</html>"), ServerError, False),
        (httpx.Response(404, html="<html>Not Found</html>"), ServerError, False),
        (httpx.Response(404, json={"code": "PGRST202", "message": "no function"}), ProtocolError, False),
        (httpx.Response(400, json={"code": "22P05", "message": "untranslatable"}), RefusedError, False),
        (httpx.Response(408, html="slow"), ServerError, True),
        (httpx.Response(429, json={"message": "API rate limit exceeded"}), ServerError, True),
        (HTML, ServerError, True),
        (httpx.Response(503, json={"message": "name resolution failed"}), ServerError, True),
        (httpx.Response(503, json={"code": "PGRST000", "message": "no database"}), ServerError, True),
        (httpx.Response(520), ServerError, True),
        (httpx.Response(500, json=["surprise"]), ServerError, True),
        (httpx.Response(500, json={"code": "57014", "message": "statement timeout"}), ServerError, True),
        (httpx.Response(409, json={"code": "40P01", "message": "deadlock"}), ServerError, True),
        (httpx.Response(200, html="<html>captive portal</html>"), ServerError, True),
        (httpx.Response(200, json=["no", "object"]), ServerError, True),
        (httpx.Response(200, json=None), ServerError, True),
        (httpx.Response(204), ServerError, True),
    ],
    ids=lambda value: f"{value.status_code} {value.text[:30]}" if isinstance(value, httpx.Response) else None,
)
@respx.mock
async def test_every_answer_is_one_of_our_errors(
    caller: Caller, response: httpx.Response, error: type[WhatsSoundError], retryable: bool
) -> None:
    caller.tokens.current = f"{TOKEN[:-2]}-1"
    respx.post(RPC).mock(return_value=response)
    got = await caller.fails()
    assert type(got) is error, repr(got)
    assert got.retryable is retryable
    if isinstance(got, ServerError):
        assert got.status == response.status_code


@pytest.mark.parametrize(
    ("response", "sent"),
    [
        (httpx.Response(429, json={"message": "slow down"}), False),
        (httpx.Response(500, json={"code": "40001", "message": "could not serialize"}), False),
        (httpx.Response(502, html="?"), True),
        (httpx.Response(504, html="?"), True),
        (httpx.Response(200, html="?"), True),
        (httpx.Response(404, html="?"), False),
    ],
)
@respx.mock
async def test_whether_it_may_have_happened(caller: Caller, response: httpx.Response, sent: bool) -> None:
    respx.post(RPC).mock(return_value=response)
    got = await caller.fails()
    assert isinstance(got, ServerError)
    assert got.sent is sent


@respx.mock
async def test_retry_after_is_read(caller: Caller) -> None:
    respx.post(RPC).respond(429, json={"message": "slow down"}, headers={"Retry-After": "7"})
    got = await caller.fails()
    assert isinstance(got, ServerError)
    assert got.retry_after == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-2", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None), ("nan", 0.0)],
)
def test_retry_after_s_forms(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds
    assert retry_after({}) is None


@pytest.mark.parametrize("code", sorted(REFUSALS))
@respx.mock
async def test_every_refusal_has_its_class(caller: Caller, code: str) -> None:
    respx.post(RPC).mock(return_value=refused(409, code))
    got = await caller.fails()
    assert type(got) is REFUSALS[code]
    assert isinstance(got, RefusedError)
    assert (got.code, got.status, got.retry_after, dict(got.facts)) == (code, 409, None, {})


@respx.mock
async def test_a_refusal_carries_its_facts(caller: Caller) -> None:
    respx.post(RPC).mock(return_value=refused(429, "slow_mode", "wait", retry_after=4.5))
    slow = await caller.fails()
    assert isinstance(slow, SlowModeError)
    assert (slow.retry_after, slow.message, slow.status) == (4.5, "wait", 429)
    assert "4.5" in str(slow)
    respx.post(RPC).mock(return_value=refused(409, "queue_conflict", order=["a", "b"], now_playing=None))
    conflict = await caller.fails()
    assert isinstance(conflict, QueueConflictError)
    assert conflict.facts["order"] == ["a", "b"]
    respx.post(RPC).mock(return_value=refused(503, "busy"))
    busy = await caller.fails()
    assert isinstance(busy, DatabaseBusyError)
    assert busy.retryable
    respx.post(RPC).mock(return_value=refused(401, "not_signed_in"))
    assert isinstance(await caller.fails(), NotSignedInError)
    respx.post(RPC).mock(return_value=refused(418, "from_the_future"))
    unknown = await caller.fails()
    assert type(unknown) is RefusedError
    assert unknown.code == "from_the_future"


@pytest.mark.parametrize("details", ["no json", "[1, 2]", "17", None, {"object": 1}])
def test_facts_in_any_shape_do_no_harm(details: Any) -> None:
    body = {"code": "PT403", "message": "no", "hint": "banned", "details": details}
    assert isinstance(classify_response("f", 403, {}, body), BannedError)


@respx.mock
async def test_a_refused_token_is_replaced_once(caller: Caller) -> None:
    expired = httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"})
    route = respx.post(RPC).mock(side_effect=[expired, httpx.Response(200, json={"ok": True})])
    assert await caller.call() == {"ok": True}
    assert caller.tokens.refused == [TOKEN]
    assert [call.request.headers["authorization"] for call in route.calls] == [
        f"Bearer {TOKEN}",
        f"Bearer {TOKEN[:-1]}2",
    ]


@respx.mock
async def test_a_token_that_is_refused_again_is_the_caller_s_to_know(caller: Caller) -> None:
    route = respx.post(RPC).respond(401, json={"code": "PGRST303", "message": "JWT expired"})
    assert isinstance(await caller.fails(), TokenExpiredError)
    assert route.call_count == 2


@respx.mock
async def test_it_never_tries_a_command_again_by_itself(caller: Caller) -> None:
    route = respx.post(RPC).respond(503)
    await caller.fails()
    assert route.call_count == 1


@respx.mock
async def test_calls_at_the_same_time_keep_their_answers_apart(caller: Caller) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        number = json.loads(request.content)["n"]
        await asyncio.sleep(0.001 * (number % 5))
        if number % 2:
            return httpx.Response(429, json={"message": "x"}, headers={"Retry-After": str(number)})
        return httpx.Response(200, json={"n": number})

    respx.post(RPC).mock(side_effect=answer)

    async def one(number: int) -> float | int | None:
        try:
            return int((await caller.rpc.call("cast_vote", {"n": number}, within=5))["n"])
        except ServerError as error:
            return error.retry_after

    assert await asyncio.gather(*(one(number) for number in range(20))) == list(range(20))
