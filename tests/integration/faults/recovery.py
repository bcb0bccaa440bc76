"""Waits until a session has come right after faults, and measures how long each part of it took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.integration.faults import verdict
from tests.integration.faults.talker import Talker
from tests.integration.faults.traffic import PATIENCE, Ended, Person
from tests.integration.faults.verdict import STORED, Said
from tests.integration.lab import differences, snapshot
from whatssound.errors import MessageRejectedError, WhatsSoundError
from whatssound.models import StoredRow
from whatssound.outbox import MessageReceipt

#: Seconds between two looks.
_PAUSE = 0.02


async def unlike(person: Person) -> dict[str, tuple[Any, Any]]:
    """Where somebody's state differs from a fresh snapshot of their own: name → (state, snapshot)."""
    # Occupancy and presence are no events; the last look of a cast vote's own row is.
    return differences(person.session, await snapshot(person.sound, person.session.id))


def _up_to(unlike: dict[str, tuple[Any, Any]], seq: int | None) -> dict[str, tuple[Any, Any]]:
    """What remains of differences when chat stored after an event is left out."""
    if seq is None:
        return unlike
    remaining = dict(unlike)
    if "seq" in unlike and unlike["seq"][0] >= seq:
        del remaining["seq"]
    if "messages" in unlike:
        mine, stored = ([row for row in rows if row[3] is not None and row[3] <= seq] for rows in unlike["messages"])
        if mine == stored:
            del remaining["messages"]
    return remaining


async def equal_after(person: Person, moment: float, *, within: float, seq: int | None = None) -> float | None:
    """Waits until somebody's state equals the database's; seconds after a moment of the loop's clock, None if never.

    Args:
        person: whose.
        moment: when, on the loop's clock.
        within: seconds.
        seq: leave out chat stored after this event: a feed that is only told of it by the log takes its time, whether
            or not anything was broken before.
    """
    loop = asyncio.get_running_loop()
    while loop.time() < moment + within:
        # Taken before the look: asking takes time, too, and that is not the session's.
        now = loop.time()
        try:
            found = await unlike(person)
        except WhatsSoundError:
            continue  # who cannot even ask is not right yet; asking has taken its time
        if not _up_to(found, seq):
            return max(0.0, now - moment)
        await asyncio.sleep(_PAUSE)
    return None


class Recovery:
    """Follows one run from the end of its faults until all is right.

    Args:
        people: everybody.
        last_seq: answers how far the log goes.
    """

    def __init__(self, people: Sequence[Person], last_seq: Callable[[], Awaitable[int]]) -> None:
        self._people = people
        self.talker = ""
        self._last_seq = last_seq
        self._loop = asyncio.get_running_loop()
        #: Guarantee → seconds until it was seen to hold.
        self.seconds: dict[str, float] = {}

    async def follow(
        self, ends: float, said: Sequence[MessageReceipt], ended: Ended, talker: Talker | None = None
    ) -> list[Said]:
        """Waits until all is right or patience ends, and returns what became of each message.

        Args:
            ends: when the last fault and the traffic were over, on the loop's clock.
            said: receipts of all messages.
            ended: when the last calls were answered.
            talker: a process of its own, which is to store what it has and end.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live(ends))
            if talker is not None:
                group.create_task(self._finished(ends, talker))
            settling = group.create_task(_settled(said))
        now = self._loop.time()
        self._note(ends, now, verdict.NO_CHAT_LOST, verdict.NO_CHAT_TWICE)
        self._note(ends, ended.tips, verdict.NO_TIP_LOST, verdict.NO_TIP_TWICE)
        self._note(ends, ended.votes, verdict.VOTES_ONCE)
        self._note(ends, ended.songs, verdict.SONGS_ONCE)
        await self.come_right(ends)
        return settling.result()

    async def come_right(self, ends: float) -> None:
        """Waits until every session is live and equal to a fresh snapshot, or patience ends."""
        wanted = await self._last_seq()
        await self._until(lambda: not [p for p in self._people if p.recorder.problem() or p.session.state.seq < wanted])
        self._note(ends, self._loop.time(), verdict.NO_GAP, verdict.NOTHING_TWICE)
        async with asyncio.TaskGroup() as group:
            for person in self._people:
                group.create_task(equal_after(person, self._loop.time(), within=PATIENCE))
        self._note(ends, self._loop.time(), verdict.CONVERGED)

    async def _finished(self, ends: float, talker: Talker) -> None:
        self.talker = await talker.finish(within=PATIENCE)
        self._note(ends, self._loop.time(), verdict.NO_SPOOLED_LOST)

    async def live(self, person: Person) -> None:
        """Waits until somebody's session is live, or patience ends."""
        await self._until(lambda: not person.recorder.problem())

    async def _live(self, ends: float) -> None:
        await self._until(lambda: not [person for person in self._people if person.recorder.problem()])
        self._note(ends, self._loop.time(), verdict.ALIVE)

    async def _until(self, right: Callable[[], bool]) -> None:
        gives_up = self._loop.time() + PATIENCE
        while not right() and self._loop.time() < gives_up:  # noqa: ASYNC110 - a state tells nobody that it changed
            await asyncio.sleep(_PAUSE)

    def _note(self, ends: float, at: float, *guarantees: str) -> None:
        self.seconds |= dict.fromkeys(guarantees, max(0.0, at - ends))


async def _settled(said: Sequence[MessageReceipt]) -> list[Said]:
    """Waits until every message's outcome is known; what is not known then counts as lost."""
    waiting = [asyncio.ensure_future(receipt.stored()) for receipt in said]
    if waiting:
        _, late = await asyncio.wait(waiting, timeout=PATIENCE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return [
        Said(receipt.id, receipt.message.content, _outcome(task)) for receipt, task in zip(said, waiting, strict=True)
    ]


def _outcome(task: asyncio.Future[StoredRow]) -> str:
    if task.cancelled():
        return "outcome never known"
    error = task.exception()
    if error is None:
        return STORED
    return f"rejected: {error.reason}" if isinstance(error, MessageRejectedError) else repr(error)
