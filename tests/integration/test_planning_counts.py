"""The arithmetic of `whatssound.planning` against what the local stack counts as hosted would: equal to the message."""

from __future__ import annotations

from contextlib import AsyncExitStack

import asyncpg
import pytest

from tests.integration.lab import FAST, eventually
from whatssound import Session, SessionConfig, WhatsSound
from whatssound.core.budget import arrival_cost, departure_cost
from whatssound.local import LocalStack
from whatssound.models import ChatPath
from whatssound.planning.activity import Activity, coming_and_going
from whatssound.planning.traffic import FeedName

PEOPLE = 6
SAID, VOTES, TYPED = 7, 5, 3


class Count:
    """What the model says so far, beside what the stack counts.

    Args:
        stack: counts.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._expected = 0
        self._frames = 0

    async def agrees(self, what: str, messages: float) -> None:
        """Waits until the stack has counted as much more; what it counts too much shows here or in the next step."""
        self._expected += round(messages)
        await eventually(lambda: self._stack.usage().messages >= self._expected, f"{what}: {self._expected}")
        assert self._stack.usage().messages == self._expected, what

    async def new_frames(self) -> int:
        """Frames that the database has sent since the last call."""
        connection = await asyncpg.connect(self._stack.dsn("supabase_admin"))
        try:
            total = await connection.fetchval("select count(*) from realtime.messages where topic like '%:frames'")
        finally:
            await connection.close()
        before, self._frames = self._frames, int(total)
        return self._frames - before


async def arrive(
    stack: LocalStack, count: Count, config: SessionConfig, leaving: AsyncExitStack
) -> list[tuple[AsyncExitStack, Session]]:
    """People come one after the other, each seen by all before the next; each with what sends them home."""
    people: list[tuple[AsyncExitStack, Session]] = []
    session_id = ""
    await count.new_frames()  # those of the seed, before anybody counted
    for number in range(PEOPLE):
        home = await leaving.enter_async_context(AsyncExitStack())
        sound = await home.enter_async_context(WhatsSound(stack.url, stack.anon_key, config=config))
        await sound.sign_in_anonymously(f"p{number}")
        if not session_id:
            session_id = (await sound.create_session("Noche", settings={"tick_ms": 0})).id
            await count.agrees("its beginning, told to nobody", Activity(frames=await count.new_frames()).messages)
        session = await home.enter_async_context(sound.session(session_id))
        people.append((home, session))
        await eventually(lambda: all(len(each.state.presence) == len(people) for _, each in people))
        await count.agrees(f"arrival {number}", arrival_cost(number + 1))
    return people


@pytest.mark.parametrize(("feed", "path"), [("changes", "broadcast"), ("frames", "broadcast"), ("frames", "stored")])
async def test_every_message_that_is_counted_is_one_of_the_model(
    fresh_stack: LocalStack, feed: FeedName, path: ChatPath
) -> None:
    count = Count(fresh_stack)
    config = SessionConfig(feed=feed, chat_path=path, retry=FAST.retry, outbox=FAST.outbox, connection=FAST.connection)
    async with AsyncExitStack() as leaving:
        await play(fresh_stack, count, (feed, path), await arrive(fresh_stack, count, config, leaving))


async def play(
    stack: LocalStack, count: Count, mode: tuple[FeedName, ChatPath], people: list[tuple[AsyncExitStack, Session]]
) -> None:
    """A song, votes, chat and typing, and everybody goes home."""
    feed, path = mode
    (_, dj), (_, ana) = people[0], people[1]
    assert (dj.state.feed, dj.state.chat_path) == (feed, path)
    listeners = PEOPLE if feed == "frames" else 0
    assert await count.new_frames() == 0

    added = await dj.queue.add(title="Cumbia sobre el mar")
    assert added.item is not None
    assert await count.new_frames() == 1
    rows = 0 if feed == "frames" else 1
    song = Activity(members=PEOPLE, frame_listeners=listeners, rows_changed=rows, frames=1)
    await count.agrees("a song", song.messages)

    for number in range(VOTES):
        await ana.votes.cast(added.item.song_id, 1 if number % 2 else -1)
    assert await count.new_frames() == VOTES  # a frame a write
    votes = Activity(members=PEOPLE, frame_listeners=listeners, rows_changed=rows * VOTES, frames=VOTES)
    await count.agrees("votes", votes.messages)

    for number in range(SAID):
        await (await ana.chat.send(f"{number}")).stored()
    frames = await count.new_frames()
    assert frames == SAID  # each was stored before the next was said
    said = SAID if path == "broadcast" else 0
    chat = Activity(members=PEOPLE, frame_listeners=listeners, broadcasts=said, frames=frames)
    await count.agrees("chat", chat.messages)

    for _ in range(TYPED):
        await ana.typing.start()
        await ana.typing.stop()
    typing = Activity(members=PEOPLE, broadcasts=2 * TYPED)
    await count.agrees("typing", typing.messages)

    # What was counted too much, and late, would show in the departures.
    for left in range(PEOPLE - 1, -1, -1):
        await people[left][0].aclose()
        await count.agrees(f"departure {left}", departure_cost(left))
    assert await count.new_frames() == 0
    total = sum(each.messages for each in (song, votes, chat, typing)) + coming_and_going(PEOPLE) + 1
    assert stack.usage().messages == total
    assert stack.usage().peak_connections == PEOPLE
