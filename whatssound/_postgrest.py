"""The only HTTP client: RPC calls through postgrest-py, and every failure as one of our errors.

postgrest-py 2.34 hides the HTTP status and headers of an error and lets httpx' exceptions through, so a response hook
notes both, and `classify_response` tells what happened from the facts. It never retries a POST by itself; retrying is
the gateway's.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx
from postgrest import AsyncPostgrestClient
from postgrest.exceptions import APIError

from .errors import (
    InvalidKeyError,
    NotSignedInError,
    ProtocolError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    TokenExpiredError,
    TransportError,
    UnreachableError,
    WhatsSoundError,
    refusal,
)
from .ports import TokenSource

_last_response: contextvars.ContextVar[httpx.Response | None] = contextvars.ContextVar("last_response", default=None)

#: SQLSTATEs after which the same call may succeed: serialisation failure, deadlock, statement and lock timeouts,
# shutdown, too many : connections (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_PASSING_SQLSTATES = frozenset({"40001", "40P01", "57014", "55P03", "57P01", "57P02", "57P03", "53300"})


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    # Building one takes about 50 ms of the event loop; one is enough for all clients of a process.
    return ssl.create_default_context()


def make_http_client() -> httpx.AsyncClient:
    """Makes the HTTP client that auth and RPCs share: HTTP/1.1 (half the CPU of HTTP/2), keep-alive for a minute."""

    async def note_response(response: httpx.Response) -> None:
        _last_response.set(response)

    return httpx.AsyncClient(
        verify=_tls_context(),
        timeout=httpx.Timeout(30.0, connect=10.0),
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=60.0),
        event_hooks={"response": [note_response]},
        headers={"User-Agent": "whatssound"},
    )


def transport_error(error: httpx.HTTPError | httpx.InvalidURL, where: str) -> TransportError:
    """Makes our error of httpx' (``where`` is a URL without secrets)."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return UnreachableError(where, str(error) or type(error).__name__)
    if isinstance(error, httpx.PoolTimeout):
        return RequestTimeoutError("no connection of the pool became free in time", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return RequestTimeoutError(f"no answer from {where} in time")
    return TransportError(f"the request to {where} broke: {str(error) or type(error).__name__}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Reads ``Retry-After`` in seconds (RFC 9110 §10.2.3); None if it is absent or a date."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        return None


def not_the_api(status: int, where: str) -> ServerError:
    """Makes the error of an answer that something other than Supabase gave: a captive portal, a proxy, another site."""
    error = ServerError(status, f"{where} does not answer as Supabase does; check the URL", sent=status < 300)
    # A page in the way may go again; another site stays another site.
    error.retryable = status < 300 or status >= 500
    return error


def classify_response(
    function: str, status: int, headers: Mapping[str, str], body: Mapping[str, Any]
) -> WhatsSoundError:
    """Makes the error of an HTTP answer.

    Args:
        function: the RPC that was called.
        status: the HTTP status.
        headers: the answer's headers, names in lower case.
        body: PostgREST's ``{code, message, details, hint}``, or what a gateway answers.
    """
    code = str(body.get("code") or "")
    message = str(body.get("message") or body.get("msg") or body.get("error") or "")
    if code.startswith("PT") and body.get("hint"):
        return _database_refusal(status, message, body)
    if code == "PGRST303" or "jwt expired" in message.lower():
        return TokenExpiredError()
    if code in ("PGRST301", "PGRST302"):
        return InvalidKeyError(f"the token was refused: {message}")
    if code == "PGRST202":
        return ProtocolError(
            f"the database has no function {function} with these arguments; deploy supabase/migrations"
        )
    if status in (408, 425, 429) or status >= 500 or code in _PASSING_SQLSTATES:
        # A limit is enforced before the call, and a failed transaction is rolled back: neither had an effect.
        sent = status != 429 and code not in _PASSING_SQLSTATES
        return ServerError(status, message or "no reason given", retry_after=retry_after(headers), sent=sent)
    if status == 401:
        return NotSignedInError() if code == "42501" else InvalidKeyError()
    if code == "42501":
        return refusal("not_allowed", message, status=status)
    if not code:
        return not_the_api(status, function)
    return RefusedError(code, message, status=status)


def _database_refusal(status: int, message: str, body: Mapping[str, Any]) -> WhatsSoundError:
    hint = str(body["hint"])
    try:
        facts = json.loads(body.get("details") or "{}")
    except (TypeError, ValueError):
        facts = {"details": body.get("details")}
    if not isinstance(facts, dict):
        facts = {"details": facts}
    if hint == "not_signed_in":
        return NotSignedInError()
    wait = facts.get("retry_after")
    return refusal(
        hint, message, status=status, facts=facts, retry_after=float(wait) if isinstance(wait, int | float) else None
    )


class PostgrestRpc:
    """Calls database functions through PostgREST.

    Args:
        url: the project's URL.
        key: its API key.
        tokens: who we are.
        http: the client to use; it is not closed here.
    """

    def __init__(self, url: str, key: str, tokens: TokenSource, http: httpx.AsyncClient) -> None:
        self._url = url
        self._tokens = tokens
        self._client = AsyncPostgrestClient(f"{url}/rest/v1", headers={"apikey": key}, http_client=http)

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        """Calls a function once, and once more if the token turned out to be stale.

        Args:
            function: the RPC's name.
            params: its named arguments.
            within: seconds for everything: getting tokens and both calls.

        Raises:
            WhatsSoundError: typed by what went wrong; `TransportError.sent` tells whether the call may have had an
                effect.
        """
        now = asyncio.get_running_loop().time
        ends = now() + within
        token = await self._token(within)
        try:
            return await self._once(function, params, token, ends - now())
        except (TokenExpiredError, InvalidKeyError):
            fresh = await self._token(ends - now(), refused=token)
            if fresh == token:
                raise
        return await self._once(function, params, fresh, ends - now())

    async def _token(self, seconds: float, refused: str | None = None) -> str:
        try:
            async with asyncio.timeout(seconds):
                return await self._tokens.token(refused=refused)
        except TimeoutError:
            raise RequestTimeoutError(f"no token within {round(seconds, 3):g} s", sent=False) from None

    async def _once(self, function: str, params: Mapping[str, Any], token: str, seconds: float) -> dict[str, Any]:
        builder = self._client.rpc(function, dict(params))
        builder.request.headers["Authorization"] = f"Bearer {token}"
        noted = _last_response.set(None)
        try:
            async with asyncio.timeout(seconds):
                answer = await builder.execute()
            response = _last_response.get()
        except TimeoutError:
            raise RequestTimeoutError(f"{function} was not answered within {round(seconds, 3):g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise transport_error(error, self._url) from error
        except APIError as error:
            raise self._answered(function, error) from error
        finally:
            _last_response.reset(noted)
        if not isinstance(answer.data, dict):
            # A captive portal or proxy answered 200 with something of its own.
            raise not_the_api(response.status_code if response is not None else 200, self._url)
        return answer.data

    def _answered(self, function: str, error: APIError) -> WhatsSoundError:
        response = _last_response.get()
        if response is None:
            return ProtocolError(f"{function} failed without an answer: {error}")
        try:
            body = response.json()
        except ValueError:
            body = {"message": response.reason_phrase}
        return classify_response(
            function,
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            body if isinstance(body, dict) else {},
        )
