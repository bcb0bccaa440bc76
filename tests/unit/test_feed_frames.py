"""By frames each event comes once and in the log's order, whatever frames are lost, repeated or late."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_feed import CONFIG, EPOCH, EVE, ME, SESSION, TOPIC, Database, Listening, mid, own
from whatssound.config import FeedChoice, SessionConfig
from whatssound.core.identifiers import frames_topic
from whatssound.errors import (
    FramesUnavailableError,
    ProtocolError,
    ServerError,
    SessionEndedError,
    SessionNotFoundError,
)
from whatssound.events import (
    ChatConfirmed,
    ChatMessage,
    ChatUnconfirmed,
    Discontinuity,
    FeedChanged,
    PresenceJoined,
    PresenceLeft,
    ReactionsCounted,
    RoomModeChanged,
    StateResynced,
    TipPending,
    TypingStopped,
    VoteCast,
)
from whatssound.models import Member, StoredRow
from whatssound.testing import run_virtual
from whatssound.testing.fakes import settle

FRAMES = frames_topic(SESSION)


class Framing(Database):
    """A session whose database sends frames."""

    def __init__(self, *, tick_ms: int = 0, joinable: bool = True, frames: bool = True) -> None:
        super().__init__()
        self.feed: dict[str, Any] = {
            "frames": frames,
            "tick_ms": tick_ms,
            "chat_path": "stored" if tick_ms else "broadcast",
        }
        self.joinable = joinable
        self.occupancy = 3
        self.framed = 0
        self.sent = 0
        self.status = "live"
        self.asked: list[float] = []
        self.flush: dict[str, Any] = {"sent": True, "pending": False, "wait_ms": 0}

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        self.asked.append(asyncio.get_running_loop().time())
        if function == "flush_frame":
            self.calls.append(function)
            if self.failures:
                raise self.failures.pop(0)
            return {**self.flush, "last_seq": self.seq}
        return await super().call(function, params, within=within)

    def _snapshot(self) -> dict[str, Any]:
        session = {"id": SESSION, "title": "t", "dj_id": EVE, "status": self.status}
        feed = {**self.feed, "joinable": self.joinable}
        return {**super()._snapshot(), "session": session, "feed": feed, "occupancy": self.occupancy}

    def frame(self, **changes: Any) -> dict[str, Any]:
        """What happened since the last frame."""
        events = copy.deepcopy(self.log[self.framed :])
        start, self.framed = self.framed + 1, self.seq
        self.sent += 1
        return {
            "session_id": SESSION,
            "from_seq": start if events else None,
            "to_seq": self.seq,
            "last_seq": self.seq,
            "events": events,
            "tallies": [],
            "occupancy": self.occupancy,
            "tick_ms": self.feed["tick_ms"],
            "server_time": f"2026-11-24T00:{self.sent // 60:02}:{self.sent % 60:02}+00:00",
            **changes,
        }


class Hearing(Listening):
    """A feed that hears frames."""

    def __init__(self, database: Framing, *, chance: float = 0.5, config: SessionConfig = CONFIG) -> None:
        super().__init__(database, chance=chance, config=config)
        self.base = database

    async def begin(self) -> None:
        await self.feed.open()
        self.flushing = asyncio.create_task(self.feed.flusher.run(), name="flusher")
        await self.start()
        self.feed.joined(TOPIC)
        self.feed.ready(TOPIC)
        self.feed.joined(FRAMES)
        self.feed.ready(FRAMES)
        await asyncio.sleep(1)  # the longest that a large room spreads its questions
        self.base.calls.clear()
        self.base.asked.clear()

    async def end(self) -> None:
        self.flushing.cancel()
        await asyncio.wait([self.flushing])
        await self.stop()

    def take(self, frame: Mapping[str, Any]) -> None:
        self.feed.broadcast(FRAMES, "frame", frame)

    def topics(self) -> list[str]:
        return [spec.topic for spec in self.feed.switch.joins()]

    def numbers(self) -> list[int]:
        return [event.seq for event in self.events if event.seq is not None and not isinstance(event, StateResynced)]


def test_it_opens_with_a_snapshot_and_joins_what_that_allows() -> None:
    async def main() -> None:
        database = Framing()
        database.say(1)
        room = Hearing(database)
        await room.feed.open()
        assert database.calls == ["session_snapshot"]
        session, frames = room.feed.switch.joins()
        assert (session.topic, session.private, session.changes) == (TOPIC, True, ())
        assert (frames.topic, frames.private, frames.replication) == (FRAMES, True, True)
        assert room.switches == 1
        assert room.events == []
        await room.begin()
        assert room.events == [StateResynced(seq=1, fetched=0, fresh=True)]
        assert room.syncs == 1
        await room.end()

    run_virtual(main)


@pytest.mark.parametrize(("joinable", "frames"), [(False, True), (True, False)])
def test_without_frames_for_us_it_is_postgres_changes_or_an_error(joinable: bool, frames: bool) -> None:
    async def main() -> None:
        choices: dict[FeedChoice, bool] = {"auto": False, "changes": False, "frames": True}
        for choice, fails in choices.items():
            room = Hearing(Framing(joinable=joinable, frames=frames), config=SessionConfig(feed=choice))
            if fails:
                with pytest.raises(FramesUnavailableError):
                    await room.feed.open()
                continue
            await room.feed.open()
            [session] = room.feed.switch.joins()
            assert [binding.table for binding in session.changes] == ["votes", "tips", "queue_items"]

    run_virtual(main)


def test_an_ended_session_is_an_error_before_anything_is_joined() -> None:
    async def main() -> None:
        database = Framing(joinable=False)
        database.status = "ended"
        room = Hearing(database)
        with pytest.raises(SessionEndedError):
            await room.feed.open()

    run_virtual(main)


def test_a_frame_tells_everything_at_once_and_asks_nothing() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.say(1)
        database.vote(EVE, 1)
        database.occupancy = 12
        room.take(database.frame())
        assert [(type(event).__name__, event.seq, event.recovered) for event in room.events[1:]] == [
            ("ChatMessage", 1, False),
            ("VoteCast", 2, False),
        ]
        assert room.room.occupancy == 12
        assert room.room.seq == 2
        room.take(database.frame(occupancy=4, server_time="2026-11-23T00:00:00+00:00"))
        assert room.room.occupancy == 12, "an older frame knows less"
        await asyncio.sleep(20)
        assert database.calls == []
        await room.end()

    run_virtual(main)


@pytest.mark.parametrize(("tick_ms", "occupancy", "within"), [(0, 3, 0.0), (300, 3, 0.3), (0, 900, 1.0)])
def test_a_gap_is_asked_for_at_once_or_spread_where_many_ask(tick_ms: int, occupancy: int, within: float) -> None:
    async def main() -> None:
        waits = []
        for chance in (0.0, 0.999):
            database = Framing(tick_ms=tick_ms)
            database.occupancy = occupancy
            room = Hearing(database, chance=chance)
            await room.begin()
            await asyncio.sleep(2)
            database.asked.clear()
            database.calls.clear()
            for number in range(3):
                database.say(number)
                frame = database.frame()
                if number:
                    room.take(frame)
            assert room.numbers() == []
            heard_at = asyncio.get_running_loop().time()
            await asyncio.sleep(2)
            assert database.calls == ["events_since"], "one question for the whole gap"
            waits.append(database.asked[0] - heard_at)
            assert room.numbers() == [1, 2, 3]
            assert room.feed.frames.gaps == 2
            await room.end()
        assert waits[0] == pytest.approx(0, abs=0.001)
        assert waits[1] == pytest.approx(within, abs=0.01)

    run_virtual(main)


def test_after_a_lost_connection_a_large_room_asks_in_turn_and_first_what_was_missed() -> None:
    async def main() -> None:
        database = Framing(tick_ms=500)
        database.occupancy = 1000
        room = Hearing(database, chance=0.5)
        await room.begin()
        database.say(1)
        missed = database.frame()
        room.feed.joined(FRAMES)
        room.feed.ready(FRAMES)
        before = asyncio.get_running_loop().time()
        database.say(2)
        room.take(database.frame())
        room.feed.learned(2)
        await asyncio.sleep(12)
        assert database.asked == []
        assert room.numbers() == []
        await asyncio.sleep(1)
        assert database.calls == ["events_since"]
        assert database.asked[0] - before == pytest.approx(1000 / 40 * 0.5)
        assert room.numbers() == [1, 2]
        assert room.of(StateResynced)[-1].fetched == 2
        room.take(missed)
        assert room.numbers() == [1, 2]
        await room.end()

    run_virtual(main)


def test_after_a_lost_connection_a_frame_that_follows_shows_that_nothing_was_missed() -> None:
    async def main() -> None:
        database = Framing(tick_ms=500)
        database.occupancy = 1000
        room = Hearing(database, chance=0.5)
        await room.begin()
        syncs = room.syncs
        room.feed.joined(FRAMES)
        room.feed.ready(FRAMES)
        await asyncio.sleep(1)
        database.say(1)
        room.take(database.frame())
        assert room.syncs == syncs + 1
        assert room.numbers() == [1]
        assert room.of(StateResynced)[-1].fetched == 0
        await asyncio.sleep(60)
        assert room.numbers() == [1]
        room.feed.joined(FRAMES)
        room.feed.ready(FRAMES)
        room.take(database.frame())  # nothing has happened: what is told every now and then
        assert room.syncs == syncs + 2
        await room.end()

    run_virtual(main)


def test_after_a_lost_connection_a_small_room_asks_at_once() -> None:
    async def main() -> None:
        database = Framing()
        database.occupancy = 40
        room = Hearing(database, chance=1.0)
        await room.begin()
        room.feed.joined(FRAMES)
        room.feed.ready(FRAMES)
        await settle()
        assert database.calls == ["events_since"]
        await room.end()

    run_virtual(main)


def test_frames_that_are_late_or_repeated_change_nothing() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        frames = []
        for number in range(3):
            database.say(number)
            frames.append(database.frame())
        room.take(frames[1])
        assert room.numbers() == []
        room.take(frames[0])
        assert room.numbers() == [1, 2]
        for frame in (frames[0], frames[2], frames[1], frames[2]):
            room.take(frame)
        assert room.numbers() == [1, 2, 3]
        await settle()
        assert database.calls == [], "the gap has closed by itself"
        await room.end()

    run_virtual(main)


def test_a_frame_that_overlaps_what_was_delivered_brings_the_rest() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.say(1)
        room.take(database.frame())
        database.say(2)
        database.framed = 0
        room.take(database.frame())
        assert room.numbers() == [1, 2]
        await room.end()

    run_virtual(main)


def test_what_a_reply_tells_of_is_asked_for_only_if_no_frame_brings_it() -> None:
    async def main() -> None:
        database = Framing(tick_ms=300)
        room = Hearing(database)
        await room.begin()
        await asyncio.sleep(2)
        database.calls.clear()
        for number in range(10):
            database.say(number)
            room.feed.heard_reply({"last_seq": database.seq})
            await asyncio.sleep(0.4)
            room.take(database.frame())
        assert database.calls == []
        database.say(99)
        room.feed.heard_heartbeat({"last_seq": database.seq, "occupancy": 5})
        assert room.room.occupancy == 5
        await asyncio.sleep(0.7)
        assert database.calls == []
        await asyncio.sleep(1.5)
        assert database.calls == ["events_since"]
        assert room.numbers() == list(range(1, 12))
        await room.end()

    run_virtual(main)


def test_after_a_silence_the_log_is_asked() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        await asyncio.sleep(28.5)
        assert database.calls == []
        database.say(1)
        await asyncio.sleep(2)
        assert database.calls == ["events_since"]
        assert room.numbers() == [1]
        await room.end()

    run_virtual(main)


def test_a_question_that_fails_is_asked_again_and_not_in_a_hurry() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.say(1)
        database.frame()
        database.say(2)
        database.failures = [ServerError(503, "later") for _ in range(4)]
        room.take(database.frame())
        await asyncio.sleep(10)
        assert len(database.calls) == 5
        assert all(later - sooner > 0.5 for sooner, later in pairwise(database.asked))
        assert room.numbers() == [1, 2]
        assert len(room.errors) == 4
        await room.end()

    run_virtual(main)


def test_a_silent_log_that_cannot_be_asked_is_asked_now_and_then() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.failures = [ServerError(503, "later") for _ in range(1_000)]
        await asyncio.sleep(60)
        assert 20 <= len(database.calls) <= 40
        await room.end()

    run_virtual(main)


def test_what_the_log_no_longer_has_is_one_discontinuity() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        for number in range(5):
            database.say(number)
        database.purge(6)
        room.take(database.frame(from_seq=None, events=[]))
        await asyncio.sleep(2)
        assert [(gap.after_seq, gap.before_seq) for gap in room.of(Discontinuity)] == [(0, 6)]
        assert room.room.seq == 5
        await room.end()

    run_virtual(main)


def test_a_frame_that_cannot_be_read_is_reported_and_asked_for() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.say(1)
        room.take(database.frame(from_seq=7))
        assert isinstance(room.errors[0], ProtocolError)
        await asyncio.sleep(0.1)
        assert room.numbers() == [1]
        await room.end()

    run_virtual(main)


def test_frames_where_members_can_write_are_ignored_and_counted() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.say(1)
        room.feed.broadcast(TOPIC, "frame", database.frame())
        assert room.numbers() == []
        assert room.feed.forged == 1
        room.feed.broadcast(FRAMES, "chat", {"message": {}})
        assert room.feed.forged == 1
        await room.end()

    run_virtual(main)


def test_a_broadcast_is_confirmed_and_not_repeated_by_its_frame() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.broadcast(TOPIC, "typing", {"user_id": EVE, "typing": True})
        room.hear(1)
        database.say(1)
        room.take(database.frame())
        assert len(room.of(ChatMessage)) == 1
        assert [event.seq for event in room.of(ChatConfirmed)] == [1]
        await room.end()

    run_virtual(main)


def test_who_spoke_has_stopped_typing_whichever_way_the_words_came() -> None:
    async def main() -> None:
        database = Framing(tick_ms=300)
        room = Hearing(database)
        await room.begin()
        room.feed.broadcast(TOPIC, "typing", {"user_id": EVE, "typing": True})
        database.say(1)
        room.take(database.frame())
        assert [event.user_id for event in room.of(TypingStopped)] == [EVE]
        await room.end()

    run_virtual(main)


def test_an_own_message_is_confirmed_in_its_place() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.said(own(7))
        database.vote(EVE, 1)
        seq = database.say(7, "mine", ME)
        room.feed.stored(own(7), StoredRow(id=mid(7), status="stored", seq=seq))
        assert room.numbers() == [], "a vote comes before it"
        room.take(database.frame())
        assert room.numbers() == [1, 2]
        assert [event.own for event in room.of(ChatConfirmed)] == [True]
        room.feed.said(own(8))
        database.say(8, "mine", ME)
        room.feed.stored(own(8), StoredRow(id=mid(8), status="stored", seq=3))
        assert room.numbers() == [1, 2, 3], "nothing comes before this one"
        room.take(database.frame())
        assert room.numbers() == [1, 2, 3]
        await room.end()

    run_virtual(main)


def test_an_own_message_that_closes_a_gap_lets_frames_go_on() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.said(own(7))
        database.say(7, "mine", ME)
        database.frame()  # is lost
        database.vote(EVE, 1)
        room.take(database.frame())
        assert room.numbers() == []
        room.feed.stored(own(7), StoredRow(id=mid(7), status="stored", seq=1))
        assert room.numbers() == [1, 2]
        await room.end()

    run_virtual(main)


def test_an_own_message_whose_frame_is_lost_is_asked_for() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.said(own(7))
        database.vote(EVE, 1)
        seq = database.say(7, "mine", ME)
        room.feed.stored(own(7), StoredRow(id=mid(7), status="stored", seq=seq))
        await asyncio.sleep(1.1)
        assert database.calls == ["events_since"]
        assert room.numbers() == [1, 2]
        await room.end()

    run_virtual(main)


def test_an_entry_of_a_frame_that_cannot_be_read_is_reported_and_passed() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.say(1)
        database.add("vote", {"song_id": 1})
        room.take(database.frame())
        database.say(3)
        room.take(database.frame())
        assert room.numbers() == [1, 3]
        assert room.room.seq == 3
        assert [type(error) for error in room.errors] == [ProtocolError]
        await asyncio.sleep(5)
        assert database.calls == []
        await room.end()

    run_virtual(main)


def test_rows_that_frames_bring_are_left_to_them() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.row_changed("votes", database.vote(EVE, 1))
        assert room.numbers() == []
        room.take(database.frame())
        assert [event.seq for event in room.of(VoteCast)] == [1]
        await room.end()

    run_virtual(main)


def tip(number: int) -> dict[str, Any]:
    return {
        "id": mid(number),
        "session_id": SESSION,
        "tipper_id": ME,
        "dj_id": EVE,
        "amount": 500,
        "currency": "EUR",
        "status": "pending",
        "created_at": EPOCH.isoformat(),
    }


def test_own_pending_tips_are_told_once_and_their_fate_is_listened_for() -> None:
    async def main() -> None:
        room = Hearing(Framing())
        await room.begin()
        before = room.switches
        for number in (1, 2):
            room.feed.heard_reply({"last_seq": 0, "tip": tip(number)})
            room.feed.row_changed("tips", tip(number))
        assert [str(event.tip.id) for event in room.of(TipPending)] == [mid(1), mid(2)]
        session = room.feed.switch.joins()[0]
        assert [binding.table for binding in session.changes] == ["tips"]
        assert room.switches == before + 1
        await room.end()

    run_virtual(main)


def test_the_dj_hears_of_pending_tips_by_postgres_changes() -> None:
    async def main() -> None:
        room = Hearing(Framing())
        room.room.me = Member(user_id=ME, role="dj")
        await room.begin()
        assert [binding.table for binding in room.feed.switch.joins()[0].changes] == ["tips"]
        room.feed.row_changed("tips", tip(1))
        assert len(room.of(TipPending)) == 1
        await room.end()

    run_virtual(main)


def test_a_refused_join_falls_back_to_postgres_changes_for_good() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.refused(FRAMES, "ChannelRateLimitReached: Too many channels")
        assert room.feed.switch.mode.feed == "frames", "that passes"
        assert not room.feed.excuses_refusal()
        room.feed.refused(FRAMES, "Unauthorized: You do not have permissions to read from this Channel topic")
        assert room.of(FeedChanged) == [FeedChanged(feed="changes", chat_path="broadcast", tick_ms=0, reason="refused")]
        assert room.feed.excuses_refusal()
        assert not room.feed.excuses_refusal(), "one refusal, one excuse"
        assert room.topics() == [TOPIC]
        database.say(1)
        room.feed.joined(TOPIC)
        room.feed.ready(TOPIC)
        await settle()
        assert room.numbers() == [1]
        await room.end()

    run_virtual(main)


def test_a_refused_join_is_the_end_where_nothing_but_frames_will_do() -> None:
    async def main() -> None:
        room = Hearing(Framing(), config=SessionConfig(feed="frames"))
        await room.begin()
        room.feed.refused(FRAMES, "Unauthorized: no")
        [loss] = room.losses
        assert isinstance(loss, FramesUnavailableError)
        assert "policies" in loss.problem
        await room.end()

    run_virtual(main)


def test_the_database_may_change_how_everything_travels() -> None:
    async def main() -> None:
        room = Hearing(Framing())
        await room.begin()
        for feed in (
            {"frames": True, "tick_ms": 500, "chat_path": "stored"},
            {"frames": True, "tick_ms": 520, "chat_path": "stored"},
            {"frames": True, "tick_ms": 700, "chat_path": "stored"},
            {"frames": False, "tick_ms": 700, "chat_path": "broadcast"},
            {"frames": "?"},
        ):
            room.feed.heard_heartbeat({"last_seq": 0, "feed": feed})
        assert [(event.feed, event.chat_path, event.tick_ms) for event in room.of(FeedChanged)] == [
            ("frames", "stored", 500),
            ("frames", "stored", 700),
            ("changes", "broadcast", 0),
        ]
        assert room.topics() == [TOPIC]
        assert len(room.errors) == 1
        await room.end()

    run_virtual(main)


def presence(*users: str, role: str = "listener") -> dict[str, Any]:
    return {user: {"metas": [{"phx_ref": user, "user_id": user, "username": user, "role": role}]} for user in users}


def test_a_listener_leaves_the_writable_topic_of_a_large_room_and_comes_back() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        room.feed.presence_state(presence("a", "b"))
        assert len(room.of(PresenceJoined)) == 2
        database.occupancy = 301
        room.take(database.frame())
        assert room.topics() == [FRAMES]
        assert room.feed.switch.mode.chat_path == "stored"
        room.feed.presence_diff({}, presence("a"))
        room.feed.left(TOPIC)
        await asyncio.sleep(20)
        assert room.room.presence == {}
        assert room.of(PresenceLeft) == []
        database.occupancy = 241
        room.take(database.frame())
        assert room.topics() == [FRAMES]
        database.occupancy = 239
        room.take(database.frame())
        assert room.topics() == [TOPIC, FRAMES]
        room.feed.joined(TOPIC)
        room.feed.presence_state(presence("b"))
        assert list(room.room.presence) == ["b"]
        assert [(event.mode, event.occupancy) for event in room.of(RoomModeChanged)] == [("large", 301), ("small", 239)]
        await room.end()

    run_virtual(main)


def test_the_crew_stays_and_is_told_of_the_crew_alone() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        room.room.me = Member(user_id=ME, role="moderator")
        await room.begin()
        room.feed.presence_state({**presence("a", "b", "c"), **presence("dj", role="dj")})
        database.occupancy = 301
        room.take(database.frame())
        assert room.topics() == [TOPIC, FRAMES]
        room.feed.presence_diff({}, presence("a", "b"))
        room.feed.presence_diff(presence("mod", role="moderator"), {})
        await asyncio.sleep(20)
        assert room.of(PresenceLeft) == []
        assert sorted(room.room.presence) == ["c", "dj", "mod"]
        room.feed.presence_diff({}, presence("dj", role="dj"))
        await asyncio.sleep(20)
        assert [event.member.user_id for event in room.of(PresenceLeft)] == ["dj"]
        database.occupancy = 10
        room.take(database.frame())
        told = [event.member.user_id for event in room.of(PresenceJoined)]
        assert told[4:] == ["mod", "c"], "who is still here is told of again"
        await room.end()

    run_virtual(main)


def test_a_new_role_changes_what_is_joined() -> None:
    async def main() -> None:
        database = Framing()
        database.occupancy = 900
        room = Hearing(database)
        room.room.me = Member(user_id=ME)
        await room.begin()
        assert room.topics() == [FRAMES]
        payload = {"action": "role_changed", "user_id": ME, "username": "ana", "role": "moderator"}
        database.add("member", payload)
        room.take(database.frame())
        assert room.topics() == [TOPIC, FRAMES]
        assert room.syncs == 1
        room.feed.joined(TOPIC)
        assert room.syncs == 2, "every topic is joined again"
        await room.end()

    run_virtual(main)


def test_a_ban_is_asked_about_at_once() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.member("banned", ME)
        database.failures = [SessionNotFoundError("session_not_found", "unknown")]
        room.take(database.frame())
        await settle()
        assert [type(loss) for loss in room.losses] == [SessionNotFoundError]
        room.flushing.cancel()
        await asyncio.wait([room.flushing, room.task])

    run_virtual(main)


def test_frames_that_wait_are_bounded_and_the_log_brings_the_rest() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        database.failures = [ServerError(503, "later") for _ in range(2)]
        database.say(0)
        database.frame()
        for start in range(0, 12_000, 1_000):
            for number in range(1_000):
                database.say(start + number + 1)
            room.take(database.frame())
        assert room.feed.frames._held_events == 10_000
        await asyncio.sleep(10)
        assert room.feed.frames._held_events == 0
        assert room.numbers() == list(range(1, 12_002))
        await room.end()

    run_virtual(main)


def test_reactions_are_counted_once() -> None:
    async def main() -> None:
        database = Framing()
        room = Hearing(database)
        await room.begin()
        frame = database.frame(reactions={"🔥": 12})
        room.take(frame)
        room.take(frame)
        room.take(database.frame(reactions={"🔥": 1, "❤️": 2}))
        room.feed.broadcast(TOPIC, "reaction", {"user_id": EVE, "counts": {"🔥": 3, "x y": 1}})
        room.feed.broadcast(TOPIC, "reaction", {"user_id": EVE})
        assert [event.counts for event in room.of(ReactionsCounted)] == [
            {"🔥": 12},
            {"🔥": 1, "❤️": 2},
            {"🔥": 3},
        ]
        assert room.room.reactions == {"🔥": 16, "❤️": 2}
        assert database.calls == []
        await room.end()

    run_virtual(main)


# --- asking for a frame


def pending(seq: int, wait_ms: int = 300) -> dict[str, Any]:
    return {"last_seq": seq, "frame": {"pending": True, "wait_ms": wait_ms}}


def test_a_writer_asks_once_for_the_frame_its_writes_wait_for() -> None:
    async def main() -> None:
        database = Framing(tick_ms=400)
        room = Hearing(database)
        await room.begin()
        for number in range(5):
            database.say(number)
            room.feed.heard_reply(pending(database.seq))
        await asyncio.sleep(0.29)
        assert database.calls == []
        await asyncio.sleep(0.15)
        assert database.calls == ["flush_frame"]
        await room.end()

    run_virtual(main)


def test_nobody_asks_once_a_frame_has_brought_it() -> None:
    async def main() -> None:
        database = Framing(tick_ms=400)
        room = Hearing(database)
        await room.begin()
        database.say(1)
        room.feed.heard_reply(pending(1))
        await asyncio.sleep(0.2)
        room.take(database.frame())
        await asyncio.sleep(3)
        assert database.calls == []
        room.feed.heard_reply(pending(1))  # no event of ours waits: reactions do
        await asyncio.sleep(1)
        assert database.calls == ["flush_frame"]
        await room.end()

    run_virtual(main)


def test_a_heartbeat_makes_nobody_ask() -> None:
    async def main() -> None:
        database = Framing(tick_ms=400)
        room = Hearing(database)
        await room.begin()
        room.feed.heard_heartbeat(pending(0))
        await asyncio.sleep(2)
        assert database.calls == []
        await room.end()

    run_virtual(main)


def test_a_question_that_fails_is_left_to_the_next_write_and_one_that_comes_early_is_repeated() -> None:
    async def main() -> None:
        database = Framing(tick_ms=400)
        room = Hearing(database)
        await room.begin()
        database.say(1)
        database.failures = [ServerError(503, "later")]
        room.feed.heard_reply(pending(1))
        await asyncio.sleep(0.5)
        assert database.calls == ["flush_frame"]
        database.flush = {"sent": False, "pending": True, "wait_ms": 100}
        room.feed.heard_reply(pending(1))
        await asyncio.sleep(0.5)
        database.flush = {"sent": True, "pending": False, "wait_ms": 0, "to_seq": 1}
        await asyncio.sleep(0.5)
        asked = database.calls.count("flush_frame")
        assert asked >= 3
        await asyncio.sleep(0.5)
        assert database.calls.count("flush_frame") == asked
        assert room.feed.flusher.asked == asked - 1
        await room.end()

    run_virtual(main)


# --- any order, any loss

STEPS = [
    *["say"] * 5,
    *["vote"] * 5,
    *["frame"] * 6,
    *["wait"] * 3,
    "own",
    "join",
    "fail",
    "purge",
    "heartbeat",
    "resize",
]


@settings(max_examples=200)
@given(seed=st.integers(0, 1_000_000), count=st.integers(5, 60), tick_ms=st.sampled_from([0, 300]))
def test_every_event_once_and_in_order_and_the_state_converges(seed: int, count: int, tick_ms: int) -> None:
    async def main() -> None:
        chance = Random(seed)
        database = Framing(tick_ms=tick_ms)
        database.page = chance.choice([1, 3, 500])
        database.delay = lambda: chance.random() * 0.3
        for number in range(chance.randrange(4)):
            database.say(900_000 + number)
        room = Hearing(database, chance=chance.random())
        loaded = database.seq
        database.framed = loaded
        await room.begin()
        loop = asyncio.get_running_loop()
        for number, step in enumerate(chance.choices(STEPS, k=count)):
            match step:
                case "say":
                    if chance.random() < 0.5:
                        room.hear(number)
                    database.say(number)
                case "vote":
                    database.vote(chance.choice([EVE, ME]), chance.choice([1, -1]))
                case "own":
                    room.feed.said(own(number))
                    row = StoredRow(id=mid(number), status="stored", seq=database.say(number, "mine", ME))
                    loop.call_later(chance.random(), room.feed.stored, own(number), row)
                case "frame":
                    frame = database.frame()
                    for _ in range(chance.choice([0, 1, 1, 1, 2])):
                        loop.call_later(chance.choice([0, 0, 1]) * chance.random(), room.take, frame)
                case "wait":
                    await asyncio.sleep(chance.random() * 3)
                case "join":
                    room.feed.joined(FRAMES)
                    room.feed.ready(FRAMES)
                case "fail":
                    database.failures.append(ServerError(503, "later"))
                case "purge":
                    database.purge(database.seq + 1 - chance.randrange(5))
                case "beat":
                    room.feed.heard_heartbeat({"last_seq": database.seq, "occupancy": database.occupancy})
                case "resize":
                    database.occupancy = chance.choice([3, 250, 400])
            await settle(3)
        await asyncio.sleep(80)
        await room.end()
        check(room, database, loaded)

    run_virtual(main)


def check(room: Hearing, database: Framing, loaded: int) -> None:
    numbers = room.numbers()
    lost = {seq for gap in room.of(Discontinuity) for seq in range(gap.after_seq + 1, gap.before_seq)}
    assert numbers == sorted(set(numbers)), "an event came twice or out of order"
    assert set(range(loaded + 1, database.seq + 1)) - set(numbers) <= lost
    shown = Counter((event.message.user_id, event.message.id) for event in room.of(ChatMessage))
    ended = Counter((event.user_id, event.message_id) for event in room.of(ChatUnconfirmed))
    assert all(times <= 1 + ended[key] for key, times in shown.items()), "shown twice without being taken back"
    snapshot = database._snapshot()
    assert room.room.seq == database.seq
    assert {song: (tally.up, tally.down) for song, tally in room.room.tallies.items()} == {
        row["song_id"]: (row["up"], row["down"]) for row in snapshot["tallies"]
    }
    assert [(message.id, message.content) for message in room.room.messages][-50:] == [
        (row["id"], row["content"]) for row in snapshot["messages"]
    ]
