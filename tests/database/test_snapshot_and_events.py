"""A snapshot with the events after it equals a later snapshot, whatever happened between: the log says everything."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.database.conftest import Room

_STATE = ("session", "now_playing", "queue", "tallies", "tips", "messages")


class Mirror:
    """What a reader knows: a snapshot, then events applied to it."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.seq = snapshot["seq"]
        self.session = snapshot["session"]
        self.items = {item["id"]: item for item in snapshot["queue"]}
        if snapshot["now_playing"]:
            self.items[snapshot["now_playing"]["id"]] = snapshot["now_playing"]
        self.tallies = {tally["song_id"]: tally for tally in snapshot["tallies"]}
        self.totals = dict(snapshot["tips"]["totals"])
        self.count = snapshot["tips"]["count"]
        self.messages = {(entry["user_id"], entry["id"]): entry for entry in snapshot["messages"]}

    def apply(self, event: dict[str, Any]) -> None:
        """Applies the next event; numbers must follow each other."""
        assert event["seq"] == self.seq + 1
        self.seq = event["seq"]
        payload = event["payload"]
        match event["kind"]:
            case "message" if not payload.get("deleted"):
                self.messages[payload["user_id"], payload["id"]] = payload | {
                    "seq": event["seq"],
                    "session_id": self.session["id"],
                }
            case "message_deleted":
                self.messages.pop((payload["user_id"], payload["id"]), None)
            case "vote":
                self.tallies[payload["song_id"]] = payload["tally"] | {
                    "song_id": payload["song_id"],
                    "seq": event["seq"],
                }
            case "queue":
                self.items[payload["item"]["id"]] = payload["item"]
            case "session":
                self.session = payload["session"]
            case "tip":
                self._tip(payload["tip"], 1)
            case "tip_refunded":
                assert payload["was"] == "confirmed"
                self._tip(payload["tip"], -1)

    def _tip(self, tip: dict[str, Any], sign: int) -> None:
        total = self.totals.get(tip["currency"], 0) + sign * tip["amount"]
        self.totals[tip["currency"]] = total
        self.count += sign
        if total == 0:
            del self.totals[tip["currency"]]

    def state(self) -> dict[str, Any]:
        """In the shape of a snapshot."""
        playing = [item for item in self.items.values() if item["status"] == "playing"]
        queued = [item for item in self.items.values() if item["status"] == "queued"]
        return {
            "session": self.session,
            "now_playing": playing[0] if playing else None,
            "queue": sorted(queued, key=lambda item: (item["rank"], uuid.UUID(item["id"]))),
            "tallies": sorted(self.tallies.values(), key=lambda tally: tally["seq"]),
            "tips": {"totals": self.totals, "count": self.count},
            "messages": sorted(self.messages.values(), key=lambda entry: entry["seq"]),
        }


class Crowd:
    """People who do anything at random."""

    def __init__(self, room: Room, seed: int) -> None:
        self.room = room
        self.random = random.Random(seed)
        self.users = [str(uuid.UUID(int=self.random.getrandbits(128), version=4)) for _ in range(5)]

    def _message(self) -> dict[str, str]:
        stamp = int(time.time() * 1000).to_bytes(6, "big")
        raw = bytearray(stamp + self.random.randbytes(10))
        raw[6], raw[8] = 0x70 | raw[6] & 0x0F, 0x80 | raw[8] & 0x3F
        return {"id": str(uuid.UUID(bytes=bytes(raw))), "content": self.random.choice("abc")}

    async def act(self) -> None:
        """Does one thing; refusals are part of life."""
        snapshot = await self.room.call(self.room.dj, "session_snapshot", p_session_id=self.room.id, p_messages=500)
        try:
            await self._act(snapshot)
        except Exception as error:
            if not hasattr(error, "code"):
                raise

    async def _act(self, now: dict[str, Any]) -> None:
        room, who, dj = self.room, self.random.choice(self.users), self.room.dj
        songs = [tally["song_id"] for tally in now["tallies"]] + [item["song_id"] for item in now["queue"]]
        queue = now["queue"]
        match self.random.randrange(12):
            case 0 | 1 | 2:
                await room.say(who, *(self._message() for _ in range(self.random.randrange(1, 4))))
            case 3 | 4 if songs:
                vote = {"p_song_id": self.random.choice(songs), "p_value": self.random.choice([-1, 1])}
                await room.command(who, "cast_vote", **vote)
            case 5 if songs:
                await room.command(who, "retract_vote", p_song_id=self.random.choice(songs))
            case 6:
                currency = self.random.choice(["EUR", "USD"])
                reply = await room.command(who, "send_tip", p_amount=self.random.randrange(1, 9), p_currency=currency)
                status = self.random.choice(["confirmed", "refunded"])
                await room.call(None, "confirm_tip", p_tip_id=reply["tip"]["id"], p_status=status)
                if self.random.random() < 0.3:
                    await room.call(None, "confirm_tip", p_tip_id=reply["tip"]["id"], p_status="refunded")
            case 7 if len(queue) > 1:
                item, anchor = self.random.sample(queue, 2)
                where = self.random.choice(["p_before", "p_after"])
                arguments = {"p_item_id": item["id"], "p_expected_version": item["version"], where: anchor["id"]}
                await room.command(dj, "move_queue_item", **arguments)
            case 8 if queue:
                playing = now["now_playing"] and now["now_playing"]["id"]
                await room.command(
                    dj, "advance_queue", p_expected_item_id=playing, p_skipped=self.random.random() < 0.5
                )
            case 9 if now["messages"]:
                gone = self.random.choice(now["messages"])
                target = {"p_message_id": gone["id"], "p_user_id": gone["user_id"]}
                await room.call(dj, "delete_message", p_session_id=room.id, **target)
            case 10:
                await room.call(dj, "set_slow_mode", p_session_id=room.id, p_seconds=self.random.randrange(2))
            case _:
                await room.command(who, "enqueue_song", p_title=f"song {self.random.randrange(10_000)}")


@pytest.mark.parametrize("seed", range(4))
async def test_snapshot_and_later_events_equal_a_later_snapshot(room: Room, seed: int) -> None:
    """From snapshots taken at any moment, while four people act at once, every reader ends in the same state."""
    crowd = Crowd(room, seed)
    mirrors: list[Mirror] = []

    for _ in range(6):
        snapshot = await room.call(room.dj, "session_snapshot", p_session_id=room.id, p_messages=500)
        mirrors.append(Mirror(snapshot))
        await asyncio.gather(*(crowd.act() for _ in range(12)))
    final = await room.call(room.dj, "session_snapshot", p_session_id=room.id, p_messages=500)

    for mirror in mirrors:
        while mirror.seq < final["seq"]:
            page = await room.call(room.dj, "events_since", p_session_id=room.id, p_after_seq=mirror.seq, p_limit=7)
            assert page["more"] == (page["events"][-1]["seq"] < page["last_seq"])
            for event in page["events"]:
                mirror.apply(event)
        assert mirror.state() == {name: final[name] for name in _STATE}


async def test_history_pages_meet_the_snapshot(room: Room) -> None:
    """Pages of history, whatever their size, are the snapshot's messages backwards, each once."""
    crowd = Crowd(room, 9)
    for _ in range(10):
        await room.say(crowd.users[0], crowd._message(), crowd._message(), crowd._message())
    whole = (await room.call(room.dj, "session_snapshot", p_session_id=room.id, p_messages=500))["messages"]

    seen: list[Any] = []
    before, more = None, True
    while more:
        page = await room.call(room.dj, "message_history", p_session_id=room.id, p_before_seq=before, p_limit=7)
        seen += page["messages"]
        more, before = page["more"], page["messages"][-1]["seq"]

    assert seen == whole[::-1]
    assert len(seen) == 30
