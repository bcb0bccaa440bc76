"""The app's own functions, called with events; what they raise is theirs and never the connection's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .errors import SlowReaderError, WhatsSoundError
from .events import EventBase, Lagged
from .streams import EventStream, Streams

_log = logging.getLogger("whatssound")

E = TypeVar("E", bound=EventBase)
Handler = Callable[[E], Any]
ErrorHandler = Callable[[Exception], Any]


class Handlers:
    """Runs handlers, each with a reader of its own, so that a slow one holds up nobody.

    Args:
        streams: where readers come from.
        name: what the log calls the session.
    """

    def __init__(self, streams: Streams, name: str) -> None:
        self._streams = streams
        self._name = name
        self._registered: list[tuple[type[EventBase], Handler[Any]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self.on_error: ErrorHandler | None = None

    def add(self, kind: type[EventBase], handler: Handler[Any]) -> None:
        """Registers a handler; it starts with the session, or now if that is open."""
        self._registered.append((kind, handler))
        if self._group is not None:
            self._run(self._group, kind, handler)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Starts what is registered."""
        self._group = group
        for kind, handler in self._registered:
            self._run(group, kind, handler)

    async def finish(self, seconds: float) -> None:
        """Waits for the handlers to do what they hold, once the streams have ended; cancels those that take longer."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        self.cancel()

    def cancel(self) -> None:
        """Cancels what runs and starts nothing more."""
        self._group = None
        for task in self._tasks:
            task.cancel()

    def report(self, error: Exception) -> None:
        """Gives an error to the app's ``on_error`` function, or to the log."""
        if self.on_error is None:
            _log.warning("%s: %s", self._name, error)
            return
        try:
            answer = self.on_error(error)
        except Exception:  # noqa: BLE001 - whatever a user's function raises must not reach the connection
            _log.exception("the on_error function of %s raised", self._name)
            return
        if asyncio.iscoroutine(answer):
            if self._group is None:
                answer.close()
                _log.warning("%s: %s (closed, so on_error could not run)", self._name, error)
                return
            self._track(self._group.create_task(self._finish(answer), name="whatssound-on-error"))

    def _run(self, group: asyncio.TaskGroup, kind: type[EventBase], handler: Handler[Any]) -> None:
        stream = self._streams.open()
        self._track(group.create_task(self._handle(stream, kind, handler), name="whatssound-handler"))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _finish(self, answer: Awaitable[Any]) -> None:
        try:
            await answer
        except Exception:  # noqa: BLE001 - see report
            _log.exception("the on_error function of %s raised", self._name)

    async def _handle(self, stream: EventStream, kind: type[EventBase], handler: Handler[Any]) -> None:
        while True:
            try:
                await self._read(stream, kind, handler)
            except SlowReaderError as error:
                # Said, and begun again: a handler that stops without a word would be worse than one that has missed.
                self.report(error)
                stream.close()
                stream = self._streams.open()
            except WhatsSoundError:
                return  # how the session ended is told by `events()` and `status`
            else:
                return

    async def _read(self, stream: EventStream, kind: type[EventBase], handler: Handler[Any]) -> None:
        async for event in stream:
            if not isinstance(event, kind):
                if isinstance(event, Lagged):
                    _log.warning("%s: a handler is too slow and has missed %d events", self._name, event.missed)
                continue
            try:
                answer = handler(event)
                if asyncio.iscoroutine(answer):
                    await answer
            except Exception as error:  # noqa: BLE001 - handlers are the user's; their errors go to on_error
                self.report(error)
