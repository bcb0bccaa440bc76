"""The only use of realtime-py: one generation of the connection, from handshake to end.

realtime-py 2.34 loses sessions in a dozen ways once it begins to repair itself (stale ``phx_close``, timers that
outlive their join, retries that end for good), so a generation uses its client for the endpoint, the framing and the
socket, and nothing of its repair: one client, one socket, each topic joined once; any doubt about any topic ends it,
and the supervisor starts the next. Frames are decoded once, with orjson, instead of by the client's undiscriminated
union (five times faster for chat, ten times for rows).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import orjson
import websockets
from realtime import AsyncRealtimeClient
from realtime.message import Message
from websockets.asyncio.client import ClientConnection

from ._topics import Step, Topic, Topics
from .config import ConnectionConfig
from .core import reasons
from .core.reasons import Reason
from .ports import Clock, Ended, JoinSpec, LinkListener

_log = logging.getLogger("whatssound.connection")

#: websockets logs the request line, and with it the API key in the URL, at DEBUG: its logger here starts above that.
_socket_log = logging.getLogger("whatssound.socket")
_socket_log.setLevel(logging.INFO)

_PHOENIX = "phoenix"

#: What the server answers to whatever comes on a topic that it does not consider joined.
_UNMATCHED = "unmatched topic"

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
    """One socket and the topics joined on it, used once.

    All joins are sent at once, in the order given, and not each after the other's answer: the server takes them in
    that order anyway, and a refused one stalls the socket for five seconds either way. So what is joined first is
    answered first, whatever becomes of the others, and two topics cost one round trip.

    Args:
        url: the project's URL.
        key: its API key.
        joins: what to join at first.
        config: timeouts and limits.
        clock: time.
    """

    def __init__(self, url: str, key: str, joins: Sequence[JoinSpec], config: ConnectionConfig, clock: Clock) -> None:
        self._client = _OneSocketClient(f"{url}/realtime/v1", key, config)
        self._wanted = tuple(joins)
        self._topics = Topics(self._client._make_ref)
        self._config = config
        self._clock = clock
        self._token = ""
        self._held_since: float | None = None
        self._end: asyncio.Future[Ended] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._listener: LinkListener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    @property
    def is_joined(self) -> bool:
        """Whether the session's topic is joined, so that frames may be pushed."""
        session = self._topics.session
        return self._is_running and session is not None and session.is_joined

    @property
    def joined_topics(self) -> frozenset[str]:
        """The topics that are joined."""
        return frozenset(topic.name for topic in self._topics.joined) if self._is_running else frozenset()

    async def run(self, token: str, listener: LinkListener) -> Ended:
        """Connects, joins and reads until the end, and says how it ended. Cancelling it leaves and closes."""
        self._token = token
        self._end = asyncio.get_running_loop().create_future()
        try:
            socket = await self._client.open()
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            return _handshake_failed(error)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._listener = listener
                self._spawn(self._read(socket, listener), "read")
                self._spawn(self._heartbeats(), "heartbeat")
                self.set_joins(self._wanted)
                ended = await self._end
                for task in tuple(self._tasks):
                    task.cancel()
        except asyncio.CancelledError:
            self._group = None
            await self._farewell(socket)
            raise
        finally:
            self._group = None
            # No farewell: whatever ended this generation, its socket is in doubt, and a close handshake would wait for
            # the peer.
            socket.transport.abort()
        return ended

    def set_joins(self, joins: Sequence[JoinSpec]) -> None:
        """Changes what to be on, on the same socket: what is new is joined, what is gone is left.

        A topic whose `JoinSpec` differs from before is left and joined anew. After the end this does nothing.
        """
        self._wanted = tuple(joins)
        if not self._is_running:
            return
        for step in self._topics.want(joins):
            # Each is sent in a task's first step, so they leave in this order.
            if step.joins:
                self._spawn(self._join(step.topic), "join")
            else:
                self._spawn(self._leave(step), "leave")

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Sends on the session's topic; returns False (and sends nothing) unless joined there."""
        session = self._topics.session
        if session is None or not self.is_joined:
            return False
        return await self._send_on(session, event, payload)

    async def renew_token(self, token: str) -> None:
        """Gives the server a fresh token for every joined topic, and for those being joined once they are."""
        self._token = token
        if self._is_running:
            for topic in self._topics.joined:
                await self._give_token(topic)

    # --- tasks

    @property
    def _is_running(self) -> bool:
        return self._group is not None and self._end is not None and not self._end.done()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._group is None:
            work.close()
            return
        task = self._group.create_task(work, name=f"whatssound-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, topic: Topic) -> None:
        topic.token = self._token
        seconds = self._config.join_timeout
        try:
            await self._ask(topic.wire_name, "phx_join", topic.join_payload(), topic.ref, seconds, join_ref=topic.ref)
        except TimeoutError:
            if topic in self._topics:
                self._finish(Reason.JOIN_TIMEOUT, f"no answer to the join of {topic.name} within {seconds:g} s")

    def _join_answered(self, topic: Topic, reply: dict[str, Any], listener: LinkListener) -> None:
        # At once and not in the task that asked: frames that stand right behind the reply belong to the joined channel.
        if reply.get("status") != "ok":
            text = _reason_text(reply.get("response"))
            # Ended before the listener hears of it: what it wants to join instead is for the next generation.
            self._finish(reasons.from_text(text), text, refused=True)
            listener.refused(topic.name, text)
            return
        flows = topic.accept()
        if self._held_since is None and self._topics.are_joined:
            self._held_since = self._clock.monotonic()
        listener.joined(topic.name)
        if flows:
            listener.ready(topic.name)
        if topic.token != self._token:
            self._spawn(self._give_token(topic), "token")

    async def _give_token(self, topic: Topic) -> None:
        if topic in self._topics and topic.token != self._token:
            topic.token = self._token
            await self._send_on(topic, "access_token", {"access_token": self._token})

    async def _leave(self, step: Step) -> None:
        # Also where the join is not answered yet: the server takes the leave after it. A leave that gets lost is no
        # loss: whatever still comes belongs to no topic of ours, and the close that answers it has its own reference.
        await self._send_on(step.topic, "phx_leave", {})
        if step.is_gone and self._listener is not None:
            self._listener.left(step.topic.name)

    async def _heartbeats(self) -> None:
        while True:
            await self._clock.sleep(self._config.heartbeat_interval)
            if not self._topics.are_joined:
                # A refused join is answered after five seconds, and the server hears nothing else meanwhile; joins have
                # deadlines of their own.
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
                if isinstance(frame, dict) and self._is_running:
                    try:
                        self._take(frame, listener)
                    except Exception:  # noqa: BLE001 - one frame that breaks its reader must not make us deaf
                        _log.exception("a frame on %s could not be handled and was skipped", frame.get("topic"))
        except websockets.ConnectionClosed as error:
            received = error.rcvd
            # A frame that is too large is refused by our side, so its code is in what we sent.
            code = received.code if received else (error.sent.code if error.sent else None)
            said = self._topics.error
            text = said or (received.reason if received and received.reason else f"close code {code}")
            self._finish(reasons.from_text(said) if said else reasons.from_close_code(code), text)

    def _take(self, frame: dict[str, Any], listener: LinkListener) -> None:
        event, payload = frame.get("event"), frame.get("payload")
        topic = self._topics.get(frame.get("topic"))
        if event in ("phx_close", "phx_error"):
            if topic is not None:
                self._closed(topic, event, frame)
        elif not isinstance(payload, dict):
            return
        elif event == "phx_reply":
            self._answered(topic, str(frame.get("ref")), payload, listener)
        elif topic is None:
            return
        elif event == "system":
            if topic.heard(payload):
                listener.ready(topic.name)
        elif topic.is_joined:
            # Before that it can only be of an earlier join of the same topic, which has been left.
            _deliver(topic.name, event, payload, listener)

    def _answered(self, topic: Topic | None, ref: str, payload: dict[str, Any], listener: LinkListener) -> None:
        waiting = self._answers.get(ref)
        if waiting is not None and not waiting.done():
            waiting.set_result(payload)
            asked = self._topics.by_ref(ref)
            if asked is not None:
                self._join_answered(asked, payload, listener)
        elif topic is not None and topic.is_joined and payload.get("status") == "error":
            text = _reason_text(payload.get("response"))
            if text == _UNMATCHED:
                self._finish(Reason.CLOSED, f"the server does not know that {topic.name} is joined: {text}")

    def _closed(self, topic: Topic, event: str, frame: dict[str, Any]) -> None:
        # A topic that is joined anew is closed with the old join's ref, before or after the new join's answer.
        if frame.get("ref") not in (None, topic.ref):
            return
        text = topic.error or f"{event}: {frame.get('payload')}"
        reason = Reason.CRASHED if event == "phx_error" else Reason.CLOSED
        self._finish(reasons.from_text(topic.error) if topic.error else reason, text)

    # --- sending

    async def _ask(
        self,
        wire_name: str,
        event: str,
        payload: Mapping[str, Any],
        ref: str,
        seconds: float,
        *,
        join_ref: str | None = None,
    ) -> Mapping[str, Any]:
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[ref] = answer
        try:
            async with asyncio.timeout(seconds):
                await self._send(wire_name, event, payload, ref, join_ref)
                return await answer
        finally:
            del self._answers[ref]

    async def _send_on(self, topic: Topic, event: str, payload: Mapping[str, Any]) -> bool:
        return await self._send(topic.wire_name, event, payload, self._client._make_ref(), topic.ref)

    async def _send(
        self, wire_name: str, event: str, payload: Mapping[str, Any], ref: str, join_ref: str | None
    ) -> bool:
        return await self._client.send_now(
            Message(topic=wire_name, event=event, payload=dict(payload), ref=ref, join_ref=join_ref)
        )

    async def _farewell(self, socket: ClientConnection) -> None:
        joined = self._topics.joined
        if not joined:
            return
        try:
            async with asyncio.timeout(1.0):
                for topic in joined:
                    await self._send_on(topic, "phx_leave", {})
                await socket.close()
        except (TimeoutError, OSError, websockets.WebSocketException) as error:
            _log.debug("leaving %s was cut short: %s", joined[0].name, type(error).__name__)

    def _finish(self, reason: Reason, detail: str, *, refused: bool = False) -> None:
        if self._end is None or self._end.done():
            return
        held = self._clock.monotonic() - self._held_since if self._held_since is not None else 0.0
        self._end.set_result(Ended(reason=reason, detail=detail, held_for=held, refused=refused))


def _deliver(topic: str, event: object, payload: dict[str, Any], listener: LinkListener) -> None:
    match event:
        case "broadcast":
            listener.broadcast(topic, str(payload.get("event")), _object(payload.get("payload")))
        case "postgres_changes":
            data = payload.get("data")
            record = data.get("record") if isinstance(data, dict) else None
            if isinstance(data, dict) and isinstance(record, dict):
                listener.row_changed(str(data.get("table")), record)
        case "presence_state":
            listener.presence_state(payload)
        case "presence_diff":
            listener.presence_diff(_object(payload.get("joins")), _object(payload.get("leaves")))
        case _:
            pass  # events of other client versions; Realtime itself ignores what it does not know, too


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _handshake_failed(error: Exception) -> Ended:
    if isinstance(error, websockets.InvalidStatus):
        status = error.response.status_code
        body = (error.response.body or b"").decode("utf-8", "replace")[:300]
        return Ended(reason=reasons.from_http_status(status), detail=f"HTTP {status} {body}".strip(), refused=True)
    if isinstance(error, ssl.SSLError):
        return Ended(reason=Reason.UNREACHABLE, detail=f"TLS: {error.reason}")
    return Ended(reason=Reason.UNREACHABLE, detail=str(error) or type(error).__name__)


def _reason_text(response: Any) -> str:
    if isinstance(response, dict):
        return str(response.get("reason") or response)
    return str(response)
