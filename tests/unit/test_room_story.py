"""A whole room in virtual time: two sessions, one database, and a network that does whatever it likes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig, SessionConfig
from whatssound.core.reasons import Reason
from whatssound.errors import (
    DatabaseBusyError,
    MessageRejectedError,
    RequestTimeoutError,
    ServerError,
    UnreachableError,
    WhatsSoundError,
)
from whatssound.events import ChatConfirmed, ChatMessage, Event, StateResynced, StatusChanged, VoteCast
from whatssound.gateway import Gateway
from whatssound.models import SessionId
from whatssound.outbox import MessageReceipt
from whatssound.session import Session
from whatssound.testing import FakeLink, FakeLinks, FakeTokens, LoopClock, run_virtual

ID = SessionId("5e551010-0000-4000-8000-000000000000")
SONG = "50000000-0000-4000-8000-000000000000"
USERS = {
    "ana": "00000000-0000-4000-8000-0000000000aa",
    "eve": "00000000-0000-4000-8000-0000000000ee",
}
NOW = "2026-11-24T00:00:00+00:00"


class World:
    """The database and the channel that both sessions share."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.trouble = 0.0
        self.log: list[dict[str, Any]] = []
        self.messages: dict[str, dict[str, Any]] = {}
        self.votes: dict[str, int] = {}
        self.vote_keys: dict[str, dict[str, Any]] = {}
        self.links: list[FakeLinks] = []

    def add(self, kind: str, payload: dict[str, Any]) -> int:
        seq = len(self.log) + 1
        self.log.append({"seq": seq, "kind": kind, "payload": payload, "created_at": NOW})
        return seq

    def send(self, sender: FakeLinks | None, deliver: str, *what: Any) -> None:
        """Brings something to everybody who is joined, but the sender: late, twice, or not at all."""
        for links in self.links:
            link = links.last if links.made else None
            if links is sender or link is None or not link.is_joined or self.chance.random() < 0.1:
                continue
            for _ in range(1 + (self.chance.random() < 0.1)):
                asyncio.get_running_loop().call_later(self.chance.random() * 0.6, self._deliver, link, deliver, what)

    @staticmethod
    def _deliver(link: FakeLink, deliver: str, what: tuple[Any, ...]) -> None:
        if link.is_joined:
            getattr(link.listener, deliver)(*what)

    def tally(self) -> dict[str, int]:
        up, down = (sum(value == wanted for value in self.votes.values()) for wanted in (1, -1))
        return {"up": up, "down": down, "score": up - down}


class Line:
    """One user's way to the database."""

    def __init__(self, world: World, user: str) -> None:
        self.world = world
        self.user = user

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        world = self.world
        await asyncio.sleep(world.chance.random() * 0.2)
        lost = False
        if world.chance.random() < world.trouble:
            match world.chance.choice(["lost", "lost", "5xx", "busy", "away"]):
                case "lost":
                    lost = True
                case "5xx":
                    raise ServerError(503, "later", retry_after=world.chance.choice([None, 1.0]))
                case "busy":
                    raise DatabaseBusyError("busy", status=503)
                case _:
                    raise UnreachableError("there", "refused")
        answer: dict[str, Any] = getattr(self, function)(params)
        if lost:
            raise RequestTimeoutError("the answer was lost")
        await asyncio.sleep(world.chance.random() * 0.2)
        return {**answer, "last_seq": max(len(world.log), answer.get("last_seq", 0))}

    def join_session(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"me": {"user_id": self.user, "username": params["p_username"]}}

    def heartbeat(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"occupancy": 2}

    def session_snapshot(self, params: Mapping[str, Any]) -> dict[str, Any]:
        world = self.world
        votes = [entry["seq"] for entry in world.log if entry["kind"] == "vote"]
        return {
            "session": {"id": ID, "title": "t", "dj_id": USERS["eve"], "status": "live"},
            "me": {"user_id": self.user},
            "seq": len(world.log),
            "tallies": [{"song_id": SONG, **world.tally(), "seq": votes[-1]}] if votes else [],
            "my_votes": {SONG: world.votes[self.user]} if self.user in world.votes else {},
            "messages": list(world.messages.values()),
            "server_time": NOW,
        }

    def events_since(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = self.world.log[params["p_after_seq"] :]
        return {"events": kept[:7], "last_seq": len(self.world.log), "oldest_seq": 1, "more": len(kept) > 7}

    def insert_messages(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"results": [self._insert(row) for row in params["p_messages"]]}

    def _insert(self, row: Mapping[str, Any]) -> dict[str, Any]:
        messages = self.world.messages
        known = messages.get(row["id"])
        if known is None and "forbidden" in row["content"]:
            return {"id": row["id"], "status": "rejected", "reason": "muted"}
        if known is None:
            payload = {"id": row["id"], "user_id": self.user, "content": row["content"], "created_at": NOW}
            messages[row["id"]] = {**payload, "seq": self.world.add("message", payload)}
        seq = messages[row["id"]]["seq"]
        return {"id": row["id"], "status": "stored" if known is None else "duplicate", "seq": seq}

    def cast_vote(self, params: Mapping[str, Any]) -> dict[str, Any]:
        world, key = self.world, params["p_key"]
        if key not in world.vote_keys:
            world.votes[self.user] = params["p_value"]
            tally = world.tally()
            payload = {"song_id": SONG, "user_id": self.user, "value": params["p_value"], "tally": tally}
            seq = world.add("vote", payload)
            row = {**payload, "tally_up": tally["up"], "tally_down": tally["down"], "seq": seq}
            world.send(None, "row_changed", "votes", row)
            world.vote_keys[key] = {"song_id": SONG, "value": params["p_value"], "tally": tally, "seq": seq}
        return world.vote_keys[key]


class Guest:
    """A user with an open session."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self.links = FakeLinks(self._started)
        world.links.append(self.links)
        self.receipts: list[tuple[str, MessageReceipt]] = []
        self.session = Session(
            ID,
            config=SessionConfig(
                outbox=OutboxConfig(interval=0.3, batch_size=3, drain_timeout=600.0),
                connection=ConnectionConfig(backoff_cap=4.0),
                claim_timeout=120.0,
            ),
            gateway=Gateway(Line(world, USERS[name]), RetryConfig(attempts=4), LoopClock()),
            tokens=FakeTokens(USERS[name], name),
            links=self.links,
            clock=LoopClock(),
        )
        self.reader = self.session.events()

    def _started(self, link: FakeLink) -> None:
        link.join()
        push = link.push

        async def broadcast(event: str, payload: Mapping[str, Any]) -> bool:
            if event == "broadcast" and await push(event, payload):
                self.world.send(self.links, "broadcast", f"session:{ID}", payload["event"], payload["payload"])
            return link.is_joined

        link.push = broadcast  # type: ignore[method-assign]

    def drop(self) -> None:
        if self.links.last.is_joined:
            self.links.last.end(self.world.chance.choice([Reason.CLOSED, Reason.SILENT, Reason.CRASHED]), held=20.0)


STEPS = [*["say"] * 5, "say forbidden", *["vote"] * 2, *["wait"] * 4, "drop", "trouble", "calm"]


@settings(max_examples=40)
@given(seed=st.integers(0, 1_000_000), count=st.integers(10, 60))
def test_nothing_lost_nothing_twice_and_all_see_the_same(seed: int, count: int) -> None:
    async def main() -> None:
        chance = Random(seed)
        world = World(chance)
        ana, eve = Guest(world, "ana"), Guest(world, "eve")
        votes: list[str] = []
        async with ana.session, eve.session:
            for number, step in enumerate(chance.choices(STEPS, k=count)):
                guest = chance.choice([ana, eve])
                match step:
                    case "say" | "say forbidden":
                        text = f"{number:03} {step}"
                        guest.receipts.append((text, await guest.session.chat.send(text)))
                    case "vote":
                        # What fails has either not happened, or nobody knows; the log decides below.
                        with suppress(WhatsSoundError):
                            votes.append((await guest.session.votes.cast(SONG, chance.choice([1, -1]))).key)
                    case "wait":
                        await asyncio.sleep(chance.random() * 3)
                    case "drop":
                        guest.drop()
                    case "trouble":
                        world.trouble = chance.random() * 0.8
                    case _:
                        world.trouble = 0.0
            world.trouble = 0.0
            await asyncio.sleep(200)  # longer than the patience with a claim that is never stored
            for guest in (ana, eve):
                state = guest.session.state
                assert state.seq == len(world.log)
                assert [message.content for message in state.messages] == [
                    message["content"] for message in world.messages.values()
                ]
                if world.votes:
                    tally = state.tallies[SONG]  # type: ignore[index]
                    assert {"up": tally.up, "down": tally.down, "score": tally.score} == world.tally()
                    assert state.my_votes.get(SONG, 0) == world.votes.get(USERS[guest.name], 0)  # type: ignore[call-overload]
        assert set(votes) <= set(world.vote_keys)
        for guest in (ana, eve):
            check(guest, world, [event async for event in guest.reader])

    run_virtual(main)


def check(guest: Guest, world: World, events: list[Event]) -> None:
    contents = [message["content"] for message in world.messages.values()]
    for text, receipt in guest.receipts:
        assert receipt.is_settled
        assert contents.count(text) == (0 if "forbidden" in text else 1)
        assert receipt.is_stored is ("forbidden" not in text)
    own = [text for text in contents if text in {text for text, _ in guest.receipts}]
    assert own == sorted(own), "a sender's order is kept"
    durable = [event.seq for event in events if isinstance(event, ChatMessage | ChatConfirmed | VoteCast) and event.seq]
    assert max(Counter(durable).values(), default=1) == 1, "an event was seen twice"
    loaded = next(event.seq or 0 for event in events if isinstance(event, StateResynced))
    assert set(range(loaded + 1, len(world.log) + 1)) <= set(durable), "a silent gap"
    shown = Counter(event.message.id for event in events if isinstance(event, ChatMessage))
    assert max(shown.values(), default=1) == 1, "a message was shown twice"
    assert [event.status for event in events if isinstance(event, StatusChanged)][-1] == "closed"
    assert guest.session.stats().waiting == 0
    assert not any(isinstance(event, MessageRejectedError) for event in events)
