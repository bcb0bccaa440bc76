"""What users call: checked before it is sent, sent with the right names, and read into receipts."""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import Any, Self

import pytest

from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig, SessionConfig
from whatssound.connection import Connection
from whatssound.core.identifiers import Uuid7Source, uuid7_unix_ms
from whatssound.core.reasons import Reason
from whatssound.core.reducer import RoomState
from whatssound.errors import (
    BannedError,
    ChatFrozenError,
    EmptyMessageError,
    IdempotencyMismatchError,
    InvalidInputError,
    InvalidTextError,
    MessageTooLongError,
    MutedError,
    NotFoundError,
    NotSignedInError,
    OutcomeUnknownError,
    ProtocolError,
    QueueConflictError,
    RateLimitedError,
    RequestTimeoutError,
    SessionClosedError,
    SessionEndedError,
)
from whatssound.events import Event, QueueChanged, ReactionsCounted
from whatssound.features import Features
from whatssound.feed import Feed
from whatssound.gateway import Gateway
from whatssound.models import FeedInfo, Member, QueueItem, SessionId, SessionInfo, SessionSettings, UserId
from whatssound.outbox import Outbox
from whatssound.ports import JoinSpec
from whatssound.room import Room
from whatssound.state import ServerTime
from whatssound.testing import FakeLinks, FakeRpc, FakeTokens, LoopClock, run_virtual
from whatssound.testing.fakes import settle

ID = SessionId("5e551010-0000-4000-8000-000000000000")
ANA = UserId("00000000-0000-4000-8000-0000000000aa")
EVE = UserId("00000000-0000-4000-8000-0000000000ee")
SONG = "50000000-0000-4000-8000-000000000001"
ITEM = "17000000-0000-4000-8000-000000000001"
KEY = "ce000000-0000-4000-8000-000000000001"
NOW = "2026-11-24T00:00:00+00:00"


def item(**changes: Any) -> dict[str, Any]:
    return {
        "id": ITEM,
        "session_id": ID,
        "song_id": SONG,
        "title": "Cumbia",
        "rank": 1.0,
        "status": "queued",
        "version": 3,
        "action": "added",
        "seq": 5,
        **changes,
    }


class Desk:
    """The features over fakes; joined."""

    def __init__(self, *, user: str | None = ANA, config: SessionConfig | None = None) -> None:
        self.rpc = FakeRpc()
        self.tokens = FakeTokens(user, "ana")
        self.links = FakeLinks()
        self.events: list[Event] = []
        config = config or SessionConfig()
        clock = LoopClock()
        gateway = Gateway(self.rpc, RetryConfig(attempts=2), clock)
        self.state = RoomState(user, 200)
        self.state.session = SessionInfo(id=ID, title="Noche", dj_id=EVE, status="live")
        self.state.me = Member(user_id=ANA, username="ana") if user else None
        server_time = ServerTime(clock.unix_ms)
        feed = Feed(
            ID,
            me=user,
            gateway=gateway,
            room=self.state,
            server_time=server_time,
            config=config,
            clock=clock,
            publish=self.events.append,
            report=self._unexpected,
            synced=lambda: None,
            rejoined=self._rejoined,
            switched=lambda: None,
            lost=self._unexpected,
            chance=lambda: 0.5,
        )
        self.connection = Connection(
            [JoinSpec(topic=f"session:{ID}", private=True)],
            self.links,
            self.tokens,
            ConnectionConfig(),
            clock,
            listener=feed,
            changed=lambda event: None,
            chance=lambda: 0.5,
        )
        outbox = Outbox(
            ID,
            gateway,
            OutboxConfig(),
            clock,
            chance=lambda: 0.5,
            settled=lambda receipt, outcome: None,
            heard=feed.heard_reply,
        )
        self.room = Room(
            session_id=ID,
            gateway=gateway,
            connection=self.connection,
            outbox=outbox,
            feed=feed,
            state=self.state,
            config=config,
            tokens=self.tokens,
            clock=clock,
            server_time=server_time,
            ids=Uuid7Source(Random(1).getrandbits),
        )
        self.features = Features(self.room)
        self.tasks: list[asyncio.Task[None]] = []

    def _rejoined(self) -> None:
        self.features.presence.joined()

    @staticmethod
    def _unexpected(error: Exception) -> None:
        raise AssertionError(error)

    async def __aenter__(self) -> Self:
        self.tasks = [
            asyncio.create_task(self.connection.run()),
            asyncio.create_task(self.features.presence.run()),
        ]
        await settle()
        self.links.last.join(ready=False)
        return self

    async def __aexit__(self, *args: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)

    @property
    def pushed(self) -> list[tuple[str, dict[str, Any]]]:
        return self.links.last.pushed


# --- chat


def test_a_message_is_shown_broadcast_and_handed_to_the_outbox() -> None:
    async def main() -> None:
        async with Desk() as desk:
            receipt = await desk.features.chat.send("¡Temazo!")
            (event, payload), *_ = desk.pushed
            assert event == "broadcast"
            assert (payload["type"], payload["event"]) == ("broadcast", "chat")
            body = payload["payload"]["message"]
            assert (body["id"], body["user_id"], body["username"], body["content"]) == (
                receipt.id,
                ANA,
                "ana",
                "¡Temazo!",
            )
            assert uuid7_unix_ms(receipt.id) == LoopClock().unix_ms()
            assert desk.room.outbox.waiting == 1
            assert [message.content for message in desk.state.messages] == ["¡Temazo!"]

    run_virtual(main)


def test_where_chat_is_stored_first_nothing_is_broadcast() -> None:
    async def main() -> None:
        async with Desk() as desk:
            desk.room.feed.switch.told(FeedInfo(frames=True, tick_ms=500, chat_path="stored"), may_join=True)
            assert desk.features.state.chat_path == "stored"
            await desk.features.chat.send("¡Temazo!")
            assert desk.pushed == []
            assert desk.room.outbox.waiting == 1
            assert [message.content for message in desk.state.messages] == ["¡Temazo!"]

    run_virtual(main)


def test_without_a_connection_a_message_is_taken_all_the_same() -> None:
    async def main() -> None:
        async with Desk() as desk:
            desk.links.last.end(Reason.CLOSED)
            await settle()
            receipt = await desk.features.chat.send("hola")
            assert not receipt.is_settled
            assert desk.room.outbox.waiting == 1
            assert desk.pushed == []

    run_virtual(main)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", EmptyMessageError),
        (" \n\t", EmptyMessageError),
        ("x" * 501, MessageTooLongError),
        ("nul \0", InvalidTextError),
        ("\ud800", InvalidTextError),
        (7, InvalidInputError),
    ],
)
def test_a_text_that_cannot_be_stored_is_refused_here(text: Any, error: type[Exception]) -> None:
    async def main() -> None:
        async with Desk() as desk:
            with pytest.raises(error):
                await desk.features.chat.send(text)
            assert desk.pushed == []
            assert desk.room.outbox.waiting == 0

    run_virtual(main)


@pytest.mark.parametrize(
    ("session", "me", "error"),
    [
        ({"status": "ended"}, {}, SessionEndedError),
        ({}, {"banned": True}, BannedError),
        ({}, {"muted_until": "2099-01-01T00:00:00+00:00"}, MutedError),
        ({"settings": SessionSettings(chat_frozen=True)}, {}, ChatFrozenError),
        ({"settings": SessionSettings(max_message_length=2)}, {}, MessageTooLongError),
        ({"settings": SessionSettings(chat_frozen=True)}, {"role": "moderator"}, None),
        ({}, {"muted_until": "2000-01-01T00:00:00+00:00"}, None),
    ],
)
def test_what_the_database_would_refuse_is_not_even_broadcast(
    session: dict[str, Any], me: dict[str, Any], error: type[Exception] | None
) -> None:
    async def main() -> None:
        async with Desk() as desk:
            known = desk.state.session
            assert known is not None
            desk.state.session = known.model_copy(update=session)
            desk.state.me = Member.model_validate({"user_id": ANA, **me})
            if error is None:
                await desk.features.chat.send("hola")
                return
            with pytest.raises(error) as caught:
                await desk.features.chat.send("hola")
            assert desk.pushed == []
            if error is MutedError:
                assert isinstance(caught.value, MutedError)
                assert (caught.value.retry_after or 0) > 0

    run_virtual(main)


def test_history_is_read_page_by_page_newest_first() -> None:
    async def main() -> None:
        def row(seq: int) -> dict[str, Any]:
            return {
                "id": f"01900000-0000-7000-8000-{seq:012}",
                "user_id": EVE,
                "content": str(seq),
                "created_at": NOW,
                "seq": seq,
            }

        desk = Desk()
        desk.rpc.then(
            "message_history",
            {"messages": [row(9), row(8)], "more": True},
            {"messages": [row(5)], "more": False},
            {"messages": [], "more": True},
            {"messages": [{"id": "x"}], "more": False},
        )
        got = [message.seq async for message in desk.features.chat.history(page=2)]
        assert got == [9, 8, 5]
        assert [call["p_before_seq"] for call in desk.rpc.made("message_history")] == [None, 8]
        assert [message async for message in desk.features.chat.history(before_seq=3)] == []
        with pytest.raises(ProtocolError):
            await anext(desk.features.chat.history())
        for page in (0, 201):
            with pytest.raises(InvalidInputError):
                await anext(desk.features.chat.history(page=page))

    run_virtual(main)


# --- votes, tips


def test_a_vote_is_a_command_with_a_key_and_a_receipt() -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.always(
            "cast_vote",
            {
                "song_id": SONG,
                "value": 1,
                "tally": {"up": 3, "down": 1, "score": 2},
                "seq": 8,
                "changed": True,
                "last_seq": 8,
            },
        )
        receipt = await desk.features.votes.cast(SONG.upper(), 1)
        (call,) = desk.rpc.made("cast_vote")
        assert call == {"p_session_id": ID, "p_song_id": SONG, "p_value": 1, "p_key": receipt.key}
        assert (receipt.tally.score, receipt.tally.seq, receipt.seq) == (2, 8, 8)
        assert (await desk.features.votes.cast(SONG, 1, key=KEY)).key == KEY

    run_virtual(main)


def test_retracting_names_no_value() -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.always("retract_vote", {"song_id": SONG, "value": 0, "tally": {}, "changed": False})
        receipt = await desk.features.votes.retract(SONG, key=KEY)
        assert desk.rpc.made("retract_vote") == [{"p_session_id": ID, "p_song_id": SONG, "p_key": KEY}]
        assert (receipt.value, receipt.changed) == (0, False)

    run_virtual(main)


@pytest.mark.parametrize("value", [0, 2, True, 1.0, "1", None])
def test_a_vote_is_one_or_minus_one(value: Any) -> None:
    async def main() -> None:
        desk = Desk()
        with pytest.raises(InvalidInputError):
            await desk.features.votes.cast(SONG, value)
        with pytest.raises(InvalidInputError):
            await desk.features.votes.cast("no uuid", 1)
        assert desk.rpc.calls == []

    run_virtual(main)


TIP = {
    "id": "79000000-0000-4000-8000-000000000001",
    "session_id": ID,
    "tipper_id": ANA,
    "dj_id": EVE,
    "amount": 500,
    "currency": "EUR",
    "status": "pending",
    "created_at": NOW,
}


def test_a_tip_whose_answer_was_lost_is_sent_again_with_the_same_key() -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.then("send_tip", RequestTimeoutError("lost"), {"tip": TIP, "duplicate": True})
        receipt = await desk.features.tips.send(500, note="gracias")
        first, second = desk.rpc.made("send_tip")
        assert first == second
        assert first == {
            "p_session_id": ID,
            "p_amount": 500,
            "p_currency": "EUR",
            "p_note": "gracias",
            "p_key": receipt.key,
        }
        assert receipt.duplicate

    run_virtual(main)


def test_a_tip_that_nobody_knows_of_names_its_key() -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.always("send_tip", RequestTimeoutError("lost"))
        with pytest.raises(OutcomeUnknownError) as caught:
            await desk.features.tips.send(500, key=KEY)
        assert caught.value.key == KEY
        desk.rpc.always("send_tip", IdempotencyMismatchError("idempotency_mismatch"))
        with pytest.raises(IdempotencyMismatchError):
            await desk.features.tips.send(600, key=KEY)

    run_virtual(main)


@pytest.mark.parametrize(
    ("amount", "currency", "note", "key"),
    [
        (0, "EUR", None, None),
        (-5, "EUR", None, None),
        (5.0, "EUR", None, None),
        (True, "EUR", None, None),
        (5, "eur", None, None),
        (5, "EURO", None, None),
        (5, "", None, None),
        (5, "EUR", "nul\0", None),
        (5, "EUR", None, "no uuid"),
    ],
)
def test_a_tip_that_cannot_be_is_not_sent(amount: Any, currency: str, note: str | None, key: str | None) -> None:
    async def main() -> None:
        desk = Desk()
        with pytest.raises(InvalidInputError):
            await desk.features.tips.send(amount, currency=currency, note=note, key=key)
        assert desk.rpc.calls == []

    run_virtual(main)


@pytest.mark.parametrize("answer", [{}, {"tip": None}, {"tip": {"id": 1}}])
def test_an_answer_of_another_shape_is_a_protocol_error(answer: dict[str, Any]) -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.always("send_tip", answer)
        with pytest.raises(ProtocolError):
            await desk.features.tips.send(500)

    run_virtual(main)


# --- queue


def test_adding_a_song_names_everything_and_the_state_knows_it_at_once() -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.always("enqueue_song", {"item": item(), "order": [ITEM], "seq": 5, "last_seq": 5})
        receipt = await desk.features.queue.add(
            "Cumbia", artist="Quantic", duration=12.3456, song_id=SONG, source_url="https://x", key=KEY
        )
        assert desk.rpc.made("enqueue_song") == [
            {
                "p_session_id": ID,
                "p_title": "Cumbia",
                "p_artist": "Quantic",
                "p_duration_ms": 12346,
                "p_song_id": SONG,
                "p_source_url": "https://x",
                "p_key": KEY,
            }
        ]
        assert receipt.order == (ITEM,)
        assert [queued.id for queued in desk.state.queue] == [ITEM]

    run_virtual(main)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"title": " "},
        {"title": "x", "duration": 0},
        {"title": "x", "duration": -1},
        {"title": "x", "duration": math.nan},
        {"title": "x", "duration": math.inf},
        {"title": "x\0"},
        {"title": "x", "artist": "\udfff"},
        {"song_id": "no uuid"},
        {"title": "x", "key": "no uuid"},
    ],
)
def test_a_song_that_cannot_be_is_not_sent(arguments: dict[str, Any]) -> None:
    async def main() -> None:
        desk = Desk()
        with pytest.raises(InvalidInputError):
            await desk.features.queue.add(**arguments)
        assert desk.rpc.calls == []

    run_virtual(main)


def test_moving_and_removing_carry_the_version_that_was_seen() -> None:
    async def main() -> None:
        desk = Desk()
        desk.state.take_item(QueueItem.model_validate(item()))
        desk.rpc.always("move_queue_item", {"item": item(version=4, seq=6, action="moved")})
        desk.rpc.always("remove_queue_item", {"item": item(version=5, seq=7, status="removed", action="removed")})
        await desk.features.queue.move(ITEM, before=SONG, key=KEY)
        await desk.features.queue.remove(ITEM, key=KEY)
        (move,), (remove,) = desk.rpc.made("move_queue_item"), desk.rpc.made("remove_queue_item")
        assert (move["p_expected_version"], move["p_before"], move["p_after"]) == (3, SONG, None)
        assert remove["p_expected_version"] == 4, "as the answer to the move said"
        assert desk.state.queue == ()
        with pytest.raises(NotFoundError):
            await desk.features.queue.remove(ITEM)
        for bad in ({}, {"before": SONG, "after": SONG}):
            with pytest.raises(InvalidInputError):
                await desk.features.queue.move(ITEM, **bad)

    run_virtual(main)


def test_advancing_says_what_this_client_thinks_plays() -> None:
    async def main() -> None:
        desk = Desk()
        playing = item(status="playing", action="started", seq=6, started_at=NOW)
        desk.rpc.then("advance_queue", {"item": playing, "previous": None})
        await desk.features.queue.advance()
        assert desk.state.now_playing is not None
        desk.rpc.then("advance_queue", {"item": None, "previous": item(status="skipped", action="skipped", seq=7)})
        await desk.features.queue.advance(skipped=True)
        calls = desk.rpc.made("advance_queue")
        assert [(call["p_expected_item_id"], call["p_skipped"]) for call in calls] == [(None, False), (ITEM, True)]
        now_playing = desk.state.now_playing
        assert now_playing is None

    run_virtual(main)


def test_a_conflict_brings_the_state_up_to_date_before_it_is_raised() -> None:
    async def main() -> None:
        desk = Desk()
        desk.rpc.always("session_snapshot", {"session": desk.state.session, "seq": 0, "server_time": NOW})
        feed = asyncio.create_task(desk.room.feed.run())
        desk.room.feed.ready(f"session:{ID}")
        await settle()
        entry = {"seq": 1, "kind": "queue", "payload": {"action": "added", "item": item()}, "created_at": NOW}
        desk.rpc.always("events_since", {"events": [entry], "last_seq": 1, "oldest_seq": 1, "more": False})
        desk.rpc.always("advance_queue", QueueConflictError("queue_conflict"))
        with pytest.raises(QueueConflictError):
            await desk.features.queue.advance()
        assert [queued.id for queued in desk.state.queue] == [ITEM]
        assert any(isinstance(event, QueueChanged) for event in desk.events)
        feed.cancel()
        await asyncio.wait([feed])

    run_virtual(main)


# --- typing, presence


def test_typing_is_told_once_in_half_its_life() -> None:
    async def main() -> None:
        async with Desk() as desk:
            for _ in range(61):
                await desk.features.typing.start()
                await asyncio.sleep(0.1)
            told = [payload["payload"] for _, payload in desk.pushed]
            assert told == [{"user_id": ANA, "username": "ana", "typing": True}] * 3
            await desk.features.typing.stop()
            await desk.features.typing.stop()
            assert [payload["payload"]["typing"] for _, payload in desk.pushed] == [True, True, True, False]

    run_virtual(main)


def test_typing_that_could_not_be_told_is_told_later() -> None:
    async def main() -> None:
        async with Desk() as desk:
            desk.links.last.takes_pushes = False
            await desk.features.typing.start()
            desk.links.last.takes_pushes = True
            await desk.features.typing.start()
            assert len(desk.pushed) == 1

    run_virtual(main)


def test_nobody_is_told_of_typing_in_a_large_room() -> None:
    async def main() -> None:
        async with Desk() as desk:
            desk.state.occupancy = 301
            desk.room.feed.switch.look()
            assert desk.features.state.room_mode == "large"
            await desk.features.typing.start()
            await desk.features.typing.stop()
            assert desk.pushed == []

    run_virtual(main)


# --- reactions


def framing(desk: Desk) -> None:
    desk.room.feed.switch.told(FeedInfo(frames=True), may_join=True)
    assert desk.features.state.feed == "frames"


async def react(desk: Desk, *reactions: str, seconds: float = 1.0) -> None:
    task = asyncio.create_task(desk.features.reactions.run())
    for reaction in reactions:
        await desk.features.reactions.send(reaction)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])


def test_reactions_of_a_moment_are_one_call_and_show_with_the_frame() -> None:
    async def main() -> None:
        async with Desk() as desk:
            framing(desk)
            desk.rpc.always("send_reactions", {"accepted": 3, "dropped": 1, "last_seq": 0})
            await react(desk, "🔥", "🔥", "❤️", "🔥")
            assert desk.rpc.made("send_reactions") == [{"p_session_id": ID, "p_counts": {"🔥": 3, "❤️": 1}}]
            assert desk.features.reactions.dropped == 1
            assert desk.features.reactions.counts == {}
            assert desk.pushed == []

    run_virtual(main)


def test_a_frame_that_was_under_way_does_not_pass_for_the_one_with_our_reactions() -> None:
    async def main() -> None:
        async with Desk() as desk:
            framing(desk)
            waits = {"pending": True, "wait_ms": 400}
            desk.rpc.always("send_reactions", {"accepted": 1, "last_seq": 3, "frame": waits})
            desk.rpc.always("flush_frame", {"sent": True, "pending": False, "wait_ms": 0, "last_seq": 3})
            flushing = asyncio.create_task(desk.room.feed.flusher.run())
            await react(desk, "🔥", seconds=0.6)
            desk.room.feed.flusher.framed(3)  # somebody else's, sent before ours were counted
            await asyncio.sleep(1.0)
            flushing.cancel()
            await asyncio.wait([flushing])
            assert len(desk.rpc.made("flush_frame")) == 1

    run_virtual(main)


def test_many_reactions_are_sent_in_portions() -> None:
    async def main() -> None:
        async with Desk() as desk:
            framing(desk)
            desk.rpc.always("send_reactions", {})
            await react(desk, *["🔥"] * 120, seconds=3)
            assert [call["p_counts"] for call in desk.rpc.made("send_reactions")] == [
                {"🔥": 50},
                {"🔥": 50},
                {"🔥": 20},
            ]

    run_virtual(main)


def test_without_frames_reactions_are_broadcast_and_shown_at_once() -> None:
    async def main() -> None:
        async with Desk() as desk:
            await react(desk, "🔥", "🔥")
            [(event, payload)] = desk.pushed
            assert (event, payload["event"]) == ("broadcast", "reaction")
            assert payload["payload"] == {"user_id": ANA, "counts": {"🔥": 2}}
            assert desk.events == [ReactionsCounted(counts={"🔥": 2})]
            assert desk.features.state.reactions == desk.features.reactions.counts == {"🔥": 2}

    run_virtual(main)


@pytest.mark.parametrize("frames", [True, False])
def test_reactions_that_cannot_be_sent_are_dropped_and_counted(frames: bool) -> None:
    async def main() -> None:
        async with Desk() as desk:
            if frames:
                framing(desk)
                desk.rpc.always("send_reactions", RateLimitedError("rate_limited", "slower"))
            else:
                desk.links.last.end(Reason.CLOSED)
            await react(desk, "🔥", "🔥")
            assert desk.features.reactions.dropped == 2
            await react(desk, *["🔥"] * 1_001, seconds=0.1)
            assert desk.features.reactions.dropped == 3, "more than are held at a time"
            assert desk.events == []

    run_virtual(main)


def test_what_is_no_reaction_is_refused_at_once() -> None:
    async def main() -> None:
        async with Desk() as desk:
            for text in ("", "🔥 🔥", "x" * 33):
                with pytest.raises(InvalidInputError):
                    await desk.features.reactions.send(text)

    run_virtual(main)


# --- presence


def test_p1_presence_is_tracked_again_after_every_join() -> None:
    async def main() -> None:
        async with Desk() as desk:
            desk.features.presence.show()
            await settle()
            assert [payload["event"] for _, payload in desk.pushed] == ["track"]
            desk.links.last.end(Reason.CLOSED)
            await asyncio.sleep(1)
            assert desk.pushed == []
            desk.links.last.join()
            await settle()
            assert [payload["event"] for _, payload in desk.pushed] == ["track"]
            desk.features.presence.hide()
            await settle()
            assert [payload["event"] for _, payload in desk.pushed] == ["track", "untrack"]

    run_virtual(main)


def test_p2_presence_calls_keep_their_budget_and_the_last_wish_wins() -> None:
    async def main() -> None:
        async with Desk() as desk:
            times: list[float] = []
            for _ in range(20):
                desk.features.presence.show()
                await settle()
                desk.features.presence.hide()
                await settle()
                await asyncio.sleep(0.1)
                times.append(len(desk.pushed))
            assert len(desk.pushed) == 4
            desk.features.presence.show()
            await asyncio.sleep(31)
            assert len(desk.pushed) == 5
            assert desk.pushed[-1][1]["event"] == "track"

    run_virtual(main)


# --- moderation


def test_moderation_calls_its_functions() -> None:
    async def main() -> None:
        desk = Desk()
        crew = desk.features.moderation
        for function in (
            "set_member_role",
            "mute_member",
            "ban_member",
            "delete_message",
            "set_slow_mode",
            "freeze_chat",
        ):
            desk.rpc.always(function, {"last_seq": 1})
        await crew.set_role(EVE, "moderator")
        await crew.mute(EVE, 60)
        await crew.unmute(EVE)
        await crew.ban(EVE, reason="spam")
        await crew.unban(EVE)
        await crew.delete_message(ITEM, user_id=EVE)
        await crew.set_slow_mode(0)
        await crew.freeze_chat()
        await crew.freeze_chat(frozen=False)
        assert [
            (function, {k: v for k, v in params.items() if k != "p_session_id"})
            for function, params, _ in desk.rpc.calls
        ] == [
            ("set_member_role", {"p_user_id": EVE, "p_role": "moderator"}),
            ("mute_member", {"p_user_id": EVE, "p_seconds": 60}),
            ("mute_member", {"p_user_id": EVE, "p_seconds": 0}),
            ("ban_member", {"p_user_id": EVE, "p_banned": True, "p_reason": "spam"}),
            ("ban_member", {"p_user_id": EVE, "p_banned": False}),
            ("delete_message", {"p_message_id": ITEM, "p_user_id": EVE}),
            ("set_slow_mode", {"p_seconds": 0}),
            ("freeze_chat", {"p_frozen": True}),
            ("freeze_chat", {"p_frozen": False}),
        ]
        for bad in (crew.mute(EVE, 0), crew.set_slow_mode(-1), crew.ban("eve"), crew.ban(EVE, reason="\0")):
            with pytest.raises(InvalidInputError):
                await bad

    run_virtual(main)


# --- who may


def test_without_a_user_nothing_is_said_or_changed() -> None:
    async def main() -> None:
        desk = Desk(user=None)
        features = desk.features
        for call in (
            features.chat.send("hola"),
            features.votes.cast(SONG, 1),
            features.tips.send(500),
            features.queue.add("x"),
            features.queue.advance(),
            features.typing.start(),
        ):
            with pytest.raises(NotSignedInError):
                await call
        with pytest.raises(NotSignedInError):
            features.presence.show()
        assert desk.rpc.calls == []

    run_virtual(main)


def test_a_closed_session_refuses_everything() -> None:
    async def main() -> None:
        desk = Desk()
        desk.room.is_open = False
        features = desk.features
        for call in (
            features.chat.send("hola"),
            features.votes.cast(SONG, 1),
            features.tips.send(500),
            features.queue.add("x"),
            features.typing.start(),
            features.moderation.freeze_chat(),
            anext(features.chat.history()),
        ):
            with pytest.raises(SessionClosedError):
                await call

    run_virtual(main)
