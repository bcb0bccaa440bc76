"""One generation against a real socket whose server plays what Supabase Realtime does, rightly and wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from whatssound._realtime import RealtimeLink
from whatssound.config import ConnectionConfig
from whatssound.core.reasons import Reason
from whatssound.ports import ChangeBinding, Ended, JoinSpec, SystemClock

KEY = "sb_publishable_super_secret_key"
TOPIC = "realtime:session:1"
SPEC = JoinSpec(
    topic="session:1",
    private=True,
    presence_key="me",
    changes=(ChangeBinding(table="votes", filter="session_id=eq.1"),),
)
QUICK = ConnectionConfig(heartbeat_interval=0.1, open_timeout=2.0, join_timeout=0.3)
CALM = ConnectionConfig(heartbeat_interval=30.0, open_timeout=2.0, join_timeout=2.0)

pytestmark = pytest.mark.timeout(20)


class Ear:
    """Notes what it hears and lets tests wait for it."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()
        self.raises = False

    def _note(self, *what: Any) -> None:
        self.heard.append(what)
        self._changed.set()
        if self.raises and what[0] == "broadcast":
            raise RuntimeError("a defect of the listener")

    def joined(self, topic: str) -> None:
        self._note("joined", topic)

    def ready(self, topic: str) -> None:
        self._note("ready", topic)

    def left(self, topic: str) -> None:
        self._note("left", topic)

    def refused(self, topic: str, detail: str) -> None:
        self._note("refused", topic, detail)

    def broadcast(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        self._note("broadcast", topic, event, dict(payload))

    def row_changed(self, table: str, record: Mapping[str, Any]) -> None:
        self._note("row", table, dict(record))

    def presence_state(self, state: Mapping[str, Any]) -> None:
        self._note("presence_state", dict(state))

    def presence_diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        self._note("presence_diff", dict(joins), dict(leaves))

    @property
    def kinds(self) -> list[str]:
        return [what[0] for what in self.heard]

    async def until(self, kind: str, count: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.kinds.count(kind) < count:
                self._changed.clear()
                await self._changed.wait()


class Wire:
    """The server's end of one socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.join_ref: str | None = None

    async def send(self, event: str, payload: Any, *, ref: str | None = None, topic: str = TOPIC, **more: Any) -> None:
        await self.socket.send(json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref, **more}))

    async def receive(self, event: str) -> dict[str, Any]:
        """Reads up to the next frame of a kind; heartbeats before it are answered."""
        while True:
            frame: dict[str, Any] = json.loads(await self.socket.recv())
            if frame["event"] == event:
                return frame
            if frame["event"] == "heartbeat":
                await self.reply(frame)

    async def reply(self, frame: Mapping[str, Any], status: str = "ok", response: Any = None) -> None:
        payload = {"status": status, "response": response if response is not None else {}}
        await self.send("phx_reply", payload, ref=frame["ref"], topic=frame["topic"])

    async def accept(self) -> dict[str, Any]:
        """Answers the join."""
        join = await self.receive("phx_join")
        self.join_ref = join["ref"]
        await self.reply(join, response={"postgres_changes": [{"id": 1}]})
        return join

    async def system(self, status: str, message: str, extension: str = "postgres_changes") -> None:
        await self.send(
            "system", {"status": status, "message": message, "extension": extension, "channel": "session:1"}
        )

    async def stay(self) -> None:
        """Answers heartbeats until the client goes."""
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.receive("never")


Play = Callable[[Wire], Awaitable[None]]


class Server:
    """A server that plays one scene for each socket."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []

    def link(self, config: ConnectionConfig = CALM, *specs: JoinSpec) -> RealtimeLink:
        return RealtimeLink(self.url, KEY, specs or (SPEC,), config, SystemClock())


@contextlib.asynccontextmanager
async def playing(
    play: Play, *, refuse: Callable[[ServerConnection, Request], Response | None] | None = None
) -> AsyncIterator[Server]:
    errors: list[BaseException] = []

    async def handle(socket: ServerConnection) -> None:
        try:
            await play(Wire(socket))
        except websockets.ConnectionClosed:
            return  # the client has gone
        except (AssertionError, KeyError, ValueError) as error:
            errors.append(error)

    def note(socket: ServerConnection, request: Request) -> Response | None:
        server.requests.append(request)
        return refuse(socket, request) if refuse else None

    async with serve(handle, "127.0.0.1", 0, process_request=note, max_size=None, compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server = Server(f"http://127.0.0.1:{port}")
        before = asyncio.all_tasks()
        yield server
        for _ in range(20):
            left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("whatssound")}
            if not left:
                break
            await asyncio.sleep(0.01)
        assert not left, "the link left tasks behind"
    assert errors == []


async def run(server: Server, config: ConnectionConfig = CALM, *specs: JoinSpec) -> tuple[Ended, Ear]:
    ear = Ear()
    async with asyncio.timeout(10):
        return await server.link(config, *specs).run("the-token", ear), ear


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


async def test_what_stands_right_behind_the_join_s_reply_is_heard_after_it() -> None:
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
async def test_a_refused_join_says_why(response: Any, reason: Reason) -> None:
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


async def test_an_unanswered_heartbeat_is_noticed_within_twice_the_interval() -> None:
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


async def test_a_stale_close_of_another_join_is_not_ours() -> None:
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
        ("Track message size exceeded", Reason.TOO_LARGE),
        ("You do not have permissions to read from this Channel topic", Reason.UNAUTHORIZED),
    ],
)
async def test_a_deliberate_close_is_named_by_the_system_message_before_it(text: str, reason: Reason) -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        await wire.system("error", text, "system")
        await wire.send("phx_close", {}, ref=wire.join_ref)
        await wire.stay()

    async with playing(play) as server:
        ended, _ = await run(server)
    assert (ended.reason, ended.detail) == (reason, text)


async def test_a_passing_error_of_postgres_changes_keeps_the_channel() -> None:
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


async def test_a_cut_connection_ends_it() -> None:
    async def play(wire: Wire) -> None:
        await wire.accept()
        wire.socket.transport.abort()

    async with playing(play) as server:
        ended, _ = await run(server)
    assert ended.reason is Reason.CLOSED


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.TOKEN),
        (403, Reason.UNAUTHORIZED),
        (404, Reason.NOT_FOUND),
        (429, Reason.RATE_LIMITED),
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


async def test_large_frames_arrive_and_larger_ones_than_allowed_end_it() -> None:
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


async def test_odd_frames_are_skipped() -> None:
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


async def test_a_listener_that_raises_loses_its_frame_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
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


async def test_pushes_go_out_while_joined_and_never_otherwise() -> None:
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


async def test_a_peer_that_does_not_read_holds_nobody_up() -> None:
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


async def test_cancelling_leaves_the_topic_and_closes() -> None:
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


async def test_cancelling_before_the_join_closes() -> None:
    gone = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.receive("phx_join")
        await wire.stay()
        gone.set()

    async with playing(play) as server:
        task = asyncio.create_task(server.link().run("t", Ear()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
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
