"""Readers: bounded, told of what they missed, and never robbed of what they must not lose."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.errors import SlowReaderError
from whatssound.events import (
    ChatConfirmed,
    ChatMessage,
    Event,
    Lagged,
    Status,
    StatusChanged,
    TypingStarted,
)
from whatssound.models import Message, MessageId, SessionId, UserId
from whatssound.streams import EventStream, Streams, must_keep
from whatssound.testing import run_virtual
from whatssound.testing.fakes import settle


def droppable(number: int) -> Event:
    return TypingStarted(user_id=UserId(str(number)))


def kept(number: int) -> Event:
    return StatusChanged(status=Status.LIVE, attempt=number)


def message(*, own: bool) -> ChatMessage:
    said = Message(
        id=MessageId("m"),
        session_id=SessionId("s"),
        user_id=UserId("u"),
        content="hola",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return ChatMessage(message=said, own=own)


async def drain(stream: EventStream) -> list[Event]:
    return [event async for event in stream]


def test_every_reader_gets_everything_from_when_it_was_made() -> None:
    async def main() -> None:
        streams = Streams(10)
        first = streams.open()
        streams.publish(droppable(1))
        second = streams.open()
        streams.publish(droppable(2))
        streams.end()
        assert await drain(first) == [droppable(1), droppable(2)]
        assert await drain(second) == [droppable(2)]
        assert await drain(streams.open()) == [], "opened after the end"

    run_virtual(main)


def test_a_slow_reader_is_told_how_many_it_missed() -> None:
    async def main() -> None:
        streams = Streams(3)
        stream = streams.open()
        for number in range(5):
            streams.publish(droppable(number))
        assert len(stream) == 3
        streams.end()
        assert await drain(stream) == [Lagged(missed=2), droppable(2), droppable(3), droppable(4)]

    run_virtual(main)


def test_own_messages_are_kept_and_others_are_not() -> None:
    assert must_keep(message(own=True))
    assert must_keep(ChatConfirmed(message=message(own=True).message, own=True))
    assert not must_keep(message(own=False))
    assert must_keep(kept(1))
    assert not must_keep(droppable(1))


def test_a_reader_full_of_what_it_must_not_lose_ends_with_an_error_after_them() -> None:
    async def main() -> None:
        streams = Streams(2)
        stream = streams.open()
        for number in range(9):
            streams.publish(kept(number))
        got = [await anext(stream) for _ in range(8)]
        with pytest.raises(SlowReaderError) as caught:
            await anext(stream)
        assert got == [kept(number) for number in range(8)]
        assert caught.value.held == 8

    run_virtual(main)


def test_closing_stops_the_reader_and_frees_what_it_held() -> None:
    async def main() -> None:
        streams = Streams(2)
        stream = streams.open()
        for number in range(5):
            streams.publish(droppable(number))
        stream.close()
        streams.publish(droppable(9))
        assert await drain(stream) == []
        assert len(stream) == 0

    run_virtual(main)


def test_closing_wakes_who_waits() -> None:
    async def main() -> None:
        stream = Streams(2).open()
        waiting = asyncio.create_task(drain(stream))
        await settle()
        stream.close()
        assert await waiting == []

    run_virtual(main)


def test_a_cancelled_read_loses_nothing() -> None:
    async def main() -> None:
        streams = Streams(5)
        stream = streams.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(stream)
        streams.publish(droppable(1))
        assert await anext(stream) == droppable(1)

    run_virtual(main)


@given(st.lists(st.sampled_from(["drop", "keep", "read"]), max_size=80), st.integers(1, 6))
def test_bounded_in_order_and_nothing_vanishes_uncounted(steps: list[str], limit: int) -> None:
    async def main() -> None:
        streams = Streams(limit)
        stream = streams.open()
        got: list[Event] = []
        put: list[Event] = []
        failed = False

        async def read() -> None:
            nonlocal failed
            try:
                got.append(await anext(stream))
            except SlowReaderError:
                failed = True
            except StopAsyncIteration:
                return

        for number, step in enumerate(steps):
            if step == "read":
                if len(stream):
                    await read()
                continue
            event = kept(number) if step == "keep" else droppable(number)
            streams.publish(event)
            put.append(event)
            assert len(stream) <= 4 * limit
        streams.end()
        before = -1
        while not failed and len(got) > before:
            before = len(got)
            await read()
        seen = [event for event in got if not isinstance(event, Lagged)]
        missed = sum(event.missed for event in got if isinstance(event, Lagged))
        positions = [put.index(event) for event in seen]
        assert positions == sorted(set(positions)), "in order, each once"
        if not failed:
            assert len(seen) + missed == len(put)
            assert [event for event in seen if event.keep] == [event for event in put if event.keep]

    run_virtual(main)
