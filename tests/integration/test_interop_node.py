"""The TypeScript app's client (supabase-js in Node) and this SDK in one room, each by its own means."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import pytest

from whatssound import (
    ChatConfirmed,
    ChatMessage,
    EventStream,
    PresenceJoined,
    Session,
    TypingStarted,
    VoteCast,
    WhatsSound,
)
from whatssound.local import LocalStack

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
INTEROP = ROOT / "tests" / "interop"
SCHEMAS = json.loads((ROOT / "docs" / "reference" / "wire.schema.json").read_text("utf-8"))["$defs"]
PATIENCE = 20.0

EventT = TypeVar("EventT")


def conforms(name: str, value: Any) -> None:
    jsonschema.validate(value, SCHEMAS[name], format_checker=jsonschema.FormatChecker())


class NodePeer:
    """One supabase-js client: commands in, answers and events out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._heard: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self.user_id = ""

    async def call(self, command: str, **arguments: Any) -> Any:
        """Gives a command and waits for its answer."""
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "do": command, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def hears(self, event: str, check: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The first event of this name that fits, past or to come."""
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                for heard in self._heard:
                    if heard["event"] == event and check(heard):
                        return heard
                await self._news.wait()

    def heard(self, event: str) -> list[dict[str, Any]]:
        """All events of this name so far."""
        return [heard for heard in self._heard if heard["event"] == event]

    async def read(self) -> None:
        """Reads until the process ends."""
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = json.loads(raw)
            if "event" in line:
                async with self._news:
                    self._heard.append(line)
                    self._news.notify_all()
            elif "error" in line:
                self._answers[line["id"]].set_exception(RuntimeError(json.dumps(line["error"])))
            else:
                self._answers[line["id"]].set_result(line.get("result"))


def _require_node() -> None:
    for there, what in (
        (shutil.which("node"), "Node.js is not installed"),
        ((INTEROP / "node_modules" / "@supabase").is_dir(), "supabase-js is not installed (make node)"),
    ):
        if not there:
            if os.environ.get("WHATSSOUND_REQUIRE_ALL") == "1":
                pytest.fail(what)
            pytest.skip(what)


@asynccontextmanager
async def node_peer(stack: LocalStack, name: str) -> AsyncIterator[NodePeer]:
    _require_node()
    process = await asyncio.create_subprocess_exec(
        "node",
        str(INTEROP / "peer.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "SUPABASE_URL": stack.url, "SUPABASE_ANON_KEY": stack.anon_key},
        limit=2**20,
    )
    peer = NodePeer(process)
    async with asyncio.TaskGroup() as group:
        group.create_task(peer.read())
        try:
            peer.user_id = (await peer.call("sign_in", name=name))["user_id"]
            yield peer
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(PATIENCE):
                    await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()


@asynccontextmanager
async def python_room(stack: LocalStack) -> AsyncIterator[tuple[WhatsSound, Session]]:
    """A DJ's client and its open session with one song."""
    async with WhatsSound(stack.url, stack.anon_key) as sound:
        await sound.sign_in_anonymously(username="dj-python")
        info = await sound.create_session("Interop")
        async with sound.session(info.id) as session:
            yield sound, session


async def next_of(stream: EventStream, kind: type[EventT], check: Callable[[EventT], bool] = lambda _: True) -> EventT:
    async with asyncio.timeout(PATIENCE):
        async for event in stream:
            if isinstance(event, kind) and check(event):
                return event
    pytest.fail(f"the stream ended without {kind.__name__}")


async def joined(peer: NodePeer, session: Session) -> None:
    answer = await peer.call("join", session_id=session.id)
    assert answer == {"status": "SUBSCRIBED", "error": None}
    await peer.hears("system", lambda heard: heard["payload"].get("extension") == "postgres_changes")


async def test_chat_goes_both_ways_and_is_stored_once_each(stack: LocalStack) -> None:
    async with python_room(stack) as (_, session), node_peer(stack, "ana-js") as peer:
        stream = session.events()
        await joined(peer, session)

        receipt = await session.chat.send("¡Hola desde Python! 🎶")
        heard = await peer.hears("chat")
        conforms("chat", heard["payload"])
        assert heard["payload"]["message"]["id"] == receipt.id
        assert heard["payload"]["message"]["content"] == "¡Hola desde Python! 🎶"
        await receipt.stored()

        sent = await peer.call("chat", text="¡Temazo! 🔥 から")
        assert (sent["sent"], sent["result"]["status"]) == ("ok", "stored")
        claim = await next_of(stream, ChatMessage, lambda event: event.message.id == sent["id"])
        assert claim.content == "¡Temazo! 🔥 から"
        assert claim.message.user_id == peer.user_id
        vouched: ChatMessage | ChatConfirmed = claim
        if not claim.message.confirmed:  # the frame may be quicker than the broadcast, and then there is no claim
            vouched = await next_of(stream, ChatConfirmed, lambda event: event.message.id == sent["id"])
        assert vouched.message.confirmed
        assert vouched.message.username == "ana-js"

        stored = [message.id async for message in session.chat.history()]
        assert sorted(stored) == sorted([receipt.id, sent["id"]])


async def test_presence_and_typing_are_seen_on_both_sides(stack: LocalStack) -> None:
    async with python_room(stack) as (sound, session), node_peer(stack, "ana-js") as peer:
        stream = session.events()
        await joined(peer, session)
        assert await peer.call("track") == "ok"
        came = await next_of(stream, PresenceJoined, lambda event: event.member.user_id == peer.user_id)
        assert came.member.username == "ana-js"
        here = await peer.hears("presence", lambda heard: sound.user_id in heard["state"])
        meta = here["state"][sound.user_id][0]
        conforms("presence", meta)
        assert meta["username"] == "dj-python"

        await session.typing.start()
        typing = await peer.hears("typing")
        conforms("typing", typing["payload"])
        assert typing["payload"] == {"user_id": sound.user_id, "username": "dj-python", "typing": True}
        assert await peer.call("typing", typing=True) == "ok"
        began = await next_of(stream, TypingStarted)
        assert (began.user_id, began.username) == (peer.user_id, "ana-js")


async def test_rows_of_votes_queue_and_tips_arrive_as_documented(stack: LocalStack) -> None:
    async with python_room(stack) as (sound, session), node_peer(stack, "ana-js") as peer:
        await joined(peer, session)

        added = await session.queue.add(title="Cumbia sobre el mar", artist="Quantic", duration=264.0)
        assert added.item is not None
        queued = await peer.hears("row", lambda heard: heard["table"] == "queue_items")
        conforms("queue_items", queued["row"])
        assert (queued["type"], queued["row"]["title"]) == ("INSERT", "Cumbia sobre el mar")

        await session.votes.cast(added.item.song_id, 1)
        voted = await peer.hears("row", lambda heard: heard["table"] == "votes")
        conforms("votes", voted["row"])
        assert (voted["type"], voted["row"]["user_id"], voted["row"]["tally_up"]) == ("INSERT", sound.user_id, 1)
        await session.votes.retract(added.item.song_id)
        retracted = await peer.hears("row", lambda heard: heard["table"] == "votes" and heard["type"] == "UPDATE")
        assert (retracted["row"]["value"], retracted["row"]["tally_up"]) == (0, 0)

        tip = await peer.call(
            "rpc",
            name="send_tip",
            params={"p_session_id": session.id, "p_amount": 500, "p_currency": "EUR", "p_key": str(uuid.uuid4())},
        )
        pending = await peer.hears("row", lambda heard: heard["table"] == "tips")
        conforms("tips", pending["row"])
        assert (pending["row"]["id"], pending["row"]["status"]) == (tip["tip"]["id"], "pending")
        async with WhatsSound(stack.url, stack.service_key) as service:
            await service.confirm_tip(tip["tip"]["id"])
        confirmed = await peer.hears("row", lambda heard: heard["table"] == "tips" and heard["type"] == "UPDATE")
        conforms("tips", confirmed["row"])
        assert confirmed["row"]["status"] == "confirmed"


async def test_a_vote_by_rpc_from_js_reaches_python_with_its_tally(stack: LocalStack) -> None:
    async with python_room(stack) as (_, session), node_peer(stack, "ana-js") as peer:
        stream = session.events()
        await joined(peer, session)
        added = await session.queue.add(title="Colegiala")
        assert added.item is not None
        song_id = added.item.song_id
        answer = await peer.call("vote", song_id=song_id, value=-1)
        assert (answer["value"], answer["tally"]) == (-1, {"up": 0, "down": 1, "score": -1})
        vote = await next_of(stream, VoteCast)
        assert (vote.user_id, vote.username, vote.value) == (peer.user_id, "ana-js", -1)
        assert (vote.seq, vote.tally.score) == (answer["seq"], -1)
        assert session.state.tallies[song_id].score == -1


async def test_the_event_log_reads_as_documented(stack: LocalStack) -> None:
    async with python_room(stack) as (_, session), node_peer(stack, "ana-js") as peer:
        await joined(peer, session)
        added = await session.queue.add(title="Colegiala")
        assert added.item is not None
        await peer.call("vote", song_id=added.item.song_id, value=1)
        await peer.call("chat", text="one")
        deleted = await peer.call("chat", text="two")
        await session.moderation.delete_message(deleted["id"], user_id=peer.user_id)
        await session.moderation.mute(peer.user_id, 60)
        log = await peer.call("rpc", name="events_since", params={"p_session_id": session.id, "p_after_seq": 0})
        for entry in log["events"]:
            conforms("event", entry)
            conforms(f"event_{entry['kind']}", entry["payload"])
        assert [entry["seq"] for entry in log["events"]] == list(range(1, log["last_seq"] + 1))
        kinds = {entry["kind"] for entry in log["events"]}
        assert kinds == {"session", "queue", "vote", "message", "message_deleted", "member"}


async def test_frames_read_as_documented(stack: LocalStack) -> None:
    async with python_room(stack) as (_, session), node_peer(stack, "ana-js") as peer:
        await joined(peer, session)
        assert await peer.call("frames") == {"status": "ok"}
        added = await session.queue.add(title="Colegiala")
        assert added.item is not None
        voted = await peer.call("vote", song_id=added.item.song_id, value=1)
        heard = await peer.hears("frame", lambda heard: heard["payload"]["to_seq"] >= voted["seq"])
        assert heard["payload"]["tallies"][-1]["up"] == 1
        numbers = []
        for frame in peer.heard("frame"):
            conforms("frame", frame["payload"])
            for entry in frame["payload"]["events"]:
                conforms(f"event_{entry['kind']}", entry["payload"])
                numbers.append(entry["seq"])
        assert numbers == list(range(numbers[0], voted["seq"] + 1))
        assert session.state.seq == voted["seq"]
        await session.reactions.send("🔥")
        counted = await peer.hears("frame", lambda heard: heard["payload"].get("reactions"))
        assert counted["payload"]["reactions"] == {"🔥": 1}


async def test_a_plain_channel_is_another_one_and_hears_nothing_of_the_room(stack: LocalStack) -> None:
    async with (
        python_room(stack) as (_, session),
        node_peer(stack, "mallory") as peer,
        node_peer(stack, "ana") as member,
    ):
        await peer.call("join", session_id=session.id, isPrivate=False)
        await joined(member, session)
        await session.chat.send("between us")
        await member.hears("chat")
        assert peer.heard("chat") == []


async def test_a_stranger_may_not_join_the_private_topic(stack: LocalStack) -> None:
    async with python_room(stack) as (_, session), node_peer(stack, "mallory") as peer:
        answer = await peer.call("join", session_id=session.id, member=False)
        assert answer["status"] == "CHANNEL_ERROR"
        assert "Unauthorized" in answer["error"]


async def test_a_refusal_reads_the_same_in_js(stack: LocalStack) -> None:
    async with python_room(stack) as (_, session), node_peer(stack, "ana-js") as peer:
        await joined(peer, session)
        with pytest.raises(RuntimeError) as refused:
            await peer.call("vote", song_id=str(uuid.uuid4()), value=1)
        assert json.loads(str(refused.value))["hint"] == "unknown_song"
