"""Chat on its way to the database: batched every 500 ms, bounded, sent again until its outcome is known.

A message leaves the outbox only when the database has answered for its row: stored, duplicate (an earlier try had
stored it), or rejected with a reason. Batches go one at a time, so a sender's order is kept. A batch that the database
refuses as a whole is halved until the row at fault stands alone, so one poisoned row never costs the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .config import OutboxConfig
from .core.backoff import Backoff
from .core.batching import Batcher
from .core.reasons import Reason
from .errors import (
    AuthenticationError,
    MessageRejectedError,
    NotSignedInError,
    OutboxFullError,
    ProtocolError,
    RefusedError,
    SessionClosedError,
    WhatsSoundError,
)
from .gateway import Gateway
from .models import Message, StoredRow
from .ports import Clock

_log = logging.getLogger("whatssound.outbox")

#: Row reasons that pass by themselves: the row goes again later instead of failing.
_PASSING = frozenset({"rate_limited", "busy"})


class MessageReceipt:
    """What `Chat.send` returns: the message, and when it is stored.

    Attributes:
        message: what was sent; ``message.id`` was made here.
    """

    def __init__(self, message: Message) -> None:
        self.message = message
        self._outcome: asyncio.Future[StoredRow] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<MessageReceipt {self.message.id} {'stored' if self.is_stored else 'pending'}>"

    @property
    def id(self) -> str:
        """The message's id."""
        return self.message.id

    @property
    def is_stored(self) -> bool:
        """Whether the database has it."""
        return self._outcome.done() and not self._outcome.cancelled() and self._outcome.exception() is None

    @property
    def is_settled(self) -> bool:
        """Whether the outcome is known: stored or rejected."""
        return self._outcome.done()

    async def stored(self) -> StoredRow:
        """Waits until the database has it.

        Raises:
            MessageRejectedError: it was refused; ``reason`` says why.
        """
        return await asyncio.shield(self._outcome)

    def settle(self, outcome: StoredRow | MessageRejectedError) -> None:
        """Sets the outcome, once."""
        if self._outcome.done():
            return
        if isinstance(outcome, StoredRow):
            self._outcome.set_result(outcome)
        else:
            self._outcome.set_exception(outcome)
            # A receipt that nobody asks again is no defect: the rejection is an event, too.
            self._outcome.exception()


@dataclass(slots=True)
class OutboxStats:
    """Counters of an outbox."""

    accepted: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    batches: int = 0
    rows: int = 0
    retried: int = 0


class Outbox:
    """Stores chat messages in batches.

    Args:
        session_id: the session.
        gateway: calls the database.
        config: intervals, bounds, policy.
        clock: time.
        chance: draws a uniform random number in [0, 1), for back-off.
        settled: called with each receipt and its outcome, once it is known.
        heard: called with each answer, which says how far the event log goes and what waits for a frame.
        author: answers the id of the user that the next call will be made as; None: whoever wrote the messages.
    """

    def __init__(
        self,
        session_id: str,
        gateway: Gateway,
        config: OutboxConfig,
        clock: Clock,
        *,
        chance: Callable[[], float],
        settled: Callable[[MessageReceipt, StoredRow | MessageRejectedError], None],
        heard: Callable[[Mapping[str, Any]], None],
        author: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        self._session_id = session_id
        self._gateway = gateway
        self._config = config
        self._clock = clock
        self._chance = chance
        self._settled = settled
        self._heard = heard
        self._author = author
        self._batcher: Batcher[MessageReceipt] = Batcher(
            interval=config.interval,
            size=config.batch_size,
            max_items=config.max_messages,
            max_bytes=config.max_bytes,
        )
        self._changed = asyncio.Event()
        self._room = asyncio.Condition()
        self._taking = True
        self.stats = OutboxStats()

    @property
    def waiting(self) -> int:
        """Messages whose outcome is not known yet."""
        return len(self._batcher)

    def set_eager(self, eager: bool) -> None:
        """Chooses when batches go.

        Args:
            eager: True: the first message goes at once and what follows is batched, for rooms that hear chat only once
                it is stored; False: every batch waits for its interval, for rooms that have heard it by broadcast.
        """
        self._batcher.eager = eager
        self._changed.set()

    async def put(self, message: Message) -> MessageReceipt:
        """Takes a message; from here on it is the outbox's duty.

        Raises:
            OutboxFullError: no room, and the policy is ``reject``.
            SessionClosedError: the session is closing.
        """
        size = len(message.content.encode()) + 100
        async with self._room:
            while True:
                if not self._taking:
                    raise SessionClosedError("the session is closing and takes no more messages")
                if self._batcher.fits(size):
                    break
                await self._make_room()
            receipt = MessageReceipt(message)
            self._batcher.add(receipt, size, self._clock.monotonic())
        self.stats.accepted += 1
        self._changed.set()
        return receipt

    async def _make_room(self) -> None:
        if self._config.policy == "drop_oldest":
            dropped = self._batcher.drop_oldest()
            if dropped is not None:
                self._reject(dropped, "dropped", detail="the outbox was full")
                return
        if self._config.policy == "reject":
            raise OutboxFullError(len(self._batcher), self._batcher.bytes_held)
        await self._room.wait()

    async def run(self) -> None:
        """Sends batches until `close` has been called and everything is settled."""
        backoff = Backoff(base=0.2, cap=5.0, rate_limit_floor=1.0, hold=0.0)
        while True:
            due = self._batcher.due_at()
            if due is None:
                if not self._taking:
                    return
                self._changed.clear()
                await self._changed.wait()
                continue
            wait = due - self._clock.monotonic()
            if wait > 0:
                self._changed.clear()
                await self._sleep_or_change(wait)
                continue
            await self._send(self._batcher.take(self._clock.monotonic()), backoff)
            async with self._room:
                self._room.notify_all()

    async def _sleep_or_change(self, seconds: float) -> None:
        # Woken by a full batch or by closing; `due_at` is asked again either way.
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Takes no more messages; what is held goes at once. `run` returns when all is settled."""
        async with self._room:
            self._taking = False
            self._batcher.drain()
            self._room.notify_all()
        self._changed.set()

    def abandon(self, reason: str) -> int:
        """Rejects everything that is still held and returns how many messages that were."""
        self._taking = False
        left = self._batcher.take_all()
        for receipt in left:
            self._reject(receipt, reason, detail="closed before the database answered; it may be stored all the same")
        return len(left)

    # --- one batch

    async def _send(self, batch: list[MessageReceipt], backoff: Backoff) -> None:
        again, wait = await self._store(batch)
        if again:
            self.stats.retried += len(again)
            delay = max(wait, backoff.next_delay(Reason.CLOSED, self._chance()))
        else:
            backoff.ended(held_for=1.0)
            delay = 0.0
        positions = {at for at, receipt in enumerate(batch) if receipt in again}
        if delay:
            # The batch stays "under way" meanwhile, so that nothing overtakes it.
            await self._clock.sleep(delay)
        self._batcher.settle(keep=positions)

    async def _store(self, batch: Sequence[MessageReceipt]) -> tuple[set[MessageReceipt], float]:
        """Stores a batch; returns what must go again, and the seconds the server asked for."""
        try:
            batch = await self._still_ours(batch)
            if not batch:
                return set(), 0.0
            rows = [{"id": receipt.message.id, "content": receipt.message.content} for receipt in batch]
            answer = await self._gateway.once("insert_messages", {"p_session_id": self._session_id, "p_messages": rows})
        except RefusedError as error:
            return await self._refused(batch, error)
        except AuthenticationError as error:
            # Tokens come back (the app signs in again, the auth server returns); the words do not, so they are kept.
            _log.warning("chat waits for a valid token: %s", error)
            return set(batch), 1.0
        except WhatsSoundError as error:
            if not error.retryable:
                return await self._refused(batch, error)
            return set(batch), float(getattr(error, "retry_after", None) or 0.0)
        self.stats.batches += 1
        self.stats.rows += len(batch)
        return self._answered(batch, answer)

    async def _still_ours(self, batch: Sequence[MessageReceipt]) -> Sequence[MessageReceipt]:
        """Rejects what somebody else wrote: words must never be stored under another name.

        Raises:
            WhatsSoundError: nobody is signed in at the moment, or that cannot be told.
        """
        if self._author is None:
            return batch
        author = await self._author()
        if author is None:
            raise NotSignedInError
        for receipt in batch:
            if receipt.message.user_id != author:
                self._reject(receipt, "other_user", detail="its author has signed out and somebody else has signed in")
        return [receipt for receipt in batch if receipt.message.user_id == author]

    async def _refused(
        self, batch: Sequence[MessageReceipt], error: WhatsSoundError
    ) -> tuple[set[MessageReceipt], float]:
        if error.retryable:
            return set(batch), float(getattr(error, "retry_after", None) or 0.0)
        if len(batch) > 1 and not isinstance(error, ProtocolError) and getattr(error, "code", "") not in _WHOLE:
            middle = len(batch) // 2
            first, wait_first = await self._store(batch[:middle])
            if first:
                # Order: the second half must not pass what is still missing of the first.
                return first | set(batch[middle:]), wait_first
            return await self._store(batch[middle:])
        for receipt in batch:
            self._reject(
                receipt,
                getattr(error, "code", type(error).__name__),
                retry_after=getattr(error, "retry_after", None),
                detail=str(error),
            )
        return set(), 0.0

    def _answered(self, batch: Sequence[MessageReceipt], answer: dict[str, Any]) -> tuple[set[MessageReceipt], float]:
        try:
            rows = [StoredRow.model_validate(row) for row in answer["results"]]
        except (KeyError, TypeError, ValidationError) as error:
            # What was stored is not known, so it goes again; the ids make that harmless.
            _log.warning("%s", ProtocolError(f"insert_messages answered in an unknown shape: {error}"))
            return set(batch), 1.0
        by_id = {row.id: row for row in rows}
        again: set[MessageReceipt] = set()
        wait = 0.0
        for receipt in batch:
            row = by_id.get(receipt.message.id)
            if row is None or (row.status == "rejected" and row.reason in _PASSING):
                again.add(receipt)
                wait = max(wait, (row.retry_after or 0.0) if row else 0.0)
            elif row.status == "rejected":
                detail = "" if row.detail is None else str(row.detail)
                self._reject(receipt, row.reason or "rejected", retry_after=row.retry_after, detail=detail)
            else:
                self._stored(receipt, row)
        self._heard(answer)
        return again, wait

    def _stored(self, receipt: MessageReceipt, row: StoredRow) -> None:
        if receipt.is_settled:
            return  # given up meanwhile, and said so
        if row.status == "duplicate":
            self.stats.duplicates += 1
        self.stats.stored += 1
        receipt.settle(row)
        self._settled(receipt, row)

    def _reject(
        self, receipt: MessageReceipt, reason: str, *, retry_after: float | None = None, detail: str = ""
    ) -> None:
        if receipt.is_settled:
            return
        self.stats.rejected += 1
        error = MessageRejectedError(receipt.message.id, reason, retry_after=retry_after, detail=detail)
        receipt.settle(error)
        self._settled(receipt, error)


#: Refusals that are about the caller or the session, not about a row: halving the batch would change nothing.
_WHOLE = frozenset({"session_not_found", "session_ended", "banned", "not_allowed"})
