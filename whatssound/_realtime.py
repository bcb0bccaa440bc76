"""The only use of realtime-py: one generation of the connection, from handshake to end.

realtime-py 2.34 loses sessions in a dozen ways once it begins to repair itself (stale ``phx_close``, timers that
outlive their join, retries that end for good), so a generation uses its client for the endpoint, the framing and the
socket, and nothing of its repair: one client, one socket, one join; any doubt ends it, and the supervisor starts the
next. Frames are decoded once, with orjson, instead of by the client's undiscriminated union (five times faster for
chat, ten times for rows).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any

import orjson
import websockets
from realtime import AsyncRealtimeClient
from realtime.message import Message
from websockets.asyncio.client import ClientConnection

from .config import ConnectionConfig
from .core import reasons
from .core.reasons import Reason
from .ports import Clock, Ended, JoinSpec, LinkListener

_log = logging.getLogger("whatssound.connection")

#: websockets logs the request line, and with it the API key in the URL, at DEBUG: its logger here starts above that.
_socket_log = logging.getLogger("whatssound.socket")
_socket_log.setLevel(logging.INFO)

_PHOENIX = "phoenix"

#: Bytes that may wait in a socket whose peer does not read. Beyond it nothing more is sent, instead of waiting: who
#: says something must not be held up until the dead socket is noticed.
_BACKLOG = 512 * 1024


class _OneSocketClient(AsyncRealtimeClient):
    """realtime-py's client without its own reading, heartbeats and repair, and with limits it has no settings for."""

    def __init__(self, url: str, key: str, config: ConnectionConfig) -> None:
        super().__init__(url, token=key, auto_reconnect=False)
        self._config = config

    async def open(self) -> ClientConnection:
        """Opens the socket."""
        self._ws_connection = await websockets.connect(
            self.endpoint_url(),
            open_timeout=self._config.open_timeout,
            # Liveness rests on Phoenix heartbeats, whose answers are checked; the library's own pings would add a
            # second, slower verdict.
            ping_interval=None,
            close_timeout=1.0,
            max_size=self._config.max_frame_bytes,
            write_limit=2 * _BACKLOG,
            compression=None,
            logger=_socket_log,
        )
        return self._ws_connection

    async def send_now(self, message: Message) -> bool:
        """Sends a frame; returns False where the socket is closed (the client's own `send` hides that) or stuck."""
        if self._ws_connection is None or self._ws_connection.transport.get_write_buffer_size() > _BACKLOG:
            return False
        try:
            await self._ws_connection.send(message.model_dump_json())
        except websockets.ConnectionClosed:
            return False  # the reading task sees the same close and ends the generation
        return True


class RealtimeLink:
    """One socket and one join, used once.

    Args:
        url: the project's URL.
        key: its API key.
        join: what to join.
        config: timeouts and limits.
        clock: time.
    """

    def __init__(self, url: str, key: str, join: JoinSpec, config: ConnectionConfig, clock: Clock) -> None:
        self._where = url
        self._client = _OneSocketClient(f"{url}/realtime/v1", key, config)
        self._join = join
        self._topic = f"realtime:{join.topic}"
        self._config = config
        self._clock = clock
        self._join_ref = ""
        self._joined_at: float | None = None
        self._system_error = ""
        self._end: asyncio.Future[Ended] | None = None
        self._answers: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    @property
    def is_joined(self) -> bool:
        """Whether frames may be pushed."""
        return self._joined_at is not None and self._end is not None and not self._end.done()

    async def run(self, token: str, listener: LinkListener) -> Ended:
        """Connects, joins and reads until the end, and says how it ended. Cancelling it leaves and closes."""
        self._end = asyncio.get_running_loop().create_future()
        try:
            socket = await self._client.open()
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            return self._handshake_failed(error)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read(socket, listener), name="whatssound-read"),
                    group.create_task(self._join_topic(token, listener), name="whatssound-join"),
                    group.create_task(self._heartbeats(), name="whatssound-heartbeat"),
                ]
                ended = await self._end
                for task in tasks:
                    task.cancel()
        except asyncio.CancelledError:
            await self._leave(socket)
            raise
        finally:
            self._joined_at = None
            # No farewell: whatever ended this generation, its socket is in doubt, and a close handshake would wait for
            # the peer.
            socket.transport.abort()
        return ended

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Sends on the topic; returns False (and sends nothing) unless joined."""
        if not self.is_joined:
            return False
        return await self._send(event, payload, ref=self._client._make_ref())

    async def renew_token(self, token: str) -> None:
        """Gives the server a fresh token for the joined topic."""
        await self.push("access_token", {"access_token": token})

    # --- tasks

    async def _join_topic(self, token: str, listener: LinkListener) -> None:
        spec = self._join
        changes = [
            {"event": binding.event, "schema": binding.schema, "table": binding.table, "filter": binding.filter}
            for binding in spec.changes
        ]
        payload = {
            "config": {
                "broadcast": {"ack": False, "self": False},
                "presence": {"key": spec.presence_key or "", "enabled": spec.presence_key is not None},
                "private": spec.private,
                "postgres_changes": changes,
            },
            "access_token": token,
        }
        self._join_ref = self._client._make_ref()
        try:
            await self._ask(self._topic, "phx_join", payload, self._join_ref, self._config.join_timeout)
        except TimeoutError:
            self._finish(Reason.JOIN_TIMEOUT, f"no answer to the join within {self._config.join_timeout:g} s")

    def _join_answered(self, reply: dict[str, Any], listener: LinkListener) -> None:
        # At once and not in the task that asked: frames that stand right behind the reply belong to the joined channel.
        if reply.get("status") != "ok":
            text = _reason_text(reply.get("response"))
            self._finish(reasons.from_text(text), text, refused=True)
            return
        self._joined_at = self._clock.monotonic()
        listener.joined()
        if not self._join.changes:
            listener.changes_flow()

    async def _heartbeats(self) -> None:
        while True:
            await self._clock.sleep(self._config.heartbeat_interval)
            if self._joined_at is None:
                # A refused join is answered after five seconds, and the server hears nothing else meanwhile; the join
                # has a deadline of its own.
                continue
            ref = self._client._make_ref()
            try:
                await self._ask(_PHOENIX, "heartbeat", {}, ref, self._config.heartbeat_interval)
            except TimeoutError:
                self._finish(Reason.SILENT, f"no answer to a heartbeat within {self._config.heartbeat_interval:g} s")
                return

    async def _read(self, socket: ClientConnection, listener: LinkListener) -> None:
        try:
            while True:
                raw = await socket.recv(decode=False)
                try:
                    frame = orjson.loads(raw)
                except orjson.JSONDecodeError:
                    _log.warning("a frame of %d bytes is not JSON and was skipped", len(raw))
                    continue
                if isinstance(frame, dict) and self._end is not None and not self._end.done():
                    try:
                        self._take(frame, listener)
                    except Exception:  # noqa: BLE001 - one frame that breaks its reader must not make us deaf
                        _log.exception("a frame on %s could not be handled and was skipped", self._topic)
        except websockets.ConnectionClosed as error:
            received = error.rcvd
            # A frame that is too large is refused by our side, so its code is in what we sent.
            code = received.code if received else (error.sent.code if error.sent else None)
            text = self._system_error or (received.reason if received and received.reason else f"close code {code}")
            reason = reasons.from_text(self._system_error) if self._system_error else reasons.from_close_code(code)
            self._finish(reason, text)

    def _take(self, frame: dict[str, Any], listener: LinkListener) -> None:
        event, payload = frame.get("event"), frame.get("payload")
        ours = frame.get("topic") == self._topic
        if ours and event in ("phx_close", "phx_error"):
            self._closed(event, frame)
            return
        if not isinstance(payload, dict):
            return
        if event == "phx_reply":
            ref = str(frame.get("ref"))
            waiting = self._answers.get(ref)
            if waiting is not None and not waiting.done():
                waiting.set_result(payload)
                if ref == self._join_ref:
                    self._join_answered(payload, listener)
            return
        if not ours:
            return
        match event:
            case "broadcast":
                inner = payload.get("payload")
                listener.broadcast(str(payload.get("event")), inner if isinstance(inner, dict) else {})
            case "postgres_changes":
                data = payload.get("data")
                record = data.get("record") if isinstance(data, dict) else None
                if isinstance(data, dict) and isinstance(record, dict):
                    listener.row_changed(str(data.get("table")), record)
            case "presence_state":
                listener.presence_state(payload)
            case "presence_diff":
                joins, leaves = payload.get("joins"), payload.get("leaves")
                listener.presence_diff(
                    joins if isinstance(joins, dict) else {}, leaves if isinstance(leaves, dict) else {}
                )
            case "system":
                self._system(payload, listener)
            case _:
                pass  # events of other client versions; Realtime itself ignores what it does not know, too

    def _system(self, payload: dict[str, Any], listener: LinkListener) -> None:
        text = str(payload.get("message") or "")
        if payload.get("status") == "error":
            # For Postgres Changes the server keeps the channel and tries again by itself; for all else phx_close
            # follows.
            self._system_error = text
        elif payload.get("extension") == "postgres_changes":
            self._system_error = ""
            listener.changes_flow()
        elif "disconnect" in text.lower():
            self._system_error = text

    def _closed(self, event: str, frame: dict[str, Any]) -> None:
        # Phoenix answers a second join first and then closes the first one, with the old join's ref: not ours.
        if frame.get("ref") not in (None, self._join_ref):
            return
        text = self._system_error or f"{event}: {frame.get('payload')}"
        reason = Reason.CRASHED if event == "phx_error" else Reason.CLOSED
        self._finish(reasons.from_text(self._system_error) if self._system_error else reason, text)

    # --- sending

    async def _ask(
        self, topic: str, event: str, payload: Mapping[str, Any], ref: str, seconds: float
    ) -> Mapping[str, Any]:
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[ref] = answer
        try:
            async with asyncio.timeout(seconds):
                await self._send(event, payload, ref=ref, topic=topic)
                return await answer
        finally:
            del self._answers[ref]

    async def _send(self, event: str, payload: Mapping[str, Any], *, ref: str, topic: str | None = None) -> bool:
        message = Message(
            topic=topic or self._topic, event=event, payload=dict(payload), ref=ref, join_ref=self._join_ref or None
        )
        return await self._client.send_now(message)

    async def _leave(self, socket: ClientConnection) -> None:
        if self._joined_at is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await self._send("phx_leave", {}, ref=self._client._make_ref())
                await socket.close()
        except (TimeoutError, OSError, websockets.WebSocketException) as error:
            _log.debug("leaving %s was cut short: %s", self._topic, type(error).__name__)

    # --- ending

    def _handshake_failed(self, error: Exception) -> Ended:
        if isinstance(error, websockets.InvalidStatus):
            status = error.response.status_code
            body = (error.response.body or b"").decode("utf-8", "replace")[:300]
            return Ended(reason=reasons.from_http_status(status), detail=f"HTTP {status} {body}".strip(), refused=True)
        if isinstance(error, ssl.SSLError):
            return Ended(reason=Reason.UNREACHABLE, detail=f"TLS: {error.reason}")
        return Ended(reason=Reason.UNREACHABLE, detail=str(error) or type(error).__name__)

    def _finish(self, reason: Reason, detail: str, *, refused: bool = False) -> None:
        if self._end is None or self._end.done():
            return
        held = self._clock.monotonic() - self._joined_at if self._joined_at is not None else 0.0
        self._end.set_result(Ended(reason=reason, detail=detail, held_for=held, refused=refused))


def _reason_text(response: Any) -> str:
    if isinstance(response, dict):
        return str(response.get("reason") or response)
    return str(response)
