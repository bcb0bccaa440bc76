"""An outbox with a spool: what was taken is stored exactly once, whenever the process dies, and as its author."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_outbox import ChatTable, Poisoned
from whatssound.config import OutboxConfig, RetryConfig
from whatssound.core.identifiers import Uuid7Source
from whatssound.errors import (
    MessageRejectedError,
    RefusedError,
    SessionClosedError,
    SpoolError,
    SpoolFullError,
    WhatsSoundError,
)
from whatssound.flushing import flush
from whatssound.gateway import Gateway
from whatssound.models import Message, MessageId, SessionId, StoredRow, UserId
from whatssound.outbox import MessageReceipt, Outbox
from whatssound.spool import Spool
from whatssound.testing import FakeRpc, FakeTokens, LoopClock, run_virtual
from whatssound.testing.fakes import settle

T = TypeVar("T")
ANA = UserId("00000000-0000-4000-8000-0000000000aa")
EVE = UserId("00000000-0000-4000-8000-0000000000ee")
ROOM = SessionId("5e551010-0000-4000-8000-000000000001")
OTHER_ROOM = SessionId("5e551010-0000-4000-8000-000000000002")
IDS = Uuid7Source(Random(1).getrandbits)
VICTIM = Path(__file__).with_name("spool_victim.py")


class Inline(Executor):
    """Does at once what is submitted: a thread has no place on a loop with a time of its own."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except WhatsSoundError as error:
            done.set_exception(error)
        return done


async def opened(folder: Path, **limits: int) -> Spool:
    bounds = {"max_messages": 1_000, "max_bytes": 1_000_000, **limits}
    spool = Spool(folder / "chat.spool", project="p", executor=Inline(), **bounds)
    await spool.open()
    return spool


class Box:
    """An outbox on a spool."""

    def __init__(
        self, rpc: Any, spool: Spool, config: OutboxConfig | None = None, *, author: str = ANA, seed: int = 1
    ) -> None:
        chance = Random(seed)
        self.ids = IDS
        self.author = author
        self.settled: list[tuple[MessageReceipt, StoredRow | MessageRejectedError]] = []
        self.outbox = Outbox(
            ROOM,
            Gateway(rpc, RetryConfig(), LoopClock()),
            config or OutboxConfig(),
            LoopClock(),
            chance=chance.random,
            settled=lambda receipt, outcome: self.settled.append((receipt, outcome)),
            heard=lambda answer: None,
            author=self.who,
            spool=spool,
            user_id=author,
        )
        self.running = asyncio.create_task(self.outbox.run(), name="outbox")

    async def who(self) -> str | None:
        return self.author

    async def say(self, content: str, user_id: UserId = ANA) -> MessageReceipt:
        return await self.outbox.put(
            Message(
                id=MessageId(self.ids.make(LoopClock().unix_ms())),
                session_id=ROOM,
                user_id=user_id,
                content=content,
                created_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
        )

    async def close(self) -> None:
        await self.outbox.close()
        await self.running

    async def cut(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        self.outbox.abandon("closed")


def reason(outcome: StoredRow | MessageRejectedError) -> str:
    return outcome.reason if isinstance(outcome, MessageRejectedError) else outcome.status


async def kept(spool: Spool) -> int:
    return sum(entry.messages for entry in await spool.waiting())


# --- kill -9


async def run_victim(folder: Path, step: str, count: int) -> tuple[int | None, list[str]]:
    victim = await asyncio.create_subprocess_exec(
        sys.executable, str(VICTIM), str(folder), step, str(count), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await victim.communicate()
    return victim.returncode, out.decode().splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("step", "taken"),
    [
        ("before the commit", 3),
        ("after the commit", 3),
        ("batch sent", None),
        ("before the answer", None),
        ("before the removal", None),
        ("after the removal", None),
    ],
)
async def test_whenever_it_is_killed_the_next_run_stores_what_was_taken_exactly_once(
    tmp_path: Path, step: str, taken: int | None
) -> None:
    code, said = await run_victim(tmp_path, step, 5)
    assert code == -signal.SIGKILL
    accepted = [line.split()[1] for line in said if line.startswith("taken")]
    assert taken is None or len(accepted) == taken
    code, told = await run_victim(tmp_path, "none", 0)
    assert code == 0
    database = sqlite3.connect(tmp_path / "database")
    stored = [content for (content,) in database.execute("select content from stored order by seq")]
    database.close()
    assert stored == sorted(set(stored)), "once each, and in order"
    assert set(accepted) <= set(stored)
    assert set(stored) - set(accepted) <= {str(len(accepted))}, "at most the one whose putting was cut off"
    before = {line for line in said if line.startswith("settled")}
    assert not before & set(told), "what was told is not told again"
    code, told = await run_victim(tmp_path, "none", 0)
    assert (code, told) == (0, [])


# --- the next run


def test_what_closing_leaves_goes_first_in_the_next_run_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        table = ChatTable(Random(1), 0.0)
        first = Box(FakeRpc(), spool, OutboxConfig(interval=60.0))
        old = [await first.say("1"), await first.say("2")]
        await first.cut()
        assert [reason(outcome) for _, outcome in first.settled] == ["spooled", "spooled"]
        with pytest.raises(MessageRejectedError, match="the next run sends it"):
            await old[0].stored()
        second = Box(table, spool)
        new = await second.say("3")
        await second.close()
        assert table.contents == ["1", "2", "3"]
        assert new.is_stored
        assert [(receipt.message.content, receipt.spooled) for receipt, _ in second.settled] == [
            ("1", True),
            ("2", True),
            ("3", False),
        ]
        assert await kept(spool) == 0
        await spool.aclose()

    run_virtual(main)


def test_what_somebody_else_wrote_stays_for_them(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        table = ChatTable(Random(1), 0.0)
        first = Box(FakeRpc(), spool, OutboxConfig(interval=60.0))
        await first.say("ana's")
        await first.cut()
        eve = Box(table, spool, author=EVE)
        await eve.say("eve's", EVE)
        late = await eve.say("ana's, after signing out")
        await eve.close()
        assert table.contents == ["eve's"]
        with pytest.raises(MessageRejectedError, match="other_user"):
            await late.stored()
        assert await kept(spool) == 2
        ana = Box(table, spool)
        await ana.close()
        assert sorted(table.contents) == ["ana's", "ana's, after signing out", "eve's"]
        await spool.aclose()

    run_virtual(main)


def test_what_the_database_refuses_is_removed_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        first = Box(FakeRpc(), spool, OutboxConfig(interval=60.0))
        await first.say("late")
        await first.cut()
        banned = RefusedError("banned", "you are banned", status=403)
        second = Box(FakeRpc().always("insert_messages", banned), spool)
        await second.close()
        assert [reason(outcome) for _, outcome in second.settled] == ["banned"]
        assert "a message of an earlier run was rejected" in caplog.text
        assert await kept(spool) == 0
        await spool.aclose()

    run_virtual(main)


def test_a_message_that_cannot_be_kept_is_not_taken(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path, max_messages=1)
        rpc = FakeRpc()
        box = Box(rpc, spool, OutboxConfig(interval=60.0))
        await box.say("kept")
        with pytest.raises(SpoolFullError):
            await box.say("too many")
        assert box.outbox.waiting == 1
        assert box.outbox.stats.accepted == 1
        await box.cut()
        await spool.aclose()

    run_virtual(main)


def test_a_spool_that_fails_later_costs_no_outcome(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        table = ChatTable(Random(1), 0.0)
        box = Box(table, spool)
        receipt = await box.say("1")
        await spool.aclose()
        await box.close()
        assert receipt.is_stored
        assert "stay in the spool" in caplog.text
        with pytest.raises(SessionClosedError):
            await box.say("2")
        again = await opened(tmp_path)
        repeated = Box(table, again)
        await repeated.close()
        assert [reason(outcome) for _, outcome in repeated.settled] == ["duplicate"]
        assert await kept(again) == 0
        await again.aclose()

    run_virtual(main)


def test_what_cannot_be_read_waits_and_new_messages_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        await spool.aclose()
        box = Box(FakeRpc(), spool)
        with pytest.raises(SpoolError, match="is closed"):
            await box.say("1")
        await box.close()

    run_virtual(main)


def test_a_dropped_message_is_gone_from_the_spool(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        box = Box(FakeRpc(), spool, OutboxConfig(interval=60.0, max_messages=2, policy="drop_oldest"))
        for number in range(4):
            await box.say(str(number))
        await box.cut()
        assert [left.message.content for left in await spool.take(ANA, ROOM)] == ["2", "3"]
        await spool.aclose()

    run_virtual(main)


def test_tries_count_over_runs(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        table = Poisoned()
        told: list[str] = []
        runs = 0
        while "server_error" not in told and runs < 20:
            runs += 1
            box = Box(table, spool, OutboxConfig(row_attempts=4), seed=runs)
            if runs == 1:
                await box.say("poison")
            for number in range(12):
                await box.say(f"{runs}-{number}")
                await asyncio.sleep(1.0)
            await box.cut()
            told = [reason(outcome) for receipt, outcome in box.settled if receipt.message.content == "poison"]
            if told == ["spooled"]:
                (left,) = await spool.take(ANA, ROOM)
                assert left.tries <= 3
                spool.release([left.message])
        assert told == ["server_error"]
        await spool.aclose()

    run_virtual(main)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    failures=st.floats(0, 0.6),
    runs=st.lists(st.tuples(st.integers(0, 6), st.floats(0, 4)), min_size=1, max_size=5),
)
def test_over_any_number_of_runs_everything_is_stored_exactly_once_and_in_order(
    seed: int, failures: float, runs: list[tuple[int, float]]
) -> None:
    async def main(folder: Path) -> None:
        chance = Random(seed)
        table = ChatTable(chance, failures)
        said = 0
        for at, (count, cut) in enumerate(runs):
            spool = await opened(folder)
            box = Box(table, spool, OutboxConfig(batch_size=3, interval=0.3), seed=seed + at)
            for _ in range(count):
                await box.say(f"{said:03}")
                said += 1
                await asyncio.sleep(chance.random() * 0.5)
            await asyncio.sleep(cut)
            await box.cut()
            await spool.aclose()
        table.failures = 0.0
        spool = await opened(folder)
        await Box(table, spool).close()
        assert await kept(spool) == 0
        await spool.aclose()
        assert table.contents == [f"{number:03}" for number in range(said)]

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(lambda: main(Path(folder)))


@settings(deadline=None)
@given(after=st.integers(0, 6))
def test_a_cancelled_put_is_not_kept(after: int) -> None:
    async def main(folder: Path) -> None:
        spool = await opened(folder)
        box = Box(FakeRpc(), spool, OutboxConfig(interval=60.0))
        await settle()
        saying = asyncio.create_task(box.say("never mind"))
        for _ in range(after):
            await asyncio.sleep(0)
        taken = saying.done()
        saying.cancel()
        await asyncio.wait([saying])
        assert box.outbox.waiting == int(taken) == await kept(spool)
        await box.cut()
        await spool.aclose()

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(lambda: main(Path(folder)))


# --- flushing without sessions


def test_flushing_sends_for_every_session_of_this_user(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        box = Box(FakeRpc(), spool, OutboxConfig(interval=60.0))
        receipts = [await box.say("here"), await box.say("muted")]
        await box.say("eve's", EVE)
        await box.cut()
        elsewhere = receipts[0].message.model_copy(update={"session_id": OTHER_ROOM, "content": "there"})
        elsewhere = elsewhere.model_copy(update={"id": MessageId(box.ids.make(LoopClock().unix_ms()))})
        await spool.put(elsewhere)
        spool.release([elsewhere])
        table = ChatTable(Random(1), 0.0)
        gateway = Gateway(table, RetryConfig(), LoopClock())
        report = await flush(spool, gateway, FakeTokens(ANA), OutboxConfig(), LoopClock(), seconds=5.0)
        assert (report.stored, [error.reason for error in report.rejected], report.waiting) == (2, ["muted"], 0)
        assert sorted(table.contents) == ["here", "there"]
        assert [entry.user_id for entry in await spool.waiting()] == [EVE]
        await spool.aclose()

    run_virtual(main)


def test_flushing_ends_in_time_and_leaves_the_rest(tmp_path: Path) -> None:
    async def main() -> None:
        spool = await opened(tmp_path)
        box = Box(FakeRpc(), spool, OutboxConfig(interval=60.0))
        await box.say("1")
        await box.cut()
        gateway = Gateway(Poisoned(broken=True), RetryConfig(), LoopClock())
        started = asyncio.get_running_loop().time()
        report = await flush(spool, gateway, FakeTokens(ANA), OutboxConfig(), LoopClock(), seconds=5.0)
        assert asyncio.get_running_loop().time() - started == pytest.approx(5.0)
        assert (report.stored, report.rejected, report.waiting) == (0, (), 1)
        assert [left.message.content for left in await spool.take(ANA, ROOM)] == ["1"]
        await spool.aclose()

    run_virtual(main)
