"""Readers of events: each with a bounded queue of its own, so that a slow one hurts nobody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self

from .errors import SlowReaderError, WhatsSoundError
from .events import ChatConfirmed, ChatMessage, Event, Lagged


def must_keep(event: Event) -> bool:
    """Tells whether a reader may never lose this event: tips, moderation, status, and one's own messages."""
    return event.keep or (isinstance(event, ChatMessage | ChatConfirmed) and event.own)


class EventStream(AsyncIterator[Event]):
    """An async iterator over the events of a session, from the moment it was made.

    It holds at most ``limit`` unread events. When it is full the oldest that may be dropped goes, and the reader gets
    one `Lagged` that says how many; what must not be dropped may fill it up to ``4 * limit``, after which reading
    raises `SlowReaderError`.

    Args:
        limit: unread events to hold.
        closed: called when the reader closes it.
    """

    def __init__(self, limit: int, closed: Callable[[EventStream], None]) -> None:
        self._limit = limit
        self._closed = closed
        self._events: deque[Event] = deque()
        self._droppable = 0
        self._missed = 0
        self._ready = asyncio.Event()
        self._ended = False
        self._error: WhatsSoundError | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """Adds an event; never waits."""
        if self._ended:
            return
        keep = must_keep(event)
        if len(self._events) >= self._limit:
            if self._droppable:
                self._drop_oldest()
            elif not keep:
                self._missed += 1
                return
            elif len(self._events) >= 4 * self._limit:
                self.end(SlowReaderError(len(self._events)))
                return
        self._events.append(event)
        self._droppable += not keep
        self._ready.set()

    def _drop_oldest(self) -> None:
        for at, event in enumerate(self._events):
            if not must_keep(event):
                del self._events[at]
                self._droppable -= 1
                self._missed += 1
                return

    def end(self, error: WhatsSoundError | None = None) -> None:
        """Ends the stream after what it holds; ``error`` is raised to the reader then."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._ready.set()

    def close(self) -> None:
        """Stops reading: nothing more is held for this reader."""
        self._events.clear()
        self._droppable = self._missed = 0
        self.end()
        self._closed(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                return Lagged(missed=missed)
            if self._events:
                event = self._events.popleft()
                self._droppable -= not must_keep(event)
                return event
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()


class Streams:
    """All readers of one session.

    Args:
        limit: unread events that each may hold.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: list[EventStream] = []
        self._ended = False

    def open(self) -> EventStream:
        """Makes a reader."""
        stream = EventStream(self._limit, self._remove)
        if self._ended:
            stream.end()
        else:
            self._open.append(stream)
        return stream

    def publish(self, event: Event) -> None:
        """Gives an event to every reader."""
        for stream in self._open:
            stream.put(event)

    def end(self, error: WhatsSoundError | None = None) -> None:
        """Ends all readers."""
        self._ended = True
        for stream in self._open:
            stream.end(error)
        self._open.clear()

    def _remove(self, stream: EventStream) -> None:
        if stream in self._open:
            self._open.remove(stream)
