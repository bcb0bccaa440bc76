"""Cancelled wherever it can be: no task left, every receipt told or still waiting, nothing lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from tests.unit.test_session import Stage
from whatssound.config import OutboxConfig, RetryConfig, SessionConfig
from whatssound.core.identifiers import Uuid7Source
from whatssound.errors import WhatsSoundError
from whatssound.gateway import Gateway
from whatssound.models import Message, MessageId, SessionId, UserId
from whatssound.outbox import MessageReceipt, Outbox
from whatssound.testing import FakeRpc, LoopClock, run_virtual
from whatssound.testing.fakes import settle

ANA = UserId("00000000-0000-4000-8000-0000000000aa")
ROOM = SessionId("5e551010-0000-4000-8000-000000000001")


class Table:
    """Stores each id once; every call waits before and after it has done so."""

    def __init__(self) -> None:
        self.stored: dict[str, str] = {}
        self.calls = 0

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        self.calls += 1
        await asyncio.sleep(0.1)
        results = []
        for row in params["p_messages"]:
            status = "duplicate" if row["id"] in self.stored else "stored"
            self.stored[row["id"]] = row["content"]
            results.append({"id": row["id"], "status": status, "seq": len(self.stored)})
        await asyncio.sleep(0.1)
        return {"results": results, "last_seq": len(self.stored)}


async def cancelled_at(step: int, work: Awaitable[Any]) -> bool:
    """Runs work and cancels it after so many turns of the loop; returns whether it was still running."""
    task = asyncio.ensure_future(work)
    for _ in range(step):
        if task.done():
            break
        await asyncio.sleep(0)
        if step > 20:
            await asyncio.sleep(0.01)  # time passes as well, so that timers are among the points
    running = not task.done()
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        assert isinstance(error, WhatsSoundError), error
    return running


def at_each_step(scene: Callable[[int], Awaitable[bool]], most: int = 400) -> int:
    """Plays a scene once for each step at which it can be cancelled; returns how many there were."""

    async def played(step: int) -> bool:
        running = await scene(step)
        await settle()
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == [], f"cancelled at step {step}"
        return running

    for step in range(most):
        if not run_virtual(partial(played, step)):
            assert step > 0
            return step
    raise AssertionError(f"it does not end within {most} steps")


def outbox(table: Any, config: OutboxConfig | None = None) -> Outbox:
    return Outbox(
        ROOM,
        Gateway(table, RetryConfig(), LoopClock()),
        config or OutboxConfig(),
        LoopClock(),
        chance=Random(1).random,
        settled=lambda receipt, outcome: None,
        heard=lambda answer: None,
    )


def message(content: str, ids: Uuid7Source) -> Message:
    return Message(
        id=MessageId(ids.make(LoopClock().unix_ms())),
        session_id=ROOM,
        user_id=ANA,
        content=content,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_sending_batches_cancelled_anywhere_loses_and_doubles_nothing() -> None:
    async def scene(step: int) -> bool:
        ids, table = Uuid7Source(Random(1).getrandbits), Table()
        box = outbox(table, OutboxConfig(batch_size=2))
        receipts = [await box.put(message(str(number), ids)) for number in range(5)]
        await box.close()
        running = await cancelled_at(step, box.run())
        stored = [receipt for receipt in receipts if receipt.is_stored]
        assert box.waiting == sum(not receipt.is_settled for receipt in receipts)
        box.abandon("closed")
        assert all(receipt.is_settled for receipt in receipts)
        assert {receipt.id for receipt in stored} <= table.stored.keys()
        return running

    assert at_each_step(scene) > 20


def test_putting_cancelled_anywhere_is_taken_or_not_and_room_is_given_to_the_next() -> None:
    async def scene(step: int) -> bool:
        ids, table = Uuid7Source(Random(1).getrandbits), Table()
        box = outbox(table, OutboxConfig(max_messages=1))
        first = await box.put(message("first", ids))
        sending = asyncio.create_task(box.run())
        receipts: list[MessageReceipt] = []

        async def put() -> None:
            receipts.append(await box.put(message("second", ids)))

        running = await cancelled_at(step, put())
        third = await box.put(message("third", ids))
        await box.close()
        await sending
        assert all(receipt.is_stored for receipt in (first, third, *receipts))
        assert list(table.stored.values()) == ["first", *(["second"] * len(receipts)), "third"]
        return running

    assert at_each_step(scene) > 2


def test_closing_an_outbox_cancelled_anywhere_can_be_repeated() -> None:
    async def scene(step: int) -> bool:
        ids, table = Uuid7Source(Random(1).getrandbits), Table()
        box = outbox(table)
        receipt = await box.put(message("bye", ids))
        sending = asyncio.create_task(box.run())

        async def drain() -> None:
            await box.close()
            await asyncio.wait([sending])

        running = await cancelled_at(step, drain())
        await box.close()
        await sending
        assert receipt.is_stored
        assert len(table.stored) == 1
        return running

    assert at_each_step(scene) > 1


def test_a_command_cancelled_anywhere_leaves_no_call_behind() -> None:
    async def scene(step: int) -> bool:
        rpc = FakeRpc().always("send_tip", {"tip": {}})
        gateway = Gateway(rpc, RetryConfig(), LoopClock())
        return await cancelled_at(step, gateway.command("send_tip", {"p_amount": 1}, key="k"))

    assert at_each_step(scene) > 0


def test_a_read_cancelled_anywhere_leaves_the_others_their_answer() -> None:
    async def scene(step: int) -> bool:
        rpc = FakeRpc().always("events_since", {"events": []})
        gateway = Gateway(rpc, RetryConfig(), LoopClock())
        other = asyncio.create_task(gateway.read("events_since", {}))
        running = await cancelled_at(step, gateway.read("events_since", {}))
        assert await other == {"events": []}
        return running

    assert at_each_step(scene) > 0


def test_opening_a_session_cancelled_anywhere_leaves_nothing_running() -> None:
    async def scene(step: int) -> bool:
        stage = Stage()

        async def live() -> None:
            async with stage.session:
                pass

        return await cancelled_at(step, live())

    assert at_each_step(scene) > 10


def test_closing_a_session_cancelled_anywhere_settles_every_receipt() -> None:
    async def scene(step: int) -> bool:
        stage = Stage(SessionConfig(outbox=OutboxConfig(interval=60.0)))
        session = await stage.session.__aenter__()
        receipts = [await session.chat.send(text) for text in ("one", "two")]
        running = await cancelled_at(step, session.__aexit__(None, None, None))
        if step == 0:
            # Cancelled before its first step, nothing was closed yet.
            await session.__aexit__(None, None, None)
        assert all(receipt.is_settled for receipt in receipts)
        return running

    assert at_each_step(scene) > 2
