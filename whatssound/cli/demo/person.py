"""One of those in the room: a client of its own, with its own sign-in and socket, that plays its part of the script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from ...client import WhatsSound
from ...config import SessionConfig
from ...errors import OutcomeUnknownError, RefusedError, WhatsSoundError
from ...events import ChatMessage, Lagged, MessageWithdrawn
from ...models import QueueReceipt, Tip
from ...outbox import MessageReceipt
from ...session import Session
from ...stats import SessionStats
from .ledger import Ballot, Ledger, Payment, QueueFact, Words
from .meter import Meter
from .script import Act, Add, Advance, Move, Remove, Say, Type, Vote
from .script import Tip as TipAct

_SETTLING = 60.0
#: How often a command is given again, with its key, while nobody knows whether it happened.
_AGAIN = 3

R = TypeVar("R")


async def surely(call: Callable[[str | None], Awaitable[R]]) -> R:
    """Gives a command until its outcome is known: each time with the key of the first, so that it happens once.

    Args:
        call: gives the command with a key; None at first.

    Raises:
        OutcomeUnknownError: nobody knows after several times.
        WhatsSoundError: what the command itself raises.
    """
    key: str | None = None
    for _ in range(_AGAIN):
        try:
            return await call(key)
        except OutcomeUnknownError as error:
            key = error.key
    return await call(key)


class Person:
    """A listener, the moderator or the DJ.

    Args:
        number: from 0; names it in the meter.
        name: what others see.
        ledger: where promises are written down.
        meter: where sightings are counted.
        payments: tips go there to be confirmed.
    """

    def __init__(self, number: int, name: str, *, ledger: Ledger, meter: Meter, payments: asyncio.Queue[Tip]) -> None:
        self.number = number
        self.name = name
        self.user_id = ""
        self.withdrawn = 0
        self.lagged = 0
        self._ledger = ledger
        self._meter = meter
        self._payments = payments
        self._receipts: list[MessageReceipt] = []
        self._sound: WhatsSound | None = None
        self._session: Session | None = None

    @property
    def sound(self) -> WhatsSound:
        """The client; after `sign_in`."""
        assert self._sound is not None
        return self._sound

    @property
    def session(self) -> Session:
        """The open session; after `join`."""
        assert self._session is not None
        return self._session

    def stats(self) -> SessionStats | None:
        """The session's counters; None before `join`."""
        return self._session.stats() if self._session is not None else None

    async def sign_in(self, stack: AsyncExitStack, url: str, key: str) -> None:
        """Makes the client and a new anonymous user."""
        self._sound = await stack.enter_async_context(WhatsSound(url, key))
        self.user_id = await self._sound.sign_in_anonymously(username=self.name)

    async def join(self, stack: AsyncExitStack, session_id: str, config: SessionConfig) -> None:
        """Opens the session."""
        self._session = await stack.enter_async_context(self.sound.session(session_id, config=config))

    # --- looking on ---------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Looks on until cancelled."""
        events = self.session.events()
        try:
            async for event in events:
                if isinstance(event, ChatMessage):
                    self._meter.saw(self.number, event.message.id, own=event.own)
                elif isinstance(event, MessageWithdrawn):
                    self.withdrawn += 1
                elif isinstance(event, Lagged):
                    self.lagged += event.missed
        finally:
            events.close()

    # --- acting -------------------------------------------------------------------------------------------------------

    async def perform(self, acts: Sequence[Act], started_at: float) -> None:
        """Does its acts, each at its time (or as soon as the one before is done)."""
        loop = asyncio.get_running_loop()
        for act in acts:
            await asyncio.sleep(max(0.0, started_at + act.at - loop.time()))
            try:
                await self._do(act)
            except OutcomeUnknownError:
                self._doubt(act)
            except RefusedError as error:
                self._ledger.refusals[error.code] += 1
            except WhatsSoundError as error:
                self._ledger.refusals[type(error).__name__] += 1

    async def _do(self, act: Act) -> None:
        match act:
            case Type():
                await self.session.typing.start()
            case Say():
                self._receipts.append(await self.session.chat.send(act.text))
            case Vote():
                await self._vote(act)
            case TipAct():
                await self._tip(act)
            case _:
                await self._queue(act)

    async def _vote(self, act: Vote) -> None:
        song_id = self._song(act.song)
        if song_id is None:
            return
        votes = self.session.votes
        try:
            receipt = await surely(
                lambda key: votes.cast(song_id, act.value, key=key) if act.value else votes.retract(song_id, key=key)
            )
        except OutcomeUnknownError:
            self._ledger.doubtful_ballots.add((self.user_id, song_id))
            raise
        seq = receipt.seq if receipt.changed else None
        self._ledger.ballots.append(Ballot(self.user_id, receipt.song_id, receipt.value, seq))

    def _song(self, lot: float) -> str | None:
        state = self.session.state
        songs = [item.song_id for item in state.queue]
        if state.now_playing is not None:
            songs.append(state.now_playing.song_id)
        return songs[int(lot * len(songs))] if songs else None

    async def _tip(self, act: TipAct) -> None:
        tips = self.session.tips
        receipt = await surely(lambda key: tips.send(act.amount, currency="EUR", note=act.note, key=key))
        tip = receipt.tip
        self._ledger.payments[tip.id] = Payment(
            tip.id, self.user_id, act.amount, tip.currency, receipt.key, confirmed=False
        )
        await self._payments.put(tip)

    async def _queue(self, act: Act) -> None:
        queue, waiting = self.session.queue, self.session.state.queue
        match act:
            case Add():
                receipt = await surely(
                    lambda key: queue.add(act.title, artist=act.artist, duration=act.duration, key=key)
                )
            case Advance():
                receipt = await surely(lambda key: queue.advance(skipped=act.skipped, key=key))
            case Move() if len(waiting) > 1:
                item = waiting[int(act.item * len(waiting))]
                others = [other for other in waiting if other.id != item.id]
                place = others[int(act.before * len(others))].id
                receipt = await surely(lambda key: queue.move(item.id, before=place, key=key))
            case Remove() if len(waiting) > 3:
                gone = waiting[int(act.item * len(waiting))].id
                receipt = await surely(lambda key: queue.remove(gone, key=key))
            case _:
                return
        self.answered(type(act).__name__.lower(), receipt)

    def answered(self, command: str, receipt: QueueReceipt) -> None:
        """Writes down what the database answered to a queue command."""
        self._ledger.queue_commands[command] += 1
        for item in (receipt.previous, receipt.item):
            if item is not None:
                self._ledger.queue.add(QueueFact(item.seq, item.id, item.action))

    def _doubt(self, act: Act) -> None:
        self._ledger.refusals["unknown outcome"] += 1
        match act:
            case TipAct():
                self._ledger.doubtful_payments.add(self.user_id)
            case Add() | Move() | Remove() | Advance():
                self._ledger.doubtful_queue += 1
            case _:
                return

    # --- at the end ---------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Waits until the outcome of every message is known, and writes it down."""
        outcomes = [asyncio.ensure_future(receipt.stored()) for receipt in self._receipts]
        if outcomes:
            await asyncio.wait(outcomes, timeout=_SETTLING)
        for receipt, outcome in zip(self._receipts, outcomes, strict=True):
            if not outcome.done():
                outcome.cancel()
                self._ledger.doubtful_words.add(receipt.id)
            elif (error := outcome.exception()) is not None:
                self._ledger.refusals[str(getattr(error, "reason", type(error).__name__))] += 1
            else:
                self._ledger.words[receipt.id] = Words(receipt.id, self.user_id, receipt.message.content)
