"""The HTTP side: broadcasts by request, and the management of the tenant."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import asyncpg
import orjson
from aiohttp import web

from . import json_text, terms
from .access import Caller, TokenRefusedError, check_token
from .codec import Broadcast, UserBroadcast
from .database import DatabaseUnavailableError
from .hub import Topic
from .limits import LimitValueError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .server import Server

_log = logging.getLogger(__name__)
_LARGEST_BODY: Final = 8_000_000
_BLANK: Final = "can't be blank"
_INVALID: Final = "is invalid"
_TOO_LARGE: Final = "Payload size exceeds tenant limit"
_OVER: Final = "You have exceeded your rate limit"
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class _AnswerError(Exception):
    """Ends the handling of a request with a response.

    Attributes:
        response: The response.
    """

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(status: int, body: Any) -> web.Response:
    """A JSON response as Phoenix writes it.

    Args:
        status: The HTTP status.
        body: What to render.
    """
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", charset="utf-8")


def _page(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")


class HttpApi:
    """Answers requests below `/api`.

    Args:
        server: The server's parts.
        tenant: The tenant's name.
        disconnect: Closes every socket as a reload does.
    """

    def __init__(self, server: Server, tenant: str, disconnect: Callable[[], Awaitable[None]]) -> None:
        self._server = server
        self._tenant = tenant
        self._disconnect = disconnect

    async def handle(self, request: web.Request, path: str) -> web.Response:
        """Answers a request.

        Args:
            request: The request.
            path: Its raw path from `/api` on, without the query.
        """
        try:
            response = await self._route(request, path)
        except _AnswerError as answer:
            response = answer.response
        if "Origin" in request.headers and response.status != 404:
            response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    async def _route(self, request: web.Request, path: str) -> web.Response:
        parts = [unquote(part) for part in path.strip("/").split("/")[1:]]
        body = await _body(request)
        match (request.method, parts):
            case ("GET", ["ping"]):
                return json_response(200, {"message": "Success"})
            case ("POST", ["broadcast"]):
                return await self._batch(request, body)
            case ("POST", ["broadcast", topic, "events", event]):
                return await self._single(request, topic, event, body)
            case (_, ["tenants", *rest]):
                return await self._manage(request, rest, body)
        return _page(404, "Not Found")

    # ---------------------------------------------------------------------------------------------------- broadcast

    def _caller(self, request: web.Request) -> Caller:
        try:
            claims = check_token(self._server.keyring, _token(request))
        except TokenRefusedError as refused:
            raise _AnswerError(json_response(401, {"message": "Unauthorized"})) from refused
        return Caller(claims, {name.lower(): value for name, value in request.headers.items()})

    def _check_rate(self) -> None:
        if self._server.hub.events.average >= self._server.hub.limits.max_events_per_second:
            raise _AnswerError(json_response(429, {"message": "Too many requests"}))

    async def _may_write(self, caller: Caller, topic: str) -> bool:
        try:
            return (await self._server.database.write_policies(caller, topic))[0]
        except (DatabaseUnavailableError, asyncpg.PostgresError) as error:
            _log.warning("policies of %s could not be asked: %s", topic, error)
            return False

    async def _batch(self, request: web.Request, body: Any) -> web.Response:
        self._check_rate()
        caller = self._caller(request)
        hub = self._server.hub
        if hub.limits.suspend:
            return json_response(403, {"message": "Tenant is suspended"})
        messages = self._messages(body if isinstance(body, dict) else {})
        if len(messages) + hub.events.average > hub.limits.max_events_per_second:
            text = "Too many messages to broadcast, please reduce the batch size"
            return json_response(429, {"message": text})
        for message in messages:
            if not message["private"]:
                self._send(message)
        allowed: dict[str, bool] = {}
        for message in messages:
            if message["private"]:
                topic = message["topic"]
                if topic not in allowed:
                    allowed[topic] = await self._may_write(caller, topic)
                if allowed[topic]:
                    self._send(message)
        return BareResponse(status=202)

    def _send(self, message: dict[str, Any]) -> None:
        hub = self._server.hub
        payload = {"event": message["event"], "payload": message["payload"], "type": "broadcast"}
        if message["id"] is not None:
            payload["meta"] = {"id": message["id"]}
        hub.events.add()
        hub.usage.messages += 1
        broadcast = Broadcast(f"realtime:{message['topic']}", "broadcast", payload, message["id"])
        hub.send_leniently(Topic(message["private"], message["topic"]), broadcast)

    def _messages(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        given = body.get("messages")
        if given is None or given == []:
            raise _unprocessable([_BLANK])
        if not isinstance(given, list) or not all(isinstance(message, dict) for message in given):
            raise _unprocessable([_INVALID])
        read = [self._message(message) for message in given]
        if any(errors for _, errors in read):
            raise _unprocessable([errors for _, errors in read])
        return [message for message, _ in read]

    def _message(self, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
        errors: dict[str, list[str]] = {}
        message: dict[str, Any] = {"private": False, "id": None}
        for name in ("id", "topic", "event"):
            value = given.get(name)
            if value is not None and not isinstance(value, str):
                errors[name] = [_INVALID]
            elif name != "id" and not (value or "").strip():
                errors[name] = [_BLANK]
            else:
                message[name] = value
        payload = given.get("payload")
        if payload is None:
            errors["payload"] = [_BLANK]
        elif not isinstance(payload, dict):
            errors["payload"] = [_INVALID]
        elif terms.external_size(payload) > self._server.hub.limits.payload_bytes:
            errors["payload"] = [_TOO_LARGE]
        message["payload"] = payload
        private = given.get("private")
        private = _BOOLEANS.get(private) if isinstance(private, str) else False if private is None else private
        if isinstance(private, bool):
            message["private"] = private
        else:
            errors["private"] = [_INVALID]
        return message, errors

    async def _single(self, request: web.Request, topic: str, event: str, body: Any) -> web.Response:
        kind = _content_type(request)
        if kind not in {None, "application/json", "application/octet-stream"}:
            text = "Unsupported Media Type. Use application/json or application/octet-stream"
            return json_response(415, {"error": text})
        self._check_rate()
        caller = self._caller(request)
        hub = self._server.hub
        if hub.limits.suspend:
            return json_response(403, {"message": "Tenant is suspended"})
        payload = body if isinstance(body, dict | bytes) else {"_json": body}
        if terms.external_size(payload) > hub.limits.payload_bytes:
            return json_response(422, {"errors": {"payload": [_TOO_LARGE]}})
        private = request.query.get("private") == "true"
        if private and not await self._may_write(caller, topic):
            return json_response(403, {"message": "Unauthorized"})
        hub.events.add()
        hub.usage.messages += 1
        message = UserBroadcast(
            f"realtime:{topic}",
            event,
            "binary" if isinstance(payload, bytes) else "json",
            payload if isinstance(payload, bytes) else json_text.render(payload),
        )
        hub.send_leniently(Topic(private, topic), message)
        return BareResponse(status=202)

    # --------------------------------------------------------------------------------------------------- management

    async def _manage(self, request: web.Request, rest: list[str], body: Any) -> web.Response:
        try:
            claims = check_token(self._server.keyring, _token(request))
        except TokenRefusedError:
            return web.Response(status=403)
        if claims["role"] != "service_role":
            return web.Response(status=403)
        if not rest and request.method == "GET":
            return json_response(200, {"data": [self._shown()]})
        # There is one tenant, so it answers to any name.
        match (request.method, rest[1:]) if rest else ("", []):
            case ("GET", []):
                return self._show()
            case ("PUT" | "PATCH", []):
                return await self._change(body)
            case ("POST", ["reload" | "shutdown"]):
                await self._disconnect()
                return web.Response(status=204)
            case ("GET", ["health"]):
                return self._health()
        return _page(404, "Not Found")

    def _shown(self) -> dict[str, Any]:
        return {"external_id": self._tenant, "name": self._tenant, **self._server.hub.limits.as_json()}

    def _show(self) -> web.Response:
        return json_response(200, {"data": self._shown()})

    async def _change(self, body: Any) -> web.Response:
        changes = body.get("tenant") if isinstance(body, dict) else None
        if not isinstance(changes, dict):
            return _page(400, "Bad Request")
        hub = self._server.hub
        before = hub.limits
        try:
            hub.change_limits(before.changed(changes))
        except LimitValueError as error:
            return json_response(422, {"errors": error.errors})
        if hub.limits.suspend and not before.suspend:
            await self._disconnect()
        return self._show()

    def _health(self) -> web.Response:
        hub, connected = self._server.hub, self._server.feed.connected
        health = {
            "healthy": connected,
            "db_connected": connected,
            "replication_connected": connected,
            "connected_cluster": len(hub.users),
            "region": None,
            "node": "local",
        }
        return json_response(200, {"data": health})


class BareResponse(web.Response):
    """A response that is sent without a content type; the service removes the one that aiohttp would add."""


def _unprocessable(messages: list[Any]) -> _AnswerError:
    return _AnswerError(json_response(422, {"errors": {"messages": messages}}))


def _content_type(request: web.Request) -> str | None:
    given = request.headers.get("Content-Type")
    return given.partition(";")[0].strip().lower() if given is not None else None


async def _body(request: web.Request) -> Any:
    if request.method not in {"POST", "PUT", "PATCH", "DELETE"}:
        return {}
    kind = _content_type(request)
    data = await request.content.read(_LARGEST_BODY + 1)
    while not request.content.at_eof() and len(data) <= _LARGEST_BODY:
        data += await request.content.read(_LARGEST_BODY + 1 - len(data))
    if len(data) > _LARGEST_BODY:
        raise _AnswerError(_page(413, "Request Entity Too Large"))
    if kind == "application/octet-stream":
        return data
    if kind is None or not (kind == "application/json" or kind.endswith("+json")):
        return {}
    if not data:
        return {}
    try:
        return json_text.parse(data)
    except ValueError as error:
        raise _AnswerError(_page(400, "Bad Request")) from error


def _token(request: web.Request) -> str:
    # Authorization outranks apikey, even when it holds nonsense.
    given = request.headers.get("Authorization")
    if given:
        scheme, _, token = given.partition(" ")
        if scheme.lower() == "bearer":
            return token
    token = request.headers.get("apikey", "")
    if not token:
        raise TokenRefusedError("MissingAPIKey", "API key is missing")
    return token
