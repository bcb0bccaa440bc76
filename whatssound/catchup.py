"""What was missed, from the database: a snapshot, and the event log since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from .core import wire
from .core.reducer import RoomState
from .delivery import Delivery
from .errors import ProtocolError
from .events import Discontinuity
from .gateway import Gateway
from .models import Snapshot
from .ports import Clock
from .state import ServerTime

_PAGE = 500

#: Events published in one go.
_BREATH = 50


class CatchUp:
    """Loads the state and closes the gap behind it.

    Args:
        session_id: the session.
        gateway: calls the database.
        state: what is loaded.
        delivery: takes what was missed.
        server_time: learns the server's clock.
        clock: time.
        history: messages to load.
        loaded: called with each snapshot that was taken over.
    """

    def __init__(
        self,
        session_id: str,
        *,
        gateway: Gateway,
        state: RoomState,
        delivery: Delivery,
        server_time: ServerTime,
        clock: Clock,
        history: int,
        loaded: Callable[[Snapshot], None],
    ) -> None:
        self._session_id = session_id
        self._gateway = gateway
        self._state = state
        self._delivery = delivery
        self._server_time = server_time
        self._clock = clock
        self._history = history
        self._loaded = loaded
        self.is_loaded = False

    async def load(self, skip_to: int | None = None) -> None:
        """Loads a snapshot.

        Args:
            skip_to: count the log as delivered up to here instead of up to the snapshot.

        Raises:
            WhatsSoundError: it cannot be had, or not be read.
        """
        asked = self._clock.unix_ms()
        answer = await self._gateway.read(
            "session_snapshot", {"p_session_id": self._session_id, "p_messages": min(self._history, 200)}
        )
        try:
            snapshot = _read_snapshot(answer, self._session_id)
        except (ValidationError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(f"the snapshot cannot be read: {error}") from error
        sequencer = self._delivery.sequencer
        self._server_time.learn(snapshot.server_time, asked)
        self._state.load(snapshot)
        sequencer.skip_to(snapshot.seq if skip_to is None else skip_to)
        self.is_loaded = True
        for message in snapshot.messages:
            if message.seq is None or message.seq <= sequencer.watermark:  # of the others the log tells
                self._delivery.vouched(message)
        self._loaded(snapshot)

    async def fetch(self) -> tuple[int, bool]:
        """Fetches what is missing; returns how many events were new, and whether a fresh snapshot was needed.

        Raises:
            WhatsSoundError: it cannot be had, or not be read.
        """
        fetched, fresh = 0, False
        delivery, sequencer = self._delivery, self._delivery.sequencer
        while True:
            after = sequencer.watermark
            page = await self._gateway.read(
                "events_since", {"p_session_id": self._session_id, "p_after_seq": after, "p_limit": _PAGE}
            )
            try:
                entries = [(int(entry["seq"]), entry) for entry in page["events"]]
                last_seq, oldest = int(page["last_seq"]), int(page.get("oldest_seq") or 0)
            except (KeyError, TypeError, ValueError) as error:
                raise ProtocolError(f"events_since answered in an unknown shape: {error}") from error
            sequencer.note(last_seq)
            if last_seq > after and oldest > after + 1:
                # What is kept is still to be told of; only what is past retention is left out.
                await self.load(skip_to=oldest - 1)
                delivery.publish(Discontinuity(after_seq=after, before_seq=oldest))
                fresh = True
                continue
            for at, (seq, entry) in enumerate(entries, start=1):
                fetched += delivery.entry(seq, entry, recovered=True)
                if at % _BREATH == 0:
                    # Readers run now: one that keeps up must not lag only because much came in one answer.
                    await asyncio.sleep(0)
            # Everything up to the last entry of a page is in the page or was seen before.
            delivery.reached(entries[-1][0] if entries else after)
            if not page.get("more") or sequencer.watermark <= after:
                return fetched, fresh


def _read_snapshot(answer: Mapping[str, Any], session_id: str) -> Snapshot:
    tallies = {row["song_id"]: row for row in answer.get("tallies") or ()}
    messages = [wire.stored_message(row, session_id, row.get("seq")) for row in answer.get("messages") or ()]
    return Snapshot.model_validate({**answer, "tallies": tallies, "messages": messages})
