"""Frames: what the database sends of the event log, in order, and the question for one that our own writes wait for."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from .core.reducer import RoomState
from .delivery import Delivery
from .errors import WhatsSoundError
from .events import ReactionsCounted
from .gateway import Gateway
from .models import Frame
from .ports import Clock

_log = logging.getLogger("whatssound.frames")

#: The most events of frames that wait for a gap to close; the log brings what does not fit.
_HELD_LIMIT = 10_000

#: Frames with reactions that are remembered, so that none is counted twice.
_REMEMBERED = 64

#: Seconds at least between two questions for a frame.
_PAUSE = 0.02


class Frames:
    """Delivers frames in the order of the log.

    A frame that starts beyond what has been delivered waits until the log has closed the gap; what was delivered before
    is left out.

    Args:
        delivery: takes the events.
        state: takes occupancy, server time and reactions.

    Attributes:
        heard: frames taken.
        gaps: frames that came with others missing before them.
    """

    def __init__(self, delivery: Delivery, state: RoomState) -> None:
        self._delivery = delivery
        self._state = state
        self._held: dict[int, Frame] = {}
        self._held_events = 0
        self._counted: deque[datetime | None] = deque(maxlen=_REMEMBERED)
        self._newest: datetime | None = None
        self.heard = 0
        self.gaps = 0

    def take(self, frame: Frame) -> bool:
        """Takes a frame; returns False if something before it is missing."""
        self.heard += 1
        sequencer = self._delivery.sequencer
        sequencer.note(frame.last_seq)
        self._describe(frame)
        if frame.from_seq is None or frame.to_seq <= sequencer.watermark:
            return True
        if frame.from_seq > sequencer.watermark + 1:
            self.gaps += 1
            if frame.from_seq not in self._held and self._held_events + len(frame.events) <= _HELD_LIMIT:
                self._held[frame.from_seq] = frame
                self._held_events += len(frame.events)
            return False
        self._deliver(frame)
        self.release()
        return True

    def release(self) -> None:
        """Delivers what was held, as far as there is no gap before it."""
        for start in sorted(self._held):
            if start > self._delivery.sequencer.watermark + 1:
                return
            frame = self._held.pop(start)
            self._held_events -= len(frame.events)
            self._deliver(frame)

    def _deliver(self, frame: Frame) -> None:
        for entry in frame.events:
            self._delivery.entry(entry["seq"], entry, recovered=False)
        self._delivery.reached(frame.to_seq)

    def _describe(self, frame: Frame) -> None:
        """Takes what a frame says beside its events, unless a newer one has said so already."""
        if frame.reactions and (frame.server_time is None or frame.server_time not in self._counted):
            self._counted.append(frame.server_time)
            self._delivery.publish(ReactionsCounted(counts=frame.reactions))
        if self._newest is not None and frame.server_time is not None and frame.server_time < self._newest:
            return
        self._newest = frame.server_time or self._newest
        self._state.server_time = frame.server_time or self._state.server_time
        if frame.occupancy is not None:
            self._state.occupancy = frame.occupancy


class Flusher:
    """Asks the database to send the frame that our own writes wait for, when nobody else has by then.

    Nobody has to live for a frame to be sent: the next write or heartbeat of anybody sends it. So a question that fails
    is not asked again.

    Args:
        session_id: the session.
        gateway: calls the database.
        clock: time.
        answered: called with each answer.

    Attributes:
        asked: questions answered.
    """

    def __init__(
        self, session_id: str, gateway: Gateway, clock: Clock, *, answered: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._session_id = session_id
        self._gateway = gateway
        self._clock = clock
        self._answered = answered
        self._wanted = asyncio.Event()
        self._due = 0.0
        self._seq = 0
        self._framed = 0
        self._reactions_wait = False
        self.asked = 0

    def want(self, seq: int, wait: float, *, reactions: bool = False) -> None:
        """Something of ours waits for a frame.

        Args:
            seq: the last event the frame should reach.
            wait: seconds until it may be sent.
            reactions: whether reactions wait, whatever else does.
        """
        due = self._clock.monotonic() + max(wait, _PAUSE)
        self._due = min(self._due, due) if self._wanted.is_set() else due
        if reactions or seq <= self._framed:
            # Where no event waits, reactions do. A frame has no number that tells whether they were in it: one that is
            # heard now may have been sent before they were counted, so only the database's answer settles this.
            self._reactions_wait = True
        self._seq = max(self._seq, seq)
        self._wanted.set()

    def framed(self, to_seq: int) -> None:
        """A frame was sent that goes up to ``to_seq``."""
        self._framed = max(self._framed, to_seq)

    async def run(self) -> None:
        """Asks when it is time; until cancelled."""
        while True:
            await self._wanted.wait()
            await self._clock.sleep(max(0.0, self._due - self._clock.monotonic()))
            self._wanted.clear()
            if self._framed >= self._seq and not self._reactions_wait:
                continue
            self._reactions_wait = False
            try:
                answer = await self._gateway.once("flush_frame", {"p_session_id": self._session_id})
            except WhatsSoundError as error:
                _log.debug("flush_frame failed: %s", error)
                continue
            self.asked += 1
            self._answered(answer)
