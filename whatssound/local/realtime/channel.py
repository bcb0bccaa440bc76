"""One joined channel of one socket."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from . import codec, json_text
from .access import Caller
from .codec import Broadcast, Push, UnencodableError, UserBroadcast, UserPayload
from .credentials import Credentials
from .database import DatabaseUnavailableError
from .hub import Topic
from .tracking import ChannelCrashError, Tracking, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .access import Policies
    from .join_config import JoinConfig
    from .server import Server
    from .socket import Socket

_log = logging.getLogger(__name__)
_MOST_WAITING: Final = 10_000


class Channel:
    """A member of a topic.

    Pushes are served in order. What needs no answer of the database is served at once; the rest waits in a queue
    that one task works off.

    Args:
        server: The server's parts.
        socket: The socket it lives on.
        push: The join.
        name: The channel's name without prefix.
        config: What the join asked for.
        token: The token in force.
        claims: That token's claims.
        policies: What policies allow; None on a public channel.
    """

    def __init__(
        self,
        server: Server,
        socket: Socket,
        push: Push,
        *,
        name: str,
        config: JoinConfig,
        token: str,
        claims: dict[str, Any],
        policies: Policies | None,
    ) -> None:
        self._server = server
        self._hub = server.hub
        self.socket = socket
        self.version = socket.version
        self.wire_topic: str = push.topic
        self.name = name
        self.topic = Topic(private=bool(config.private), name=name)
        self.join_ref = push.join_ref
        # A join without join_ref is known by its ref, but closed with null.
        self._ref = push.join_ref if push.join_ref is not None else push.ref
        self.config = config
        self.policies = policies
        self.credentials = Credentials(self, server, token, claims)
        self.tracking = Tracking(self, server.hub)
        self.replayed: frozenset[str] = frozenset()
        self._jobs: deque[Callable[[], Awaitable[None]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._serving = False
        self._doom: str | None = None
        self.closed = False

    # ---------------------------------------------------------------------------------------------- as others see it

    def hears(self, broadcast: Broadcast | UserBroadcast) -> bool:
        """Whether a broadcast of its topic is for this channel.

        Args:
            broadcast: It.
        """
        if self.policies is not None and self.policies.broadcast_read is not True:
            return False
        return broadcast.id is None or broadcast.id not in self.replayed

    @property
    def sees_presence(self) -> bool:
        """Whether presence diffs of its topic are for this channel."""
        return self.policies is None or self.policies.presence_read is True

    @property
    def caller(self) -> Caller:
        """On whose behalf the database is asked."""
        return Caller(self.credentials.claims, self.socket.headers)

    # ------------------------------------------------------------------------------------------------- begin and end

    def begin(self, replay: list[Any]) -> None:
        """Starts to live, after the join has been answered.

        Args:
            replay: Rows of messages to be replayed.
        """
        self.credentials.watch()
        for row in replay:
            self._replay(row)
        if self.config.bindings:
            self.enqueue(partial(self._server.changes.subscribe, self))
        if self.config.replication_ready:
            self.enqueue(self._announce_replication)
        if self.tracking.enabled:
            self._when_idle(self.tracking.tell_state)

    def end(self) -> None:
        """Stops to live, without a word to the client."""
        if self.closed:
            return
        self.closed = True
        self.credentials.unwatch()
        self._jobs.clear()
        worker, self._worker = self._worker, None
        if worker is not None and worker is not asyncio.current_task():
            worker.cancel()
        self.socket.forget(self)
        self._server.changes.unsubscribe(self)
        self._hub.leave(self)

    def close(self) -> None:
        """Ends and tells the client so."""
        if not self.closed:
            self.end()
            self.say_closed()

    def say_closed(self) -> None:
        """Sends `phx_close`."""
        self.socket.write_text(
            codec.message(
                self.version,
                join_ref=self.join_ref,
                ref=self.join_ref,
                topic=self.wire_topic,
                event="phx_close",
                payload=b"{}",
            )
        )

    def shutdown(self, message: str, *, extension: str = "system") -> None:
        """Ends with a `system` error and `phx_close`.

        Args:
            message: The error.
            extension: Who says it.
        """
        if not self.closed:
            self.system(message, status="error", extension=extension)
            self.close()

    def shutdown_soon(self, message: str) -> None:
        """Shuts down, but not before the push being served has been answered.

        Args:
            message: The error.
        """
        if self._serving:
            self._doom = message
        else:
            self.shutdown(message)

    def _crash(self) -> None:
        if self.closed:
            return
        self.end()
        payload = b'{"reason":"channel_crash"}'
        self.socket.write_text(
            codec.message(
                self.version,
                join_ref=self.join_ref,
                ref=self.join_ref,
                topic=self.wire_topic,
                event="phx_error",
                payload=payload,
            )
        )

    # ------------------------------------------------------------------------------------------------------- sending

    def tell(self, event: str, payload: bytes) -> None:
        """Sends an event of the channel.

        Args:
            event: Its name.
            payload: Its payload as JSON text.
        """
        self.socket.write_text(
            codec.message(
                self.version, join_ref=self._ref, ref=None, topic=self.wire_topic, event=event, payload=payload
            )
        )

    def system(self, message: str, *, status: str, extension: str) -> None:
        """Sends a `system` message.

        Args:
            message: What it says.
            status: `ok` or `error`.
            extension: Who says it.
        """
        if status == "ok" and self._hub.hooks.skip_system_ok:
            return
        self.tell("system", codec.system_payload(message, status, extension, self.name))

    def answer(self, push: Push, status: str, response: bytes = b"{}") -> None:
        """Answers a push.

        Args:
            push: The push.
            status: `ok` or `error`.
            response: The response as JSON text.
        """
        self.socket.write_text(
            codec.reply(
                self.version,
                join_ref=self._ref,
                ref=push.ref,
                topic=self.wire_topic,
                status=status,
                response=response,
            )
        )

    def _replay(self, row: Any) -> None:
        identity = json_text.string(row["id"])
        meta = b'{"id":%b,"replayed":true}' % identity
        if row["binary_payload"] is not None:
            frame = UserBroadcast(self.wire_topic, row["event"], "binary", row["binary_payload"], meta_text=meta).frame(
                self.version
            )
            if frame is not None:
                self.socket.write(frame)
            return
        payload = json_text.render(json_text.parse(row["payload"])) if row["payload"] is not None else b"null"
        self.tell(
            "broadcast",
            b'{"event":%b,"meta":%b,"payload":%b,"type":"broadcast"}' % (json_text.render(row["event"]), meta, payload),
        )

    # -------------------------------------------------------------------------------------------------- pushes, jobs

    def receive(self, push: Push) -> None:
        """Serves a push, now or after those before it.

        Args:
            push: The push.
        """
        if self._worker is None and not self._asks_database(push):
            self._serve(push)
        else:
            self.enqueue(partial(self._serve_with_database, push))

    def _when_idle(self, work: Callable[[], None]) -> None:
        if self._worker is None:
            work()
        else:
            self.enqueue(partial(_as_job, work))

    def enqueue(self, job: Callable[[], Awaitable[None]]) -> None:
        """Has a job done after what waits already.

        Args:
            job: What to do.
        """
        if self.closed:
            return
        if len(self._jobs) >= _MOST_WAITING:
            self.socket.abort()
            return
        self._jobs.append(job)
        if self._worker is None:
            self._worker = self._server.nursery.spawn(self._work, f"channel {self.name}")

    async def _work(self) -> None:
        try:
            while self._jobs and not self.closed:
                job = self._jobs.popleft()
                try:
                    await job()
                except ChannelCrashError:
                    self._crash()
        finally:
            self._worker = None

    def _asks_database(self, push: Push) -> bool:
        if push.event == "access_token":
            return self.topic.private
        if self.policies is None:
            return False
        if push.event == "broadcast":
            return self.policies.broadcast_write is None
        return push.event == "presence" and self.policies.presence_write is None

    async def _serve_with_database(self, push: Push) -> None:
        if self._asks_database(push):
            if push.event == "access_token":
                await self.credentials.renew(push)
                return
            await self._ask_write_policies(with_presence_read=push.event == "presence")
        if not self.closed:
            self._serve(push)

    def _serve(self, push: Push) -> None:
        self._serving = True
        try:
            self._handle(push)
        except (UnencodableError, ChannelCrashError, RecursionError):
            self._crash()
        finally:
            self._serving = False
        doom, self._doom = self._doom, None
        if doom is not None:
            self.shutdown(doom)

    def _handle(self, push: Push) -> None:
        if push.event == "phx_leave":
            self.answer(push, "ok")
            self.close()
        elif push.event == "broadcast" and self.config.private is not None:
            self._broadcast(push)
        elif push.event == "presence" and self.config.private is not None:
            self.tracking.receive(push)
        elif push.event == "access_token":
            self.credentials.renew_public(push)
        else:
            self._hub.events.add()

    # ----------------------------------------------------------------------------------------------------- broadcast

    def _broadcast(self, push: Push) -> None:
        if self.policies is not None and self.policies.broadcast_write is not True:
            return
        self._hub.events.add()
        self._hub.usage.messages += 1
        if too_large(push, self._hub.limits.payload_bytes):
            if self.config.ack:
                self.answer(push, "error", b'"payload_size_exceeded"')
            return
        message: Broadcast | UserBroadcast
        if isinstance(push.payload, UserPayload):
            user = push.payload
            message = UserBroadcast(self.wire_topic, user.event, user.encoding, user.data)
        else:
            message = Broadcast(self.wire_topic, "broadcast", push.payload, _message_id(push.payload))
        self._hub.send(self.topic, message, but=None if self.config.self_broadcast else self)
        if self.config.ack:
            self.answer(push, "ok")

    async def _ask_write_policies(self, *, with_presence_read: bool) -> None:
        policies = self.policies
        if policies is None:
            return
        try:
            if with_presence_read and policies.presence_read is None:
                later = await self._server.database.read_policies(self.caller, self.name, presence=True)
                policies.presence_read = later.presence_read
            policies.broadcast_write, policies.presence_write = await self._server.database.write_policies(
                self.caller, self.name
            )
        except (DatabaseUnavailableError, asyncpg.PostgresError) as error:
            _log.warning("policies of %s could not be asked: %s", self.name, error)

    # --------------------------------------------------------------------------------------------------- replication

    async def _announce_replication(self) -> None:
        if await self._server.feed.wait_ready(timeout=60.0):
            self.system("Replication connection established", status="ok", extension="system")
        else:
            self.shutdown("Replication connection was not established in time")


async def _as_job(work: Callable[[], None]) -> None:
    work()


def _message_id(payload: Any) -> str | None:
    if not isinstance(payload, dict):
        return None
    meta = payload.get("meta")
    found = meta.get("id") if isinstance(meta, dict) else None
    return found if isinstance(found, str) else None
