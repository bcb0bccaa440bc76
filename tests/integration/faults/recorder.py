"""Writes down what one session publishes, as evidence."""

from __future__ import annotations

import asyncio

from tests.integration.faults.verdict import Listener
from whatssound import EventStream, Session
from whatssound.errors import WhatsSoundError
from whatssound.events import (
    ChatMessage,
    ChatUnconfirmed,
    Discontinuity,
    Event,
    Lagged,
    StateResynced,
    Status,
    StatusChanged,
)


class Recorder:
    """Listens to one session.

    Args:
        name: whose.
        session: an open session.
    """

    def __init__(self, name: str, session: Session) -> None:
        self.listener = Listener(name)
        self._session = session
        self._stream: EventStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = ""
        self._live_at: list[float] = []
        self._news = asyncio.Condition()

    def start(self) -> None:
        """Listens from now on."""
        self._stream = self._session.events()
        self._task = asyncio.create_task(self._listen(self._stream), name="chaos-recorder")

    async def close(self) -> None:
        """Stops listening."""
        if self._stream is not None and self._task is not None:
            self._stream.close()
            await self._task

    def problem(self) -> str:
        """Why the session is not as it should be; empty if it is live."""
        if self._ended:
            return self._ended
        return "" if self._session.status is Status.LIVE else f"is {self._session.status.value}"

    async def live_after(self, moment: float, *, within: float) -> float | None:
        """Waits for the first time after ``moment`` (of the loop's clock) that the session goes live; None if never."""
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    for at in self._live_at:
                        if at >= moment:
                            return at
                    await self._news.wait()
        except TimeoutError:
            return None

    async def _listen(self, stream: EventStream) -> None:
        try:
            async for event in stream:
                await self._note(event)
        except WhatsSoundError as error:
            self._ended = f"ended: {error!r}"

    async def _note(self, event: Event) -> None:
        listener = self.listener
        # StateResynced carries the place in the log it speaks of; it is no event of the log.
        if event.seq is not None and not isinstance(event, StateResynced):
            listener.durable.append(event.seq)
            listener.recovered += event.recovered
        match event:
            case ChatMessage():
                listener.shown.append(event.message.id)
            case ChatUnconfirmed() if event.message_id in listener.shown:
                listener.shown.remove(event.message_id)
            case Discontinuity():
                listener.skipped.append((event.after_seq + 1, event.before_seq - 1))
            case Lagged():
                listener.lagged += event.missed
            case StatusChanged(status=Status.LIVE):
                async with self._news:
                    self._live_at.append(asyncio.get_running_loop().time())
                    self._news.notify_all()
            case _:
                pass
