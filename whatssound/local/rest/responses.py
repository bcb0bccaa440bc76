"""Turns a result into an HTTP response: status, headers and body."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import orjson
from aiohttp import web
from multidict import CIMultiDict

from whatssound.local.rest import errors
from whatssound.local.rest.ranges import content_range, read_status

if TYPE_CHECKING:
    from whatssound.local.rest.errors import ApiError
    from whatssound.local.rest.schema import Function, Table
    from whatssound.local.rest.statements import Ask
    from whatssound.local.rest.transactions import Result

SERVER: Final = "postgrest/16.2"
_JSON: Final = "application/json; charset=utf-8"
_UNRESERVED: Final = "-_.~"
_RETRY_AFTER: Final = "1"


@dataclass(slots=True)
class Answer:
    """A response before functions had their say about it.

    Args:
        status: HTTP status.
        headers: Its headers.
        body: Its body.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def read_answer(table: Table, ask: Ask, result: Result, total: int | None) -> Answer:
    """Answers a read of a table or view.

    Args:
        table: What was read.
        ask: What was asked.
        result: What came back.
        total: How many rows there are, if known.
    """
    answer = _rows_answer(ask, result, total)
    query = f"?{ask.query.canonical}" if ask.query.canonical else ""
    answer.headers["Content-Location"] = f"/{quote(table.name)}{query}"
    _apply(answer, ask.prefer.applied())
    return answer


def call_answer(function: Function, ask: Ask, result: Result) -> Answer:
    """Answers the call of a function."""
    answer = _rows_answer(ask, result, result.total)
    if function.returns_void:
        answer.status, answer.body = 204, b""
        del answer.headers["Content-Type"]
    _apply(answer, ask.prefer.applied(calls=True))
    return answer


def insert_answer(table: Table, ask: Ask, result: Result) -> Answer:
    """Answers a POST to a table."""
    # Without a count an upsert that touched nothing new says so by its status.
    new = result.inserted is not None and (result.inserted > 0 or ask.prefer.resolution != "merge-duplicates")
    answer = Answer(201 if new else 200)
    if result.location:
        pairs = (pair.partition("=") for pair in result.location)
        query = "&".join(f"{quote(key, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for key, _, value in pairs)
        answer.headers["Location"] = f"/{quote(table.name)}?{query}"
    answer.headers["Content-Range"] = content_range(1, 0, result.page if ask.prefer.counts else None)
    if ask.prefer.returning == "representation":
        _fill(answer, ask, result)
    resolves = bool(table.key) or ask.query.on_conflict is not None
    _apply(answer, ask.prefer.applied(inserts=True, writes=True, resolves=resolves))
    return answer


def put_answer(ask: Ask, result: Result) -> Answer:
    """Answers a PUT."""
    answer = Answer(204)
    if ask.prefer.returning == "representation":
        answer.status = 201 if (result.inserted or 0) > 0 else 200
        _fill(answer, ask, result)
    _apply(answer, ask.prefer.applied(inserts=False, writes=True))
    answer.headers.pop("Content-Range", None)
    return answer


def change_answer(ask: Ask, result: Result, *, updates: bool) -> Answer:
    """Answers a PATCH or a DELETE.

    Args:
        ask: What was asked.
        result: What came back.
        updates: Whether it was a PATCH, which tells how many rows it changed.
    """
    answer = Answer(204)
    first, last = (0, result.page - 1) if updates else (1, 0)
    answer.headers["Content-Range"] = content_range(first, last, result.page if ask.prefer.counts else None)
    if ask.prefer.returning == "representation":
        answer.status = 200
        _fill(answer, ask, result)
    _apply(answer, ask.prefer.applied(updates=updates, writes=True))
    return answer


def finish(answer: Answer, result: Result, profile: str | None) -> web.Response:
    """Lets functions override status and headers, and makes the response.

    Args:
        answer: The response so far.
        result: What functions set.
        profile: The schema, if it was negotiated.

    Raises:
        ApiError: PGRST111 or PGRST112.
    """
    headers: CIMultiDict[str] = CIMultiDict(answer.headers)
    if profile is not None and "Content-Type" in headers:
        headers["Content-Profile"] = profile
    own = _own_headers(result.headers)
    for name, _ in own:
        headers.popall(name, None)
    for name, value in own:
        headers.add(name, value)
    headers.setdefault("Vary", "Accept, Prefer, Range")
    headers.setdefault("Server", SERVER)
    return web.Response(status=_own_status(result.status) or answer.status, headers=headers, body=answer.body)


def error_response(error: ApiError) -> web.Response:
    """Tells an error."""
    headers = {"Content-Type": _JSON, "Proxy-Status": f"PostgREST; error={error.code}", "Server": SERVER}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _RETRY_AFTER
    headers |= error.headers
    return web.Response(status=error.status, reason=error.reason, headers=headers, body=error.body())


def options_response(allowed: str) -> web.Response:
    """Tells which methods a resource has."""
    headers = {"Allow": allowed, "Access-Control-Allow-Origin": "*", "Server": SERVER}
    return web.Response(status=200, headers=headers)


def allowed_methods(table: Table) -> str:
    """The methods that a table or view has."""
    methods = ["OPTIONS,GET,HEAD"]
    if table.insertable:
        methods.append("POST")
    if table.insertable and table.updatable and table.key:
        methods.append("PUT")
    if table.updatable:
        methods.append("PATCH")
    if table.deletable:
        methods.append("DELETE")
    return ",".join(methods)


def _rows_answer(ask: Ask, result: Result, total: int | None) -> Answer:
    first = ask.rows.first
    last = first + result.page - 1
    answer = Answer(read_status(first, last, total))
    answer.headers["Content-Range"] = content_range(first, last, total)
    _fill(answer, ask, result)
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        details = f"An offset of {first} was requested, but there are only {total} rows."
        answer.body = errors.bad_range(details).body()
    return answer


def _fill(answer: Answer, ask: Ask, result: Result) -> None:
    answer.headers["Content-Type"] = ask.rendering.content_type
    answer.body = result.body.encode()


def _apply(answer: Answer, preferences: str | None) -> None:
    if preferences is not None:
        answer.headers["Preference-Applied"] = preferences


def _own_headers(text: str | None) -> list[tuple[str, str]]:
    if text is None:
        return []
    try:
        listed = orjson.loads(text)
    except ValueError:
        raise errors.bad_guc_headers() from None
    if not isinstance(listed, list):
        raise errors.bad_guc_headers()
    pairs: list[tuple[str, str]] = []
    for one in listed:
        if not isinstance(one, dict) or len(one) != 1:
            raise errors.bad_guc_headers()
        ((name, value),) = one.items()
        if not isinstance(value, str):
            raise errors.bad_guc_headers()
        pairs.append((name, value))
    return pairs


def _own_status(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    if not digits:
        raise errors.bad_guc_status()
    return int(digits)
