"""One generation against a real socket whose server plays what Supabase Realtime does, rightly and wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.unit.link_server import CALM, KEY, QUICK, SPEC, TOPIC, Ear, Server, Wire, generation, playing, run
from whatssound.config import ConnectionConfig
from whatssound.core.reasons import Reason
from whatssound.ports import JoinSpec

pytestmark = pytest.mark.timeout(20)


# --- joining


async def test_the_join_asks_for_what_was_specified() -> None:
    joins: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        joins.append(await wire.accept())
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.stay()

    async with playing(play) as server:
        ear, link = Ear(), server.link()
        task = asyncio.create_task(link.run("the-token", ear))
        await ear.until("ready")
        assert link.is_joined
        assert ear.kinds == ["joined", "ready"]
        task.cancel()
        await asyncio.wait([task])
        assert not link.is_joined
    (join,) = joins
    assert join["topic"] == TOPIC
    assert join["payload"] == {
        "config": {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": "me", "enabled": True},
            "private": True,
            "postgres_changes": [{"event": "*", "schema": "public", "table": "votes", "filter": "session_id=eq.1"}],
        },
        "access_token": "the-token",
    }
    assert "vsn=1.0.0" in server.requests[0].path
    assert server.requests[0].path.startswith("/realtime/v1/websocket?")


async def test_c7_what_stands_right_behind_the_join_s_reply_is_heard_after_it() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("presence_state", {"u1": {"metas": [{"phx_ref": "1"}]}})
        await wire.send("presence_diff", {"joins": {}, "leaves": {}})
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.socket.close(1000)

    async with playing(play) as server:
        _, ear = await run(server)
    assert ear.kinds == ["joined", "presence_state", "presence_diff", "ready"]


async def test_without_changes_nothing_has_to_be_waited_for() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.socket.close(1000)

    async with playing(play) as server:
        _, ear = await run(server, CALM, JoinSpec(topic="session:1", private=False))
    assert ear.kinds == ["joined", "ready"]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (
            {"reason": "Unauthorized: You do not have permissions to read from this Channel topic: x"},
            Reason.UNAUTHORIZED,
        ),
        ({"reason": "InvalidJWTToken: Token has expired 3 seconds ago"}, Reason.TOKEN),
        ({"reason": "ClientJoinRateLimitReached: Too many joins per second"}, Reason.RATE_LIMITED),
        ({"reason": "TenantNotFound: Tenant not found"}, Reason.NOT_FOUND),
        ("unmatched topic", Reason.CLOSED),
    ],
)
async def test_a9_a_refused_join_says_why(response: Any, reason: Reason) -> None:
    async def play(wire: Wire) -> None:
        join = await wire.receive("phx_join")
        await wire.reply(join, "error", response)
        await wire.stay()

    async with playing(play) as server:
        ended, ear = await run(server)
    assert (ended.reason, ended.refused, ended.held_for) == (reason, True, 0.0)
    assert ended.detail == (response["reason"] if isinstance(response, dict) else response)
    assert ear.heard == [("refused", "session:1", ended.detail)]


async def test_a_join_that_is_not_answered_ends() -> None:
    async def play(wire: Wire) -> None:
        await wire.stay()

    async with playing(play) as server:
        ended, ear = await run(server, QUICK)
    assert (ended.reason, ended.refused) == (Reason.JOIN_TIMEOUT, False)
    assert ear.heard == []


# --- liveness


async def test_a7_an_unanswered_heartbeat_is_noticed_within_twice_the_interval() -> None:
    heartbeats: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        await wire.accept()
        while True:
            heartbeats.append(json.loads(await wire.socket.recv()))

    async with playing(play) as server:
        started = time.monotonic()
        ended, _ = await run(server, QUICK)
    assert ended.reason is Reason.SILENT
    assert time.monotonic() - started < 2 * QUICK.heartbeat_interval + 0.5
    assert (heartbeats[0]["topic"], heartbeats[0]["event"]) == ("phoenix", "heartbeat")
    assert heartbeats[0]["ref"]


async def test_answered_heartbeats_keep_it_alive() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        for _ in range(5):
            await wire.reply(json.loads(await wire.socket.recv()))
        await wire.socket.close(1012)

    async with playing(play) as server:
        ended, _ = await run(server, QUICK)
    assert ended.reason is Reason.SERVER_RESTART
    assert ended.held_for >= 4 * QUICK.heartbeat_interval


# --- what ends a channel and what does not


async def test_a3_stale_phx_close_of_an_old_join_is_ignored() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("phx_close", {}, ref="an-old-join")
        await wire.send("phx_error", {}, ref="an-old-join")
        await wire.send("phx_close", {}, topic="realtime:session:2")
        await wire.send("broadcast", {"event": "chat", "payload": {"still": "here"}})
        await wire.send("phx_close", {}, ref=wire.join_ref)
        await wire.stay()

    async with playing(play) as server:
        ended, ear = await run(server)
    assert ("broadcast", "session:1", "chat", {"still": "here"}) in ear.heard
    assert ended.reason is Reason.CLOSED


@pytest.mark.parametrize("payload", [{}, None, []])
async def test_a_close_ends_it_whatever_its_payload(payload: Any) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("phx_close", payload, ref=wire.join_ref)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server)
    assert ended.reason is Reason.CLOSED


async def test_a_crashed_channel_ends_it() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("phx_error", {"reason": "crashed"}, ref=wire.join_ref)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server)
    assert ended.reason is Reason.CRASHED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too many messages per second", Reason.RATE_LIMITED),
        ("Token has expired 4 seconds ago", Reason.TOKEN),
        ("Client presence rate limit exceeded", Reason.RATE_LIMITED),
        ("Too many presence messages per second", Reason.RATE_LIMITED),
        ("Replication connection was not established in time", Reason.DATABASE),
        ("Track message size exceeded", Reason.TOO_LARGE),
        ("You do not have permissions to read from this Channel topic", Reason.UNAUTHORIZED),
    ],
)
async def test_a5_a_deliberate_close_is_named_by_the_system_message_before_it(text: str, reason: Reason) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.system("error", text, "system")
        await wire.send("phx_close", {}, ref=wire.join_ref)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server)
    assert (ended.reason, ended.detail) == (reason, text)


async def test_a3_c3_a_passing_error_of_postgres_changes_keeps_the_channel() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.system("error", "Too many database timeouts")
        await wire.send("broadcast", {"event": "chat", "payload": {"n": 1}})
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.socket.close(1001)

    async with playing(play) as server:
        ended, ear = await run(server)
    assert ear.kinds == ["joined", "broadcast", "ready", "ready"]
    assert ended.reason is Reason.CLOSED, "the error was over by then"


async def test_the_server_s_own_disconnect_is_a_restart() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.system("ok", "Server requested disconnect", "system")
        await wire.socket.close(1012)

    async with playing(play) as server:
        ended, _ = await run(server)
    assert (ended.reason, ended.detail) == (Reason.SERVER_RESTART, "Server requested disconnect")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, Reason.CLOSED),
        (1001, Reason.CLOSED),
        (1009, Reason.TOO_LARGE),
        (1011, Reason.CRASHED),
        (1012, Reason.SERVER_RESTART),
    ],
)
async def test_every_close_code_ends_it(code: int, reason: Reason) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.socket.close(code, "bye" if code == 1011 else "")

    async with playing(play) as server:
        ended, _ = await run(server)
    assert ended.reason is reason
    assert ended.detail == ("bye" if code == 1011 else f"close code {code}")


async def test_a_cut_connection_which_libraries_call_1006_ends_it() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        wire.socket.transport.abort()

    async with playing(play) as server:
        ended, _ = await run(server)
    assert (ended.reason, ended.detail) == (Reason.CLOSED, "close code None")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.TOKEN),
        (403, Reason.UNAUTHORIZED),
        (404, Reason.NOT_FOUND),
        (429, Reason.RATE_LIMITED),
        (500, Reason.UNREACHABLE),
        (502, Reason.UNREACHABLE),
        (503, Reason.UNREACHABLE),
    ],
)
async def test_a_refused_handshake_says_why(status: int, reason: Reason) -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(HTTPStatus(status), "the body says why")

    async def play(wire: Wire) -> None:
        raise AssertionError("no handshake")

    async with playing(play, refuse=refuse) as server:
        ended, ear = await run(server)
    assert (ended.reason, ended.refused) == (reason, True)
    assert ended.detail == f"HTTP {status} the body says why"
    assert KEY not in repr(ended)
    assert ear.heard == []


async def test_nobody_there_is_unreachable(unused_tcp_port: int) -> None:
    server = Server(f"http://127.0.0.1:{unused_tcp_port}")
    ended, _ = await run(server)
    assert (ended.reason, ended.refused) == (Reason.UNREACHABLE, False)
    assert KEY not in ended.detail


async def test_a_server_that_never_answers_the_handshake_is_unreachable() -> None:
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        gone.set()

    listening = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        ended, _ = await run(Server(f"http://127.0.0.1:{port}"), ConnectionConfig(open_timeout=0.2))
        await asyncio.wait_for(gone.wait(), 5)
    assert ended.reason is Reason.UNREACHABLE


# --- frames


async def test_a8_large_frames_arrive_and_larger_ones_than_allowed_end_it() -> None:
    big = "ñ" * (1024 * 1024)

    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("broadcast", {"event": "chat", "payload": {"big": big}})
        await wire.send("broadcast", {"event": "chat", "payload": {"big": big * 4}})
        await wire.stay()

    limit = ConnectionConfig(heartbeat_interval=30.0, max_frame_bytes=8 * 1024 * 1024)
    async with playing(play) as server:
        ended, ear = await run(server, limit)
    assert [what[3]["big"] == big for what in ear.heard if what[0] == "broadcast"] == [True]
    assert ended.reason is Reason.TOO_LARGE


ODD: list[str | bytes] = [
    "not json",
    "[]",
    "null",
    "17",
    '["1","1","realtime:session:1","broadcast",{}]',
    "{}",
    '{"topic": "realtime:session:1"}',
    '{"topic": "realtime:session:1", "event": "broadcast"}',
    '{"topic": "realtime:session:1", "event": "broadcast", "payload": "text"}',
    '{"topic": "realtime:session:1", "event": "postgres_changes", "payload": {"data": {"type": "TRUNCATE"}}}',
    '{"topic": "realtime:session:1", "event": "postgres_changes", "payload": {"data": {"record": null}}}',
    '{"topic": "realtime:session:1", "event": "postgres_changes", "payload": {}}',
    '{"topic": "realtime:session:1", "event": "presence_diff", "payload": {"joins": [], "leaves": null}}',
    '{"topic": "realtime:session:1", "event": "system", "payload": {}}',
    '{"topic": "realtime:session:1", "event": "from_the_future", "payload": {}}',
    '{"topic": "realtime:session:2", "event": "broadcast", "payload": {"event": "chat", "payload": {}}}',
    '{"topic": "realtime:session:1", "event": "phx_reply", "payload": {"status": "ok"}, "ref": null}',
    '{"topic": 7, "event": {}, "payload": {}}',
    b"\xff\xfe\x00",
    b'\xc3{"bad": "utf-8"}',
    "[" * 100_000,
]


async def test_c5_odd_frames_are_skipped() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        for frame in ODD:
            await wire.socket.send(frame)
        await wire.send("broadcast", {"event": "chat", "payload": ["no object"]})
        row = {"schema": "public", "table": "votes", "type": "INSERT", "record": {"seq": 1}, "old_record": {}}
        await wire.send("postgres_changes", {"data": row, "ids": [1]})
        await wire.socket.send(
            b'{"topic": "realtime:session:1", "event": "broadcast", "payload": {"event": "binary", "payload": {}}}'
        )
        await wire.stay()

    async with playing(play) as server:
        ear, link = Ear(), server.link()
        task = asyncio.create_task(link.run("t", ear))
        await ear.until("broadcast", 2)
        assert link.is_joined
        task.cancel()
        await asyncio.wait([task])
    heard = [what for what in ear.heard if what[0] != "presence_diff"]
    assert heard == [
        ("joined", "session:1"),
        ("broadcast", "session:1", "chat", {}),
        ("row", "votes", {"seq": 1}),
        ("broadcast", "session:1", "binary", {}),
    ]


async def test_a1_a_listener_that_raises_loses_its_frame_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.send("broadcast", {"event": "chat", "payload": {}})
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.socket.close(1000)

    async with playing(play) as server:
        ear = Ear()
        ear.raises = True
        await server.link().run("t", ear)
    assert ear.kinds == ["joined", "broadcast", "ready"]
    assert "could not be handled" in caplog.text


# --- sending


async def test_b1_b2_pushes_go_out_while_joined_and_never_otherwise() -> None:
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    may_join, may_close = asyncio.Event(), asyncio.Event()

    async def play(wire: Wire) -> None:
        join = await wire.receive("phx_join")
        await may_join.wait()
        await wire.reply(join)
        for _ in range(2):
            got.put_nowait(json.loads(await wire.socket.recv()))
        await may_close.wait()
        await wire.socket.close(1000)

    async with playing(play) as server:
        ear, link = Ear(), server.link()
        assert not await link.push("broadcast", {"n": 0})
        task = asyncio.create_task(link.run("t", ear))
        await asyncio.sleep(0.02)
        assert not await link.push("broadcast", {"n": 1}), "the join is not answered yet"
        may_join.set()
        await ear.until("joined")
        assert await link.push("broadcast", {"n": 2})
        await link.renew_token("the-next-token")
        first, second = await got.get(), await got.get()
        may_close.set()
        await task
        assert not await link.push("broadcast", {"n": 3})
        await link.renew_token("too late")
    assert (first["topic"], first["event"], first["payload"]) == (TOPIC, "broadcast", {"n": 2})
    assert first["ref"] != second["ref"]
    assert first["join_ref"] == second["join_ref"]
    assert (second["event"], second["payload"]) == ("access_token", {"access_token": "the-next-token"})


async def test_b3_a_peer_that_does_not_read_holds_nobody_up() -> None:
    stop = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.accept()
        wire.socket.transport.pause_reading()
        await stop.wait()
        wire.socket.transport.abort()

    async with playing(play) as server:
        ear, link = Ear(), server.link()
        task = asyncio.create_task(link.run("t", ear))
        await ear.until("joined")
        pushed: list[bool] = []
        async with asyncio.timeout(5):
            while not pushed or pushed[-1]:
                pushed.append(await link.push("broadcast", {"text": "x" * 100_000}))
        assert len(pushed) > 5
        assert link.is_joined, "that is for the heartbeats to tell"
        stop.set()
        ended = await task
    assert ended.reason is Reason.CLOSED


async def test_a10_cancelling_leaves_the_topic_and_closes() -> None:
    seen: list[str] = []
    gone = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.accept()
        try:
            seen.extend([json.loads(frame)["event"] async for frame in wire.socket])
        finally:
            seen.append(f"closed {wire.socket.close_code}")
            gone.set()

    async with playing(play) as server:
        ear, link = Ear(), server.link()
        task = asyncio.create_task(link.run("t", ear))
        await ear.until("joined")
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 1.0
        await asyncio.wait_for(gone.wait(), 5)
    assert seen == ["phx_leave", "closed 1000"]


async def test_cancelling_before_the_join_is_answered_closes() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.receive("phx_join")
        asked.set()
        await wire.stay()
        gone.set()

    async with playing(play) as server:
        async with generation(server):
            await asked.wait()
        await asyncio.wait_for(gone.wait(), 5)


async def test_leaving_a_peer_that_does_not_answer_takes_a_second_at_most() -> None:
    stop = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.accept()
        wire.socket.transport.pause_reading()
        await stop.wait()
        wire.socket.transport.abort()

    async with playing(play) as server:
        ear, link = Ear(), server.link()
        task = asyncio.create_task(link.run("t", ear))
        await ear.until("joined")
        await asyncio.sleep(0.02)
        started = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        assert time.monotonic() - started < 1.5
        stop.set()


async def test_no_key_and_no_token_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.socket.close(1011)

    logging.getLogger("whatssound").setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            async with playing(play) as server:
                link = server.link()
                await link.run("the-very-secret-token", Ear())
    finally:
        logging.getLogger("whatssound").setLevel(logging.NOTSET)
    ours = [
        record.getMessage()
        for record in caplog.records
        if not record.name.startswith("websockets.server")  # the test's own server
    ]
    assert not [line for line in ours if KEY in line or "the-very-secret-token" in line]
    assert KEY not in repr(link)


# --- more of what realtime-py's own channel gets wrong


async def test_a4_a_topic_joined_anew_has_a_whole_deadline_of_its_own() -> None:
    first, again = asyncio.Event(), asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.receive("phx_join")
        first.set()
        join = await wire.receive("phx_join")
        await again.wait()
        await wire.reply(join)
        await wire.stay()

    config = replace(QUICK, heartbeat_interval=30.0, join_timeout=0.6)
    async with playing(play) as server, generation(server, config) as (link, ear, task):
        await first.wait()
        await asyncio.sleep(0.4)
        link.set_joins([replace(SPEC, changes=())])
        await asyncio.sleep(0.4)  # past the first join's deadline, within the second's
        assert not task.done()
        again.set()
        await ear.until("ready")
        assert link.is_joined


async def test_a9_a_token_given_while_joining_follows_the_join() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()
    frames: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        join = await wire.receive("phx_join")
        asked.set()
        await may_answer.wait()
        await wire.reply(join)
        frames.extend([join, await wire.receive("access_token")])
        await wire.socket.close(1000)

    async with playing(play) as server, generation(server) as (link, _, task):
        await asked.wait()
        await link.renew_token("token-2")
        may_answer.set()
        await task
    assert [frame["payload"]["access_token"] for frame in frames] == ["the-token", "token-2"]


async def test_a9_topics_may_change_while_a_token_is_handed_out() -> None:
    async def play(wire: Wire) -> None:
        for _ in range(8):
            await wire.accept()
        await wire.stay()

    specs = [JoinSpec(topic=f"t{number}", private=True) for number in range(8)]
    async with playing(play) as server, generation(server, CALM, *specs) as (link, ear, task):
        await ear.until("joined", 8)
        renewing = asyncio.create_task(link.renew_token("token-2"))
        link.set_joins(specs[:3])
        await renewing
        assert link.joined_topics == {"t0", "t1", "t2"}
        assert not task.done()


async def test_a10_after_the_end_nothing_is_sent_kept_or_running() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.socket.close(1000)

    before = asyncio.all_tasks()
    async with playing(play) as server:
        ear, link = Ear(), server.link()
        await link.run("t", ear)
        assert not link.is_joined
        assert not await link.push("broadcast", {"n": 1})
        await link.renew_token("token-2")
        link.set_joins([])
        assert not [task for task in asyncio.all_tasks() - before if task.get_name().startswith("whatssound")]


async def test_b2_a_server_that_does_not_know_our_join_ends_it() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        push = await wire.receive("broadcast")
        await wire.reply(push, "error", {"reason": "unmatched topic"})
        await wire.stay()

    async with playing(play) as server, generation(server) as (link, ear, task):
        await ear.until("joined")
        await link.push("broadcast", {})
        ended = await task
    assert ended.reason is Reason.CLOSED
    assert "unmatched topic" in ended.detail


async def test_b3_after_a_drop_nothing_is_called_sent() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.receive("broadcast")
        wire.socket.transport.abort()

    async with playing(play) as server, generation(server) as (link, ear, task):
        await ear.until("joined")
        assert await link.push("broadcast", {})
        assert (await task).reason is Reason.CLOSED
        async with asyncio.timeout(1):
            assert not await link.push("broadcast", {})


async def test_b4_pushes_arrive_in_the_order_they_were_made() -> None:
    got: list[int] = []

    async def play(wire: Wire) -> None:
        await wire.accept()
        got.extend([(await wire.receive("broadcast"))["payload"]["n"] for _ in range(200)])
        await wire.socket.close(1000)

    async with playing(play) as server, generation(server) as (link, ear, task):
        await ear.until("joined")
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(link.push("broadcast", {"n": number}))
        await task
    assert got == list(range(200))


async def test_b5_the_join_is_the_first_frame_on_a_socket_whoever_pushes_meanwhile() -> None:
    opening = asyncio.Event()
    frames: list[dict[str, Any]] = []

    def note(socket: ServerConnection, request: Request) -> None:
        opening.set()

    async def play(wire: Wire) -> None:
        frames.append(json.loads(await wire.socket.recv()))
        await wire.reply(frames[0])
        frames.append(json.loads(await wire.socket.recv()))
        await wire.socket.close(1000)

    async with playing(play, refuse=note) as server, generation(server) as (link, ear, task):
        await opening.wait()
        assert not any([await link.push("broadcast", {"n": number}) for number in range(100)])
        await ear.until("joined")
        assert await link.push("broadcast", {"n": 100})
        await task
    assert [frame["event"] for frame in frames] == ["phx_join", "broadcast"]
    assert frames[1]["payload"] == {"n": 100}, "what was not sent is not kept either"


async def test_b8_an_answer_that_is_a_string_is_no_harm() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        push = await wire.receive("broadcast")
        await wire.reply(push, "error", "payload_size_exceeded")
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.stay()

    async with playing(play) as server, generation(server) as (link, ear, task):
        await ear.until("joined")
        await link.push("broadcast", {})
        await ear.until("ready")
        assert link.is_joined
        assert not task.done()


async def test_b9_a_push_leaves_no_task_and_no_entry_behind() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.stay()

    async with playing(play) as server, generation(server) as (link, ear, _):
        await ear.until("joined")
        await asyncio.sleep(0)
        tasks, answers = len(asyncio.all_tasks()), len(link._answers)
        for number in range(1_000):
            assert await link.push("broadcast", {"n": number})
        assert (len(asyncio.all_tasks()), len(link._answers)) == (tasks, answers)


async def test_c2_a_join_with_changes_is_not_ready_before_the_server_says_so() -> None:
    said = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.accept()
        await said.wait()
        await wire.system("ok", "Subscribed to PostgreSQL")
        await wire.stay()

    async with playing(play) as server, generation(server) as (link, ear, _):
        await ear.until("joined")
        assert link.is_joined
        assert ear.kinds == ["joined"]
        said.set()
        await ear.until("ready")


async def test_c5_the_server_s_own_disconnect_comes_without_a_channel() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        body = {"status": "ok", "message": "Server requested disconnect", "extension": "system"}
        await wire.send("system", body)
        await wire.socket.close(1012)

    async with playing(play) as server:
        ended, _ = await run(server)
    assert (ended.reason, ended.detail) == (Reason.SERVER_RESTART, "Server requested disconnect")


async def test_c6_rows_are_heard_whatever_the_number_of_their_binding() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        for ids in ([0], [], [69379012, 69379012]):
            await wire.send("postgres_changes", {"data": {"table": "votes", "record": {"n": len(ids)}}, "ids": ids})
        await wire.socket.close(1000)

    async with playing(play) as server:
        _, ear = await run(server)
    assert [what[2]["n"] for what in ear.heard if what[0] == "row"] == [1, 0, 2]


async def test_c8_a_join_asks_for_no_replay() -> None:
    joins: list[dict[str, Any]] = []

    async def play(wire: Wire) -> None:
        joins.append(await wire.accept())
        await wire.socket.close(1000)

    async with playing(play) as server:
        await run(server)
    # Its ``since`` would stay that of the first join, and it has 25 messages at most; the log has them all.
    assert "replay" not in joins[0]["payload"]["config"]["broadcast"]


async def test_c10_a_burst_is_heard_whole_and_in_order() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        for number in range(5_000):
            await wire.send("broadcast", {"event": "chat", "payload": {"n": number}})
        await wire.socket.close(1000)

    async with playing(play) as server:
        _, ear = await run(server)
    assert [what[3]["n"] for what in ear.heard if what[0] == "broadcast"] == list(range(5_000))
