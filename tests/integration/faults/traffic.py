"""What people in a session do while it breaks: talk, vote, tip, add songs, as an app should that means it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from tests.integration.faults.recorder import Recorder
from tests.integration.faults.verdict import Evidence, Voter
from whatssound import Session, WhatsSound
from whatssound.errors import AuthenticationError, OutcomeUnknownError, WhatsSoundError
from whatssound.outbox import MessageReceipt
from whatssound.testing import FaultyLink

T = TypeVar("T")

#: Messages a second of all who talk: the DJ and the listeners.
MESSAGES = 20.0
TIPS = 4.0
VOTES = 3.0
SONGS = 2.0
#: Seconds after the last fault in which everything must have come right.
PATIENCE = 25.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the room, with a link of their own to break."""

    name: str
    sound: WhatsSound
    session: Session
    link: FaultyLink
    recorder: Recorder


@dataclass(slots=True)
class Ended:
    """When, on the loop's clock, the last call of each sort was answered for good."""

    votes: float = 0.0
    tips: float = 0.0
    songs: float = 0.0


@dataclass(slots=True)
class Traffic:
    """What everybody does until the time is up.

    Attributes:
        people: the DJ first and the tipper last.
        cashier: a client with the service key, on a good network, that confirms tips.
        song_id: what they vote on.
        until: end, on the loop's clock.
        evidence: where it is noted what was asked for.
        said: receipts of all messages.
        flowing: cleared while nobody is to do anything.
        ended: when all calls were answered.
    """

    people: Sequence[Person]
    cashier: WhatsSound
    song_id: str
    until: float
    evidence: Evidence
    said: list[MessageReceipt] = field(default_factory=list)
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    ended: Ended = field(default_factory=Ended)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Starts everybody."""
        self.flowing.set()
        works: list[Coroutine[Any, Any, None]] = [
            *(self._talk(person, place) for place, person in enumerate(self.people[:-1])),
            *(self._vote(person) for person in self.people[1:4]),
            self._tip(self.people[-1]),
            self._add_songs(self.people[0]),
        ]
        for work in works:
            group.create_task(work)

    async def _talk(self, person: Person, place: int) -> None:
        talkers = len(self.people) - 1
        pace = talkers / MESSAGES
        await asyncio.sleep(pace * place / talkers)
        number = 0
        while await self._goes_on():
            began = _now()
            self.said.append(await person.session.chat.send(f"{person.name} {number}"))
            took = _now() - began
            self.evidence.slowest_send = max(self.evidence.slowest_send, took)
            number += 1
            await asyncio.sleep(max(0.0, pace - took))

    async def _vote(self, person: Person) -> None:
        count, value = 0, -1
        while await self._goes_on():
            value = -value
            await self._until_known(partial(person.session.votes.cast, self.song_id, value))
            count += 1
            self.ended.votes = _now()
            await asyncio.sleep(1 / VOTES)
        self.evidence.voters.append(Voter(person.sound.user_id or "", count, value))

    async def _tip(self, person: Person) -> None:
        async with asyncio.TaskGroup() as payments:
            number = 0
            while await self._goes_on():
                note = f"tip {number}"
                receipt = await self._until_known(partial(person.session.tips.send, 100, note=note))
                self.evidence.tips_paid.append(note)
                self.ended.tips = _now()
                payments.create_task(self._until_known(partial(self.cashier.confirm_tip, receipt.tip.id)))
                number += 1
                await asyncio.sleep(1 / TIPS)

    async def _add_songs(self, person: Person) -> None:
        number = 0
        while await self._goes_on():
            title = f"song {number}"
            await self._until_known(partial(person.session.queue.add, title))
            self.evidence.songs_added.append(title)
            self.ended.songs = _now()
            number += 1
            await asyncio.sleep(1 / SONGS)

    async def _goes_on(self) -> bool:
        await self.flowing.wait()
        return _now() < self.until

    async def _until_known(self, call: Callable[..., Awaitable[T]]) -> T:
        """Calls as an app should: again with the key while the outcome is unknown, anew when nothing was done."""
        key: str | None = None
        while True:
            try:
                return await (call() if key is None else call(key=key))
            except OutcomeUnknownError as error:
                key = error.key
                failed: WhatsSoundError = error
            except AuthenticationError as error:
                failed = error
            except WhatsSoundError as error:
                if not error.retryable:
                    raise
                failed = error
            if _now() > self.until + PATIENCE:
                raise failed
            await asyncio.sleep(0.2)


def _now() -> float:
    return asyncio.get_running_loop().time()
