"""Stand-ins for the outside, to test what is built on this package without a server.

They fit the protocols of `whatssound.ports`: a clock that moves when told, a database that answers as scripted, a
channel that is played by the test, and a token.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.reasons import Reason
from ..ports import Ended, JoinSpec, LinkListener, pushed_to

Answer = dict[str, Any] | BaseException | Callable[[Mapping[str, Any]], dict[str, Any]]


class FakeClock:
    """A clock that stands still until `advance`.

    Args:
        start: what `monotonic` says at first, in seconds.
        unix_ms: what `unix_ms` says at first.
    """

    def __init__(self, start: float = 1_000.0, unix_ms: int = 1_790_000_000_000) -> None:
        self._now = start
        self._ahead_ms = unix_ms - round(start * 1000)
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """The time set so far, in seconds."""
        return self._now

    def unix_ms(self) -> int:
        """The wall clock that belongs to it, in milliseconds."""
        return round(self._now * 1000) + self._ahead_ms

    async def sleep(self, seconds: float) -> None:
        """Waits until `advance` has brought the time; what was asked for is noted in ``slept``."""
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self._now + seconds, self._count, woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many tasks wait for time to pass."""
        return sum(not woken.done() for _, _, woken in self._sleeping)

    async def advance(self, seconds: float) -> None:
        """Lets time pass, waking sleepers in their order, and lets what they start run until it waits again."""
        end = self._now + seconds
        await settle()
        while self._sleeping and self._sleeping[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleeping)
            if woken.done():
                continue
            self._now = max(self._now, due)
            woken.set_result(None)
            await settle()
        self._now = end
        await settle()


async def settle(rounds: int = 25) -> None:
    """Lets every task that can run go on until it waits for something."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class FakeTokens:
    """A user with a token that can be replaced.

    Args:
        user_id: the signed-in user's id; None for a bare key.
        username: their name.
        token: the token at first.
        expires_in: seconds that `expires_in` tells; None where the token never ends.
    """

    def __init__(
        self,
        user_id: str | None = None,
        username: str | None = None,
        *,
        token: str = "token-1",  # noqa: S107 - no secret
        expires_in: float | None = None,
    ) -> None:
        self.user_id = user_id
        self.username = username
        self.current = token
        self.left = expires_in
        self.refused: list[str] = []
        self.errors: deque[BaseException] = deque()

    async def token(self, *, refused: str | None = None) -> str:
        """Returns the token, or raises the next of ``errors``; a refused one is counted up: token-1, token-2."""
        if self.errors:
            raise self.errors.popleft()
        if refused is not None:
            self.refused.append(refused)
            if refused == self.current:
                name, _, number = self.current.rpartition("-")
                self.current = f"{name}-{int(number) + 1}"
        return self.current

    def expires_in(self) -> float | None:
        """What it was told to say."""
        return self.left


class FakeRpc:
    """A database that answers as scripted, and notes every call.

    Each function has a queue of answers: a dict is returned, an exception raised, a function called with the
    parameters. The last answer given with ``always`` is used when the queue is empty.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], float]] = []
        self._next: dict[str, deque[Answer]] = {}
        self._always: dict[str, Answer] = {}
        self._gates: dict[str, asyncio.Event] = {}

    def then(self, function: str, *answers: Answer) -> FakeRpc:
        """Adds answers, used one after the other."""
        self._next.setdefault(function, deque()).extend(answers)
        return self

    def always(self, function: str, answer: Answer) -> FakeRpc:
        """Sets the answer for all further calls."""
        self._always[function] = answer
        return self

    def hold(self, function: str) -> asyncio.Event:
        """Lets calls of a function wait until the returned event is set."""
        return self._gates.setdefault(function, asyncio.Event())

    def made(self, function: str) -> list[dict[str, Any]]:
        """Parameters of all calls of a function so far."""
        return [params for name, params, _ in self.calls if name == function]

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        """Answers as scripted.

        Raises:
            LookupError: no answer was scripted.
        """
        self.calls.append((function, dict(params), within))
        gate = self._gates.get(function)
        if gate is not None:
            await gate.wait()
        queue = self._next.get(function)
        if queue:
            answer = queue.popleft()
        elif function in self._always:
            answer = self._always[function]
        else:
            raise LookupError(f"no answer is scripted for {function}")
        if isinstance(answer, BaseException):
            raise answer
        return answer(params) if callable(answer) else answer


class FakeLink:
    """One generation, played by the test: `join`, then call the ``listener``, then `end` or `refuse`.

    Attributes:
        specs: the topics that are wanted.
        token: what `run` was given; None before.
        pushed: event and payload of each frame.
        tokens: those it was given to renew.
        left: whether it was cancelled, and so left everything.
        takes_pushes: whether frames can be sent while joined.
    """

    def __init__(self, joins: Sequence[JoinSpec]) -> None:
        self.specs = tuple(joins)
        self.token: str | None = None
        self.pushed: list[tuple[str, dict[str, Any]]] = []
        self.tokens: list[str] = []
        self.left = False
        self.takes_pushes = True
        self._listener: LinkListener | None = None
        self._ended: asyncio.Future[Ended] | None = None
        self._joined: set[str] = set()
        self._joins_later = False

    @property
    def listener(self) -> LinkListener:
        """Who hears what arrives.

        Raises:
            RuntimeError: `run` has not been called.
        """
        if self._listener is None:
            raise RuntimeError("the link does not run yet")
        return self._listener

    @property
    def is_joined(self) -> bool:
        """Whether the session's topic was joined and nothing has ended."""
        session = pushed_to(self.specs)
        return session is not None and session.topic in self._joined

    @property
    def joined_topics(self) -> frozenset[str]:
        """The topics that were joined, until the end."""
        return frozenset(self._joined)

    async def run(self, token: str, listener: LinkListener) -> Ended:
        """Waits for `end`."""
        self.token = token
        self._listener = listener
        self._ended = asyncio.get_running_loop().create_future()
        try:
            return await self._ended
        except asyncio.CancelledError:
            self.left = True
            raise
        finally:
            self._joined.clear()

    def set_joins(self, joins: Sequence[JoinSpec]) -> None:
        """Leaves what is gone, soon; what is new waits for `join`, unless that was called for all topics."""
        before, self.specs = self.specs, tuple(joins)
        if self._listener is None or self._ended is None or self._ended.done():
            return
        soon = asyncio.get_running_loop().call_soon
        wanted = {spec.topic for spec in self.specs}
        for spec in before:
            if spec not in self.specs:
                self._joined.discard(spec.topic)
                if spec.topic not in wanted:
                    soon(self._listener.left, spec.topic)
        if self._joins_later:
            for spec in self.specs:
                if spec not in before:
                    soon(self._accept, spec.topic, True)

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Notes a frame; False unless the session's topic is joined."""
        if not (self.is_joined and self.takes_pushes):
            return False
        self.pushed.append((event, dict(payload)))
        return True

    async def renew_token(self, token: str) -> None:
        """Notes a token."""
        self.tokens.append(token)

    def join(self, topic: str | None = None, *, ready: bool = True) -> None:
        """Plays a join that was accepted and, by default, the word that what the topic carries flows.

        Args:
            topic: which; None for every wanted topic, and for those that `set_joins` adds later.
            ready: whether to say that it flows.

        Raises:
            ValueError: the topic is not wanted.
            RuntimeError: `run` has not been called.
        """
        if topic is not None:
            if all(spec.topic != topic for spec in self.specs):
                raise ValueError(f"{topic} is not among the joins")
            self._accept(topic, ready)
            return
        self._joins_later = True
        for spec in self.specs:
            self._accept(spec.topic, ready)

    def _accept(self, topic: str, ready: bool) -> None:
        listener = self.listener
        if all(spec.topic != topic for spec in self.specs) or self._ended is None or self._ended.done():
            return  # not wanted any more
        self._joined.add(topic)
        listener.joined(topic)
        if ready:
            listener.ready(topic)

    def refuse(self, topic: str, detail: str = "Unauthorized: no", reason: Reason = Reason.UNAUTHORIZED) -> None:
        """Plays a join that was refused, and the end that follows from it."""
        listener = self.listener
        self.end(reason, detail, refused=True)
        listener.refused(topic, detail)

    def end(
        self, reason: Reason = Reason.CLOSED, detail: str = "", *, held: float = 0.0, refused: bool = False
    ) -> None:
        """Plays the end."""
        if self._ended is None:
            raise RuntimeError("the link does not run yet")
        self._joined.clear()
        self._ended.set_result(Ended(reason=reason, detail=detail, held_for=held, refused=refused))


class FakeLinks:
    """Makes `FakeLink`s and keeps them.

    Args:
        started: called with each new link once it runs, for example ``FakeLink.join``.
    """

    def __init__(self, started: Callable[[FakeLink], None] | None = None) -> None:
        self.made: list[FakeLink] = []
        self._started = started

    def __call__(self, joins: Sequence[JoinSpec]) -> FakeLink:
        """Makes a link."""
        link = FakeLink(joins)
        self.made.append(link)
        if self._started is not None:
            asyncio.get_running_loop().call_soon(self._start, link)
        return link

    def _start(self, link: FakeLink) -> None:
        if link.token is None:
            asyncio.get_running_loop().call_soon(self._start, link)
        elif self._started is not None:
            self._started(link)

    @property
    def last(self) -> FakeLink:
        """The newest link."""
        return self.made[-1]
