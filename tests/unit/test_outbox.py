"""Chat is stored exactly once or rejected with a reason, in order, within bounds; whatever the database does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whatssound.config import OutboxConfig, RetryConfig
from whatssound.core.identifiers import Uuid7Source
from whatssound.errors import (
    BatchTooLargeError,
    DatabaseBusyError,
    MessageRejectedError,
    NotSignedInError,
    OutboxFullError,
    ProtocolError,
    RefusedError,
    RequestTimeoutError,
    ServerError,
    SessionClosedError,
    SessionEndedError,
    TokenExpiredError,
    UnreachableError,
)
from whatssound.gateway import Gateway
from whatssound.models import Message, MessageId, SessionId, StoredRow, UserId
from whatssound.outbox import MessageReceipt, Outbox
from whatssound.testing import FakeRpc, LoopClock, run_virtual
from whatssound.testing.fakes import settle

SESSION = SessionId("5e551010-0000-4000-8000-000000000000")
AUTHOR = UserId("aaaaaaaa-0000-4000-8000-000000000000")


class Box:
    """An outbox with everything around it."""

    def __init__(self, rpc: Any, config: OutboxConfig | None = None, seed: int = 1) -> None:
        chance = Random(seed)
        self.ids = Uuid7Source(chance.getrandbits)
        self.settled: list[tuple[str, StoredRow | MessageRejectedError]] = []
        self.heard: list[Mapping[str, Any]] = []
        self.outbox = Outbox(
            SESSION,
            Gateway(rpc, RetryConfig(), LoopClock()),
            config or OutboxConfig(),
            LoopClock(),
            chance=chance.random,
            settled=lambda receipt, outcome: self.settled.append((receipt.id, outcome)),
            heard=self.heard.append,
        )
        self.running = asyncio.create_task(self.outbox.run(), name="outbox")

    def message(self, content: str) -> Message:
        return Message(
            id=MessageId(self.ids.make(LoopClock().unix_ms())),
            session_id=SESSION,
            user_id=AUTHOR,
            content=content,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    async def say(self, content: str) -> MessageReceipt:
        return await self.outbox.put(self.message(content))

    async def close(self) -> None:
        await self.outbox.close()
        await self.running


def stored(params: Mapping[str, Any]) -> dict[str, Any]:
    rows = [{"id": row["id"], "status": "stored", "seq": at + 1} for at, row in enumerate(params["p_messages"])]
    return {"results": rows, "last_seq": len(rows)}


def contents(rpc: FakeRpc) -> list[list[str]]:
    return [[row["content"] for row in call["p_messages"]] for call in rpc.made("insert_messages")]


def test_a_batch_goes_half_a_second_after_its_first_message() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc)
        started = asyncio.get_running_loop().time()
        first = await box.say("one")
        await asyncio.sleep(0.3)
        second = await box.say("two")
        assert rpc.calls == []
        row = await first.stored()
        assert asyncio.get_running_loop().time() - started == pytest.approx(0.5)
        assert (row.status, row.seq) == ("stored", 1)
        assert (await second.stored()).seq == 2
        assert second.is_stored
        assert contents(rpc) == [["one", "two"]]
        assert [answer["last_seq"] for answer in box.heard] == [2]
        assert box.outbox.waiting == 0
        await box.close()

    run_virtual(main)


def test_eager_the_first_message_goes_at_once_and_what_follows_is_batched() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc)
        box.outbox.set_eager(True)
        now = asyncio.get_running_loop().time
        started = now()
        await (await box.say("one")).stored()
        assert now() == started
        second, third = await box.say("two"), await box.say("three")
        await third.stored()
        assert second.is_stored
        assert now() - started == pytest.approx(0.5)
        assert contents(rpc) == [["one"], ["two", "three"]]
        await box.close()

    run_virtual(main)


def test_what_waits_for_its_interval_goes_at_once_when_the_outbox_turns_eager() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc, OutboxConfig(interval=60.0))
        receipt = await box.say("one")
        await settle()
        assert rpc.calls == []
        before = asyncio.get_running_loop().time()
        box.outbox.set_eager(True)
        await receipt.stored()
        assert asyncio.get_running_loop().time() == before
        await box.close()

    run_virtual(main)


def test_a_full_batch_goes_at_once_and_the_rest_follows() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc, OutboxConfig(batch_size=3))
        started = asyncio.get_running_loop().time()
        receipts = [await box.say(str(number)) for number in range(7)]
        await receipts[5].stored()
        assert asyncio.get_running_loop().time() == started
        await box.close()
        assert contents(rpc) == [["0", "1", "2"], ["3", "4", "5"], ["6"]]

    run_virtual(main)


@pytest.mark.parametrize(
    "failure",
    [
        RequestTimeoutError("lost"),
        UnreachableError("there", "refused"),
        ServerError(502, "html"),
        DatabaseBusyError("busy"),
        TokenExpiredError(),
        NotSignedInError(),
    ],
)
def test_what_passes_is_tried_again_with_the_same_ids(failure: Exception) -> None:
    async def main() -> None:
        rpc = FakeRpc().then("insert_messages", failure, failure).always("insert_messages", stored)
        box = Box(rpc)
        receipt = await box.say("hola")
        assert (await receipt.stored()).status == "stored"
        assert len({call["p_messages"][0]["id"] for call in rpc.made("insert_messages")}) == 1
        assert box.outbox.stats.retried == 2
        await box.close()

    run_virtual(main)


def test_retry_after_is_respected() -> None:
    async def main() -> None:
        rpc = (
            FakeRpc().then("insert_messages", ServerError(429, "x", retry_after=9.0)).always("insert_messages", stored)
        )
        box = Box(rpc)
        started = asyncio.get_running_loop().time()
        await (await box.say("hola")).stored()
        assert asyncio.get_running_loop().time() - started >= 9.5
        await box.close()

    run_virtual(main)


def test_a_duplicate_counts_as_stored() -> None:
    async def main() -> None:
        rpc = FakeRpc().always(
            "insert_messages",
            lambda params: {"results": [{"id": params["p_messages"][0]["id"], "status": "duplicate", "seq": 7}]},
        )
        box = Box(rpc)
        row = await (await box.say("hola")).stored()
        assert (row.status, row.seq) == ("duplicate", 7)
        assert (box.outbox.stats.stored, box.outbox.stats.duplicates) == (1, 1)
        await box.close()

    run_virtual(main)


def test_a_refused_row_fails_alone_and_says_why() -> None:
    async def main() -> None:
        def answer(params: Mapping[str, Any]) -> dict[str, Any]:
            rows = stored(params)["results"]
            rows[1] = {"id": rows[1]["id"], "status": "rejected", "reason": "slow_mode", "retry_after": 4.0}
            return {"results": rows, "last_seq": 2}

        box = Box(FakeRpc().always("insert_messages", answer))
        receipts = [await box.say(text) for text in ("a", "b", "c")]
        with pytest.raises(MessageRejectedError) as caught:
            await receipts[1].stored()
        assert (caught.value.reason, caught.value.retry_after, caught.value.message_id) == (
            "slow_mode",
            4.0,
            receipts[1].id,
        )
        assert receipts[1].is_settled
        assert not receipts[1].is_stored
        assert "pending" in repr(receipts[1]) or "MessageReceipt" in repr(receipts[1])
        assert [receipt.is_stored for receipt in receipts] == [True, False, True]
        await box.close()

    run_virtual(main)


def test_a_poisoned_row_costs_the_others_nothing() -> None:
    async def main() -> None:
        def answer(params: Mapping[str, Any]) -> dict[str, Any]:
            if any(row["content"] == "poison" for row in params["p_messages"]):
                raise RefusedError("22P05", "untranslatable", status=400)
            return stored(params)

        box = Box(FakeRpc().always("insert_messages", answer))
        receipts = [await box.say("poison" if number == 5 else str(number)) for number in range(9)]
        await box.close()
        assert [receipt.is_stored for receipt in receipts] == [number != 5 for number in range(9)]
        with pytest.raises(MessageRejectedError, match="22P05"):
            await receipts[5].stored()

    run_virtual(main)


@pytest.mark.parametrize("refusal", [SessionEndedError("session_ended"), ProtocolError("no such function")])
def test_a_refusal_of_the_whole_batch_is_not_halved(refusal: Exception) -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", refusal)
        box = Box(rpc)
        receipts = [await box.say(str(number)) for number in range(4)]
        await box.close()
        assert all(receipt.is_settled and not receipt.is_stored for receipt in receipts)
        assert len(rpc.calls) == 1

    run_virtual(main)


def test_a_batch_that_is_too_large_is_halved() -> None:
    async def main() -> None:
        def answer(params: Mapping[str, Any]) -> dict[str, Any]:
            if len(params["p_messages"]) > 2:
                raise BatchTooLargeError("batch_too_large", status=413)
            return stored(params)

        rpc = FakeRpc().always("insert_messages", answer)
        box = Box(rpc)
        receipts = [await box.say(str(number)) for number in range(8)]
        await box.close()
        assert all(receipt.is_stored for receipt in receipts)
        assert [batch for batch in contents(rpc) if len(batch) <= 2] == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]

    run_virtual(main)


@pytest.mark.parametrize("nonsense", [{}, {"results": None}, {"results": [{"id": 1}]}, {"results": []}])
def test_an_answer_that_cannot_be_read_leaves_the_outcome_open(nonsense: dict[str, Any]) -> None:
    async def main() -> None:
        rpc = FakeRpc().then("insert_messages", nonsense).always("insert_messages", stored)
        box = Box(rpc)
        assert (await (await box.say("hola")).stored()).status == "stored"
        await box.close()

    run_virtual(main)


# --- a row over which the server fails


class Poisoned:
    """A database that fails over some words, and takes the rest."""

    def __init__(self, *, broken: bool = False, reads: bool = True) -> None:
        self.broken = broken
        self.reads = reads
        self.contents: list[str] = []
        self.calls = 0

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        self.calls += 1
        await asyncio.sleep(0.01)
        if function == "events_since":
            if not self.reads:
                raise ServerError(503, "away")
            return {"events": []}
        if self.broken or any("poison" in row["content"] for row in params["p_messages"]):
            raise ServerError(500, "internal error")
        self.contents += [row["content"] for row in params["p_messages"]]
        return stored(params)


@pytest.mark.parametrize("where", [{0}, {5}, {19}, {3, 4}, {2, 9, 17}, set(range(4, 6))])
def test_a_row_that_makes_the_server_fail_is_isolated_and_told(where: set[int]) -> None:
    async def main() -> None:
        table = Poisoned()
        box = Box(table, OutboxConfig(row_attempts=3, batch_size=8))
        texts = [f"{number:02}{'-poison' if number in where else ''}" for number in range(20)]
        receipts = [await box.say(text) for text in texts]
        good = [receipt.stored() for receipt in receipts if "poison" not in receipt.message.content]
        async with asyncio.timeout(600):
            await asyncio.gather(*good)
        assert table.contents == [text for text in texts if "poison" not in text], "in order"
        told = asyncio.gather(*(receipt.stored() for receipt in receipts), return_exceptions=True)
        for number in range(2_000):
            if told.done():
                break
            await box.say(f"later {number}")  # company, whose answers prove it
            await asyncio.sleep(1.0)
        await box.close()
        for receipt, outcome in zip(receipts, await told, strict=True):
            if "poison" in receipt.message.content:
                assert isinstance(outcome, MessageRejectedError)
                assert outcome.reason == "server_error"
                assert "may be stored all the same" in str(outcome)
            else:
                assert isinstance(outcome, StoredRow)

    run_virtual(main)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 30),
    seconds=st.floats(1, 3_000),
    size=st.integers(1, 20),
    reads=st.booleans(),
)
def test_an_outage_costs_no_message_and_no_order(
    seed: int, messages: int, seconds: float, size: int, reads: bool
) -> None:
    async def main() -> None:
        table = Poisoned(broken=True, reads=reads)
        box = Box(table, OutboxConfig(row_attempts=1, batch_size=size), seed)
        receipts = []
        chance = Random(seed)
        for number in range(messages):
            receipts.append(await box.say(f"{number:03}"))
            await asyncio.sleep(chance.random() * seconds / messages)
        table.broken = False
        table.reads = True
        await box.close()
        assert all(receipt.is_stored for receipt in receipts)
        assert sorted(table.contents) == [f"{number:03}" for number in range(messages)]
        if not reads:
            assert table.contents == sorted(table.contents)

    run_virtual(main)


def test_a_row_alone_is_kept_for_as_long_as_nothing_proves_its_fault() -> None:
    async def main() -> None:
        table = Poisoned()
        box = Box(table, OutboxConfig(row_attempts=1))
        receipt = await box.say("poison")
        await asyncio.sleep(3_600)
        assert not receipt.is_settled
        assert table.calls < 3_600, "it backs off"
        assert box.outbox.abandon("closed") == 1
        await box.close()

    run_virtual(main)


# --- bounds and policies


def test_wait_waits_for_room() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        gate = rpc.hold("insert_messages")
        box = Box(rpc, OutboxConfig(max_messages=2, batch_size=2))
        await box.say("1")
        await box.say("2")
        third = asyncio.create_task(box.say("3"))
        await settle()
        assert not third.done()
        assert box.outbox.waiting == 2
        gate.set()
        assert (await (await third).stored()).status == "stored"
        await box.close()

    run_virtual(main)


def test_a_cancelled_wait_takes_nothing() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        gate = rpc.hold("insert_messages")
        box = Box(rpc, OutboxConfig(max_messages=1))
        await box.say("1")
        waiting = asyncio.create_task(box.say("2"))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await box.close()
        assert box.outbox.stats.accepted == 1
        assert contents(rpc) == [["1"]]

    run_virtual(main)


def test_reject_says_how_full_it_is() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc, OutboxConfig(max_messages=2, policy="reject"))
        await box.say("1")
        await box.say("2")
        with pytest.raises(OutboxFullError) as caught:
            await box.say("3")
        assert caught.value.waiting == 2
        assert caught.value.waiting_bytes > 0
        await box.close()

    run_virtual(main)


def test_bytes_are_bounded_too() -> None:
    async def main() -> None:
        box = Box(FakeRpc().always("insert_messages", stored), OutboxConfig(max_bytes=500, policy="reject"))
        await box.say("ñ" * 100)
        with pytest.raises(OutboxFullError):
            await box.say("ñ" * 100)
        await box.say("x")
        await box.close()

    run_virtual(main)


def test_drop_oldest_tells_the_receipt() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc, OutboxConfig(max_messages=2, policy="drop_oldest"))
        receipts = [await box.say(text) for text in ("1", "2", "3")]
        with pytest.raises(MessageRejectedError, match="dropped"):
            await receipts[0].stored()
        await box.close()
        assert contents(rpc) == [["2", "3"]]

    run_virtual(main)


def test_drop_oldest_never_drops_what_may_be_stored_already() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        gate = rpc.hold("insert_messages")
        box = Box(rpc, OutboxConfig(max_messages=2, batch_size=2, policy="drop_oldest"))
        first = [await box.say("1"), await box.say("2")]
        await settle()
        third = asyncio.create_task(box.say("3"))
        await settle()
        assert not third.done()
        gate.set()
        await third
        await box.close()
        assert all(receipt.is_stored for receipt in first)

    run_virtual(main)


# --- closing


def test_closing_sends_what_is_held_at_once_and_takes_no_more() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc, OutboxConfig(interval=60.0))
        receipt = await box.say("bye")
        before = asyncio.get_running_loop().time()
        await box.close()
        assert receipt.is_stored
        assert asyncio.get_running_loop().time() == before
        with pytest.raises(SessionClosedError):
            await box.say("too late")

    run_virtual(main)


def test_closing_refuses_those_who_wait_for_room() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        gate = rpc.hold("insert_messages")
        box = Box(rpc, OutboxConfig(max_messages=1))
        await box.say("1")
        waiting = asyncio.create_task(box.say("2"))
        await settle()
        await box.outbox.close()
        with pytest.raises(SessionClosedError):
            await waiting
        gate.set()
        await box.running

    run_virtual(main)


def test_abandoning_tells_every_receipt_once() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        gate = rpc.hold("insert_messages")
        box = Box(rpc, OutboxConfig(batch_size=2))
        receipts = [await box.say(str(number)) for number in range(4)]
        await settle()
        assert box.outbox.abandon("closed") == 4
        gate.set()  # the answer of the batch under way comes after all
        await box.close()
        assert [reason(outcome) for _, outcome in box.settled] == ["closed"] * 4
        assert (box.outbox.stats.rejected, box.outbox.stats.stored) == (4, 0)
        assert all(receipt.is_settled for receipt in receipts)

    run_virtual(main)


def reason(outcome: StoredRow | MessageRejectedError) -> str:
    return outcome.reason if isinstance(outcome, MessageRejectedError) else outcome.status


# --- properties


class ChatTable:
    """The database's side of ``insert_messages``, behind a bad line."""

    def __init__(self, chance: Random, failures: float) -> None:
        self.chance = chance
        self.failures = failures
        self.stored: dict[str, int] = {}
        self.contents: list[str] = []
        self.sizes: list[int] = []

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        if function == "events_since":  # the probe
            if self.chance.random() < self.failures:
                raise ServerError(500, "oops")
            return {"events": []}
        assert function == "insert_messages"
        rows = params["p_messages"]
        self.sizes.append(len(rows))
        await asyncio.sleep(self.chance.random() * 0.4)
        lost = False
        if self.chance.random() < self.failures:
            match self.chance.choice(["lost", "lost", "5xx", "unreachable", "busy", "token", "garbage"]):
                case "lost":
                    lost = True
                case "5xx":
                    raise ServerError(500, "oops", retry_after=self.chance.choice([None, 1.5]))
                case "unreachable":
                    raise UnreachableError("there", "refused")
                case "busy":
                    raise DatabaseBusyError("busy", retry_after=0.2)
                case "token":
                    raise TokenExpiredError
                case "garbage":
                    return {"surprise": True}
        if any("poison" in row["content"] for row in rows):
            raise RefusedError("22P05", "untranslatable", status=400)
        limited_from = self.chance.randrange(len(rows) + 1) if self.chance.random() < self.failures / 2 else len(rows)
        results = [self._row(at, row, limited=at >= limited_from) for at, row in enumerate(rows)]
        if lost:
            raise RequestTimeoutError("lost after the commit")
        return {"results": results, "last_seq": len(self.contents)}

    def _row(self, at: int, row: Mapping[str, Any], *, limited: bool) -> dict[str, Any]:
        if row["id"] in self.stored:
            return {"id": row["id"], "status": "duplicate", "seq": self.stored[row["id"]]}
        if limited:
            return {"id": row["id"], "status": "rejected", "reason": "rate_limited", "retry_after": 0.5}
        if "muted" in row["content"]:
            return {"id": row["id"], "status": "rejected", "reason": "muted"}
        self.contents.append(row["content"])
        self.stored[row["id"]] = len(self.contents)
        return {"id": row["id"], "status": "stored", "seq": len(self.contents)}


@settings(max_examples=150)
@given(
    seed=st.integers(0, 100_000),
    failures=st.floats(0, 0.8),
    kinds=st.lists(st.sampled_from(["good", "good", "good", "muted", "poison"]), max_size=30),
    size=st.integers(1, 8),
    room=st.integers(1, 12),
    policy=st.sampled_from(["wait", "reject", "drop_oldest"]),
)
def test_every_accepted_message_ends_exactly_once_and_in_order(  # noqa: PLR0917
    seed: int, failures: float, kinds: list[str], size: int, room: int, policy: Any
) -> None:
    async def main() -> None:
        chance = Random(seed)
        table = ChatTable(chance, failures)
        config = OutboxConfig(batch_size=size, max_messages=room, policy=policy, interval=0.3)
        box = Box(table, config, seed)
        receipts: list[tuple[str, MessageReceipt]] = []
        for number, kind in enumerate(kinds):
            text = f"{number:03}-{kind}"
            try:
                receipts.append((text, await box.say(text)))
            except OutboxFullError:
                assert policy == "reject"
            assert box.outbox.waiting <= room
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random())
        await box.close()
        assert box.outbox.waiting == 0
        assert max(table.sizes, default=0) <= size
        assert len(box.settled) == len({key for key, _ in box.settled}) == len(receipts)
        for text, receipt in receipts:
            outcome = dict(box.settled)[receipt.id]
            assert receipt.is_settled
            if receipt.is_stored:
                assert table.contents.count(text) == 1
                assert isinstance(outcome, StoredRow)
                assert outcome.seq == table.contents.index(text) + 1
            else:
                assert text not in table.contents
                assert isinstance(outcome, MessageRejectedError)
                assert outcome.reason in {"muted", "22P05", "dropped"}
                assert outcome.reason != "dropped" or policy == "drop_oldest"
        assert table.contents == sorted(table.contents), "a sender's order is kept"
        stats = box.outbox.stats
        assert stats.accepted == stats.stored + stats.rejected == len(receipts)

    run_virtual(main)


@given(seed=st.integers(0, 100_000), failures=st.floats(0, 0.6), cut=st.floats(0, 6))
def test_cut_at_any_moment_every_receipt_tells(seed: int, failures: float, cut: float) -> None:
    async def main() -> None:
        chance = Random(seed)
        table = ChatTable(chance, failures)
        box = Box(table, OutboxConfig(batch_size=3, interval=0.3), seed)
        receipts = []
        for number in range(8):
            receipts.append((f"{number:03}", await box.say(f"{number:03}")))
            await asyncio.sleep(chance.random() * 0.5)
            if number == 7:
                await asyncio.sleep(cut)
        box.running.cancel()
        await asyncio.wait([box.running])
        box.outbox.abandon("closed")
        for text, receipt in receipts:
            assert receipt.is_settled
            if receipt.is_stored:
                assert table.contents.count(text) == 1
            assert table.contents.count(text) <= 1
        outcomes = [reason(outcome) for _, outcome in box.settled]
        assert len(outcomes) == 8
        assert set(outcomes) <= {"stored", "duplicate", "closed"}

    run_virtual(main)


def test_a_cancelled_wait_for_the_outcome_leaves_the_outcome() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("insert_messages", stored)
        box = Box(rpc)
        receipt = await box.say("hola")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await receipt.stored()
        assert (await receipt.stored()).status == "stored"
        await box.close()

    run_virtual(main)
