"""What the integration tests share: a local stack in a thread, people in a room, and waiting with deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from whatssound import Session, SessionConfig, SessionInfo, WhatsSound
from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig
from whatssound.events import Event, EventBase
from whatssound.local import LocalStack
from whatssound.testing import StackThread

T = TypeVar("T")
E = TypeVar("E", bound=EventBase)

#: Seconds after which something that should have happened has not. Generous: two cores, many tests.
PATIENCE = 15.0

#: Quick in everything that a test waits for.
FAST = SessionConfig(
    reconcile_interval=0.4,
    claim_timeout=2.0,
    typing_ttl=1.5,
    presence_grace=2.0,
    retry=RetryConfig(base=0.05, cap=0.5, deadline=10.0, request_timeout=3.0),
    outbox=OutboxConfig(interval=0.1, drain_timeout=10.0),
    connection=ConnectionConfig(
        heartbeat_interval=1.0,
        open_timeout=5.0,
        join_timeout=8.0,
        ready_timeout=4.0,
        backoff_base=0.1,
        backoff_cap=0.5,
        rate_limit_floor=1.0,
        hold=0.5,
    ),
)


class Lab:
    """A local stack in a thread, seen from a test: its switches, and what its database holds.

    Args:
        thread: the running stack.
    """

    def __init__(self, thread: StackThread) -> None:
        self._thread = thread
        stack = thread.stack
        self.url = stack.url
        self.anon_key = stack.anon_key
        self.service_key = stack.service_key
        self.db_url = stack.db_url
        self.keyring = stack.keyring

    async def do(self, work: Callable[[LocalStack], Awaitable[T]]) -> T:
        """Runs something on the stack's loop, without blocking the test's."""
        return await asyncio.to_thread(self._thread.call, work)

    async def switch(self, work: Callable[[LocalStack], T]) -> T:
        """Calls something on the stack's loop: its switches are not made for other threads."""

        async def run(stack: LocalStack) -> T:
            return work(stack)

        return await self.do(run)

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """What the database holds, past every policy."""
        connection = await asyncpg.connect(self.db_url)
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    async def count(self, query: str, *arguments: Any) -> int:
        """The single number a query answers."""
        return int((await self.rows(query, *arguments))[0][0])


class People:
    """Makes clients, and closes them in the end.

    Args:
        lab: where they sign in.
        stack: what closes them.
    """

    def __init__(self, lab: Lab, stack: AsyncExitStack) -> None:
        self._lab = lab
        self._stack = stack

    async def join(self, name: str, *, url: str | None = None, config: SessionConfig = FAST) -> WhatsSound:
        """A client signed in under a name."""
        sound = await self._stack.enter_async_context(
            WhatsSound(url or self._lab.url, self._lab.anon_key, config=config)
        )
        await sound.sign_in_anonymously(name)
        return sound

    async def service(self) -> WhatsSound:
        """A client with the service key."""
        return await self._stack.enter_async_context(WhatsSound(self._lab.url, self._lab.service_key, config=FAST))

    async def open(self, sound: WhatsSound, session_id: str) -> Session:
        """An open session that is closed in the end."""
        return await self._stack.enter_async_context(sound.session(session_id))


@asynccontextmanager
async def people(lab: Lab) -> AsyncIterator[People]:
    """People whose clients are all closed in the end."""
    async with AsyncExitStack() as stack:
        yield People(lab, stack)


class Ear:
    """Collects everything one session publishes, and waits for what should be among it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.heard: list[Event] = []
        self._stream = session.events()
        self._news = asyncio.Condition()
        self._closed = False
        self._task = asyncio.create_task(self._listen(), name="test-ear")

    async def _listen(self) -> None:
        async for event in self._stream:
            async with self._news:
                self.heard.append(event)
                self._news.notify_all()

    async def hears(self, kind: type[E], check: Callable[[E], bool] = lambda _: True) -> E:
        """The first event of a kind that fits, past or to come."""
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                while True:
                    for event in self.heard:
                        if isinstance(event, kind) and check(event):
                            return event
                    await self._news.wait()
        except TimeoutError:
            kinds = [type(event).__name__ for event in self.heard]
            raise AssertionError(f"no {kind.__name__} that fits; heard {kinds}") from None

    def all(self, kind: type[E]) -> list[E]:
        """All of a kind so far."""
        return [event for event in self.heard if isinstance(event, kind)]

    async def close(self) -> None:
        """Stops listening; raises what ended the stream, the first time."""
        self._stream.close()
        if not self._closed:
            self._closed = True
            await self._task


async def eventually(check: Callable[[], object], what: str = "", *, within: float = PATIENCE) -> None:
    """Waits until something is true; for what has no event of its own."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + within
    while not check():
        if loop.time() > ends:
            raise AssertionError(f"did not come about within {within:g} s: {what or check}")
        await asyncio.sleep(0.01)


async def snapshot(sound: WhatsSound, session_id: str) -> dict[str, Any]:
    """The database's own view of a session, for this client's user."""
    answer = await sound._gateway.read("session_snapshot", {"p_session_id": session_id, "p_messages": 200})
    assert isinstance(answer, dict)
    return answer


def differences(session: Session, view: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where a client's state differs from a snapshot: name → (state, snapshot)."""
    state = session.state
    shown: dict[str, tuple[Any, Any]] = {
        "seq": (state.seq, view["last_seq"]),
        "session": (
            (state.session.status, state.session.settings.slow_mode_seconds, state.session.settings.chat_frozen),
            (
                view["session"]["status"],
                view["session"]["settings"]["slow_mode_seconds"],
                view["session"]["settings"]["chat_frozen"],
            ),
        ),
        "me": (
            state.me and (state.me.role, state.me.banned, state.me.muted_until is None),
            view["me"] and (view["me"]["role"], view["me"]["banned"], view["me"]["muted_until"] is None),
        ),
        "now_playing": (
            state.now_playing and (state.now_playing.id, state.now_playing.version),
            view["now_playing"] and (view["now_playing"]["id"], view["now_playing"]["version"]),
        ),
        "queue": (
            [(item.id, item.version, item.rank) for item in state.queue],
            [(item["id"], item["version"], item["rank"]) for item in view["queue"]],
        ),
        "tallies": (
            {song: (tally.up, tally.down, tally.score) for song, tally in state.tallies.items()},
            {row["song_id"]: (row["up"], row["down"], row["score"]) for row in view["tallies"]},
        ),
        "my_votes": (dict(state.my_votes), {song: value for song, value in view["my_votes"].items() if value}),
        "tips": (
            (state.tips.totals, state.tips.count),
            (view["tips"]["totals"], view["tips"]["count"]),
        ),
        "messages": (
            [(message.id, message.user_id, message.content, message.seq) for message in state.messages],
            [(row["id"], row["user_id"], row["content"], row["seq"]) for row in view["messages"]],
        ),
    }
    return {name: pair for name, pair in shown.items() if pair[0] != pair[1]}


async def same_as_database(sound: WhatsSound, session: Session) -> None:
    """Waits until a client's state equals a fresh snapshot."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE
    while unlike := differences(session, await snapshot(sound, session.id)):
        if loop.time() > ends:
            raise AssertionError(f"state and database differ: {unlike}")
        await asyncio.sleep(0.05)


async def room(
    who: People, *names: str, url: str | None = None
) -> tuple[SessionInfo, Sequence[tuple[WhatsSound, Session]]]:
    """A session with its DJ (the first name) and listeners, all in it."""
    clients = [await who.join(name, url=url if at else None) for at, name in enumerate(names)]
    info = await clients[0].create_session("Noche")
    return info, [(sound, await who.open(sound, info.id)) for sound in clients]
