"""One WebSocket: reads frames in order, hands them to channels, and writes ready-made frames."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from . import codec, json_text
from .join_config import channel_name
from .joining import JoinRefusedError, join

if TYPE_CHECKING:
    from .channel import Channel
    from .codec import Push, Version
    from .server import Server

LARGEST_FRAME: Final = 5_000_000
"""Bytes of a client's frame; a larger one closes the socket with 1009."""
IDLE_SECONDS: Final = 66.0
"""Seconds without a frame of the client after which the server closes with 1000."""
REFUSAL_SECONDS: Final = 5.0
"""How long the answer to a refused join takes; the whole socket waits."""
# A frame over the limit is read whole: closing while the client still writes would reset its connection, and it would
# never see the close code.
_LARGEST_READ: Final = 64_000_000
_BUFFER_BYTES: Final = 16_000_000
_CLOSE_SECONDS: Final = 2.0
_UNMATCHED: Final = b'{"reason":"unmatched topic"}'


class Socket:
    """A client's connection.

    Args:
        server: The server's parts.
        request: The handshake.
        version: The protocol version spoken.
        token: The token of the URL.
        headers: Headers of the handshake whose names start with `x-`.
    """

    def __init__(
        self, server: Server, request: web.Request, *, version: Version, token: str, headers: dict[str, str]
    ) -> None:
        self._server = server
        self._request = request
        self._ws = web.WebSocketResponse(
            timeout=_CLOSE_SECONDS, autoping=False, compress=False, max_msg_size=_LARGEST_READ
        )
        self._transport: asyncio.WriteTransport | None = None
        self.version = version
        self.token = token
        self.headers = headers
        self._channels: dict[str, Channel] = {}
        self._held = False
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._heard = time.monotonic()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._task: asyncio.Task[Any] | None = None
        self._open_joins: int | None = None

    @property
    def forsaken(self) -> bool:
        """Whether it has left its last channel and joined no other: the real server kills such sockets."""
        return self._open_joins == 0

    @property
    def channel_count(self) -> int:
        """How many channels are joined."""
        return len(self._channels)

    @property
    def channels(self) -> list[Channel]:
        """The joined channels."""
        return list(self._channels.values())

    # ------------------------------------------------------------------------------------------------------- life

    async def run(self) -> web.WebSocketResponse:
        """Serves the socket until it is closed."""
        self._task = asyncio.current_task()
        await self._ws.prepare(self._request)
        transport = self._request.transport
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        hub = self._server.hub
        hub.opened(self)
        self._watch_idleness()
        try:
            await self._read()
        finally:
            self._closing = True
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            for channel in self.channels:
                channel.end()
            hub.closed(self)
        return self._ws

    async def _read(self) -> None:
        hooks = self._server.hub.hooks
        while not self._ws.closed:
            received = await self._ws.receive()
            if hooks.frozen:
                await hooks.thawed()
            if received.type not in {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG}:
                return
            self._heard = time.monotonic()
            if received.type is WSMsgType.PING:
                await self._ws.pong(received.data)
                continue
            if received.type is WSMsgType.PONG:
                continue
            if hooks.delay > 0:
                await asyncio.sleep(hooks.delay)
            if len(received.data) > LARGEST_FRAME:
                await self._close(1009, "")
                return
            push = codec.decode(self.version, received.data)
            if push is not None:
                await self._serve(push)

    def _watch_idleness(self) -> None:
        if self._server.hub.hooks.frozen:
            # A server that stands still does not notice silence either.
            self._heard = time.monotonic()
        left = self._heard + IDLE_SECONDS - time.monotonic()
        if left <= 0:
            self.close_soon(1000)
            return
        self._idle_timer = asyncio.get_running_loop().call_later(left, self._watch_idleness)

    def close_soon(self, code: int, reason: str = "") -> None:
        """Closes with a close frame, after what was written before.

        Args:
            code: The close code.
            reason: The close reason.
        """
        if not self._closing:
            self._closing = True
            self._server.nursery.spawn(partial(self._close, code, reason), "close socket")

    async def _close(self, code: int, reason: str) -> None:
        await self._ws.close(code=code, message=reason.encode())
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cuts the TCP connection."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def cancel(self) -> None:
        """Ends the serving of the socket, wherever it waits."""
        if self._task is not None:
            self._task.cancel()

    # ---------------------------------------------------------------------------------------------------- writing

    def write_text(self, text: bytes) -> None:
        """Sends a text frame.

        Args:
            text: The text, UTF-8.
        """
        self.write(codec.text_frame(text))

    def write(self, frame: bytes) -> None:
        """Sends a ready-made frame; a client that does not read them is cut off.

        Args:
            frame: The whole WebSocket frame.
        """
        if self._closing:
            return
        if self._held or self._pending or self._server.hub.hooks.frozen:
            self._pending.append(frame)
            self._pending_bytes += len(frame)
            if self._pending_bytes > _BUFFER_BYTES:
                self.abort()
            return
        self._write_now(frame)

    def _write_now(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(frame)
        if transport.get_write_buffer_size() > _BUFFER_BYTES:
            self.abort()

    def flush(self) -> None:
        """Sends what was held back, unless there is still a reason to hold it."""
        if self._held or self._server.hub.hooks.frozen:
            return
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        for frame in pending:
            self._write_now(frame)

    # ---------------------------------------------------------------------------------------------------- messages

    async def _serve(self, push: Push) -> None:
        topic = push.topic
        if topic == "phoenix" and push.event == "heartbeat":
            self._reply(push, None, "ok")
            return
        channel = self._channels.get(topic) if isinstance(topic, str) else None
        if push.event == "phx_join" and isinstance(topic, str):
            name = channel_name(topic)
            if name is not None:
                await self._join(push, name, channel)
                return
        if channel is None:
            if push.event == "phx_leave":
                self._reply(push, push.join_ref, "ok")
            else:
                self._reply(push, None, "error", _UNMATCHED)
        elif push.event != "phx_leave" or push.join_ref == channel.join_ref:
            channel.receive(push)

    async def _join(self, push: Push, name: str, old: Channel | None) -> None:
        if old is not None:
            old.end()
        if name:
            # A refused join is never taken off again, which keeps the socket from being forsaken.
            self._open_joins = (self._open_joins or 0) + 1
        self._held = True
        try:
            await self._decide(push, name, old)
        finally:
            self._held = False
            self.flush()

    async def _decide(self, push: Push, name: str, old: Channel | None) -> None:
        refused: JoinRefusedError | None = None
        try:
            channel, replay = await join(self._server, self, push, name)
        except JoinRefusedError as error:
            refused = error
            await asyncio.sleep(REFUSAL_SECONDS)
        # The reply goes out before anything that others sent meanwhile.
        if refused is not None:
            reason = b'{"reason":%b}' % json_text.string(refused.reason)
            self._write_first(self._reply_text(push, push.join_ref, "error", reason))
        else:
            bindings = self._server.changes.echo(channel.config)
            self._channels[push.topic] = channel
            self._server.hub.users.add(self)
            self._server.hub.enter(channel)
            self._write_first(self._reply_text(push, push.join_ref, "ok", b'{"postgres_changes":%b}' % bindings))
        self._held = False
        if old is not None:
            old.say_closed()
        if refused is None:
            channel.begin(replay)
        elif refused.disconnect:
            self.flush()
            self.close_soon(1001)

    def _write_first(self, text: bytes) -> None:
        frame = codec.text_frame(text)
        self._pending.insert(0, frame)
        self._pending_bytes += len(frame)
        self._held = False
        self.flush()

    def _reply_text(self, push: Push, join_ref: Any, status: str, response: bytes = b"{}") -> bytes:
        return codec.reply(
            self.version,
            join_ref=join_ref,
            ref=push.ref,
            topic=push.topic,
            status=status,
            response=response,
        )

    def _reply(self, push: Push, join_ref: Any, status: str, response: bytes = b"{}") -> None:
        self.write_text(self._reply_text(push, join_ref, status, response))

    def forget(self, channel: Channel) -> None:
        """Removes a channel that has ended.

        Args:
            channel: It.
        """
        if self._channels.get(channel.wire_topic) is channel:
            del self._channels[channel.wire_topic]
            self._open_joins = (self._open_joins or 1) - 1
