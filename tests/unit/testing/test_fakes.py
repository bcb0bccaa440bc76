"""The stand-ins that users get do what they say."""

from __future__ import annotations

import asyncio

import pytest

from whatssound.core.reasons import Reason
from whatssound.errors import ServerError
from whatssound.ports import Clock, JoinSpec, LinkFactory, RpcPort, TokenSource
from whatssound.testing import (
    DeadlockError,
    FakeClock,
    FakeLinks,
    FakeRpc,
    FakeTokens,
    LoopClock,
    run_virtual,
)
from whatssound.testing.fakes import settle


def test_they_fit_the_ports() -> None:
    clocks: list[Clock] = [FakeClock(), LoopClock()]
    rpc: RpcPort = FakeRpc()
    links: LinkFactory = FakeLinks()
    tokens: TokenSource = FakeTokens("u")
    assert all((clocks, rpc, links, tokens))


async def test_the_clock_moves_when_told_and_wakes_in_order() -> None:
    clock = FakeClock(start=100.0, unix_ms=5_000)
    woken: list[str] = []

    async def sleeper(name: str, seconds: float, again: float | None = None) -> None:
        await clock.sleep(seconds)
        woken.append(f"{name} at {clock.monotonic():g}")
        if again is not None:
            await sleeper(name, again)

    tasks = [
        asyncio.create_task(sleeper("b", 2)),
        asyncio.create_task(sleeper("a", 1, again=0.5)),
        asyncio.create_task(sleeper("never", 9)),
    ]
    await settle()
    assert (clock.monotonic(), woken, clock.sleepers) == (100.0, [], 3)
    await clock.advance(3)
    assert woken == ["a at 101", "a at 101.5", "b at 102"]
    assert (clock.monotonic(), clock.unix_ms()) == (103.0, 8_000)
    tasks[2].cancel()
    await asyncio.wait(tasks)
    await clock.advance(20)
    assert len(woken) == 3
    await clock.sleep(0)
    assert clock.slept == [2, 1, 9, 0.5, 0]


async def test_the_database_answers_as_scripted() -> None:
    failure = ServerError(503, "later")
    rpc = FakeRpc().then("f", {"n": 1}, failure).always("f", lambda params: {"n": params["n"] * 2})
    assert await rpc.call("f", {"n": 5}, within=1.0) == {"n": 1}
    with pytest.raises(ServerError):
        await rpc.call("f", {"n": 6}, within=1.0)
    assert await rpc.call("f", {"n": 7}, within=1.0) == {"n": 14}
    assert rpc.made("f") == [{"n": 5}, {"n": 6}, {"n": 7}]
    with pytest.raises(LookupError, match="not_scripted"):
        await rpc.call("not_scripted", {}, within=1.0)


async def test_tokens_count_up_when_refused() -> None:
    tokens = FakeTokens("u")
    assert await tokens.token() == "token-1"
    assert await tokens.token(refused="token-0") == "token-1"
    assert await tokens.token(refused="token-1") == "token-2"
    tokens.errors.append(ServerError(500, "x"))
    with pytest.raises(ServerError):
        await tokens.token()


async def test_a_link_that_does_not_run_cannot_be_played() -> None:
    link = FakeLinks()([JoinSpec(topic="t", private=True)])
    with pytest.raises(RuntimeError):
        link.join()
    with pytest.raises(ValueError, match="other"):
        link.join("other")
    with pytest.raises(RuntimeError):
        link.end(Reason.CLOSED)
    assert not await link.push("broadcast", {})


def test_hours_pass_in_no_time() -> None:
    async def main() -> float:
        before = LoopClock().monotonic()
        async with asyncio.timeout(100_000):
            await asyncio.sleep(50_000)
        return LoopClock().monotonic() - before

    assert run_virtual(main) == 50_000


def test_waiting_for_ever_is_an_error_and_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtual(main)


def test_tasks_that_are_left_behind_are_named() -> None:
    held: list[asyncio.Task[bool]] = []

    async def main() -> None:
        held.append(asyncio.create_task(asyncio.sleep(1e9, True), name="forgotten"))

    with pytest.raises(AssertionError, match="forgotten"):
        run_virtual(main)
    run_virtual(main, leaks=True)
