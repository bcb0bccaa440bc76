"""Sends what earlier runs left in a spool, without opening the sessions it is for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .config import OutboxConfig
from .errors import MessageRejectedError, NotSignedInError
from .gateway import Gateway
from .models import StoredRow
from .outbox import Outbox
from .ports import Clock, TokenSource
from .receipts import MessageReceipt
from .spool import Spool


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What became of the messages of earlier runs.

    Attributes:
        stored: how many are stored now, those that had been before included.
        rejected: those that were refused and are gone from the spool, with reasons.
        waiting: how many are still in the spool, since time ran out.
    """

    stored: int
    rejected: tuple[MessageRejectedError, ...]
    waiting: int


async def flush(
    spool: Spool, gateway: Gateway, tokens: TokenSource, config: OutboxConfig, clock: Clock, *, seconds: float
) -> FlushReport:
    """Sends everything that is kept of the signed-in user, session by session; what open sessions hold is theirs.

    Args:
        spool: the open spool.
        gateway: calls the database.
        tokens: who is signed in.
        config: batches and tries.
        clock: time.
        seconds: after which what is left stays in the spool.

    Raises:
        NotSignedInError: nobody is signed in.
    """
    await tokens.token()
    user_id = tokens.user_id
    if user_id is None:
        raise NotSignedInError
    stored: list[str] = []
    rejected: list[MessageRejectedError] = []

    def settled(receipt: MessageReceipt, outcome: StoredRow | MessageRejectedError) -> None:
        if isinstance(outcome, StoredRow):
            stored.append(receipt.id)
        elif outcome.reason not in ("spooled", "other_user"):
            rejected.append(outcome)

    async def author() -> str | None:
        await tokens.token()
        return tokens.user_id

    chance = random.Random()  # noqa: S311 - spreads retries, protects nothing
    mine = [entry.session_id for entry in await spool.waiting() if entry.user_id == user_id]
    boxes = [
        Outbox(
            session_id,
            gateway,
            replace(config, interval=1e-3),
            clock,
            chance=chance.random,
            settled=settled,
            heard=_nobody_listens,
            author=author,
            spool=spool,
            user_id=user_id,
        )
        for session_id in mine
    ]
    await _run(boxes, seconds)
    left = [entry.messages for entry in await spool.waiting() if entry.user_id == user_id]
    return FlushReport(stored=len(stored), rejected=tuple(rejected), waiting=sum(left))


async def _run(boxes: Sequence[Outbox], seconds: float) -> None:
    """Runs outboxes until each is empty or time is up."""
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for box in boxes:
                await box.close()
                group.create_task(box.run(), name="whatssound-flush")
    except TimeoutError:
        return
    finally:
        for box in boxes:
            box.abandon("closed")


def _nobody_listens(answer: Mapping[str, Any]) -> None:
    """No session is open here that could make use of how far its log goes."""
