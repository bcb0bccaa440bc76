"""The sizes that the cost model works with, against real messages, answers and tables."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import suppress
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.integration.lab import FAST
from whatssound import WhatsSound
from whatssound.local import LocalStack
from whatssound.planning import sizes

WORDS = "x" * int(sizes.MEASURED_CHARACTERS)
MESSAGES, VOTES, TIPS = 3_000, 900, 300

#: How far a size may be off: tables grow page by page, names and numbers differ in length.
CLOSE = 0.25


def chat_id(place: int) -> str:
    """A UUIDv7 of its own millisecond."""
    unix_ms = time.time_ns() // 1_000_000 - place
    tail = int.from_bytes(os.urandom(10), "big")
    return str(
        uuid.UUID(int=(unix_ms << 80) | (7 << 76) | ((tail >> 62) & 0xFFF) << 64 | (2 << 62) | tail & (2**62 - 1))
    )


async def table_bytes(database: asyncpg.Connection) -> dict[str, int]:
    """Bytes of each table with its indexes, partitions under the name of their table."""
    rows = await database.fetch(
        """
        select n.nspname = 'realtime' as sent, regexp_replace(c.relname, '_\\d{4}_\\d\\d(_\\d\\d)?$', '') as name,
               sum(pg_total_relation_size(c.oid)) as bytes
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'whatssound', 'realtime') and c.relkind = 'r' group by 1, 2
        """
    )
    return {"frames" if row["sent"] and row["name"] == "messages" else row["name"]: int(row["bytes"]) for row in rows}


async def test_what_is_stored_is_as_large_as_the_model_says(fresh_stack: LocalStack) -> None:
    database = await asyncpg.connect(fresh_stack.dsn("supabase_admin"))
    async with (
        WhatsSound(fresh_stack.url, fresh_stack.anon_key, config=FAST) as sound,
        WhatsSound(fresh_stack.url, fresh_stack.service_key, config=FAST) as service,
    ):
        user_id = await sound.sign_in_anonymously("dj")
        info = await sound.create_session("Noche")
        call: Any = sound._gateway
        await call.command("join_session", {"p_session_id": info.id, "p_username": "dj"})
        added = await call.command("enqueue_song", {"p_session_id": info.id, "p_title": "Cumbia", "p_key": chat_id(0)})
        await database.execute("update whatssound.rate_limits set capacity = 1e9, per_second = 1e6")

        before = await table_bytes(database)
        for batch in range(MESSAGES // 100):
            rows = [{"id": chat_id(batch * 100 + n), "user_id": user_id, "content": WORDS} for n in range(100)]
            answer = await service._gateway.command("insert_messages", {"p_session_id": info.id, "p_messages": rows})
            assert {row["status"] for row in answer["results"]} == {"stored"}
        chat = await table_bytes(database)
        assert (chat["messages"] - before["messages"]) / MESSAGES == pytest.approx(sizes.STORED_MESSAGE, rel=CLOSE)
        logged = (chat["session_events"] - before["session_events"]) / MESSAGES
        assert logged == pytest.approx(sizes.LOG_ENTRY, rel=CLOSE)

        vote = {"p_session_id": info.id, "p_song_id": added["item"]["song_id"]}
        for number in range(VOTES):
            await call.command("cast_vote", {**vote, "p_value": 1 if number % 2 else -1, "p_key": chat_id(number)})
        votes = await table_bytes(database)
        keys = (votes["idempotency_keys"] - chat["idempotency_keys"]) / VOTES
        assert keys == pytest.approx(sizes.KEY, rel=CLOSE)
        frames = (votes["frames"] - chat["frames"]) / VOTES  # one vote in each
        assert frames == pytest.approx(sizes.STORED_FRAME + sizes.FRAME_EVENT, rel=CLOSE)

        tip = {"p_session_id": info.id, "p_amount": 500, "p_currency": "EUR", "p_note": "gracias"}
        for number in range(TIPS):
            await call.command("send_tip", {**tip, "p_key": chat_id(number)})
        tips = (await table_bytes(database))["tips"] - votes["tips"]
        assert tips / TIPS == pytest.approx(sizes.STORED_TIP, rel=CLOSE)
    await database.close()


class Wire:
    """A plain socket in a room: the sizes of what arrives, by kind."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.sizes: dict[str, list[int]] = {}
        self.events: list[int] = []

    async def join(self, topic: str, token: str, changes: list[dict[str, str]]) -> None:
        """Joins a private topic and waits for the answer."""
        config = {"broadcast": {"self": False}, "private": True, "postgres_changes": changes}
        payload = {"config": config, "access_token": token}
        message = {
            "topic": f"realtime:{topic}",
            "event": "phx_join",
            "payload": payload,
            "ref": topic,
            "join_ref": topic,
        }
        await self._socket.send_json(message)
        await self.until(lambda received: received["event"] == "phx_reply" and received["ref"] == topic)

    async def until(self, enough: Any) -> None:
        """Reads until a message that is enough."""
        while True:
            text = await self._socket.receive_str(timeout=10)
            received = json.loads(text)
            kind = received["event"]
            if kind == "broadcast":
                kind = received["payload"]["event"]
            if kind == "frame":
                self.events.append(len(received["payload"]["payload"]["events"]))
            self.sizes.setdefault(kind, []).append(len(text.encode()))
            if enough(received):
                return

    def mean(self, kind: str) -> float:
        """The mean size of a kind in bytes."""
        return sum(self.sizes[kind]) / len(self.sizes[kind])


async def test_what_is_sent_is_as_large_as_the_model_says(fresh_stack: LocalStack) -> None:
    async with (
        WhatsSound(fresh_stack.url, fresh_stack.anon_key, config=FAST) as sound,
        WhatsSound(fresh_stack.url, fresh_stack.anon_key, config=FAST) as other,
        aiohttp.ClientSession() as http,
    ):
        await sound.sign_in_anonymously("dj")
        await other.sign_in_anonymously("ana")
        info = await sound.create_session("Noche", settings={"tick_ms": 0})
        async with sound.session(info.id) as dj, other.session(info.id):
            token = await other._tokens.token()
            url = f"{fresh_stack.url}/realtime/v1/websocket?apikey={fresh_stack.anon_key}&vsn=1.0.0"
            async with http.ws_connect(url) as socket:
                wire = Wire(socket)
                bindings = [{"event": "*", "schema": "public", "table": "votes", "filter": f"session_id=eq.{info.id}"}]
                await wire.join(f"session:{info.id}:frames", token, [])
                await wire.join(f"session:{info.id}", token, bindings)
                await wire.until(lambda received: received["event"] == "system" and "postgres_changes" in str(received))
                added = await dj.queue.add(title="Cumbia sobre el mar", artist="Quantic")
                assert added.item is not None
                await dj.chat.send(WORDS)
                for number in range(6):
                    await dj.votes.cast(added.item.song_id, 1 if number % 2 else -1)
                changes = iter(range(5, -1, -1))
                await wire.until(lambda received: received["event"] == "postgres_changes" and next(changes) == 0)
                with suppress(TimeoutError):
                    while sum(wire.events) < 8:
                        await wire.until(lambda received: received["event"] == "broadcast")
                assert wire.mean("chat") == pytest.approx(sizes.CHAT_BROADCAST, rel=CLOSE)
                assert wire.mean("postgres_changes") == pytest.approx(sizes.ROW_CHANGE, rel=CLOSE)
                assert sum(wire.events) == 8
                framed = sum(wire.sizes["frame"])
                expected = len(wire.events) * sizes.FRAME + sum(wire.events) * sizes.FRAME_EVENT
                assert framed == pytest.approx(expected, rel=CLOSE)

            call: Any = dj._gateway
            beat = await call.once("heartbeat", {"p_session_id": info.id})
            assert len(json.dumps(beat)) == pytest.approx(sizes.HEARTBEAT_ANSWER, rel=CLOSE)
            row = {"id": chat_id(0), "content": WORDS}
            answer = await call.command("insert_messages", {"p_session_id": info.id, "p_messages": [row]})
            assert len(json.dumps(answer)) == pytest.approx(sizes.WRITE_ANSWER, rel=CLOSE)
            bare = await call.read("session_snapshot", {"p_session_id": info.id, "p_messages": 0})
            assert len(json.dumps(bare)) == pytest.approx(sizes.SNAPSHOT, rel=CLOSE)
            one = await call.read("session_snapshot", {"p_session_id": info.id, "p_messages": 1})
            assert len(json.dumps(one)) - len(json.dumps(bare)) == pytest.approx(sizes.SNAPSHOT_MESSAGE, rel=CLOSE)
