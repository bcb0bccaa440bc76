"""Speakers who play a programme, and notes of what they sent and when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

from ...client import WhatsSound
from ...errors import WhatsSoundError
from ...receipts import MessageReceipt
from ...session import Session
from .programme import Act, Say, Tip, Vote, text_of

_AMOUNT = 100


class Performance:
    """Plays a programme once.

    Args:
        speakers: open sessions; acts go to them in turn, by their number.
        songs: ids of the songs that are voted on.
        bank: a client with the service key, which confirms tips; without it nobody tips.
        now: the clock, in seconds since the epoch.

    Attributes:
        sent: when each thing was sent that was stored, by its key as in `Sightings`.
        refused: how often each error kept one from being stored.
    """

    def __init__(
        self,
        speakers: Sequence[Session],
        *,
        songs: Sequence[str] = (),
        bank: WhatsSound | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._speakers = speakers
        self._songs = songs
        self._bank = bank
        self._now = now
        self._values: dict[tuple[int, str], int] = {}
        self._late = 0.0
        self.sent: dict[str, float] = {}
        self.refused: Counter[str] = Counter()

    @property
    def latest(self) -> float:
        """By how many seconds the act was late that was latest; how busy the speakers' own machine was."""
        return self._late

    async def play(self, acts: Sequence[Act]) -> None:
        """Plays acts at their times; returns when all that was sent is stored or refused.

        Args:
            acts: in order of time.
        """
        start = self._now()
        async with asyncio.TaskGroup() as group:
            for number, act in enumerate(acts):
                await asyncio.sleep(max(0.0, start + act.at - self._now()))
                self._late = max(self._late, self._now() - start - act.at)
                group.create_task(self._do(number, act), name=f"bench-act-{number}")

    async def _do(self, number: int, act: Act) -> None:
        try:
            match act:
                case Say():
                    await self._say(number, act)
                case Vote():
                    await self._vote(number, act)
                case Tip():
                    await self._tip(act)
        except WhatsSoundError as error:
            self.refused[type(error).__name__] += 1

    def _speaker(self, act: Act) -> Session:
        return self._speakers[act.who % len(self._speakers)]

    async def _say(self, number: int, act: Say) -> None:
        at = self._now()
        receipt: MessageReceipt = await self._speaker(act).chat.send(text_of(number, act.length))
        await receipt.stored()
        self.sent[f"chat:{receipt.id}"] = at

    async def _vote(self, number: int, act: Act) -> None:
        if not self._songs:
            return
        who, song = act.who % len(self._speakers), self._songs[number % len(self._songs)]
        value = self._values[who, song] = -self._values.get((who, song), -1)
        at = self._now()
        receipt = await self._speakers[who].votes.cast(song, value)
        if receipt.changed and receipt.seq is not None:
            self.sent[f"vote:{receipt.seq}"] = at

    async def _tip(self, act: Act) -> None:
        if self._bank is None:
            return
        receipt = await self._speaker(act).tips.send(_AMOUNT)
        at = self._now()
        await self._bank.confirm_tip(receipt.tip.id)
        self.sent[f"tip:{receipt.tip.id}"] = at
