"""A live session: the facade that wires its parts in one task group."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from ._auth import is_public_key
from .budget import Meter
from .chat import Chat
from .config import SessionConfig
from .connection import Connection
from .core.reasons import Reason
from .errors import (
    ConnectionRefusedByServerError,
    NotSignedInError,
    SessionClosedError,
    TransportError,
    UnreachableError,
    WhatsSoundError,
    refusal,
)
from .events import EventBase, LoopStalled, Status, StatusChanged
from .features import Features
from .gateway import Gateway
from .handlers import ErrorHandler, Handler, Handlers
from .models import Member, SessionId
from .moderation import Moderation
from .ports import Clock, LinkFactory, TokenSource
from .presence import Presences
from .queue import Queue
from .reactions import Reactions
from .room import Room, check_access, heartbeat_wait, parse
from .spool import Spool
from .stalls import StallWatch
from .state import LiveState
from .stats import SessionStats, session_stats
from .streams import EventStream, Streams
from .tips import Tips
from .typing import Typing
from .votes import Votes
from .wiring import Surroundings, make_features

_log = logging.getLogger("whatssound")

E = TypeVar("E", bound=EventBase)

#: Reasons that no later attempt cures, so that opening fails at once instead of after its deadline.
_HOPELESS = frozenset({Reason.UNAUTHORIZED.value, Reason.NOT_FOUND.value, Reason.TOKEN.value})


class Session:
    """One live session; made by `WhatsSound.session`, used as an async context manager.

    Opening joins the session and the channel, loads the state, and returns once the session is live. Closing takes no
    more messages, waits for the last batches, and leaves.
    """

    def __init__(
        self,
        session_id: SessionId,
        *,
        config: SessionConfig,
        gateway: Gateway,
        tokens: TokenSource,
        links: LinkFactory,
        clock: Clock,
        spool: Spool | None = None,
        meter: Meter | None = None,
        stalls: StallWatch | None = None,
    ) -> None:
        chance = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self.id = session_id
        self.config = config
        self._gateway = gateway
        self._tokens = tokens
        self._links = links
        self._clock = clock
        self._spool = spool
        self._meter = meter or Meter(clock)
        self._stalls = stalls
        self._chance = chance.random
        self._streams = Streams(config.reader_events)
        self._handlers = Handlers(self._streams, f"session {session_id}")
        self._features: Features | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._outbox_task: asyncio.Task[None] | None = None
        self._went_live = asyncio.Event()
        self._failure: WhatsSoundError | None = None
        self._last_status = StatusChanged(status=Status.NEW)

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.status.value}>"

    # --- features

    @property
    def chat(self) -> Chat:
        """Say something, read history."""
        return self._parts().chat

    @property
    def votes(self) -> Votes:
        """Vote on songs."""
        return self._parts().votes

    @property
    def tips(self) -> Tips:
        """Tip the DJ."""
        return self._parts().tips

    @property
    def queue(self) -> Queue:
        """Change what plays next."""
        return self._parts().queue

    @property
    def reactions(self) -> Reactions:
        """React with an emoji."""
        return self._parts().reactions

    @property
    def typing(self) -> Typing:
        """Say that you type."""
        return self._parts().typing

    @property
    def presence(self) -> Presences:
        """Who is here."""
        return self._parts().presence

    @property
    def moderation(self) -> Moderation:
        """For the DJ and moderators."""
        return self._parts().moderation

    @property
    def state(self) -> LiveState:
        """What the room looks like now."""
        return self._parts().state

    @property
    def status(self) -> Status:
        """Where the connection is in its life."""
        return self._features.room.connection.status if self._features is not None else Status.NEW

    def stats(self) -> SessionStats:
        """Returns the counters as they are now."""
        return session_stats(self._parts())

    # --- events

    def events(self) -> EventStream:
        """Returns a new reader: an async iterator over everything from now on. Any number of readers may be open."""
        return self._streams.open()

    @overload
    def on(self, kind: type[E]) -> Callable[[Handler[E]], Handler[E]]: ...
    @overload
    def on(self, kind: type[E], handler: Handler[E]) -> Handler[E]: ...
    def on(self, kind: type[E], handler: Handler[E] | None = None) -> Handler[E] | Callable[[Handler[E]], Handler[E]]:
        """Calls a function, sync or async, with each event of a kind, one after the other; also as a decorator.

        What it raises goes to `on_error` and never to the connection. A sync function runs on the event loop: keep it
        short.
        """
        if handler is None:

            def decorate(given: Handler[E]) -> Handler[E]:
                return self.on(kind, given)

            return decorate
        self._handlers.add(kind, handler)
        return handler

    def on_error(self, handler: ErrorHandler) -> ErrorHandler:
        """Sets the function, sync or async, that gets what handlers raise and cannot be read; else it is logged."""
        self._handlers.on_error = handler
        return handler

    async def wait_for(
        self,
        kind: type[E],
        check: Callable[[E], bool] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - reads better at the call than a block around it
    ) -> E:
        """Waits for the next event of a kind for which ``check`` is true.

        Args:
            kind: the event's class.
            check: tells whether it is the one.
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: it did not come in time.
            SessionClosedError: the session was closed before.
        """
        stream = self.events()
        try:
            async with asyncio.timeout(timeout):
                async for event in stream:
                    if isinstance(event, kind) and (check is None or check(event)):
                        return event
        finally:
            stream.close()
        raise SessionClosedError("the session was closed while waiting for an event")

    # --- opening and closing

    async def __aenter__(self) -> Self:
        if self._features is not None:
            raise SessionClosedError("a Session is opened once; make another with sound.session(...)")
        me = await self._join()
        features = self._features = self._make_features(me)
        try:
            await self._look_first(features, me)
        except BaseException:
            self._close_unopened(features)
            raise
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        try:
            self._start(features)
            await self._until_live()
        except BaseException:
            await self._shut(drain=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shut(drain=True, kind=kind, error=error, trace=trace)

    async def _join(self) -> Member | None:
        if self._spool is not None:
            await self._spool.open()
        await self._tokens.token()
        if self._tokens.user_id is None:
            # A service key or a bare anon key has no place in the session; it may read what its role may.
            return None
        answer = await self._gateway.command(
            "join_session", {"p_session_id": self.id, "p_username": self._tokens.username}
        )
        return parse(Member, "join_session", answer.get("me"))

    async def _look_first(self, parts: Features, me: Member | None) -> None:
        """Loads the state before anything is joined, as a refused join would stall the socket and say little."""
        if me is not None:
            await parts.room.feed.open()
            return
        is_public = is_public_key(await self._tokens.token())
        await parts.room.feed.open(may_join=not is_public)  # a service key passes every policy, a public key none
        if is_public and self.config.private:
            raise NotSignedInError

    def _close_unopened(self, parts: Features) -> None:
        parts.room.is_open = False
        parts.room.connection.closed()
        self._streams.end(None)

    def _make_features(self, me: Member | None) -> Features:
        around = Surroundings(
            session_id=self.id,
            config=self.config,
            gateway=self._gateway,
            tokens=self._tokens,
            links=self._links,
            clock=self._clock,
            chance=self._chance,
            publish=self._streams.publish,
            report=self._handlers.report,
            status_changed=self._status_changed,
            lost=self._lost,
            spool=self._spool,
            meter=self._meter,
        )
        return make_features(around, me)

    def _start(self, parts: Features) -> None:
        room = parts.room
        self._connecting = self._spawn(self._connect(room.connection), "connection")
        self._spawn(room.feed.run(), "feed")
        self._spawn(room.feed.flusher.run(), "frames")
        self._spawn(parts.reactions.run(), "reactions")
        self._spawn(parts.presence.run(), "presence")
        self._spawn(self._heartbeats(room), "occupancy")
        self._outbox_task = self._group_of().create_task(room.outbox.run(), name="whatssound-outbox")
        self._handlers.start(self._group_of())
        if self._stalls is not None:
            self._stalls.add(self._stalled)
        if self._tokens.user_id is not None and self.config.track_presence:
            parts.presence.show()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._group_of().create_task(work, name=f"whatssound-{name}")
        self._tasks.append(task)
        return task

    async def _until_live(self) -> None:
        deadline = self.config.connection.open_timeout + self.config.connection.join_timeout
        try:
            async with asyncio.timeout(deadline):
                await self._went_live.wait()
        except TimeoutError:
            last = self._last_status
            raise UnreachableError("Realtime", last.detail or f"not live within {deadline:g} s") from None
        if isinstance(self._failure, ConnectionRefusedByServerError):
            await check_access(self._gateway, self._tokens, self.id, private=self.config.private)
        if self._failure is not None:
            raise self._failure

    async def _shut(
        self,
        *,
        drain: bool,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        room, group = self._parts().room, self._group_of()
        room.is_open = False
        try:
            await self._drain(room, self.config.outbox.drain_timeout if drain else 0.0)
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            room.connection.closed()
            self._streams.end(self._failure)
            await self._handlers.finish(self.config.handler_tasks)
        finally:
            if self._stalls is not None:
                self._stalls.remove(self._stalled)
            if self._outbox_task is not None:
                self._outbox_task.cancel()
            for task in self._tasks:
                task.cancel()
            self._handlers.cancel()
            # Closing may be cancelled itself: even then every receipt settles and every reader ends.
            self._abandon(room)
            room.connection.closed()
            self._streams.end(self._failure)
            self._group = None
            # A task group would wrap what the body raised in an ExceptionGroup; only cancellation concerns it.
            cancelled = isinstance(error, asyncio.CancelledError)
            await group.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))

    async def _drain(self, room: Room, seconds: float) -> None:
        await room.outbox.close()
        if seconds and self._outbox_task is not None:
            await asyncio.wait([self._outbox_task], timeout=seconds)
        self._abandon(room)

    def _abandon(self, room: Room) -> None:
        if left := room.outbox.abandon("closed"):
            _log.warning("closed %s with %d chat messages whose outcome is not known", self.id, left)

    # --- what the parts say

    def _stalled(self, seconds: float, stack: str) -> None:
        self._streams.publish(LoopStalled(seconds=round(seconds, 3), stack=stack))

    async def _connect(self, connection: Connection) -> None:
        try:
            await connection.run()
        except TransportError as error:
            # Given up, as configured: readers end with the reason, commands and the outbox go on over HTTP.
            self._fail(error)

    async def _heartbeats(self, room: Room) -> None:
        while True:
            asked, wait = self._clock.unix_ms(), self.config.occupancy_interval
            try:
                answer = await self._gateway.once("heartbeat", {"p_session_id": self.id})
            except WhatsSoundError as error:
                _log.debug("heartbeat failed: %s", error)
            else:
                room.feed.heard_heartbeat(answer)
                # Our clock may be set while the session runs, and ids that are minutes off are refused.
                room.server_time.learn_text(answer.get("server_time"), asked)
                wait = heartbeat_wait(answer, wait)
            # Jittered, so that people who came together do not ask together for ever.
            await self._clock.sleep(wait * (0.9 + 0.2 * self._chance()))

    def _lost(self, error: WhatsSoundError) -> None:
        self._parts().room.connection.failed("session_lost", str(error))
        self._connecting.cancel()
        self._fail(error)

    def _status_changed(self, event: StatusChanged) -> None:
        self._last_status = event
        if event.status is Status.LIVE:
            self._went_live.set()
        self._streams.publish(event)
        if event.status is Status.RECONNECTING and event.reason in _HOPELESS:
            room = self._parts().room
            if room.feed.excuses_refusal():
                room.connection.retry_now()  # what was refused is not asked for again
            else:
                self._refused(event)

    def _refused(self, event: StatusChanged) -> None:
        session = self._parts().room.state.session
        if not self._went_live.is_set():
            # A token that is refused may have ended on the way; the next attempt has a fresh one.
            if event.reason != Reason.TOKEN.value or event.attempt > 1:
                self._fail(ConnectionRefusedByServerError(event.detail or event.reason or ""))
        elif session is not None and session.status == "ended":
            self._lost(refusal("session_ended", "the session has ended"))

    def _fail(self, error: WhatsSoundError) -> None:
        self._failure = error
        self._went_live.set()
        self._streams.end(error)

    def _parts(self) -> Features:
        if self._features is None:
            raise SessionClosedError
        return self._features

    def _group_of(self) -> asyncio.TaskGroup:
        if self._group is None:
            raise SessionClosedError
        return self._group
