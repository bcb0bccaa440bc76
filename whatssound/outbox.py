"""Chat on its way to the database: batched every 500 ms, bounded, sent again until its outcome is known.

A message leaves the outbox only when the database has answered for its row: stored, duplicate (an earlier try had
stored it), or rejected with a reason. Batches go one at a time, so a sender's order is kept. Refusals of a row, slow
mode included, end on its receipt with ``retry_after``: whether words are still worth saying later is the app's to know.
Limits of rate and a busy database pass by themselves, so those rows go again.

With a spool a message is on the disk before `Outbox.put` returns, and is removed before its outcome is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .config import OutboxConfig
from .core.backoff import Backoff, ceiling
from .core.batching import Batcher
from .core.isolation import Isolation, Step
from .core.reasons import Reason
from .errors import MessageRejectedError, OutboxFullError, SessionClosedError, SpoolError
from .gateway import Gateway
from .models import Message, StoredRow
from .ports import Clock
from .receipts import MessageReceipt
from .spool import Spool
from .storing import BatchResult, BatchStore, Outcome

__all__ = ["MessageReceipt", "Outbox", "OutboxStats"]

_log = logging.getLogger("whatssound.outbox")

#: Seconds: the first and the longest wait of a message that was set aside, between two tries.
_ASIDE_BASE, _ASIDE_CAP = 1.0, 60.0
#: Reasons by which a message is given up here but stays in the spool.
_KEPT = frozenset({"spooled", "other_user"})


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
        spool: keeps messages over restarts; it must be open. None: memory only.
        user_id: whose messages of earlier runs `run` takes from the spool before anything else; None: nobody's.
    """

    def __init__(
        self,
        session_id: str,
        gateway: Gateway,
        config: OutboxConfig,
        clock: Clock,
        *,
        chance: Callable[[], float],
        settled: Callable[[MessageReceipt, Outcome], None],
        heard: Callable[[Mapping[str, Any]], None],
        author: Callable[[], Awaitable[str | None]] | None = None,
        spool: Spool | None = None,
        user_id: str | None = None,
    ) -> None:
        self._session_id = session_id
        self._config = config
        self._clock = clock
        self._chance = chance
        self._settled = settled
        self._heard = heard
        self._spool = spool
        self._user_id = user_id
        self._store = BatchStore(session_id, gateway, author)
        self._batcher: Batcher[MessageReceipt] = Batcher(
            interval=config.interval,
            size=config.batch_size,
            max_items=config.max_messages,
            max_bytes=config.max_bytes,
        )
        self._isolation = Isolation(config.batch_size)
        self._suspects: list[MessageReceipt] = []
        self._at_fault: dict[MessageReceipt, int] = {}  # and how many answers there had been at its last try
        self._answers = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Condition()
        self._loaded = asyncio.Event()
        if spool is None or user_id is None:
            self._loaded.set()
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

    # --- taking messages

    async def put(self, message: Message) -> MessageReceipt:
        """Takes a message; from here on it is the outbox's duty. Cancelled, it has not taken it.

        Raises:
            OutboxFullError: no room, and the policy is ``reject``.
            SessionClosedError: the session is closing.
            SpoolError: the message cannot be kept on disk.
        """
        await self._loaded.wait()  # what earlier runs left was said before
        size = _size(message)
        async with self._room:
            while True:
                self._check_taking()
                if self._batcher.fits(size):
                    break
                await self._make_room()
            if self._spool is not None:
                await self._keep(self._spool, message)
            receipt = MessageReceipt(message)
            self._batcher.add(receipt, size, self._clock.monotonic())
        self.stats.accepted += 1
        self._changed.set()
        return receipt

    def _check_taking(self) -> None:
        if not self._taking:
            raise SessionClosedError("the session is closing and takes no more messages")

    async def _keep(self, spool: Spool, message: Message) -> None:
        try:
            await spool.put(message)
            self._check_taking()
        except (asyncio.CancelledError, SessionClosedError):
            # It may be on the disk by now; who is told that it was not taken must not find it stored.
            spool.retract(message)
            raise

    async def _make_room(self) -> None:
        if self._config.policy == "drop_oldest":
            dropped = self._batcher.drop_oldest()
            if dropped is not None:
                result = BatchResult()
                result.reject(dropped, "dropped", detail="the outbox was full")
                await self._conclude(result)
                return
        if self._config.policy == "reject":
            raise OutboxFullError(len(self._batcher), self._batcher.bytes_held)
        await self._room.wait()

    # --- sending them

    async def run(self) -> None:
        """Sends batches until `close` has been called and everything is settled."""
        await self._load()
        backoff = Backoff(base=0.2, cap=5.0, rate_limit_floor=1.0, hold=0.0)
        while True:
            due = self._batcher.due_at()
            if due is None and len(self._batcher):
                # Those set aside on suspicion are alone now: nobody is left to prove anything.
                self._bring_back()
                continue
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

    async def _load(self) -> None:
        """Takes what earlier runs left; it goes first, and may go beyond the bounds, which it has kept on disk."""
        if self._loaded.is_set() or self._spool is None or self._user_id is None:
            return
        try:
            left = await self._spool.take(self._user_id, self._session_id)
        except SpoolError as error:
            _log.error("what earlier runs left cannot be read and waits for the next: %s", error)
            left = []
        now = self._clock.monotonic()
        for entry in left:
            receipt = MessageReceipt(entry.message, spooled=True, tries=entry.tries)
            self._batcher.add(receipt, _size(entry.message), now)
        self.stats.accepted += len(left)
        self._loaded.set()

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
        """Gives up everything that is still held and returns how many messages that were.

        Args:
            reason: what the receipts say; with a spool they say ``spooled``, since the next run sends them.
        """
        self._taking = False
        self._loaded.set()
        left = self._batcher.take_all()
        result = BatchResult()
        for receipt in left:
            if self._spool is not None:
                result.reject(receipt, "spooled", detail="closed before it was stored; the next run sends it")
            else:
                detail = "closed before the database answered; it may be stored all the same"
                result.reject(receipt, reason, detail=detail)
        if self._spool is not None:
            self._spool.release([receipt.message for receipt in left])
        self._tell(result)
        return len(left)

    # --- one batch

    async def _send(self, batch: list[MessageReceipt], backoff: Backoff) -> None:
        result = await self._store.store(batch)
        self.stats.batches += result.batches
        self.stats.rows += result.rows
        if result.answers:
            self._answered(result.answers)
        step = Step.AGAIN
        if result.server_error and batch[0] in self._at_fault:
            await self._failed_again(batch[0], result)
            await self._conclude(result)
            return
        await self._conclude(result)
        for answer in result.heard:
            self._heard(answer)
        at_once = False
        if result.server_error:
            step = self._isolation.failed(len(batch), company=self._batcher.has_company)
            if step is Step.PROBE:
                step = self._isolation.probed(await self._store.answers())
                at_once = step is Step.AGAIN
        elif result.again:
            self._isolation.interrupted()
        self._batcher.limit = self._isolation.limit
        self.stats.retried += len(result.again)
        if step is Step.SET_ASIDE:
            self._suspects.append(batch[0])
            self._batcher.set_aside(None)
            return
        if not result.again:
            backoff.ended(held_for=1.0)
        elif not at_once:
            # The batch stays "under way" meanwhile, so that nothing overtakes it.
            await self._clock.sleep(max(result.wait, backoff.next_delay(Reason.CLOSED, self._chance())))
        self._batcher.settle(keep={at for at, receipt in enumerate(batch) if receipt in result.again})
        if step is Step.BRING_BACK:
            self._bring_back()

    def _bring_back(self) -> None:
        self._suspects.clear()
        self._batcher.bring_back()

    def _answered(self, answers: int) -> None:
        self._answers += answers
        if self._isolation.answered():
            for receipt in self._suspects:
                _log.warning("set aside a message over which the server fails: %s", receipt.id)
                self._at_fault[receipt] = self._answers
            self._suspects.clear()
            self._batcher.postpone(self._clock.monotonic() + _ASIDE_BASE)

    async def _failed_again(self, receipt: MessageReceipt, result: BatchResult) -> None:
        """Counts a server error against a message, if the server has taken others since the last; else it is none."""
        if self._at_fault[receipt] < self._answers:
            self._at_fault[receipt] = self._answers
            receipt.tries += 1
            await self._note_tries(receipt)
        if receipt.tries >= self._config.row_attempts:
            result.again.clear()
            detail = f"the server failed over it {receipt.tries} times, and took others; it may be stored all the same"
            result.reject(receipt, "server_error", detail=detail)
            self._batcher.settle()
            return
        self.stats.retried += 1
        self._batcher.set_aside(self._clock.monotonic() + ceiling(receipt.tries + 1, _ASIDE_BASE, _ASIDE_CAP))

    async def _note_tries(self, receipt: MessageReceipt) -> None:
        if self._spool is None:
            return
        try:
            await self._spool.set_tries(receipt.message, receipt.tries)
        except SpoolError as error:
            _log.warning("the tries of a message are not noted, so the next run starts counting anew: %s", error)

    # --- outcomes

    async def _conclude(self, result: BatchResult) -> None:
        """Removes from the spool what is settled, then tells; in this order, so that nothing told is sent again."""
        try:
            if self._spool is not None:
                await self._forget(self._spool, result.outcomes)
        finally:
            self._tell(result)

    async def _forget(self, spool: Spool, outcomes: Sequence[tuple[MessageReceipt, Outcome]]) -> None:
        kept = [receipt.message for receipt, outcome in outcomes if _is_kept(outcome)]
        done = [receipt.message for receipt, outcome in outcomes if not _is_kept(outcome)]
        spool.release(kept)
        if not done:
            return
        try:
            await spool.remove(done)
        except SpoolError as error:
            _log.warning("%d settled messages stay in the spool and go again in the next run: %s", len(done), error)

    def _tell(self, result: BatchResult) -> None:
        for receipt, outcome in result.outcomes:
            self._at_fault.pop(receipt, None)
            if receipt.is_settled:
                continue  # given up meanwhile, and said so
            if isinstance(outcome, StoredRow):
                self.stats.stored += 1
                self.stats.duplicates += outcome.status == "duplicate"
            else:
                self.stats.rejected += 1
                if receipt.spooled and not _is_kept(outcome):
                    _log.warning("a message of an earlier run was rejected: %s", outcome)
            receipt.settle(outcome)
            self._settled(receipt, outcome)


def _is_kept(outcome: Outcome) -> bool:
    return isinstance(outcome, MessageRejectedError) and outcome.reason in _KEPT


def _size(message: Message) -> int:
    return len(message.content.encode()) + 100
