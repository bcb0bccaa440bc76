"""Each event once, gaps closed, claims settled; whatever order the channel and the log bring things in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whatssound.config import RetryConfig, SessionConfig
from whatssound.core.identifiers import session_topic
from whatssound.core.reducer import RoomState
from whatssound.errors import (
    ProtocolError,
    RequestTimeoutError,
    ServerError,
    SessionNotFoundError,
    UnreachableError,
    WhatsSoundError,
)
from whatssound.events import (
    ChatConfirmed,
    ChatMessage,
    ChatUnconfirmed,
    Discontinuity,
    Event,
    EventBase,
    MemberChanged,
    MessageWithdrawn,
    PresenceJoined,
    PresenceLeft,
    StateResynced,
    TypingStarted,
    TypingStopped,
    UnknownEvent,
    VoteCast,
)
from whatssound.feed import Feed
from whatssound.gateway import Gateway
from whatssound.mode_switch import change_bindings
from whatssound.models import Message, MessageId, SessionId, StoredRow, UserId
from whatssound.state import ServerTime
from whatssound.testing import LoopClock, run_virtual
from whatssound.testing.fakes import settle

SESSION = SessionId("5e551010-0000-4000-8000-000000000000")
ME = UserId("00000000-0000-4000-8000-0000000000aa")
EVE = UserId("00000000-0000-4000-8000-0000000000ee")
SONG = "50000000-0000-4000-8000-000000000000"
TOPIC = session_topic(SESSION)
EPOCH = datetime(2026, 11, 24, tzinfo=UTC)
CONFIG = SessionConfig(reconcile_interval=5.0, claim_timeout=30.0, typing_ttl=6.0)

E = TypeVar("E", bound=EventBase)


def mid(number: int) -> MessageId:
    return MessageId(f"01900000-0000-7000-8000-{number:012}")


class Database:
    """One session: a dense log, a snapshot made of it, and retention."""

    def __init__(self) -> None:
        self.log: list[dict[str, Any]] = []
        self.oldest = 1
        self.page = 500
        self.delay: Callable[[], float] = lambda: 0.0
        self.failures: list[WhatsSoundError] = []
        self.calls: list[str] = []
        self.votes: dict[str, int] = {}
        self.messages: list[dict[str, Any]] = []

    @property
    def seq(self) -> int:
        return len(self.log)

    def add(self, kind: str, payload: dict[str, Any]) -> int:
        seq = len(self.log) + 1
        self.log.append({"seq": seq, "kind": kind, "payload": payload, "created_at": EPOCH.isoformat()})
        return seq

    def say(self, number: int, content: str = "hola", author: str = EVE) -> int:
        payload = {
            "id": mid(number),
            "user_id": author,
            "username": "eve",
            "role": "listener",
            "content": content,
            "created_at": EPOCH.isoformat(),
        }
        seq = self.add("message", payload)
        self.messages.append({**payload, "seq": seq})
        return seq

    def vote(self, user: str, value: int) -> dict[str, Any]:
        """Returns the row as Postgres Changes bring it."""
        self.votes[user] = value
        up, down = sum(v == 1 for v in self.votes.values()), sum(v == -1 for v in self.votes.values())
        tally = {"up": up, "down": down, "score": up - down}
        seq = self.add("vote", {"song_id": SONG, "user_id": user, "username": "", "value": value, "tally": tally})
        return {
            "session_id": SESSION,
            "song_id": SONG,
            "user_id": user,
            "value": value,
            "tally_up": up,
            "tally_down": down,
            "seq": seq,
        }

    def member(self, action: str, user: str) -> int:
        return self.add("member", {"action": action, "user_id": user, "username": "eve", "role": "listener"})

    def purge(self, oldest: int) -> None:
        self.oldest = max(self.oldest, min(oldest, self.seq + 1))

    def tallies(self) -> list[dict[str, Any]]:
        last = max((e["seq"] for e in self.log if e["kind"] == "vote"), default=0)
        if not last:
            return []
        return [{"song_id": SONG, **self.log[last - 1]["payload"]["tally"], "seq": last}]

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        self.calls.append(function)
        await asyncio.sleep(self.delay())
        if self.failures:
            raise self.failures.pop(0)
        answer = self._snapshot() if function == "session_snapshot" else self._since(params)
        await asyncio.sleep(self.delay())
        return answer

    def _snapshot(self) -> dict[str, Any]:
        return {
            "session": {"id": SESSION, "title": "t", "dj_id": EVE, "status": "live"},
            "me": None,
            "seq": self.seq,
            "oldest_seq": self.oldest,
            "tallies": self.tallies(),
            "messages": list(self.messages[-50:]),
            "occupancy": 3,
            "server_time": EPOCH.isoformat(),
        }

    def _since(self, params: Mapping[str, Any]) -> dict[str, Any]:
        after, limit = params["p_after_seq"], min(params["p_limit"], self.page)
        kept = [entry for entry in self.log if entry["seq"] >= self.oldest and entry["seq"] > after]
        return {
            "events": kept[:limit],
            "last_seq": self.seq,
            "oldest_seq": self.oldest,
            "more": len(kept) > limit,
            "server_time": EPOCH.isoformat(),
        }


class Listening:
    """A feed with everything around it."""

    def __init__(self, database: Any, *, chance: float = 0.5, config: SessionConfig = CONFIG) -> None:
        self.database = database
        self.events: list[Event] = []
        self.errors: list[Exception] = []
        self.losses: list[WhatsSoundError] = []
        self.syncs = 0
        self.joins = 0
        self.switches = 0
        self.room = RoomState(ME, 200)
        self.time = ServerTime(LoopClock().unix_ms)
        self.feed = Feed(
            SESSION,
            me=ME,
            gateway=Gateway(database, RetryConfig(attempts=1), LoopClock()),
            room=self.room,
            server_time=self.time,
            config=config,
            clock=LoopClock(),
            publish=self.events.append,
            report=self.errors.append,
            synced=self._synced,
            rejoined=self._rejoined,
            switched=self._switched,
            lost=self.losses.append,
            chance=lambda: chance,
        )

    def _synced(self) -> None:
        self.syncs += 1

    def _rejoined(self) -> None:
        self.joins += 1

    def _switched(self) -> None:
        self.switches += 1

    async def start(self) -> None:
        self.task = asyncio.create_task(self.feed.run(), name="feed")
        await settle()

    async def join(self) -> None:
        self.feed.joined(TOPIC)
        self.feed.ready(TOPIC)
        await settle()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled(), "the feed ended by itself"

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def hear(self, number: int, content: str = "hola", author: str = EVE) -> None:
        body = {
            "id": mid(number),
            "session_id": SESSION,
            "user_id": author,
            "username": "eve",
            "content": content,
            "created_at": EPOCH.isoformat(),
        }
        self.feed.broadcast(TOPIC, "chat", {"message": body})


def test_it_subscribes_to_its_own_session_s_rows() -> None:
    assert [(binding.table, binding.filter) for binding in change_bindings(SESSION)] == [
        (table, f"session_id=eq.{SESSION}") for table in ("votes", "tips", "queue_items")
    ]


def test_a_join_that_takes_long_neither_spins_nor_asks() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await asyncio.sleep(600)
        assert room.database.calls == []
        await room.join()
        assert room.database.calls == ["session_snapshot"]
        assert room.syncs == 1
        await room.stop()

    run_virtual(main)


def test_the_first_load_is_a_snapshot_and_publishes_only_the_resync() -> None:
    async def main() -> None:
        database = Database()
        database.say(1)
        room = Listening(database)
        await room.start()
        await room.join()
        assert room.events == [StateResynced(seq=1, fetched=0, fresh=True)]
        assert [message.id for message in room.room.messages] == [mid(1)]
        assert room.room.occupancy == 3
        await room.stop()

    run_virtual(main)


def test_what_was_missed_comes_recovered_and_what_is_live_comes_after_it() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        database.say(1)
        database.vote(EVE, 1)
        database.delay = lambda: 0.2
        room.feed.joined(TOPIC)
        room.feed.ready(TOPIC)
        room.feed.row_changed("votes", database.vote(ME, 1))
        room.hear(9)
        await asyncio.sleep(1)
        got = [(type(event).__name__, event.seq, event.recovered) for event in room.events[1:]]
        assert got == [
            ("ChatMessage", 1, True),
            ("VoteCast", 2, True),
            ("VoteCast", 3, True),
            ("ChatMessage", None, False),
            ("StateResynced", 3, False),
        ]
        resync = room.of(StateResynced)[-1]
        assert (resync.fetched, resync.fresh) == (3, False)
        await room.stop()

    run_virtual(main)


def test_c3_every_word_that_changes_flow_means_a_resync() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        for _ in range(3):
            room.feed.ready(TOPIC)
            await settle()
        assert room.syncs == 3
        await room.stop()

    run_virtual(main)


def test_a_word_in_the_middle_of_a_resync_keeps_the_order() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        database.delay = lambda: 0.2
        room.feed.ready(TOPIC)
        await asyncio.sleep(0.3)  # the answer is on its way
        database.say(1)
        room.feed.ready(TOPIC)
        room.feed.row_changed("votes", database.vote(EVE, 1))
        await asyncio.sleep(1)
        assert [event.seq for event in room.events if not isinstance(event, StateResynced)] == [1, 2]
        await room.stop()

    run_virtual(main)


def test_without_that_word_it_resyncs_after_a_while() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        room.feed.joined(TOPIC)
        await asyncio.sleep(9.9)
        assert room.syncs == 0
        await asyncio.sleep(0.2)
        assert room.syncs == 1
        await asyncio.sleep(60)
        assert room.syncs == 1
        await room.stop()

    run_virtual(main)


def test_c4_the_log_is_looked_at_now_and_then() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        database.vote(EVE, 1)  # its row never arrives
        await asyncio.sleep(5.1)
        assert [(event.seq, event.recovered) for event in room.of(VoteCast)] == [(1, True)]
        assert room.syncs == 1, "a look is no resync"
        await room.stop()

    run_virtual(main)


def test_pages_are_read_to_the_end() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        database.page = 3
        for number in range(10):
            database.say(number)
        await room.join()
        assert [event.seq for event in room.of(ChatMessage)] == list(range(1, 11))
        assert room.of(StateResynced)[-1].fetched == 10
        await room.stop()

    run_virtual(main)


def test_past_retention_one_discontinuity_and_then_all_that_is_kept() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        for number in range(10):
            database.say(number)
        database.purge(7)
        await room.join()
        assert room.of(Discontinuity) == [Discontinuity(after_seq=0, before_seq=7)]
        assert [event.seq for event in room.of(ChatMessage)] == [7, 8, 9, 10]
        assert room.of(StateResynced)[-1].fresh
        assert len(room.room.messages) == 10
        assert room.room.seq == 10
        await room.stop()

    run_virtual(main)


def test_a_log_that_was_emptied_is_a_discontinuity_too() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        for number in range(4):
            database.say(number)
        database.purge(5)
        await room.join()
        await asyncio.sleep(20)
        assert room.of(Discontinuity) == [Discontinuity(after_seq=0, before_seq=5)]
        assert room.room.seq == 4
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    "error", [UnreachableError("db", "down"), ServerError(503, "later"), RequestTimeoutError("slow")]
)
def test_a_failed_resync_is_reported_and_tried_until_it_succeeds(error: WhatsSoundError) -> None:
    async def main() -> None:
        database = Database()
        database.failures = [error, error]
        room = Listening(database)
        await room.start()
        await room.join()
        assert room.syncs == 0
        await asyncio.sleep(10)
        assert room.syncs == 1
        assert room.errors == [error, error]
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"events": None, "last_seq": 1},
        {"events": [{"kind": "vote"}], "last_seq": 1},
        {"events": [7], "last_seq": 1},
        {"events": {}, "last_seq": "many"},
    ],
)
def test_an_answer_that_cannot_be_read_is_reported_and_ends_nothing(answer: dict[str, Any]) -> None:
    class Odd(Database):
        async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
            if function == "events_since":
                return answer
            return await super().call(function, params, within=within)

    async def main() -> None:
        room = Listening(Odd())
        await room.start()
        await room.join()
        await asyncio.sleep(20)
        assert room.errors
        assert all(isinstance(error, ProtocolError) for error in room.errors)
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    "change",
    [{"messages": [3]}, {"messages": [{}]}, {"tallies": [{}]}, {"tallies": 7}, {"session": None}, {"seq": "x"}],
)
def test_a_snapshot_that_cannot_be_read_is_reported_and_ends_nothing(change: dict[str, Any]) -> None:
    class Odd(Database):
        async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
            return {**self._snapshot(), **change}

    async def main() -> None:
        room = Listening(Odd())
        await room.start()
        await room.join()
        assert [type(error) for error in room.errors] == [ProtocolError]
        await room.stop()

    run_virtual(main)


def test_more_without_events_does_not_ask_for_ever() -> None:
    class Odd(Database):
        def _since(self, params: Mapping[str, Any]) -> dict[str, Any]:
            return {**super()._since(params), "events": [], "more": True}

    async def main() -> None:
        room = Listening(Odd())
        await room.start()
        await room.join()
        room.database.say(1)
        await room.join()
        assert room.database.calls.count("events_since") == 1
        await room.stop()

    run_virtual(main)


def test_an_entry_that_cannot_be_read_is_reported_once_and_passed() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        database.add("vote", {"nonsense": True})
        database.add("karaoke", {"who": "eve"})
        database.vote(EVE, 1)
        await room.join()
        await asyncio.sleep(20)
        assert [type(error) for error in room.errors] == [ProtocolError]
        assert [(type(event), event.seq) for event in room.events[1:3]] == [(UnknownEvent, 2), (VoteCast, 3)]
        await room.stop()

    run_virtual(main)


def test_a_row_that_cannot_be_read_is_reported() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        room.feed.row_changed("votes", {"song_id": SONG})
        room.feed.row_changed("strangers", {})
        assert [type(error) for error in room.errors] == [ProtocolError]
        await room.stop()

    run_virtual(main)


def test_a_session_that_may_not_be_read_any_more_is_lost() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        assert room.joins == 1
        gone = SessionNotFoundError("session_not_found")
        database.failures = [gone]
        await asyncio.sleep(10)
        assert room.losses == [gone]
        assert room.task.done()
        calls = len(database.calls)
        await asyncio.sleep(60)
        assert len(database.calls) == calls

    run_virtual(main)


def test_a_refresh_looks_at_the_log_at_once() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.feed.refresh()
        assert database.calls == []
        await room.start()
        await room.join()
        database.vote(EVE, 1)
        await room.feed.refresh()
        assert [event.seq for event in room.of(VoteCast)] == [1]
        database.failures = [UnreachableError("db", "down")]
        await room.feed.refresh()
        assert len(room.errors) == 1
        await room.stop()

    run_virtual(main)


def test_two_looks_at_once_tell_of_one_discontinuity() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        for number in range(10):
            database.say(number)
        database.purge(7)
        database.delay = lambda: 0.3
        room.feed.ready(TOPIC)
        await asyncio.gather(room.feed.refresh(), room.feed.refresh())
        await asyncio.sleep(3)
        assert room.of(Discontinuity) == [Discontinuity(after_seq=0, before_seq=7)]
        assert [event.seq for event in room.of(ChatMessage)] == [7, 8, 9, 10]
        await room.stop()

    run_virtual(main)


# --- chat: claims


def test_a_broadcast_is_a_claim_until_the_log_confirms_it() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        room.hear(1)
        room.hear(1)
        (claim,) = room.of(ChatMessage)
        assert (claim.message.confirmed, claim.seq) == (False, None)
        database.say(1)
        await asyncio.sleep(6)
        (confirmed,) = room.of(ChatConfirmed)
        assert (confirmed.message.id, confirmed.seq, confirmed.message.confirmed) == (mid(1), 1, True)
        assert len(room.of(ChatMessage)) == 1
        room.hear(1)
        assert len(room.of(ChatMessage)) == 1, "what is confirmed is not shown again"
        await room.stop()

    run_virtual(main)


@pytest.mark.parametrize(("content", "author"), [("other words", EVE), ("hola", ME)])
def test_a_claim_that_the_log_contradicts_is_withdrawn(content: str, author: str) -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        room.hear(1)
        database.say(1, content, author)
        await asyncio.sleep(6)
        assert [(event.message_id, event.user_id) for event in room.of(MessageWithdrawn)] == [(mid(1), EVE)]
        assert [event.message.content for event in room.of(ChatMessage)] == ["hola", content]
        assert [message.content for message in room.room.messages] == [content]
        await room.stop()

    run_virtual(main)


def test_a_claim_that_is_never_stored_expires() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        room.hear(1)
        await asyncio.sleep(29)
        assert room.of(ChatUnconfirmed) == []
        await asyncio.sleep(10)
        assert [event.message_id for event in room.of(ChatUnconfirmed)] == [mid(1)]
        assert room.room.messages == ()
        await room.stop()

    run_virtual(main)


def test_a_claim_is_not_called_unconfirmed_while_the_database_is_away() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        room.hear(1)
        database.say(1)
        database.failures = [UnreachableError("db", "down") for _ in range(60)]
        await asyncio.sleep(40)
        database.failures = []
        await asyncio.sleep(10)
        assert room.of(ChatUnconfirmed) == []
        assert len(room.of(ChatConfirmed)) == 1
        await room.stop()

    run_virtual(main)


def test_words_under_my_name_are_a_claim_like_any_other() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        room.hear(1, author=ME)  # my other device, or somebody who says so
        assert [(event.own, event.message.confirmed) for event in room.of(ChatMessage)] == [(False, False)]
        await room.stop()

    run_virtual(main)


def test_frames_and_nonsense_on_this_topic_are_ignored() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        room.feed.broadcast(TOPIC, "frame", {"events": [{"seq": 1, "kind": "message"}]})
        room.feed.broadcast(TOPIC, "chat", {"message": "no object"})
        room.feed.broadcast(TOPIC, "chat", {})
        room.feed.broadcast(TOPIC, "typing", {"user_id": ["a"]})
        assert room.of(ChatMessage) == []
        await room.stop()

    run_virtual(main)


def own(number: int) -> Message:
    return Message(id=mid(number), session_id=SESSION, user_id=ME, username="me", content="mine", created_at=EPOCH)


@pytest.mark.parametrize("log_first", [True, False])
def test_an_own_message_is_shown_once_and_confirmed_once(log_first: bool) -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        room.feed.said(own(1))
        seq = database.say(1, "mine", ME)
        row = StoredRow(id=mid(1), status="stored", seq=seq)
        if not log_first:
            room.feed.stored(own(1), row)
        await asyncio.sleep(6)
        room.feed.stored(own(1), row)
        assert [(event.own, event.message.confirmed) for event in room.of(ChatMessage)] == [(True, False)]
        assert [(event.own, event.seq) for event in room.of(ChatConfirmed)] == [(True, 1)]
        await room.stop()

    run_virtual(main)


def test_an_own_message_that_was_refused_is_taken_back() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        room.feed.said(own(1))
        room.feed.rejected(own(1), "slow_mode")
        room.feed.rejected(own(1), "slow_mode")
        assert [(event.message_id, event.reason) for event in room.of(MessageWithdrawn)] == [(mid(1), "slow_mode")]
        assert room.room.messages == ()
        room.feed.stored(own(2), StoredRow(id=mid(2), status="stored"))
        assert room.of(ChatConfirmed) == [], "without its place in the log it is left to the log"
        await room.stop()

    run_virtual(main)


def test_who_is_banned_is_not_heard_until_unbanned() -> None:
    async def main() -> None:
        database = Database()
        room = Listening(database)
        await room.start()
        await room.join()
        database.member("banned", EVE)
        await room.join()
        assert [event.action for event in room.of(MemberChanged)] == ["banned"]
        room.hear(1)
        room.feed.broadcast(TOPIC, "typing", {"user_id": EVE, "username": "eve", "typing": True})
        assert room.of(ChatMessage) == []
        assert room.of(TypingStarted) == []
        database.member("unbanned", EVE)
        await room.join()
        room.hear(2)
        assert [event.message.id for event in room.of(ChatMessage)] == [mid(2)]
        await room.stop()

    run_virtual(main)


# --- typing and presence


def test_typing_is_told_once_and_expires() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        typing = {"user_id": EVE, "username": "eve", "typing": True}
        for _ in range(4):
            room.feed.broadcast(TOPIC, "typing", typing)
            await asyncio.sleep(2)
        assert len(room.of(TypingStarted)) == 1
        assert room.room.typing == {EVE: "eve"}
        await asyncio.sleep(4.1)
        assert [(event.user_id, event.username) for event in room.of(TypingStopped)] == [(EVE, "eve")]
        assert room.room.typing == {}
        await room.stop()

    run_virtual(main)


def test_typing_ends_with_the_message_the_word_or_the_person() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        typing = {"user_id": EVE, "username": "eve", "typing": True}
        room.feed.presence_state({EVE: {"metas": [{"phx_ref": "1", "username": "eve"}]}})
        room.feed.broadcast(TOPIC, "typing", typing)
        room.hear(1)
        room.feed.broadcast(TOPIC, "typing", typing)
        room.feed.broadcast(TOPIC, "typing", {**typing, "typing": False})
        room.feed.broadcast(TOPIC, "typing", typing)
        room.feed.presence_diff({}, {EVE: {"metas": [{"phx_ref": "1"}]}})
        assert len(room.of(TypingStarted)) == len(room.of(TypingStopped)) == 3
        assert not room.of(PresenceLeft)  # may only be reconnecting
        await asyncio.sleep(CONFIG.presence_grace + 0.1)
        assert len(room.of(PresenceJoined)) == len(room.of(PresenceLeft)) == 1
        assert room.room.presence == {}
        await room.stop()

    run_virtual(main)


def test_a_flood_of_typists_is_bounded() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        for number in range(2_000):
            room.feed.broadcast(TOPIC, "typing", {"user_id": str(number), "username": "x", "typing": True})
        assert len(room.of(TypingStarted)) == 1_000
        await asyncio.sleep(7)
        assert len(room.of(TypingStopped)) == 1_000
        await room.stop()

    run_virtual(main)


# --- the property


class Channel:
    """Brings rows and broadcasts late, twice, out of order or not at all, and only while it flows."""

    def __init__(self, room: Listening, chance: Random) -> None:
        self.room = room
        self.chance = chance
        self.flows = False
        self.under_way: set[asyncio.Task[None]] = set()

    def send(self, deliver: Callable[[], None]) -> None:
        if not self.flows:
            return
        for _ in range(self.chance.choice([0, 1, 1, 1, 2])):
            task = asyncio.create_task(self._later(deliver))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _later(self, deliver: Callable[[], None]) -> None:
        await asyncio.sleep(self.chance.random() * 2)
        deliver()

    def drop(self) -> None:
        self.flows = False

    def join(self) -> None:
        self.flows = True
        self.room.feed.joined(TOPIC)
        self.room.feed.ready(TOPIC)


STEPS = [*["say"] * 4, *["vote"] * 4, *["wait"] * 4, "forge", "own", "drop", "join", "outage", "purge", "fail"]


@settings(max_examples=200)
@given(seed=st.integers(0, 1_000_000), count=st.integers(5, 50))
def test_every_event_once_or_known_to_be_lost_and_the_state_converges(seed: int, count: int) -> None:
    async def main() -> None:
        chance = Random(seed)
        database = Database()
        database.page = chance.choice([1, 2, 5, 500])
        database.delay = lambda: chance.random() * 0.5
        for number in range(chance.randrange(4)):
            database.say(900_000 + number)
        room = Listening(database)
        channel = Channel(room, chance)
        await room.start()
        channel.join()
        for number, step in enumerate(chance.choices(STEPS, k=count)):
            match step:
                case "say":
                    if chance.random() < 0.8:
                        channel.send(partial(room.hear, number))
                    if chance.random() < 0.9:
                        database.say(number)
                case "forge":
                    channel.send(partial(room.hear, number, "forged"))
                    database.say(number, "true words")
                case "vote":
                    row = database.vote(chance.choice([EVE, ME]), chance.choice([1, -1]))
                    channel.send(partial(room.feed.row_changed, "votes", row))
                case "own":
                    room.feed.said(own(number))
                    seq = database.say(number, "mine", ME)
                    row_ = StoredRow(id=mid(number), status="stored", seq=seq)
                    if chance.random() < 0.7:
                        asyncio.get_running_loop().call_later(chance.random(), room.feed.stored, own(number), row_)
                case "wait":
                    await asyncio.sleep(chance.random() * 4)
                case "drop":
                    channel.drop()
                case "join":
                    channel.join()
                case "outage":
                    channel.drop()
                    for more in range(chance.randrange(1, 8)):
                        database.say(100 * (number + 1) + more)
                    database.purge(database.seq + 1 - chance.randrange(4))
                    if chance.random() < 0.5:
                        channel.join()
                case "purge":
                    database.purge(database.seq + 1 - chance.randrange(5))
                case "fail":
                    database.failures.append(ServerError(503, "later"))
            await settle(3)
        channel.join()
        await asyncio.sleep(60)
        await room.stop()
        check(room, database)

    run_virtual(main)


def check(room: Listening, database: Database) -> None:
    loaded = room.of(StateResynced)[0].seq or 0
    numbered = [event for event in room.events if event.seq is not None and not isinstance(event, StateResynced)]
    times = Counter(event.seq for event in numbered)
    assert all(count == 1 for count in times.values()), "an event was seen twice"
    lost: set[int] = set()
    for gap in room.of(Discontinuity):
        lost.update(range(gap.after_seq + 1, gap.before_seq))
    told = {event.seq for event in numbered}
    missing = set(range(loaded + 1, database.seq + 1)) - told - lost
    assert not missing, f"silent gaps: {missing}"
    shown = Counter((event.message.user_id, event.message.id) for event in room.of(ChatMessage))
    taken_back: list[MessageWithdrawn | ChatUnconfirmed] = [*room.of(MessageWithdrawn), *room.of(ChatUnconfirmed)]
    ended = Counter((event.user_id, event.message_id) for event in taken_back)
    for key, count in shown.items():
        assert count <= 1 + ended[key], "a message was shown twice without being taken back"
    snapshot = database._snapshot()
    assert room.room.seq == database.seq
    assert {song: (tally.up, tally.down) for song, tally in room.room.tallies.items()} == {
        row["song_id"]: (row["up"], row["down"]) for row in snapshot["tallies"]
    }
    assert [(message.id, message.content) for message in room.room.messages][-50:] == [
        (row["id"], row["content"]) for row in snapshot["messages"]
    ]


def test_server_time_is_learnt_from_the_snapshot() -> None:
    async def main() -> None:
        room = Listening(Database())
        await room.start()
        await room.join()
        assert abs(room.time.now() - EPOCH) < timedelta(seconds=1)
        await room.stop()

    run_virtual(main)
