"""What we use of realtime-py and postgrest-py, and what we work around in realtime-py.

It runs on the installed release; to try another, install it and run this file. Where a test of what we use fails,
`whatssound._realtime` (or `_postgrest`) must follow; where one of what is theirs fails, a workaround may go.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import httpx
import pytest
import respx
import websockets
from postgrest import AsyncPostgrestClient
from postgrest.exceptions import APIError
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.message import Message
from websockets.asyncio.server import ServerConnection, serve

TOPIC = "realtime:room"


def went(defect: str) -> str:
    """Says what to do where a defect is gone."""
    return (
        f"realtime {version('realtime')} no longer {defect}: read its changes, and see whether "
        "whatssound/_realtime.py still needs a generation of its own for this"
    )


class Server:
    """Accepts every join, and sends what a test says."""

    def __init__(self) -> None:
        self.url = ""
        self.sockets: list[ServerConnection] = []
        self.join_refs: list[str] = []

    async def serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for raw in socket:
            frame = json.loads(raw)
            if frame["event"] == "phx_join":
                self.join_refs.append(frame["ref"])
                await self.send("phx_reply", {"status": "ok", "response": {"postgres_changes": []}}, frame["ref"])

    async def send(self, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        frame = {"topic": TOPIC, "event": event, "payload": payload, "ref": ref}
        await self.sockets[-1].send(json.dumps(frame))

    async def say(self, words: str) -> None:
        await self.send("broadcast", {"type": "broadcast", "event": "chat", "payload": {"words": words}})


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    made = Server()
    async with serve(made.serve, "127.0.0.1", 0) as listening:
        made.url = f"http://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        yield made


@asynccontextmanager
async def joined(server: Server) -> AsyncIterator[tuple[AsyncRealtimeClient, AsyncRealtimeChannel, list[str]]]:
    """A client of theirs in a room, with what its callback heard; words that begin with "raise" make it raise."""
    client = AsyncRealtimeClient(server.url, token="key", auto_reconnect=False)
    heard: list[str] = []
    subscribed = asyncio.Event()

    def hear(payload: Any) -> None:
        words = payload["payload"]["words"]
        if words.startswith("raise"):
            raise ValueError(words)
        heard.append(words)

    def note(status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if status is RealtimeSubscribeStates.SUBSCRIBED:
            subscribed.set()

    channel = client.channel("room")
    channel.on_broadcast("chat", hear)
    await channel.subscribe(note)
    await asyncio.wait_for(subscribed.wait(), 10)
    try:
        yield client, channel, heard
    finally:
        listening = client._listen_task
        if client.is_connected:
            await client.close()
        if listening is not None:
            await asyncio.gather(listening, return_exceptions=True)


# --- what we use


async def test_the_client_gives_us_its_endpoint_its_references_and_its_socket() -> None:
    client = AsyncRealtimeClient("https://project.test/realtime/v1", token="key", auto_reconnect=False)
    assert client.endpoint_url() == "wss://project.test/realtime/v1/websocket?apikey=key&vsn=1.0.0"
    first, second = client._make_ref(), client._make_ref()
    assert int(second) == int(first) + 1
    assert client._ws_connection is None


def test_a_message_is_written_as_the_server_reads_it() -> None:
    written = Message(topic=TOPIC, event="phx_join", payload={"a": 1}, ref="1", join_ref="1").model_dump_json()
    assert json.loads(written) == {
        "topic": TOPIC,
        "event": "phx_join",
        "payload": {"a": 1},
        "ref": "1",
        "join_ref": "1",
    }


async def test_postgrest_calls_functions_with_our_http_client_and_tells_code_and_hint() -> None:
    async with httpx.AsyncClient() as http:
        client = AsyncPostgrestClient("http://project.test/rest/v1", headers={"apikey": "key"}, http_client=http)
        with respx.mock:
            route = respx.post("http://project.test/rest/v1/rpc/cast_vote").respond(200, json={"seq": 1})
            assert (await client.rpc("cast_vote", {"p_song_id": "1"}).execute()).data == {"seq": 1}
            assert json.loads(route.calls.last.request.content) == {"p_song_id": "1"}
            body = {"code": "PT409", "message": "old", "hint": "queue_conflict", "details": "{}"}
            route.respond(409, json=body)
            with pytest.raises(APIError) as caught:
                await client.rpc("cast_vote", {}).execute()
            error = caught.value
            assert (error.code, error.hint, error.details) == ("PT409", "queue_conflict", "{}")


# --- what we work around


async def test_theirs_a1_a_callback_that_raises_still_ends_its_reading_for_good() -> None:
    async with serving() as server, joined(server) as (client, channel, heard):
        await server.say("before")
        await server.say("raise")
        listening = client._listen_task
        assert listening is not None
        await asyncio.wait([listening], timeout=10)
        assert listening.done(), went("stops reading when a callback raises (A1)")
        assert isinstance(listening.exception(), ValueError)
        assert heard == ["before"]
        assert client.is_connected, went("calls itself connected while it is deaf (A1)")
        assert channel.is_joined


def test_theirs_a2_it_still_gives_up_after_five_attempts() -> None:
    defaults = inspect.signature(AsyncRealtimeClient).parameters
    retries, first = defaults["max_retries"].default, defaults["initial_backoff"].default
    waits = sum(min(first * 2**attempt, 60) for attempt in range(retries - 1))
    assert (retries, waits) == (5, 15.0), went("gives up after 15 s of outage (A2)")


async def test_theirs_a3_the_close_of_an_old_join_still_closes_the_new_one() -> None:
    async with serving() as server, joined(server) as (client, channel, heard):
        assert server.join_refs != ["older"]
        await server.send("phx_close", {}, ref="older")
        await server.say("after")
        await server.sockets[-1].close()
        await asyncio.wait_for(server.sockets[-1].wait_closed(), 10)
        listening = client._listen_task
        assert listening is not None
        await asyncio.wait([listening], timeout=10)
        assert channel.is_closed, went("closes a channel at the word about an older join (A3)")
        assert heard == [], went("is deaf after it (A3)")


async def test_theirs_a8_a_frame_of_more_than_a_megabyte_still_ends_its_connection() -> None:
    async with serving() as server, joined(server) as (client, _, heard):
        listening = client._listen_task
        assert listening is not None
        await server.say("x" * (1 << 20))
        await asyncio.wait([listening], timeout=10)
        assert listening.done(), went("loses its connection over a large frame (A8)")
        assert heard == []
        code = server.sockets[-1].close_code
        assert code == websockets.CloseCode.MESSAGE_TOO_BIG, went("refuses frames over 1 MiB (A8)")


async def test_theirs_b7_sending_a_broadcast_still_tells_nothing() -> None:
    async with serving() as server, joined(server) as (_, channel, _):
        sent: object = await channel.send_broadcast("chat", {"words": "hello"})  # type: ignore[func-returns-value]
        assert sent is None, went("keeps the acknowledgement of a broadcast to itself (B7)")
