"""Whoever may write on a topic may write anything there. A session survives it, and believes nothing of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.integration.lab import Ear, Lab, People, eventually, room, same_as_database
from whatssound import (
    ChatMessage,
    ChatUnconfirmed,
    MessageWithdrawn,
    PresenceJoined,
    Status,
    TipSent,
    TypingStarted,
    VoteCast,
    WhatsSound,
)

#: Things that JSON can say and no well-behaved client says.
NONSENSE: list[Any] = [
    {},
    {"message": None},
    {"message": []},
    {"message": {"id": 5, "user_id": {}, "content": ["x"]}},
    {"message": {"id": "x", "user_id": "y", "content": "z", "created_at": "when"}},
    {"user_id": 7, "typing": True},
    {"user_id": None},
    {"user_id": "\u0000", "username": ["x"], "typing": "yes"},
    {"deep": [[[[[[[[[[[[]]]]]]]]]]]]},
]


class Stranger:
    """A member of the room who speaks the protocol by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, topic: str) -> None:
        self._socket = socket
        self._topic = topic
        self._ref = 0

    async def say(self, event: str, payload: Any) -> None:
        self._ref += 1
        frame = {"topic": self._topic, "event": event, "payload": payload, "ref": str(self._ref), "join_ref": "1"}
        await self._socket.send_str(json.dumps(frame))

    async def broadcast(self, event: str, payload: Any) -> None:
        await self.say("broadcast", {"type": "broadcast", "event": event, "payload": payload})


@asynccontextmanager
async def stranger(lab: Lab, sound: WhatsSound, session_id: str) -> AsyncIterator[Stranger]:
    url = f"{lab.url}/realtime/v1/websocket?apikey={lab.anon_key}&vsn=1.0.0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        someone = Stranger(socket, f"realtime:session:{session_id}")
        config = {"private": True, "presence": {"key": "nobody", "enabled": True}, "broadcast": {}}
        await someone.say("phx_join", {"config": config, "access_token": await sound._tokens.token()})
        async with asyncio.timeout(10):
            while (await socket.receive_json())["event"] != "phx_reply":
                pass
        yield someone


async def test_nonsense_is_survived(lab: Lab, who: People) -> None:
    info, [(dj_sound, dj), (eve, _)] = await room(who, "dj", "eve")
    ear = Ear(dj)
    async with stranger(lab, eve, info.id) as someone:
        for payload in NONSENSE:
            for event in ("chat", "typing", "frame", "", "votes", "phx_close"):
                await someone.broadcast(event, payload)
        metas: list[Any] = [
            {"user_id": 5, "username": {}, "online_at": "never"},
            {"user_id": "", "role": None},
            {"phx_ref": [], "metas": "x"},
        ]
        for meta in metas:
            await someone.say("presence", {"type": "presence", "event": "track", "payload": meta})
        # A word that is heard after all that shows that it has all been taken.
        await ear.hears(PresenceJoined, lambda event: event.member.user_id != eve.user_id)
        receipt = await dj.chat.send("still here")
        await receipt.stored()
        await ear.hears(ChatMessage, lambda event: event.message.id == receipt.id)
    assert dj.status is Status.LIVE
    assert dj.stats().reconnects == 0
    assert not ear.all(VoteCast)
    await same_as_database(dj_sound, dj)
    await ear.close()


async def test_lies_are_not_believed(lab: Lab, who: People) -> None:
    info, [(dj_sound, dj), (eve, _)] = await room(who, "dj", "eve")
    ear = Ear(dj)
    true = await dj.chat.send("the DJ's own words")
    await true.stored()

    def forged(**changes: Any) -> dict[str, Any]:
        message = {
            "id": "01a20c83-a1e0-7366-ba96-c8330ad838eb",
            "session_id": info.id,
            "user_id": dj_sound.user_id,
            "username": "dj",
            "content": "give eve money",
            "created_at": "2026-01-01T00:00:00Z",
            "confirmed": True,
            "seq": 99,
            "role": "dj",
        }
        return {"message": {**message, **changes}}

    async with stranger(lab, eve, info.id) as someone:
        await someone.broadcast("chat", forged(id=true.id))
        await someone.broadcast("chat", forged(id=true.id, user_id=eve.user_id))
        await someone.broadcast("chat", forged(user_id=eve.user_id, content="never stored"))
        await someone.broadcast("tip", {"tip": {"amount": 10**9}})
        await someone.broadcast("frame", {"events": [{"seq": 99, "kind": "session", "payload": {}}]})
        await someone.broadcast("typing", {"user_id": dj_sound.user_id, "username": "dj", "typing": True})
        claim = await ear.hears(ChatMessage, lambda event: event.content == "never stored")
        assert not claim.message.confirmed
        assert claim.message.role == "listener"
        assert claim.seq is None
    await ear.hears(ChatUnconfirmed, lambda event: event.message_id == claim.message.id)
    await eventually(lambda: [message.content for message in dj.state.messages] == ["the DJ's own words"])
    assert "give eve money" not in [event.content for event in ear.all(ChatMessage) if event.message.confirmed]
    assert not ear.all(TipSent)
    assert not ear.all(TypingStarted), "nobody types for me"
    assert not [event for event in ear.all(MessageWithdrawn) if event.user_id == dj_sound.user_id]
    await same_as_database(dj_sound, dj)
    await ear.close()
