"""supabase-py alone, without this SDK: the documented wire is all a Python app of today needs to take part."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from postgrest.exceptions import APIError
from realtime import AsyncRealtimeChannel, RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

from supabase import AsyncClient, AsyncClientOptions, create_async_client
from whatssound import ChatMessage, EventStream, WhatsSound
from whatssound.core.identifiers import Uuid7Source
from whatssound.local import LocalStack

SCHEMAS = json.loads((Path(__file__).parents[2] / "docs/reference/wire.schema.json").read_text("utf-8"))["$defs"]
PATIENCE = 20.0


class Heard:
    """What one channel has heard, by name; can be waited for."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    def take(self, name: str) -> Callable[[Any], None]:
        def hear(payload: Any) -> None:
            self._events.append((name, payload))
            self._news.set()

        return hear

    async def first(self, name: str, check: Callable[[Any], bool] = lambda _: True) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                for heard, payload in self._events:
                    if heard == name and check(payload):
                        return payload
                self._news.clear()
                await self._news.wait()


class Member:
    """Somebody with a supabase-py client on the session's topic."""

    def __init__(self, client: AsyncClient, user_id: str, session_id: str) -> None:
        self.client = client
        self.user_id = user_id
        self.session_id = session_id
        self.heard = Heard()
        self.channel = self._make_channel()

    def _make_channel(self) -> AsyncRealtimeChannel:
        channel = self.client.channel(
            f"session:{self.session_id}",
            {
                "config": {
                    "private": True,
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": self.user_id, "enabled": True},
                }
            },
        )
        channel.on_broadcast("chat", self.heard.take("chat"))
        channel.on_system(self.heard.take("system"))
        sync = self.heard.take("presence")
        channel.on_presence_sync(lambda: sync(dict(channel.presence_state())))
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.All,
            self.heard.take("votes"),
            table="votes",
            schema="public",
            filter=f"session_id=eq.{self.session_id}",
        )
        return channel

    async def join(self) -> None:
        subscribed = asyncio.get_running_loop().create_future()

        def state(status: RealtimeSubscribeStates, error: Exception | None) -> None:
            if not subscribed.done():
                subscribed.set_result((status, error))

        await self.rpc("join_session")
        await self.channel.subscribe(state)
        async with asyncio.timeout(PATIENCE):
            assert await subscribed == (RealtimeSubscribeStates.SUBSCRIBED, None)

    async def rpc(self, name: str, **params: Any) -> Any:
        answer = await self.client.rpc(name, {"p_session_id": self.session_id, **params}).execute()
        return answer.data


@asynccontextmanager
async def signed_in(stack: LocalStack, name: str) -> AsyncIterator[tuple[AsyncClient, str]]:
    # The client makes and forgets one HTTP client at each change of user; one of our own can be closed.
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False)
        client = await create_async_client(stack.url, stack.anon_key, options)
        answer = await client.auth.sign_in_anonymously({"options": {"data": {"username": name}}})
        assert answer.session is not None
        assert answer.user is not None
        await client.realtime.set_auth(answer.session.access_token)
        try:
            yield client, answer.user.id
        finally:
            await client.remove_all_channels()
            await client.realtime.close()


@asynccontextmanager
async def two_members(stack: LocalStack) -> AsyncIterator[tuple[Member, Member]]:
    async with signed_in(stack, "dj") as (dj_client, dj_id), signed_in(stack, "ana") as (ana_client, ana_id):
        created: Any = (await dj_client.rpc("create_session", {"p_title": "supabase-py"}).execute()).data
        session_id = created["session"]["id"]
        dj, ana = Member(dj_client, dj_id, session_id), Member(ana_client, ana_id, session_id)
        await dj.join()
        await ana.join()
        yield dj, ana


def conforms(name: str, value: Any) -> None:
    jsonschema.validate(value, SCHEMAS[name], format_checker=jsonschema.FormatChecker())


async def test_two_members_broadcast_see_each_other_and_hear_a_vote(stack: LocalStack) -> None:
    async with two_members(stack) as (dj, ana):
        message = {
            "id": str(uuid.uuid4()),
            "session_id": ana.session_id,
            "user_id": ana.user_id,
            "username": "ana",
            "content": "¡Temazo! 🔥",
            "created_at": "2026-01-01T00:00:00+00:00",
        }
        await ana.channel.send_broadcast("chat", {"message": message})
        heard = await dj.heard.first("chat")
        assert heard["payload"]["message"] == message
        conforms("chat", heard["payload"])

        await ana.channel.track({"user_id": ana.user_id, "username": "ana", "role": "listener"})
        state = await dj.heard.first("presence", lambda state: ana.user_id in state)
        assert state[ana.user_id][0]["username"] == "ana"

        await dj.heard.first("system", lambda payload: payload.extension == "postgres_changes")
        queued = await dj.rpc("enqueue_song", p_title="Colegiala", p_key=str(uuid.uuid4()))
        song_id = queued["item"]["song_id"]
        answer = await ana.rpc("cast_vote", p_song_id=song_id, p_value=1, p_key=str(uuid.uuid4()))
        assert answer["tally"] == {"up": 1, "down": 0, "score": 1}
        row = (await dj.heard.first("votes"))["data"]
        conforms("votes", row["record"])
        assert (row["type"].value, row["record"]["user_id"], row["record"]["seq"]) == (
            "INSERT",
            ana.user_id,
            answer["seq"],
        )


async def test_a_stored_message_is_read_back_by_the_sdk(stack: LocalStack) -> None:
    async with two_members(stack) as (_, ana), WhatsSound(stack.url, stack.anon_key) as sound:
        await sound.sign_in_anonymously(username="reader")
        async with sound.session(ana.session_id) as session:
            stream = session.events()
            message_id = Uuid7Source(lambda bits: uuid.uuid4().int % (1 << bits)).make(await _server_ms(ana))
            stored = await ana.rpc("insert_messages", p_messages=[{"id": message_id, "content": "from supabase-py"}])
            assert stored["results"][0]["status"] == "stored"
            heard = await _next_chat(stream)
            assert heard.message.id == message_id
            assert (heard.message.username, heard.message.confirmed) == ("ana", True)


async def _next_chat(stream: EventStream) -> ChatMessage:
    async with asyncio.timeout(PATIENCE):
        async for event in stream:
            if isinstance(event, ChatMessage):
                return event
    pytest.fail("the stream ended without chat")


async def _server_ms(member: Member) -> int:
    answer = await member.rpc("heartbeat")
    return round(datetime.fromisoformat(answer["server_time"]).timestamp() * 1000)


async def test_a_refusal_has_a_code_and_facts(stack: LocalStack) -> None:
    async with two_members(stack) as (_, ana):
        with pytest.raises(APIError) as refused:
            await ana.rpc("advance_queue", p_expected_item_id=None, p_key=str(uuid.uuid4()))
        assert refused.value.hint == "not_allowed"
        assert json.loads(refused.value.details or "") == {"role": "listener"}
