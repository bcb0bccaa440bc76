"""The supervisor: one generation after the other, with the right wait, the right token, and the right words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.config import ConnectionConfig
from whatssound.connection import Connection
from whatssound.core.reasons import Reason
from whatssound.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionRefusedByServerError,
    TransportError,
    UnreachableError,
)
from whatssound.events import Status, StatusChanged
from whatssound.ports import JoinSpec
from whatssound.testing import FakeLink, FakeLinks, FakeTokens, LoopClock, run_virtual
from whatssound.testing.fakes import settle

SESSION = JoinSpec(topic="session:1", private=True)
FRAMES = JoinSpec(topic="session:1:frames", private=True, replication=True)


class Ear:
    """Hears a channel."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def joined(self, topic: str) -> None:
        self.heard.append(f"joined {topic}")

    def ready(self, topic: str) -> None:
        self.heard.append(f"ready {topic}")

    def left(self, topic: str) -> None:
        self.heard.append(f"left {topic}")

    def refused(self, topic: str, detail: str) -> None:
        self.heard.append(f"refused {topic}")

    def broadcast(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        self.heard.append(event)

    def row_changed(self, table: str, record: Mapping[str, Any]) -> None:
        self.heard.append(table)

    def presence_state(self, state: Mapping[str, Any]) -> None:
        self.heard.append("presence_state")

    def presence_diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        self.heard.append("presence_diff")


class Supervised:
    """A connection with everything around it."""

    def __init__(
        self,
        config: ConnectionConfig | None = None,
        *,
        chance: float = 0.5,
        joins: Sequence[JoinSpec] = (SESSION,),
        tokens: FakeTokens | None = None,
    ) -> None:
        self.links = FakeLinks()
        self.tokens = tokens or FakeTokens("u1")
        self.ear = Ear()
        self.statuses: list[StatusChanged] = []
        self.sent: list[str] = []
        self.connection = Connection(
            joins,
            self.links,
            self.tokens,
            config or ConnectionConfig(),
            LoopClock(),
            listener=self.ear,
            changed=self.statuses.append,
            chance=lambda: chance,
            sent=self.sent.append,
        )

    async def start(self) -> None:
        self.task = asyncio.create_task(self.connection.run(), name="connection")
        await settle()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await settle()

    async def live(self) -> FakeLink:
        await settle()
        link = self.links.last
        link.join()
        self.connection.live()
        return link

    async def fail(self, reason: Reason, **facts: Any) -> None:
        """Ends the newest generation and lets the wait pass."""
        self.links.last.end(reason, **facts)
        await settle()
        if not self.task.done():
            await asyncio.sleep(self.statuses[-1].retry_in or 0.0)
            await settle()


def test_connecting_then_live_then_reconnecting_then_live_then_closed() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        assert room.links.last.token == "token-1"
        await room.live()
        assert room.connection.is_joined
        await room.fail(Reason.SILENT, detail="no heartbeat")
        assert not room.connection.is_joined
        await room.live()
        await room.stop()
        room.connection.closed()
        room.connection.closed()
        assert [event.status for event in room.statuses] == [
            Status.CONNECTING,
            Status.LIVE,
            Status.RECONNECTING,
            Status.LIVE,
            Status.CLOSED,
        ]
        lost = room.statuses[2]
        assert (lost.reason, lost.detail, lost.attempt) == ("silent", "no heartbeat", 1)
        assert room.connection.reconnects == 1
        assert len(room.links.made) == 2
        assert room.links.last.left, "closing leaves"

    run_virtual(main)


def test_live_only_while_joined() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        room.connection.live()
        assert room.connection.status is Status.CONNECTING
        await room.stop()

    run_virtual(main)


def test_b1_b6_pushes_go_to_the_current_generation_or_nowhere() -> None:
    async def main() -> None:
        room = Supervised()
        assert not await room.connection.push("broadcast", {})
        await room.start()
        assert not await room.connection.push("broadcast", {})
        link = await room.live()
        assert await room.connection.push("broadcast", {"n": 1})
        assert link.pushed == [("broadcast", {"n": 1})]
        link.end(Reason.CLOSED)
        await settle()
        assert not await room.connection.push("broadcast", {"n": 2})
        await asyncio.sleep(1)
        assert (await room.live()).pushed == [], "nothing is kept for the next generation"
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    ("reason", "floor", "ceiling"),
    [
        (Reason.CLOSED, 0.0, 0.5),
        (Reason.SERVER_RESTART, 0.0, 0.5),
        (Reason.CRASHED, 0.0, 0.5),
        (Reason.RATE_LIMITED, 30.0, 30.5),
        (Reason.UNAUTHORIZED, 5.0, 5.5),
        (Reason.NOT_FOUND, 5.0, 5.5),
    ],
)
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_the_wait_fits_the_reason(reason: Reason, floor: float, ceiling: float, chance: float) -> None:
    async def main() -> None:
        room = Supervised(chance=chance)
        await room.start()
        room.links.last.end(reason)
        await settle()
        wait = room.statuses[-1].retry_in
        assert wait is not None
        assert floor <= wait <= ceiling
        await room.stop()

    run_virtual(main)


def test_a6_back_off_grows_and_starts_over_only_after_a_join_has_held() -> None:
    async def main() -> None:
        room = Supervised(ConnectionConfig(backoff_base=1.0, backoff_cap=8.0, hold=10.0))
        await room.start()
        for _ in range(5):
            await room.fail(Reason.CLOSED, held=9.9)
        await room.fail(Reason.CLOSED, held=10.0)
        waits = [event.retry_in for event in room.statuses if event.status is Status.RECONNECTING]
        assert waits == [0.5, 1.0, 2.0, 4.0, 4.0, 0.5]
        await room.stop()

    run_virtual(main)


def test_a6_a_server_that_accepts_and_closes_is_not_hammered() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < started + 3600:
            await room.live()
            await room.fail(Reason.CLOSED, held=0.05)
        assert len(room.links.made) < 260
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize("reason", [Reason.TOKEN, Reason.UNAUTHORIZED])
def test_a9_a_refused_token_is_replaced_before_the_next_attempt(reason: Reason) -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        await room.fail(reason, refused=True)
        assert room.tokens.refused == ["token-1"]
        assert room.links.last.token == "token-2"
        await room.live()
        await room.fail(Reason.CLOSED)
        assert room.tokens.refused == ["token-1"], "only for reasons that a token may cure"
        await room.stop()

    run_virtual(main)


def test_without_a_token_it_waits_and_asks_again() -> None:
    async def main() -> None:
        room = Supervised()
        room.tokens.errors.extend([AuthenticationError("signed out"), UnreachableError("auth", "down")])
        await room.start()
        assert [event.reason for event in room.statuses] == [None, "token"]
        await asyncio.sleep(60)
        assert [event.reason for event in room.statuses] == [None, "token", "unreachable"]
        await room.live()
        assert room.connection.status is Status.LIVE
        await room.stop()

    run_virtual(main)


def test_a2_it_never_gives_up_by_itself() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        for _ in range(300):
            await room.fail(Reason.UNREACHABLE)
        assert not room.task.done()
        assert room.statuses[-1].attempt == 300
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(("refused", "error"), [(True, ConnectionRefusedByServerError), (False, UnreachableError)])
def test_it_gives_up_after_max_attempts_in_a_row(refused: bool, error: type[TransportError]) -> None:
    async def main() -> None:
        room = Supervised(ConnectionConfig(max_attempts=3, hold=10.0))
        await room.start()
        await room.fail(Reason.UNREACHABLE)
        await room.fail(Reason.CLOSED, held=11.0)  # a join that has held is no failed attempt
        await room.fail(Reason.UNREACHABLE)
        await room.fail(Reason.CLOSED, held=1.0)
        assert not room.task.done()
        await room.fail(Reason.UNREACHABLE, detail="the end", refused=refused)
        assert room.task.done()
        with pytest.raises(error, match="the end"):
            await room.task
        assert room.statuses[-1].status is Status.FAILED
        assert len(room.links.made) == 5
        room.connection.closed()
        assert room.connection.status is Status.CLOSED

    run_virtual(main)


def test_a_drop_of_a_live_connection_is_retried_even_with_one_attempt() -> None:
    async def main() -> None:
        room = Supervised(ConnectionConfig(max_attempts=1))
        await room.start()
        await room.fail(Reason.CLOSED, held=100.0)
        assert not room.task.done()
        await room.fail(Reason.UNREACHABLE)
        with pytest.raises(UnreachableError):
            await room.task

    run_virtual(main)


def test_retry_now_ends_the_wait() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        room.links.last.end(Reason.RATE_LIMITED)
        await settle()
        assert len(room.links.made) == 1
        room.connection.retry_now()
        await settle()
        assert len(room.links.made) == 2
        await room.stop()

    run_virtual(main)


# --- tokens of a joined channel


class ShortTokens(FakeTokens):
    """Tokens of a few seconds, each made anew when asked for as Supabase's own client would: late, unless pressed."""

    def __init__(self, lifetime: float, *, late: float = 0.0) -> None:
        super().__init__("u1")
        self.lifetime = lifetime
        self._late = late
        self._made_at = asyncio.get_running_loop().time()
        self.asked: list[float] = []
        self.left_over: list[float] = []

    async def token(self, *, refused: str | None = None) -> str:
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        before = self.current
        if refused is not None:
            await asyncio.sleep(self._late)
        token = await super().token(refused=refused)
        if token != before:
            self.left_over.append(self.expires_in())
            self._made_at = asyncio.get_running_loop().time()
        return token

    def expires_in(self) -> float:
        return self._made_at + self.lifetime - asyncio.get_running_loop().time()


def test_the_next_token_is_pushed_before_the_current_one_ends() -> None:
    async def main() -> None:
        room = Supervised()
        room.tokens.left = 3600.0
        await room.start()
        link = await room.live()
        await asyncio.sleep(3500)
        room.tokens.current, room.tokens.left = "token-2", 3600.0
        assert link.tokens == []
        await asyncio.sleep(71)
        assert link.tokens == ["token-2"]
        await asyncio.sleep(3400)
        assert link.tokens == ["token-2"], "an unchanged token is not pushed again"
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize("lifetime", [1.0, 2.0, 4.0, 10.0, 59.0, 61.0, 600.0, 3600.0])
def test_a9_tokens_of_any_length_are_replaced_in_time_and_seldom(lifetime: float) -> None:
    async def main() -> None:
        tokens = ShortTokens(lifetime, late=0.1)
        room = Supervised(tokens=tokens)
        await room.start()
        link = await room.live()
        await asyncio.sleep(50 * lifetime)
        assert min(tokens.left_over) > 0, "the server would have closed the topics"
        assert 45 < len(link.tokens) < 110
        asked = len(tokens.asked) - 1  # the first was for the join; the last may not be answered yet
        assert asked - len(link.tokens) in (0, 1), "one question for each token: nothing polls"
        await room.stop()

    run_virtual(main)


def test_a_source_that_repeats_an_ending_token_is_asked_ever_sooner_and_seldom() -> None:
    class Stubborn(ShortTokens):
        async def token(self, *, refused: str | None = None) -> str:
            return await super().token()

    async def main() -> None:
        tokens = Stubborn(3600.0)
        room = Supervised(tokens=tokens)
        await room.start()
        link = await room.live()
        await asyncio.sleep(3600)
        assert link.tokens == []
        assert 3 < len(tokens.asked) < 20
        before = len(tokens.asked)
        await asyncio.sleep(30)
        assert len(tokens.asked) - before <= 11, "after its end, every three seconds"
        await room.stop()

    run_virtual(main)


def test_a9_a_token_that_came_during_the_join_is_given_to_the_link_at_once() -> None:
    async def main() -> None:
        room = Supervised()
        room.tokens.left = 31.0
        await room.start()
        link = room.links.last
        room.tokens.current, room.tokens.left = "token-2", 3600.0
        await asyncio.sleep(16)
        assert link.tokens == ["token-2"], "the link hands it on once the join under way is answered"
        await room.stop()

    run_virtual(main)


def test_an_auth_server_that_is_away_does_not_end_the_channel() -> None:
    async def main() -> None:
        room = Supervised()
        room.tokens.left = 40.0
        await room.start()
        link = await room.live()
        room.tokens.errors.extend([UnreachableError("auth", "down"), ConfigurationError("access_token", "is empty")])
        await asyncio.sleep(20.5)
        room.tokens.left = 3600.0
        assert link.tokens == []
        await asyncio.sleep(6)
        assert link.tokens == ["token-2"], "it asked again after three seconds, twice"
        assert room.connection.status is Status.LIVE
        await room.stop()

    run_virtual(main)


# --- several topics


def test_it_is_live_when_every_wanted_topic_is_joined() -> None:
    async def main() -> None:
        room = Supervised(joins=[SESSION, FRAMES])
        await room.start()
        link = room.links.last
        assert link.specs == (SESSION, FRAMES)
        link.join("session:1")
        assert room.connection.is_joined
        room.connection.live()
        assert [event.status for event in room.statuses] == [Status.CONNECTING]
        link.join("session:1:frames")
        room.connection.live()
        assert [event.status for event in room.statuses] == [Status.CONNECTING, Status.LIVE]
        await room.stop()

    run_virtual(main)


def test_without_the_session_s_topic_it_is_live_and_pushes_nothing() -> None:
    async def main() -> None:
        room = Supervised(joins=[FRAMES])
        await room.start()
        link = await room.live()
        assert room.connection.status is Status.LIVE
        assert not room.connection.is_joined
        assert not await room.connection.push("broadcast", {})
        assert (link.pushed, room.sent) == ([], [])
        await room.stop()

    run_virtual(main)


def test_changed_joins_go_to_the_current_generation_and_to_all_later_ones() -> None:
    async def main() -> None:
        room = Supervised()
        room.connection.set_joins([SESSION, FRAMES])  # before there is any generation
        await room.start()
        link = await room.live()
        assert link.specs == (SESSION, FRAMES)
        room.connection.set_joins([FRAMES])
        await settle()
        assert link.joined_topics == {"session:1:frames"}
        assert room.ear.heard[-1] == "left session:1"
        room.connection.set_joins([SESSION, FRAMES])
        await settle()
        assert link.joined_topics == {"session:1", "session:1:frames"}
        room.connection.set_joins([FRAMES])
        await room.fail(Reason.CLOSED, held=20.0)
        room.links.last.end(Reason.CLOSED)
        await settle()
        room.connection.set_joins([SESSION])  # while it waits for the next attempt
        await asyncio.sleep(60)
        assert [made.specs for made in room.links.made[1:]] == [(FRAMES,), (SESSION,)]
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    ("reason", "wait", "token"),
    [(Reason.TOKEN, 0.0, "token-2"), (Reason.UNAUTHORIZED, 5.0, "token-2"), (Reason.RATE_LIMITED, 30.0, "token-1")],
)
def test_a_refused_topic_ends_the_generation_and_the_next_is_tried_as_its_reason_asks(
    reason: Reason, wait: float, token: str
) -> None:
    async def main() -> None:
        room = Supervised(joins=[SESSION, FRAMES], chance=0.0)
        await room.start()
        room.links.last.join("session:1")
        room.links.last.refuse("session:1:frames", reason=reason)
        assert room.ear.heard[-1] == "refused session:1:frames"
        await settle()
        assert room.statuses[-1].retry_in == wait
        await asyncio.sleep(wait)
        await settle()
        assert room.links.last.token == token
        await room.stop()

    run_virtual(main)


def test_what_is_sent_is_counted_and_what_is_not_is_not() -> None:
    async def main() -> None:
        room = Supervised()
        await room.connection.push("broadcast", {})
        await room.start()
        link = await room.live()
        await room.connection.push("broadcast", {})
        await room.connection.push("presence", {})
        link.takes_pushes = False
        await room.connection.push("broadcast", {})
        assert room.sent == ["broadcast", "presence"]
        await room.stop()

    run_virtual(main)


# --- more of what realtime-py's own client gets wrong


def test_a5_a_deliberate_shutdown_is_followed_by_the_next_generation() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        for reason in (Reason.RATE_LIMITED, Reason.TOKEN, Reason.TOO_LARGE, Reason.DATABASE, Reason.CLOSED):
            link = await room.live()
            await room.fail(reason, detail="the server's words", held=20.0)
            assert room.links.last is not link
            assert room.statuses[-1].detail == "the server's words"
        await room.stop()

    run_virtual(main)


def test_a6_a_limit_of_joins_is_not_run_against() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        for _ in range(10):
            room.links.last.refuse("session:1", "ClientJoinRateLimitReached: slow down", Reason.RATE_LIMITED)
            await settle()
            wait = room.statuses[-1].retry_in
            assert wait is not None
            assert wait >= 30.0
            await asyncio.sleep(wait)
            await settle()
        assert len(room.links.made) == 11
        await room.stop()

    run_virtual(main)


def test_c1_c8_every_generation_joins_anew_with_the_newest_token_and_says_so() -> None:
    async def main() -> None:
        room = Supervised()
        await room.start()
        await room.live()
        room.tokens.current = "token-7"
        await room.fail(Reason.SILENT, held=20.0)
        await room.live()
        assert room.links.last.token == "token-7"
        assert room.ear.heard == ["joined session:1", "ready session:1"] * 2, "so that who listens fetches the gap"
        await room.stop()

    run_virtual(main)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Reason)), st.floats(0, 30), st.booleans(), st.booleans(), st.sampled_from([None, 2])
        ),
        max_size=15,
    ),
    st.floats(0, 0.999),
)
def test_whatever_happens_one_generation_at_a_time_and_only_known_transitions(
    ends: list[tuple[Reason, float, bool, bool, int | None]], chance: float
) -> None:
    async def main() -> None:
        room = Supervised(chance=chance)
        await room.start()
        for reason, held, joins, token_fails, wait in ends:
            if token_fails:
                room.tokens.errors.append(UnreachableError("auth", "down"))
            link = room.links.last
            if joins:
                await room.live()
                assert room.connection.status is Status.LIVE
            link.end(reason, held=held if joins else 0.0)
            await settle()
            assert room.connection.status is Status.RECONNECTING
            if wait is not None:
                room.connection.retry_now()
            # Longer than the longest wait there is, twice: the token may have failed first.
            await asyncio.sleep(130)
            assert room.links.last is not link
            assert sum(made.token is not None and not made.left for made in room.links.made) == len(room.links.made)
        await room.stop()
        assert room.links.last.left

    run_virtual(main)
