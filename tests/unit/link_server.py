"""A real socket whose server plays what Supabase Realtime does, rightly and wrongly, scene by scene."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from whatssound._realtime import RealtimeLink
from whatssound.config import ConnectionConfig
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
        """Waits until something of a kind has been heard so many times."""
        async with asyncio.timeout(5):
            while self.kinds.count(kind) < count:
                self._changed.clear()
                await self._changed.wait()


class Wire:
    """The server's end of one socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.join_ref: str | None = None
        self.join_refs: dict[str, str] = {}

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
        """Answers the next join."""
        join = await self.receive("phx_join")
        self.join_ref = self.join_refs[join["topic"]] = join["ref"]
        await self.reply(join, response={"postgres_changes": [{"id": 1}]})
        return join

    async def refuse(self, reason: str) -> dict[str, Any]:
        """Refuses the next join."""
        join = await self.receive("phx_join")
        await self.reply(join, "error", {"reason": reason})
        return join

    async def let_go(self) -> dict[str, Any]:
        """Answers the next leave as the real server does."""
        leave = await self.receive("phx_leave")
        await self.reply(leave)
        await self.send("phx_close", {}, ref=leave["join_ref"], topic=leave["topic"])
        return leave

    async def system(self, status: str, message: str, extension: str = "postgres_changes", topic: str = TOPIC) -> None:
        channel = topic.removeprefix("realtime:")
        body = {"status": status, "message": message, "extension": extension, "channel": channel}
        await self.send("system", body, topic=topic)

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


@contextlib.asynccontextmanager
async def generation(
    server: Server, config: ConnectionConfig = CALM, *specs: JoinSpec
) -> AsyncIterator[tuple[RealtimeLink, Ear, asyncio.Task[Ended]]]:
    """Runs a link beside the test, and leaves at the end unless it has ended before."""
    ear, link = Ear(), server.link(config, *specs)
    task = asyncio.create_task(link.run("the-token", ear))
    try:
        yield link, ear, task
    finally:
        task.cancel()
        await asyncio.wait([task])
