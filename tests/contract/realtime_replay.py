"""Plays a recorded scenario against a server and says where it answers differently."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.contract.realtime_matching import Bindings, decode_binary, encode_binary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


_INPUTS = {"open", "send", "send_text", "send_hex", "flood", "close", "drop", "sql", "http", "pause"}
_PATIENCE = 15.0


class DifferenceError(Exception):
    """The server does not answer as recorded."""


@dataclass
class Frame:
    """Something that a client got: a frame, a refusal or a close."""

    kind: str
    value: Any
    text: str
    at: float


@dataclass
class Client:
    """One recorded client."""

    vsn: str
    ws: aiohttp.ClientWebSocketResponse | None = None
    frames: list[Frame] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    reader: asyncio.Task[None] | None = None

    def got(self, kind: str, value: Any, text: str = "") -> None:
        self.frames.append(Frame(kind, value, text, time.monotonic()))
        self.news.set()


@dataclass
class Target:
    """The server under test."""

    url: str
    tenant: str
    token: Callable[[str], str | None]
    sql: Callable[[str], Awaitable[None]]


class Replay:
    """One run of one scenario."""

    def __init__(self, target: Target, session: aiohttp.ClientSession, scenario: dict[str, Any]) -> None:
        self.target = target
        self.session = session
        self.scenario = scenario
        self.clients: dict[str, Client] = {}
        self.bindings = Bindings()
        self.tokens: dict[str, str | None] = {}
        self.closed_topics: set[tuple[str, str]] = set()
        self.began = time.monotonic()

    async def run(self) -> None:
        if "short:" in json.dumps(self.scenario):
            # Tokens end with a whole second: one made late in a second would seem to end too early.
            await asyncio.sleep(1.05 - time.time() % 1)
        self.began = time.monotonic()
        try:
            for given, expected, sleep_ms in self._inputs():
                await self._step(given, expected, sleep_ms)
        finally:
            for client in self.clients.values():
                if client.reader is not None:
                    client.reader.cancel()
                if client.ws is not None and not client.ws.closed:
                    await client.ws.close()

    def _inputs(self) -> list[tuple[dict[str, Any], list[dict[str, Any]], int]]:
        groups: list[tuple[dict[str, Any], list[dict[str, Any]], int]] = []
        for step in self.scenario["steps"]:
            if _INPUTS & step.keys():
                groups.append((step, [], 0))
            elif set(step) == {"sleep_ms"}:
                groups[-1] = (*groups[-1][:2], groups[-1][2] + step["sleep_ms"])
            else:
                groups[-1][1].append(step)
        return groups

    async def _step(self, given: dict[str, Any], expected: list[dict[str, Any]], sleep_ms: int) -> None:
        await self._do(given)
        start = time.monotonic()
        by_client: dict[str, list[dict[str, Any]]] = {}
        for step in expected:
            by_client.setdefault(step["client"], []).append(step)
        for name, steps in by_client.items():
            await self._expect(name, steps, start)
        if sleep_ms:
            await asyncio.sleep(sleep_ms / 1000)
        for name, client in self.clients.items():
            optional = [s["recv"] for s in by_client.get(name, []) if s.get("optional")]
            for frame in client.frames:
                if sleep_ms and not self._is_optional(name, frame, optional):
                    raise DifferenceError(f"{name} got more than recorded after {_short(given)}: {_short(frame.value)}")
            if sleep_ms:
                client.frames.clear()

    def _is_optional(self, name: str, frame: Frame, optional: list[Any]) -> bool:
        for candidate in optional:
            trial = Bindings(self.bindings.values)
            if trial.match(candidate, frame.value):
                self.bindings = trial
                return True
        event, topic = _event_topic(frame.value)
        return event == "presence_diff" and (name, topic) in self.closed_topics

    async def _expect(self, name: str, steps: list[dict[str, Any]], start: float) -> None:
        client = self.clients[name]
        optional = [s["recv"] for s in steps if s.get("optional")]
        for step in steps:
            if step.get("optional"):
                continue
            wanted = list(step["unordered"]) if "unordered" in step else [step.get("recv")]
            raws = list(step.get("raws", [])) or [step.get("raw")] * len(wanted)
            while wanted:
                frame = await self._next(client, name, step, optional)
                self._take(name, step, wanted, raws, frame)
                self._check_time(step, frame, start)

    def _take(self, name: str, step: dict[str, Any], wanted: list[Any], raws: list[Any], frame: Frame) -> None:
        for kind in ("refused", "closed"):
            if kind in step:
                if frame.kind != kind or not self.bindings.match(step[kind], frame.value):
                    raise DifferenceError(f"{name}: expected {kind} {step[kind]}, got {_short(frame.value)}")
                wanted.clear()
                return
        for index, candidate in enumerate(wanted):
            trial = Bindings(self.bindings.values)
            if frame.kind == "frame" and trial.match(candidate, frame.value):
                raw = raws[index]
                if raw is not None and not trial.raw_equals(raw, frame.text):
                    raise DifferenceError(f"{name}: expected the text {raw!r}, got {frame.text!r}")
                self.bindings = trial
                del wanted[index], raws[index]
                event, topic = _event_topic(frame.value)
                if event == "phx_close":
                    self.closed_topics.add((name, topic))
                return
        raise DifferenceError(f"{name}: expected {_short(wanted)}, got {_short(frame.value)}")

    def _check_time(self, step: dict[str, Any], frame: Frame, start: float) -> None:
        if not self.scenario.get("timing") or "after_ms_min" not in step:
            return
        after = (frame.at - start) * 1000
        # Pauses last longer on a busy machine, so what the server times from the beginning seems to come early.
        early = 60 + 20 * (start - self.began)
        if not step["after_ms_min"] - early <= after <= step["after_ms_max"] + 600:
            raise DifferenceError(
                f"after {after:.0f} ms, recorded {step['after_ms_min']}..{step['after_ms_max']}: {step}"
            )

    async def _next(self, client: Client, name: str, step: dict[str, Any], optional: list[Any]) -> Frame:
        deadline = time.monotonic() + _PATIENCE
        while True:
            while not client.frames:
                client.news.clear()
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        await client.news.wait()
                except TimeoutError:
                    raise DifferenceError(f"{name}: nothing came, expected {_short(step)}") from None
            frame = client.frames.pop(0)
            matches = self._step_matches(step, frame)
            if matches or not self._is_optional(name, frame, optional):
                return frame

    def _step_matches(self, step: dict[str, Any], frame: Frame) -> bool:
        wanted = step.get("unordered") or [step.get("recv")]
        return any(Bindings(self.bindings.values).match(candidate, frame.value) for candidate in wanted)

    # ------------------------------------------------------------------------------------------------------- inputs

    async def _do(self, step: dict[str, Any]) -> None:
        if "sql" in step:
            await self.target.sql(step["sql"])
        elif "pause" in step:
            await asyncio.sleep(step["pause"] / 1000)
        elif "http" in step:
            await self._http(step["http"], step["response"])
        elif "open" in step:
            await self._open(step["client"], step["open"])
        else:
            await self._client_input(self.clients[step["client"]], step)

    async def _client_input(self, client: Client, step: dict[str, Any]) -> None:
        ws = client.ws
        assert ws is not None
        if "send" in step:
            frame = step["send"]
            if isinstance(frame, dict) and "$binary" in frame:
                await ws.send_bytes(encode_binary(self._filled(frame["$binary"])))
            else:
                await ws.send_str(json.dumps(self._filled(frame), ensure_ascii=False))
        elif "send_text" in step:
            await ws.send_str(step["send_text"])
        elif "send_hex" in step:
            await ws.send_bytes(bytes.fromhex(step["send_hex"]))
        elif "flood" in step:
            await self._flood(ws, step["flood"])
        elif "close" in step:
            if client.reader is not None:
                client.reader.cancel()
            await ws.close(code=step["close"]["code"])
        else:
            if client.reader is not None:
                client.reader.cancel()
            connection = ws._response.connection
            assert connection is not None
            assert connection.transport is not None
            connection.transport.abort()

    async def _flood(self, ws: aiohttp.ClientWebSocketResponse, flood: dict[str, Any]) -> None:
        until = self.clients[flood["until"]["client"]]
        start = time.monotonic()
        n = 0
        while not any(flood["until"]["text"] in frame.text for frame in until.frames):
            if (time.monotonic() - start) * 1000 > flood["max_ms"]:
                raise DifferenceError("the flood did not lead to what it should")
            if not ws.closed:
                await ws.send_str(json.dumps(flood["frame"]).replace("{n}", str(n)))
            n += 1
            await asyncio.sleep(flood["every_ms"] / 1000)

    def _token(self, name: str) -> str | None:
        if name not in self.tokens:
            self.tokens[name] = self.target.token(name)
        return self.tokens[name]

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._token(value[7:]) if value.startswith("$token:") else value
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            if set(value) == {"$repeat"}:
                return value["$repeat"][0] * value["$repeat"][1]
            if set(value) == {"$ms_ago"}:
                return int(time.time() * 1000) - value["$ms_ago"]
            return {key: self._filled(member) for key, member in value.items()}
        return value

    async def _open(self, name: str, given: dict[str, Any]) -> None:
        params = {"vsn": self.scenario["vsn"], **given.get("params", {})}
        token = self._token(given["token"])
        query = {k: v for k, v in {"apikey": token, **params}.items() if v is not None}
        client = self.clients[name] = Client(params["vsn"] or "1.0.0")
        client.reader = asyncio.create_task(self._connect(name, client, query))
        while client.ws is None and not client.frames and not client.reader.done():
            client.news.clear()
            await client.news.wait()

    async def _connect(self, name: str, client: Client, query: dict[str, str]) -> None:
        url = self.target.url + "/socket/websocket"
        async with _handshake(self.session, url, query) as outcome:
            if isinstance(outcome, tuple):
                client.got("refused", {"status": outcome[0], "body": outcome[1]})
                return
            client.ws = outcome
            client.news.set()
            ignored = self.scenario.get("ignore", {}).get(name, [])
            async for message in outcome:
                if message.type is aiohttp.WSMsgType.TEXT:
                    value = json.loads(message.data)
                    if not _ignored(value, ignored):
                        client.got("frame", value, message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    value = decode_binary(message.data)
                    if not _ignored(value, ignored):
                        client.got("frame", value)
            client.got("closed", {"code": outcome.close_code, "reason": ""})

    async def _http(self, request: dict[str, Any], expected: dict[str, Any]) -> None:
        headers = {name: self._filled(value) for name, value in request.get("headers", {}).items()}
        if "token" in request:
            headers["Authorization"] = f"Bearer {self._token(request['token'])}"
        body = request.get("body")
        data: bytes | None = None
        if isinstance(body, dict) and set(body) == {"$text"}:
            data = body["$text"].encode()
        elif isinstance(body, dict) and set(body) == {"$base64"}:
            data = base64.b64decode(body["$base64"])
        elif body is not None:
            data = json.dumps(self._filled(body)).encode()
            headers.setdefault("Content-Type", "application/json")
        skip = [] if "Content-Type" in headers else ["Content-Type"]
        path = request["path"].replace("$tenant", self.target.tenant)
        async with self.session.request(
            request["method"],
            self.target.url + path,
            headers=headers,
            data=io.BytesIO(data) if data is not None else None,
            skip_auto_headers=skip,
        ) as response:
            text = await response.text()
            kept = {
                name.lower(): value
                for name, value in response.headers.items()
                if name.lower() in {"content-type", "access-control-allow-origin"}
            }
            if response.status != expected["status"]:
                raise DifferenceError(
                    f"{request['path']}: status {response.status}, recorded {expected['status']}: {text[:200]}"
                )
            if "headers" in expected and kept != expected["headers"]:
                raise DifferenceError(f"{request['path']}: headers {kept}, recorded {expected['headers']}")
            if "body" in expected:
                actual: Any = text or None
                if text and "json" in kept.get("content-type", ""):
                    actual = json.loads(text)
                if not self.bindings.match(expected["body"], actual):
                    raise DifferenceError(f"{request['path']}: body {actual}, recorded {expected['body']}")


class _handshake:  # noqa: N801 - used like a function
    """Connects, or tells how the server refused."""

    def __init__(self, session: aiohttp.ClientSession, url: str, query: dict[str, str]) -> None:
        self._session, self._url, self._query = session, url, query
        self._ws: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientWebSocketResponse | tuple[int, Any]:
        key = base64.b64encode(b"0123456789abcdef").decode()
        try:
            self._ws = await self._session.ws_connect(self._url, params=self._query, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            headers = {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key,
            }
            if error.status == 101:
                raise
            async with self._session.get(self._url, params=self._query, headers=headers) as response:
                text = await response.text()
                return response.status, json.loads(text) if text else ""
        return self._ws

    async def __aexit__(self, *_: object) -> None:
        if self._ws is not None and not self._ws.closed:
            await self._ws.close()


def _event_topic(value: Any) -> tuple[Any, Any]:
    if isinstance(value, list) and len(value) == 5:
        return value[3], value[2]
    if isinstance(value, dict):
        return value.get("event"), value.get("topic")
    return None, None


def _ignored(value: Any, ignored: list[str]) -> bool:
    event, _ = _event_topic(value)
    text = json.dumps(value)
    return any(text.find(pattern[1:]) >= 0 if pattern.startswith("~") else event == pattern for pattern in ignored)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) < 700 else text[:700] + "…"
