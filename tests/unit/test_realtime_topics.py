"""Several topics on one socket: joined, left and changed while it runs, and each of them enough to end it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.link_server import CALM, SPEC, TOPIC, Ear, Wire, generation, playing, run
from whatssound.config import ConnectionConfig
from whatssound.core.reasons import Reason
from whatssound.ports import ChangeBinding, JoinSpec, pushed_to

FRAMES = JoinSpec(topic="session:1:frames", private=True, replication=True)
ON_FRAMES = "realtime:session:1:frames"
PLAIN = JoinSpec(topic="session:1", private=True, presence_key="me")

pytestmark = pytest.mark.timeout(20)


async def flows(wire: Wire, topic: str = ON_FRAMES) -> None:
    """The server's word that the database's broadcasts flow, as recorded."""
    await wire.system("ok", "Replication connection established", "system", topic)


# --- joining


async def test_all_joins_are_sent_at_once_and_in_order() -> None:
    joins: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        joins.extend([await wire.receive("phx_join"), await wire.receive("phx_join")])  # none is answered before
        for join in joins:
            await wire.reply(join)
        await flows(wire)
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, PLAIN, FRAMES) as (link, ear, _):
        await ear.until("ready", 2)
        assert link.is_joined
        assert link.joined_topics == {"session:1", "session:1:frames"}
        assert ear.heard == [
            ("joined", "session:1"),
            ("ready", "session:1"),
            ("joined", "session:1:frames"),
            ("ready", "session:1:frames"),
        ]
    assert link.joined_topics == frozenset()
    session, frames = joins
    assert (session["topic"], frames["topic"]) == (TOPIC, ON_FRAMES)
    assert session["ref"] == session["join_ref"] != frames["ref"] == frames["join_ref"]
    assert "replication_ready" not in session["payload"]["config"]["broadcast"]
    assert frames["payload"] == {
        "config": {
            "broadcast": {"ack": False, "self": False, "replication_ready": True},
            "presence": {"key": "", "enabled": False},
            "private": True,
            "postgres_changes": [],
        },
        "access_token": "the-token",
    }


async def test_a_topic_with_replication_is_ready_at_the_server_s_word_and_not_before() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        await wire.system("ok", "something else", "system", ON_FRAMES)
        await wire.send("broadcast", {"event": "frame", "payload": {"n": 1}}, topic=ON_FRAMES)
        await flows(wire)
        await flows(wire)
        await wire.socket.close(1000)

    async with playing(play) as server:
        _, ear = await run(server, CALM, PLAIN, FRAMES)
    assert [what for what in ear.heard if what[1] == "session:1:frames"] == [
        ("joined", "session:1:frames"),
        ("broadcast", "session:1:frames", "frame", {"n": 1}),
        ("ready", "session:1:frames"),
        ("ready", "session:1:frames"),
    ]


async def test_a_server_that_never_says_the_word_keeps_the_join_and_no_ready_is_made_up() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("broadcast", {"event": "frame", "payload": {}}, topic=ON_FRAMES)
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, FRAMES) as (link, ear, task):
        await ear.until("broadcast")
        assert ear.kinds == ["joined", "broadcast"]
        assert link.joined_topics == {"session:1:frames"}
        assert not task.done()


async def test_with_changes_and_replication_both_words_are_waited_for() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.send("broadcast", {"event": "between", "payload": {}})
        await flows(wire, TOPIC)
        await wire.socket.close(1000)

    async with playing(play) as server:
        _, ear = await run(server, CALM, replace(SPEC, replication=True))
    assert ear.kinds == ["joined", "broadcast", "ready"]


def test_what_is_pushed_to() -> None:
    assert pushed_to([FRAMES, SPEC]) is SPEC
    assert pushed_to([FRAMES]) is None
    assert pushed_to([]) is None


# --- pushing


async def test_pushes_go_to_the_session_s_topic_and_nowhere_without_it() -> None:
    got: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        got.append(await wire.receive("broadcast"))
        await wire.let_go()
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, FRAMES, PLAIN) as (link, ear, _):
        await ear.until("joined", 2)
        assert await link.push("broadcast", {"n": 1})
        link.set_joins([FRAMES])
        assert not link.is_joined
        assert not await link.push("broadcast", {"n": 2})
        await ear.until("left")
        assert link.joined_topics == {"session:1:frames"}
    assert [(frame["topic"], frame["payload"]) for frame in got] == [(TOPIC, {"n": 1})]


async def test_a_token_goes_to_every_joined_topic_and_to_those_being_joined_once_they_are() -> None:
    joined = asyncio.Event()
    may_answer = asyncio.Event()
    tokens: list[tuple[str, str, str]] = []

    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        late = await wire.receive("phx_join")
        joined.set()
        for _ in range(2):
            frame = await wire.receive("access_token")
            tokens.append((frame["topic"], frame["join_ref"], frame["payload"]["access_token"]))
        assert [ref for _, ref, _ in tokens] == [wire.join_refs[TOPIC], wire.join_refs[ON_FRAMES]]
        await may_answer.wait()
        await wire.reply(late)
        frame = await wire.receive("access_token")
        tokens.append((frame["topic"], frame["join_ref"], frame["payload"]["access_token"]))
        assert tokens[2][1] == late["ref"]
        await wire.socket.close(1000)

    late_spec = JoinSpec(topic="late", private=True)
    async with playing(play) as server, generation(server, CALM, PLAIN, FRAMES) as (link, ear, task):
        await ear.until("joined", 2)
        link.set_joins([PLAIN, FRAMES, late_spec])
        await joined.wait()
        await link.renew_token("token-2")
        may_answer.set()
        await task
    assert [(topic, token) for topic, _, token in tokens] == [
        (TOPIC, "token-2"),
        (ON_FRAMES, "token-2"),
        ("realtime:late", "token-2"),
    ]


# --- changing what is joined


async def test_what_is_new_is_joined_with_the_newest_token_and_what_is_gone_is_left() -> None:
    seen: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        await wire.accept()
        seen.append(await wire.receive("access_token"))
        seen.append(await wire.let_go())
        seen.append(await wire.accept())
        await wire.send("broadcast", {"event": "late", "payload": {}})
        await wire.send("broadcast", {"event": "frame", "payload": {}}, topic=ON_FRAMES)
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, PLAIN) as (link, ear, task):
        await ear.until("joined")
        await link.renew_token("token-2")
        link.set_joins([FRAMES])
        await ear.until("broadcast")
        assert not task.done(), "the close that answers our own leave ends nothing"
        assert ear.heard[2:] == [
            ("left", "session:1"),
            ("joined", "session:1:frames"),
            ("broadcast", "session:1:frames", "frame", {}),
        ]
    _, leave, join = seen
    assert (leave["topic"], leave["event"]) == (TOPIC, "phx_leave")
    assert (join["topic"], join["payload"]["access_token"]) == (ON_FRAMES, "token-2")


async def test_a_changed_topic_is_left_and_joined_anew() -> None:
    joins: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        joins.append(await wire.accept())
        leave = await wire.receive("phx_leave")
        assert leave["join_ref"] == joins[0]["ref"], "the server ignores a leave with another one"
        joins.append(await wire.receive("phx_join"))
        await wire.send("broadcast", {"event": "of the old join", "payload": {}})
        await wire.system("ok", "Subscribed to PostgreSQL")  # of the old join, too
        await wire.reply(joins[1])
        # Phoenix closes what a new join replaces after having answered that.
        await wire.reply(leave)
        await wire.send("phx_close", {}, ref=joins[0]["ref"])
        await wire.send("broadcast", {"event": "of the new join", "payload": {}})
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, PLAIN) as (link, ear, _):
        await ear.until("ready")
        link.set_joins([replace(PLAIN, changes=(ChangeBinding(table="tips", filter="session_id=eq.1"),))])
        assert not link.is_joined
        await ear.until("ready", 2)
        assert link.is_joined
        assert ear.kinds == ["joined", "ready", "joined", "broadcast", "ready"], "it was not left for good"
    assert [len(join["payload"]["config"]["postgres_changes"]) for join in joins] == [0, 1]


async def test_what_is_wanted_already_is_left_alone() -> None:
    events: list[str] = []

    async def play(wire: Wire) -> None:
        await wire.accept()
        events.append(json.loads(await wire.socket.recv())["event"])
        await wire.socket.close(1000)

    async with playing(play) as server, generation(server, CALM, PLAIN) as (link, ear, task):
        await ear.until("joined")
        link.set_joins([replace(PLAIN)])
        await link.push("broadcast", {})
        await task
        link.set_joins([PLAIN, FRAMES])  # too late: does nothing
    assert events == ["broadcast"]


async def test_a_topic_that_is_not_wanted_any_more_before_its_join_is_answered() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.accept()
        join = await wire.receive("phx_join")
        asked.set()
        leave = await wire.receive("phx_leave")
        assert leave["join_ref"] == join["ref"]
        await wire.reply(join, "error", {"reason": "Unauthorized: not for you"})
        await wire.reply(leave)
        await wire.send("broadcast", {"event": "chat", "payload": {}})
        await left.wait()
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, PLAIN) as (link, ear, task):
        await ear.until("joined")
        link.set_joins([PLAIN, FRAMES])
        await asked.wait()
        link.set_joins([PLAIN])
        await ear.until("broadcast")
        assert ear.kinds == ["joined", "ready", "left", "broadcast"]
        assert not task.done(), "nobody wanted what was refused"
        left.set()


async def test_joins_set_during_the_handshake_are_those_that_are_sent() -> None:
    topics: list[str] = []

    async def play(wire: Wire) -> None:
        topics.append((await wire.accept())["topic"])
        await wire.socket.close(1000)

    async with playing(play) as server, generation(server, CALM, PLAIN) as (link, _, task):
        link.set_joins([FRAMES])
        await task
    assert topics == [ON_FRAMES]


async def test_a_listener_may_change_the_joins_from_within_a_call() -> None:
    class Mover(Ear):
        def broadcast(self, topic: str, event: str, payload: Any) -> None:
            super().broadcast(topic, event, payload)
            link.set_joins([FRAMES])

    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("broadcast", {"event": "go", "payload": {}})
        await wire.let_go()
        await wire.accept()
        await flows(wire)
        await wire.socket.close(1000)

    async with playing(play) as server:
        ear, link = Mover(), server.link(CALM, PLAIN)
        await link.run("t", ear)
    assert ear.kinds == ["joined", "ready", "broadcast", "left", "joined", "ready"]


# --- one topic is enough to end it


async def test_a_refused_join_is_told_of_and_ends_the_generation() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.refuse("Unauthorized: You do not have permissions to read from this Channel topic: session:1:frames")
        await wire.stay()

    class Retreating(Ear):
        def refused(self, topic: str, detail: str) -> None:
            super().refused(topic, detail)
            link.set_joins([PLAIN])  # for the next generation; this one has ended

    async with playing(play) as server:
        ear, link = Retreating(), server.link(CALM, PLAIN, FRAMES)
        ended = await link.run("t", ear)
    assert ear.kinds == ["joined", "ready", "refused"]
    assert ear.heard[-1][1] == "session:1:frames"
    assert (ended.reason, ended.refused, ended.held_for) == (Reason.UNAUTHORIZED, True, 0.0)
    assert ended.detail == ear.heard[-1][2]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("InvalidJWTToken: Token has expired 10 seconds ago", Reason.TOKEN),
        ("JwtSignatureError: Failed to validate JWT signature", Reason.TOKEN),
        ("ClientJoinRateLimitReached: Too many joins per second", Reason.RATE_LIMITED),
    ],
)
async def test_a_join_added_later_that_is_refused_ends_the_generation(reason: str, expected: Reason) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.refuse(reason)
        await wire.stay()

    async with playing(play) as server, generation(server, CALM, PLAIN) as (link, ear, task):
        await ear.until("joined")
        link.set_joins([PLAIN, FRAMES])
        ended = await task
    assert ear.kinds == ["joined", "ready", "refused"]
    assert (ended.reason, ended.refused) == (expected, True)
    assert ended.held_for > 0, "all that was wanted at first had been joined"


@pytest.mark.parametrize("topic", [TOPIC, ON_FRAMES])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Token has expired 4 seconds ago", Reason.TOKEN),
        ("Fields `role` and `exp` are required in JWT", Reason.TOKEN),
        ("You do not have permissions to read from this Channel topic: session:1", Reason.UNAUTHORIZED),
        ("Too many messages per second", Reason.RATE_LIMITED),
        ("Client presence rate limit exceeded", Reason.RATE_LIMITED),
        ("Replication connection was not established in time", Reason.DATABASE),
    ],
)
async def test_a_topic_that_the_server_closes_ends_the_generation(topic: str, text: str, reason: Reason) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        await wire.system("error", text, "system", topic)
        await wire.send("phx_close", {}, ref=wire.join_refs[topic], topic=topic)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server, CALM, PLAIN, FRAMES)
    assert (ended.reason, ended.detail, ended.refused) == (reason, text, False)


@pytest.mark.parametrize("topic", [TOPIC, ON_FRAMES])
async def test_a_topic_that_crashes_ends_the_generation(topic: str) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        await wire.send("phx_error", {"reason": "channel_crash"}, topic=topic)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server, CALM, PLAIN, FRAMES)
    assert ended.reason is Reason.CRASHED


async def test_one_topic_s_passing_error_does_not_name_the_end_of_another() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        await wire.system("error", "Too many database timeouts")
        await wire.send("phx_close", {}, ref=wire.join_refs[ON_FRAMES], topic=ON_FRAMES)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server, CALM, SPEC, FRAMES)
    assert ended.reason is Reason.CLOSED


async def test_each_join_has_a_deadline_and_no_heartbeat_is_judged_meanwhile() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        async for _ in wire.socket:
            pass  # answers nothing more

    config = ConnectionConfig(heartbeat_interval=0.05, join_timeout=0.3)
    async with playing(play) as server:
        ended, ear = await run(server, config, PLAIN, FRAMES)
    # A refused join would leave heartbeats unanswered for five seconds, which is no sign of a dead socket.
    assert (ended.reason, ended.held_for) == (Reason.JOIN_TIMEOUT, 0.0)
    assert "session:1:frames" in ended.detail
    assert ear.kinds == ["joined", "ready"]


async def test_cancelling_leaves_every_topic() -> None:
    left: list[tuple[str, str]] = []
    gone = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.accept()
        try:
            async for frame in wire.socket:
                body = json.loads(frame)
                left.append((body["event"], body["topic"]))
        finally:
            gone.set()

    async with playing(play) as server:
        async with generation(server, CALM, PLAIN, FRAMES) as (_, ear, _):
            await ear.until("joined", 2)
        await asyncio.wait_for(gone.wait(), 5)
    assert left == [("phx_leave", TOPIC), ("phx_leave", ON_FRAMES)]
