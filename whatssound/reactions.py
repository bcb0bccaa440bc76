"""Reactions: counted together over a moment, then sent; never stored, and nobody learns who sent them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from .core import wire
from .core.reactions import ReactionCounter, reaction_text
from .errors import WhatsSoundError
from .room import Room

_log = logging.getLogger("whatssound.reactions")


class Reactions:
    """`Session.reactions`.

    Attributes:
        dropped: our own reactions that could not be sent, or came faster than they could be.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._counter = ReactionCounter()
        self._added = asyncio.Event()
        self.dropped = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """Everybody's reactions since this session was opened: emoji → how many."""
        return dict(self._room.state.reactions)

    async def send(self, reaction: str) -> None:
        """Reacts. Our own reaction, too, is shown when it is counted: with the next frame.

        Reactions are ephemeral: what cannot be sent is dropped and counted in ``dropped``.

        Args:
            reaction: one emoji, or another text of at most 32 bytes without white space.

        Raises:
            InvalidInputError: it is none.
            NotSignedInError: no user.
            SessionClosedError: the session is closed.
        """
        self._room.user_id()
        if not self._counter.add(reaction_text(reaction)):
            self.dropped += 1
            return
        self._added.set()

    async def run(self) -> None:
        """Sends what has been counted, once in ``SessionConfig.reaction_interval``; until cancelled."""
        while True:
            self._added.clear()
            if not len(self._counter):
                await self._added.wait()
            await self._room.clock.sleep(self._room.config.reaction_interval)
            counts = self._counter.take()
            if not await self._send(counts):
                self.dropped += sum(counts.values())

    async def _send(self, counts: Mapping[str, int]) -> bool:
        room = self._room
        if room.feed.switch.mode.feed == "frames":
            try:
                answer = await room.gateway.once(
                    "send_reactions", {"p_session_id": room.session_id, "p_counts": dict(counts)}
                )
            except WhatsSoundError as error:
                _log.debug("reactions were not taken: %s", error)
                return False
            room.feed.heard_reply(answer, reacted=True)
            dropped = answer.get("dropped")
            self.dropped += dropped if isinstance(dropped, int) else 0
            return True
        payload = wire.reaction_payload(room.user_id(), counts)
        sent = await room.connection.push(
            "broadcast", {"type": "broadcast", "event": wire.REACTION, "payload": payload}
        )
        if sent:
            room.feed.reacted(counts)
        return sent
