"""Commands happen exactly once or raise `OutcomeUnknownError`; reads are shared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from whatssound._postgrest import PostgrestRpc, make_http_client
from whatssound.config import RetryConfig
from whatssound.errors import (
    BannedError,
    DatabaseBusyError,
    OutcomeUnknownError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    TokenExpiredError,
    TransportError,
    UnreachableError,
    WhatsSoundError,
)
from whatssound.gateway import Gateway, make_key
from whatssound.testing import FakeClock, FakeRpc, FakeTokens, LoopClock, run_virtual
from whatssound.testing.fakes import settle

CONFIG = RetryConfig(attempts=4, deadline=30.0, request_timeout=5.0, base=0.2, cap=2.0)
LOST = RequestTimeoutError("no answer")
UNREACHABLE = UnreachableError("http://here", "refused")


def gateway(rpc: FakeRpc, config: RetryConfig = CONFIG) -> Gateway:
    return Gateway(rpc, config, LoopClock())


def test_a_key_goes_with_every_try_and_stays_the_same() -> None:
    async def main() -> None:
        rpc = FakeRpc().then("cast_vote", LOST, UNREACHABLE, {"ok": True})
        key = make_key()
        door = gateway(rpc)
        assert await door.command("cast_vote", {"p_value": 1}, key=key) == {"ok": True}
        assert rpc.made("cast_vote") == [{"p_value": 1, "p_key": key}] * 3
        assert (door.retries, door.errors) == (2, 0)

    run_virtual(main)


def test_without_a_key_none_is_sent() -> None:
    async def main() -> None:
        rpc = FakeRpc().then("end_session", {})
        await gateway(rpc).command("end_session", {"p_session_id": "s"})
        assert rpc.made("end_session") == [{"p_session_id": "s"}]

    run_virtual(main)


def test_an_unknown_outcome_names_the_key_and_the_attempts() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("send_tip", LOST)
        with pytest.raises(OutcomeUnknownError) as caught:
            await gateway(rpc).command("send_tip", {}, key="the-key")
        error = caught.value
        assert (error.operation, error.key, error.attempts, error.last) == ("send_tip", "the-key", 4, LOST)
        assert error.retryable
        assert len(rpc.calls) == 4

    run_virtual(main)


def test_what_never_reached_the_server_is_no_unknown_outcome() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("send_tip", UNREACHABLE)
        with pytest.raises(UnreachableError):
            await gateway(rpc).command("send_tip", {}, key="k")

    run_virtual(main)


@pytest.mark.parametrize(
    "last",
    [TokenExpiredError(), ServerError(503, "later"), DatabaseBusyError("busy"), RateLimitedError("rate_limited")],
)
def test_one_try_that_may_have_happened_makes_the_outcome_unknown(last: WhatsSoundError) -> None:
    async def main() -> None:
        rpc = FakeRpc().then("send_tip", LOST).always("send_tip", last)
        with pytest.raises(OutcomeUnknownError) as caught:
            await gateway(rpc).command("send_tip", {}, key="k")
        assert caught.value.last is last

    run_virtual(main)


def test_a_final_refusal_is_the_database_s_word_also_after_a_lost_answer() -> None:
    async def main() -> None:
        rpc = FakeRpc().then("send_tip", LOST, BannedError("banned"))
        with pytest.raises(BannedError):
            await gateway(rpc).command("send_tip", {}, key="k")

    run_virtual(main)


def test_a_refusal_is_not_tried_again() -> None:
    async def main() -> None:
        rpc = FakeRpc().then("send_tip", BannedError("banned"))
        door = gateway(rpc)
        with pytest.raises(BannedError):
            await door.command("send_tip", {}, key="k")
        assert len(rpc.calls) == 1
        assert door.errors == 1

    run_virtual(main)


def test_reads_that_fail_raise_what_the_last_try_said() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("events_since", LOST)
        with pytest.raises(RequestTimeoutError):
            await gateway(rpc).read("events_since", {})

    run_virtual(main)


@pytest.mark.parametrize(
    "asked",
    [
        ServerError(429, "slow down", retry_after=7.0),
        RateLimitedError("rate_limited", retry_after=7.0),
        DatabaseBusyError("busy", retry_after=7.0),
    ],
)
def test_the_server_s_wait_is_kept(asked: WhatsSoundError) -> None:
    async def main() -> None:
        clock = FakeClock()
        rpc = FakeRpc().then("cast_vote", asked, {})
        task = asyncio.create_task(Gateway(rpc, CONFIG, clock).command("cast_vote", {}, key="k"))
        await clock.advance(6.99)
        assert len(rpc.calls) == 1
        await clock.advance(0.01 + CONFIG.base)
        assert await task == {}

    run_virtual(main)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("cast_vote", ServerError(503, "later", retry_after=120.0))
        before = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknownError):
            await gateway(rpc).command("cast_vote", {}, key="k")
        assert asyncio.get_running_loop().time() == before
        assert len(rpc.calls) == 1

    run_virtual(main)


@given(
    attempts=st.integers(1, 50),
    deadline=st.floats(0.5, 20),
    slow=st.lists(st.floats(0.0, 6.0), min_size=1, max_size=10),
    seed=st.integers(0, 1000),
)
def test_the_deadline_holds_whatever_the_server_does(
    attempts: int, deadline: float, slow: list[float], seed: int
) -> None:
    class Slow:
        def __init__(self) -> None:
            self.count = 0
            self.chance = Random(seed)

        async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
            self.count += 1
            assert 0 < within <= 5.0
            takes = slow[self.count % len(slow)]
            await asyncio.sleep(min(takes, within))
            raise LOST if takes >= within else ServerError(503, "x", retry_after=self.chance.choice([None, 0.5, 3.0]))

    async def main() -> None:
        rpc = Slow()
        config = RetryConfig(attempts=attempts, deadline=deadline, request_timeout=5.0)
        before = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknownError):
            await Gateway(rpc, config, LoopClock()).command("f", {}, key="k")
        # 50 ms is the shortest time that a last try is given.
        assert asyncio.get_running_loop().time() - before <= deadline + 0.051
        assert rpc.count <= attempts

    run_virtual(main)


class Ledger:
    """A database with idempotency keys behind a bad line."""

    def __init__(self, chance: Random, failures: float) -> None:
        self.chance = chance
        self.failures = failures
        self.done: dict[str, int] = {}
        self.executed: list[str] = []
        self.expired = False

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        await asyncio.sleep(self.chance.random() * 0.1)
        key = params["p_key"]
        if self.chance.random() < self.failures:
            kind = self.chance.choice(["before", "busy", "limited", "token", "after", "after", "after 5xx"])
            if kind == "before":
                raise UNREACHABLE
            if kind == "busy":
                raise DatabaseBusyError("busy", status=503)
            if kind == "limited":
                raise ServerError(429, "slow down", retry_after=0.3, sent=False)
            if kind == "token":
                raise TokenExpiredError
            self._execute(key)
            raise LOST if kind == "after" else ServerError(502, "bad gateway")
        return {"receipt": self._execute(key)}

    def _execute(self, key: str) -> int:
        if key not in self.done:
            self.done[key] = len(self.executed)
            self.executed.append(key)
        return self.done[key]


@given(seed=st.integers(0, 10_000), failures=st.floats(0, 0.95), attempts=st.integers(1, 6))
def test_a_command_happens_once_or_says_that_nobody_knows(seed: int, failures: float, attempts: int) -> None:
    async def main() -> None:
        chance = Random(seed)
        ledger = Ledger(chance, failures)
        door = Gateway(ledger, RetryConfig(attempts=attempts, deadline=60.0), LoopClock())

        async def one() -> None:
            key = make_key()
            try:
                answer = await door.command("send_tip", {}, key=key)
            except OutcomeUnknownError as error:
                named = error.key
                # Whoever calls again with the key until it answers has made it happen exactly once.
                ledger.failures = 0.0
                await door.command("send_tip", {}, key=named)
                assert named == key
                assert ledger.executed.count(key) == 1
            except WhatsSoundError:
                assert key not in ledger.executed
            else:
                assert ledger.executed.count(key) == 1
                assert answer["receipt"] == ledger.done[key]

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(one())

    run_virtual(main)


# --- reads


def test_equal_reads_at_the_same_time_share_one_request() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("session_snapshot", lambda params: {"for": params["p"]})
        gate = rpc.hold("session_snapshot")
        door = gateway(rpc)
        reads = [asyncio.create_task(door.read("session_snapshot", {"p": at % 2})) for at in range(6)]
        await settle()
        gate.set()
        assert [(await read)["for"] for read in reads] == [0, 1, 0, 1, 0, 1]
        assert len(rpc.calls) == 2
        await door.read("session_snapshot", {"p": 0})
        assert len(rpc.calls) == 3, "a later read asks again"

    run_virtual(main)


def test_cancelling_one_reader_leaves_the_answer_to_the_others() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("session_snapshot", {"seq": 1})
        gate = rpc.hold("session_snapshot")
        door = gateway(rpc)
        first, second = (asyncio.create_task(door.read("session_snapshot", {})) for _ in range(2))
        await settle()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        assert await second == {"seq": 1}
        assert len(rpc.calls) == 1

    run_virtual(main)


def test_a_read_that_nobody_waits_for_any_more_is_cancelled() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("session_snapshot", {"seq": 1})
        gate = rpc.hold("session_snapshot")
        door = gateway(rpc)
        read = asyncio.create_task(door.read("session_snapshot", {}))
        await settle()
        read.cancel()
        await asyncio.wait([read])
        await settle()
        assert [task.get_name() for task in asyncio.all_tasks() if "read" in task.get_name()] == []
        gate.set()
        assert await door.read("session_snapshot", {}) == {"seq": 1}
        assert len(rpc.calls) == 2

    run_virtual(main)


def test_closing_ends_the_reads_of_those_who_still_wait() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("session_snapshot", {})
        rpc.hold("session_snapshot")
        door = gateway(rpc)
        read = asyncio.create_task(door.read("session_snapshot", {}))
        await settle()
        await door.aclose()
        with pytest.raises(TransportError):
            await read

    run_virtual(main)


def test_cancelling_a_command_cancels_its_request() -> None:
    async def main() -> None:
        rpc = FakeRpc().always("cast_vote", {})
        rpc.hold("cast_vote")
        task = asyncio.create_task(gateway(rpc).command("cast_vote", {}, key="k"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(rpc.calls) == 1

    run_virtual(main)


def test_once_never_tries_again() -> None:
    async def main() -> None:
        rpc = FakeRpc().then("heartbeat", LOST)
        door = gateway(rpc)
        with pytest.raises(RequestTimeoutError):
            await door.once("heartbeat", {})
        assert (len(rpc.calls), door.errors, door.retries) == (1, 1, 0)
        assert rpc.calls[0][2] == CONFIG.request_timeout

    run_virtual(main)


# --- what one try may take, tokens included


class SlowTokens(FakeTokens):
    """A source of tokens that takes its time."""

    async def token(self, *, refused: str | None = None) -> str:
        await asyncio.sleep(3.0)
        return await super().token(refused=refused)


def test_tokens_and_both_calls_share_one_deadline() -> None:
    async def slow_refusal(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1.0)
        return httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"})

    async def main() -> None:
        with respx.mock:
            route = respx.post("http://project.test/rest/v1/rpc/cast_vote").mock(side_effect=slow_refusal)
            async with make_http_client() as http:
                rpc = PostgrestRpc("http://project.test", "key", SlowTokens("u1"), http)
                start = LoopClock().monotonic()
                with pytest.raises(RequestTimeoutError, match="no token within 1 s") as caught:
                    await rpc.call("cast_vote", {}, within=5.0)
                assert LoopClock().monotonic() - start == pytest.approx(5.0)
                assert not caught.value.sent, "the one call that was made was refused"
                assert route.call_count == 1

    run_virtual(main)


def test_an_app_s_own_timeout_is_a_plain_timeout_error_and_cancels_the_request() -> None:
    async def main() -> None:
        rpc = FakeRpc().then("send_tip", {})
        rpc.hold("send_tip")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await gateway(rpc).command("send_tip", {}, key="k")
        assert len(rpc.calls) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main)
