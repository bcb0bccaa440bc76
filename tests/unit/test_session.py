"""A session opens, lives and closes in order, and leaves nothing behind; its parts are played by fakes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig, SessionConfig
from whatssound.core.reasons import Reason
from whatssound.errors import (
    BannedError,
    ConnectionRefusedByServerError,
    FramesUnavailableError,
    MessageRejectedError,
    NotSignedInError,
    ServerError,
    SessionClosedError,
    SessionEndedError,
    SessionNotFoundError,
    SlowReaderError,
    UnreachableError,
    WhatsSoundError,
)
from whatssound.events import (
    ChatMessage,
    Event,
    FeedChanged,
    Lagged,
    MemberChanged,
    StateResynced,
    Status,
    StatusChanged,
    TypingStarted,
    UnknownEvent,
)
from whatssound.gateway import Gateway
from whatssound.models import Member, SessionId, UserId
from whatssound.session import Session
from whatssound.testing import FakeLink, FakeLinks, FakeRpc, FakeTokens, LoopClock, run_virtual
from whatssound.testing.fakes import settle

ID = SessionId("5e551010-0000-4000-8000-000000000000")
ANA = "00000000-0000-4000-8000-0000000000aa"
EVE = "00000000-0000-4000-8000-0000000000ee"
NOW = "2026-11-24T00:00:00+00:00"
TYPING = {"user_id": EVE, "username": "eve", "typing": True}


def snapshot(**changes: Any) -> dict[str, Any]:
    return {
        "session": {"id": ID, "title": "Noche", "dj_id": EVE, "status": "live"},
        "me": {"user_id": ANA, "username": "ana", "role": "listener"},
        "seq": 0,
        "server_time": NOW,
        **changes,
    }


def stored(params: Mapping[str, Any]) -> dict[str, Any]:
    rows = [{"id": row["id"], "status": "stored", "seq": at + 1} for at, row in enumerate(params["p_messages"])]
    return {"results": rows, "last_seq": len(rows)}


class Stage:
    """A session with everything around it."""

    def __init__(
        self,
        config: SessionConfig | None = None,
        *,
        tokens: FakeTokens | None = None,
        joins: bool = True,
    ) -> None:
        self.rpc = (
            FakeRpc()
            .always("join_session", {"me": {"user_id": ANA, "username": "ana"}, "last_seq": 0})
            .always("session_snapshot", snapshot(occupancy=7))
            .always("events_since", {"events": [], "last_seq": 0, "oldest_seq": 1, "more": False})
            .always("heartbeat", {"last_seq": 0, "occupancy": 7})
            .always("insert_messages", stored)
        )
        self.links = FakeLinks(FakeLink.join if joins else None)
        self.tokens = tokens or FakeTokens(ANA, "ana")
        self.session = Session(
            ID,
            config=config or SessionConfig(),
            gateway=Gateway(self.rpc, RetryConfig(attempts=2), LoopClock()),
            tokens=self.tokens,
            links=self.links,
            clock=LoopClock(),
        )


async def collect(session: Session) -> list[Event]:
    return [event async for event in session.events()]


def status(stage: Stage) -> Status:
    return stage.session.status


def test_it_opens_live_and_closes_without_leaving_anything() -> None:
    async def main() -> None:
        stage = Stage()
        assert status(stage) is Status.NEW
        reader = stage.session.events()
        async with stage.session as session:
            assert session.status is Status.LIVE
            assert session.state.session.title == "Noche"
            assert session.state.me is not None
            assert session.stats().reconnects == 0
            await settle()
            assert session.state.occupancy == 7
        assert stage.links.last.left
        assert status(stage) is Status.CLOSED
        events = [event async for event in reader]
        assert [event.status for event in events if isinstance(event, StatusChanged)] == [
            Status.CONNECTING,
            Status.LIVE,
            Status.CLOSED,
        ]
        assert stage.rpc.made("join_session") == [{"p_session_id": ID, "p_username": "ana"}]
        (spec,) = stage.links.last.specs
        assert (spec.topic, spec.private, spec.presence_key) == (f"session:{ID}", True, ANA)
        assert [change.table for change in spec.changes] == ["votes", "tips", "queue_items"]

    run_virtual(main)


def test_closing_stops_taking_then_drains_then_leaves() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(outbox=OutboxConfig(interval=3600.0)))
        steps: list[str] = []
        storing = asyncio.Event()

        def store(params: Mapping[str, Any]) -> dict[str, Any]:
            steps.append("stored while joined" if stage.links.last.is_joined else "stored after leaving")
            return stored(params)

        stage.rpc.always("insert_messages", store)
        gate = stage.rpc.hold("insert_messages")
        begun = stage.rpc.call

        async def call(function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
            if function == "insert_messages":
                storing.set()
            return await begun(function, params, within=within)

        stage.rpc.call = call  # type: ignore[method-assign]
        async with stage.session as session:
            receipt = await session.chat.send("adiós")
            chat = session.chat

            async def late() -> None:
                await storing.wait()
                with pytest.raises(SessionClosedError):
                    await chat.send("too late")
                steps.append("refused")
                gate.set()

            task = asyncio.create_task(late())
        await task
        assert receipt.is_stored
        assert steps == ["refused", "stored while joined"]
        with pytest.raises(SessionClosedError):
            await stage.session.chat.send("closed")

    run_virtual(main)


def test_what_cannot_be_drained_in_time_is_told() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(outbox=OutboxConfig(drain_timeout=2.0)))
        stage.rpc.always("insert_messages", UnreachableError("db", "down"))
        before = asyncio.get_running_loop().time()
        async with stage.session as session:
            receipt = await session.chat.send("lost?")
        assert asyncio.get_running_loop().time() - before == pytest.approx(2.0, abs=0.1)
        with pytest.raises(MessageRejectedError, match="closed"):
            await receipt.stored()

    run_virtual(main)


def test_what_the_body_raises_comes_out_as_it_is() -> None:
    async def main() -> None:
        stage = Stage()
        with pytest.raises(KeyError, match="mine"):
            async with stage.session:
                raise KeyError("mine")
        assert stage.links.last.left

    run_virtual(main)


def test_cancelling_the_body_closes_and_stays_a_cancellation() -> None:
    async def main() -> None:
        stage = Stage()

        async def body() -> None:
            async with stage.session:
                await asyncio.Event().wait()

        task = asyncio.create_task(body())
        await settle(60)
        assert status(stage) is Status.LIVE
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert status(stage) is Status.CLOSED
        assert stage.links.last.left

    run_virtual(main)


@pytest.mark.parametrize("after", [0, 1, 3, 10, 30])
def test_cancelling_the_opening_at_any_moment_leaves_nothing(after: int) -> None:
    async def main() -> None:
        stage = Stage(joins=after > 20)
        stage.rpc.hold("session_snapshot")
        task = asyncio.create_task(stage.session.__aenter__())
        await settle(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()

    run_virtual(main)


def test_a_timeout_around_the_opening_works() -> None:
    async def main() -> None:
        stage = Stage(joins=False)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3), stage.session:
                raise AssertionError("never live")

    run_virtual(main)


# --- opening fails


@pytest.mark.parametrize("error", [SessionNotFoundError("session_not_found"), BannedError("banned")])
def test_a_refused_join_of_the_session_is_raised(error: WhatsSoundError) -> None:
    async def main() -> None:
        stage = Stage()
        stage.rpc.always("join_session", error)
        with pytest.raises(type(error)):
            async with stage.session:
                raise AssertionError("must not open")
        assert stage.links.made == []
        with pytest.raises(SessionClosedError):
            _ = stage.session.chat

    run_virtual(main)


def test_never_live_is_unreachable_in_the_end() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(connection=ConnectionConfig(open_timeout=4.0, join_timeout=6.0)), joins=False)
        before = asyncio.get_running_loop().time()
        with pytest.raises(UnreachableError):
            async with stage.session:
                raise AssertionError("must not open")
        assert asyncio.get_running_loop().time() - before == pytest.approx(10.0)

    run_virtual(main)


def test_a_refused_channel_is_raised_at_once() -> None:
    async def main() -> None:
        stage = Stage(joins=False)
        task = asyncio.create_task(stage.session.__aenter__())
        await settle()
        stage.links.last.end(Reason.UNAUTHORIZED, "Unauthorized: no permissions", refused=True)
        with pytest.raises(ConnectionRefusedByServerError, match="no permissions"):
            await task

    run_virtual(main)


def test_an_ended_session_is_an_error_before_anything_is_joined() -> None:
    async def main() -> None:
        stage = Stage(joins=False)
        ended = {"id": ID, "title": "Noche", "dj_id": EVE, "status": "ended"}
        stage.rpc.always("session_snapshot", snapshot(session=ended))
        reader = stage.session.events()
        with pytest.raises(SessionEndedError):
            await stage.session.__aenter__()
        assert stage.links.made == []
        assert status(stage) is Status.CLOSED
        assert [event async for event in reader] == [StatusChanged(status=Status.CLOSED)]

    run_virtual(main)


def test_a_refused_channel_of_a_session_that_has_just_ended_says_that() -> None:
    async def main() -> None:
        stage = Stage(joins=False)
        ended = {"id": ID, "title": "Noche", "dj_id": EVE, "status": "ended"}
        stage.rpc.then("session_snapshot", snapshot()).always("session_snapshot", snapshot(session=ended))
        task = asyncio.create_task(stage.session.__aenter__())
        await settle()
        stage.links.last.end(Reason.UNAUTHORIZED, "Unauthorized", refused=True)
        with pytest.raises(SessionEndedError):
            await task

    run_virtual(main)


def test_max_attempts_ends_the_opening() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(connection=ConnectionConfig(max_attempts=1)), joins=False)
        task = asyncio.create_task(stage.session.__aenter__())
        await settle()
        stage.links.last.end(Reason.UNREACHABLE, "refused")
        with pytest.raises(UnreachableError):
            await task
        assert status(stage) is Status.CLOSED

    run_virtual(main)


def test_a_bare_key_on_a_private_channel_is_told_to_sign_in() -> None:
    async def main() -> None:
        stage = Stage(tokens=FakeTokens(None, token="sb_publishable_x-1"))
        with pytest.raises(NotSignedInError):
            async with stage.session:
                raise AssertionError("must not open")

    run_virtual(main)


def test_a_service_reads_without_a_place_in_the_session() -> None:
    async def main() -> None:
        stage = Stage(tokens=FakeTokens(None))
        stage.rpc.always("session_snapshot", snapshot(me=None))
        async with stage.session as session:
            assert session.state.me is None
            with pytest.raises(NotSignedInError):
                await session.chat.send("hola")
        assert stage.rpc.made("join_session") == []
        assert stage.links.last.pushed == [], "and is not seen in presence"

    run_virtual(main)


def test_a_session_is_opened_once() -> None:
    async def main() -> None:
        stage = Stage()
        async with stage.session:
            pass
        with pytest.raises(SessionClosedError):
            async with stage.session:
                raise AssertionError("must not open")

    run_virtual(main)


# --- living


def test_a_drop_is_told_and_repaired_and_presence_tracked_again() -> None:
    async def main() -> None:
        stage = Stage()
        async with stage.session as session:
            await settle()
            first = stage.links.last
            assert [event for event, _ in first.pushed] == ["presence"]
            reader = session.events()
            first.end(Reason.SILENT, "no heartbeat", held=60.0)
            await asyncio.sleep(2)
            second = stage.links.last
            assert second is not first
            assert session.status is Status.LIVE
            await settle()
            (event, payload), *_ = second.pushed
            assert (event, payload["event"], payload["payload"]["user_id"]) == ("presence", "track", ANA)
            got = [await anext(reader) for _ in range(3)]
            assert [type(event) for event in got] == [StatusChanged, StateResynced, StatusChanged]
            assert session.stats().reconnects == 1

    run_virtual(main)


def test_a_session_that_may_not_be_read_any_more_fails_with_the_reason() -> None:
    async def main() -> None:
        stage = Stage()
        async with stage.session as session:
            reader = session.events()
            stage.rpc.always("events_since", SessionNotFoundError("session_not_found"))
            await asyncio.sleep(20)
            assert session.status is Status.FAILED
            assert stage.links.last.left
            assert isinstance(await anext(reader), StatusChanged)
            with pytest.raises(SessionNotFoundError):
                await anext(reader)

    run_virtual(main)


def test_giving_up_while_live_ends_readers_with_the_reason_and_chat_goes_on() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(connection=ConnectionConfig(max_attempts=1)))
        async with stage.session as session:
            reader = session.events()
            stage.links.last.end(Reason.CLOSED, "gone")
            await settle()
            assert session.status is Status.FAILED
            assert isinstance(await anext(reader), StatusChanged)
            with pytest.raises(UnreachableError):
                await anext(reader)
            assert (await (await session.chat.send("over HTTP")).stored()).status == "stored"

    run_virtual(main)


def test_a_failing_heartbeat_harms_nothing() -> None:
    async def main() -> None:
        stage = Stage()
        stage.rpc.always("heartbeat", ServerError(503, "later"))
        async with stage.session as session:
            await asyncio.sleep(100)
            assert session.status is Status.LIVE
            assert len(stage.rpc.made("heartbeat")) in (4, 5)  # jittered

    run_virtual(main)


# --- handlers


def test_handlers_sync_and_async_get_their_events_one_after_the_other() -> None:
    async def main() -> None:
        stage = Stage()
        got: list[str] = []

        @stage.session.on(TypingStarted)
        def early(event: TypingStarted) -> None:
            got.append(f"early {event.username}")

        async with stage.session as session:

            async def late(event: TypingStarted) -> None:
                await asyncio.sleep(1)
                got.append(f"late {event.username}")

            session.on(TypingStarted, late)
            for name in ("a", "b"):
                stage.links.last.listener.broadcast(
                    f"session:{ID}", "typing", {**TYPING, "user_id": name, "username": name}
                )
            await asyncio.sleep(1.5)
            assert got == ["early a", "early b", "late a"]
        assert got[-1] == "late b", "closing lets handlers finish what they hold"

    run_virtual(main)


def test_a_handler_that_takes_for_ever_is_cancelled_at_closing() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(handler_tasks=1.0))
        cancelled = asyncio.Event()

        async def stuck(event: TypingStarted) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with stage.session as session:
            session.on(TypingStarted, stuck)
            stage.links.last.listener.broadcast(f"session:{ID}", "typing", TYPING)
            await settle()
        assert cancelled.is_set()

    run_virtual(main)


@pytest.mark.parametrize("on_error", ["sync", "async"])
def test_what_handlers_raise_reaches_on_error_and_nothing_else(on_error: str) -> None:
    async def main() -> None:
        stage = Stage()
        errors: list[Exception] = []
        if on_error == "sync":
            stage.session.on_error(errors.append)
        else:

            async def note(error: Exception) -> None:
                await asyncio.sleep(0.1)
                errors.append(error)

            stage.session.on_error(note)

        def bad(event: TypingStarted) -> None:
            raise ValueError(event.username)

        async def also_bad(event: TypingStarted) -> None:
            raise KeyError(event.username)

        stage.session.on(TypingStarted, bad)
        stage.session.on(TypingStarted, also_bad)
        async with stage.session as session:
            for name in ("a", "b"):
                stage.links.last.listener.broadcast(
                    f"session:{ID}", "typing", {**TYPING, "user_id": name, "username": name}
                )
            await asyncio.sleep(1)
            assert sorted(repr(error) for error in errors) == [
                "KeyError('a')",
                "KeyError('b')",
                "ValueError('a')",
                "ValueError('b')",
            ]
            assert session.status is Status.LIVE
            assert len(stage.links.made) == 1

    run_virtual(main)


def test_c9_a_handler_that_falls_behind_is_told_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(reader_events=2))
        errors: list[Exception] = []
        got: list[str] = []
        stage.session.on_error(errors.append)

        async def slow(event: MemberChanged) -> None:
            await asyncio.sleep(1)
            got.append(event.action)

        async with stage.session as session:
            session.on(MemberChanged, slow)
            await settle()
            publish = session._streams.publish
            for number in range(20):
                publish(MemberChanged(action=str(number), member=Member(user_id=UserId(EVE))))
            await asyncio.sleep(30)
            assert [type(error) for error in errors] == [SlowReaderError]
            assert len(got) == 8
            publish(MemberChanged(action="again", member=Member(user_id=UserId(EVE))))
            for number in range(9):
                publish(TypingStarted(user_id=UserId(str(number))))
            await asyncio.sleep(5)
            assert got[-1] == "again"

    run_virtual(main)
    assert "has missed 8 events" in caplog.text


def test_an_on_error_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        stage = Stage()

        def worse(error: Exception) -> None:
            raise RuntimeError("worse")

        stage.session.on_error(worse)
        async with stage.session as session:
            stage.links.last.listener.row_changed("votes", {})
            assert session.status is Status.LIVE

    with caplog.at_level(logging.ERROR):
        run_virtual(main)
    assert "worse" in caplog.text


def test_without_on_error_what_goes_wrong_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        stage = Stage()
        async with stage.session:
            stage.links.last.listener.row_changed("votes", {})

    run_virtual(main)
    assert "a row of votes cannot be read" in caplog.text


# --- readers


def test_wait_for_takes_the_first_that_fits() -> None:
    async def main() -> None:
        stage = Stage()
        async with stage.session as session:
            waiting = asyncio.create_task(session.wait_for(TypingStarted, lambda event: event.username == "b"))
            await settle()
            for name in ("a", "b", "c"):
                stage.links.last.listener.broadcast(
                    f"session:{ID}", "typing", {**TYPING, "user_id": name, "username": name}
                )
            assert (await waiting).username == "b"
            with pytest.raises(TimeoutError):
                await session.wait_for(ChatMessage, timeout=2.0)
            closed = asyncio.create_task(session.wait_for(ChatMessage))
            await settle()
        with pytest.raises(SessionClosedError):
            await closed
        assert stage.session._streams._open == []

    run_virtual(main)


def test_a_reader_that_keeps_up_does_not_lag_behind_a_long_page() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(reader_events=60))
        page = [{"seq": seq, "kind": "x", "payload": {}, "created_at": NOW} for seq in range(1, 401)]
        async with stage.session as session:
            await settle()
            reader = asyncio.create_task(collect(session))
            await settle()
            stage.rpc.always("events_since", {"events": page, "last_seq": 400, "oldest_seq": 1, "more": False})
            await asyncio.sleep(10)
            assert session.state.seq == 400
        events = await reader
        assert not [event for event in events if isinstance(event, Lagged)]
        assert [event.seq for event in events if isinstance(event, UnknownEvent)] == list(range(1, 401))

    run_virtual(main)


def test_readers_end_with_the_session() -> None:
    async def main() -> None:
        stage = Stage()
        async with stage.session as session:
            reading = asyncio.create_task(collect(session))
            await settle()
            stage.links.last.listener.broadcast(f"session:{ID}", "typing", TYPING)
        assert [type(event) for event in await reading] == [TypingStarted, StatusChanged]

    run_virtual(main)


# --- frames

FRAMES = f"session:{ID}:frames"
FEED = {"frames": True, "tick_ms": 0, "chat_path": "broadcast", "joinable": True}


def framing(config: SessionConfig | None = None, *, joins: bool = True, **feed: Any) -> Stage:
    stage = Stage(config, joins=joins)
    stage.rpc.always("session_snapshot", snapshot(feed={**FEED, **feed}))
    return stage


def test_it_is_live_once_both_topics_are_joined() -> None:
    async def main() -> None:
        stage = framing(joins=False)
        task = asyncio.create_task(stage.session.__aenter__())
        await settle()
        link = stage.links.last
        assert [(spec.topic, spec.replication) for spec in link.specs] == [(f"session:{ID}", False), (FRAMES, True)]
        link.join(FRAMES)
        await settle()
        assert not task.done()
        link.join(f"session:{ID}")
        await settle()
        session = await task
        assert session.status is Status.LIVE
        assert session.state.feed == "frames"
        await session.__aexit__(None, None, None)

    run_virtual(main)


def test_refused_frames_are_done_without() -> None:
    async def main() -> None:
        stage = framing(joins=False)
        reader = stage.session.events()
        task = asyncio.create_task(stage.session.__aenter__())
        await settle()
        stage.links.last.refuse(FRAMES)
        await settle()
        assert len(stage.links.made) == 2, "at once"
        [spec] = stage.links.last.specs
        assert len(spec.changes) == 3
        stage.links.last.join()
        session = await task
        assert session.status is Status.LIVE
        assert session.state.feed == "changes"
        await session.__aexit__(None, None, None)
        events = [event async for event in reader]
        assert [(event.feed, event.reason) for event in events if isinstance(event, FeedChanged)] == [
            ("changes", "refused")
        ]

    run_virtual(main)


def test_refused_frames_are_an_error_where_nothing_else_will_do() -> None:
    async def main() -> None:
        stage = framing(SessionConfig(feed="frames"), joins=False)
        task = asyncio.create_task(stage.session.__aenter__())
        await settle()
        stage.links.last.refuse(FRAMES)
        with pytest.raises(FramesUnavailableError, match="policies"):
            await task
        assert len(stage.links.made) == 1

    run_virtual(main)


def test_a_session_without_frames_is_an_error_where_nothing_else_will_do() -> None:
    async def main() -> None:
        stage = framing(SessionConfig(feed="frames"), frames=False)
        with pytest.raises(FramesUnavailableError):
            await stage.session.__aenter__()
        assert stage.links.made == []

    run_virtual(main)


@pytest.mark.parametrize(("named", "calls"), [(None, 13), (25, 13), (100, 4), (True, 13), ("x", 13), (10**6, 13)])
def test_the_database_may_have_us_call_seldom(named: Any, calls: int) -> None:
    async def main() -> None:
        stage = framing()
        stage.rpc.always("heartbeat", {"last_seq": 0, "occupancy": 7, "heartbeat_s": named})
        async with stage.session:
            await asyncio.sleep(310)
            assert abs(len(stage.rpc.made("heartbeat")) - calls) <= 1

    run_virtual(main)


def test_chat_goes_at_once_where_it_is_stored_first() -> None:
    async def main() -> None:
        stage = framing(tick_ms=500, chat_path="stored")
        async with stage.session as session:
            receipt = await session.chat.send("hola")
            await settle()
            assert receipt.is_stored
            assert not [push for push in stage.links.last.pushed if push[0] == "broadcast"]

    run_virtual(main)


def test_a_writer_asks_for_the_frame_that_its_words_wait_for() -> None:
    async def main() -> None:
        stage = framing(tick_ms=500, chat_path="stored")
        stage.rpc.always(
            "insert_messages", lambda params: {**stored(params), "frame": {"pending": True, "wait_ms": 200}}
        ).always("flush_frame", {"sent": True, "pending": False, "wait_ms": 0, "to_seq": 1, "last_seq": 1})
        async with stage.session as session:
            await session.chat.send("hola")
            await asyncio.sleep(0.19)
            assert stage.rpc.made("flush_frame") == []
            await asyncio.sleep(0.2)
            assert stage.rpc.made("flush_frame") == [{"p_session_id": ID}]
            assert session.stats().flushes == 1

    run_virtual(main)
