"""Faults on demand: what a flaky network and an overloaded project do to a client, at the moment a test chooses.

Rules are tried in the order they were added, and the first that fits a request is applied. Chance comes from one
seeded generator, so a run repeats.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from whatssound.local.errors import LocalStackError
from whatssound.local.ports import RealtimeControls

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FaultKind = Literal["answer", "lose_response", "delay", "freeze"]

_TEXTS: Mapping[int, str] = {
    429: "Too many requests",
    500: "Internal server error",
    502: "An invalid response was received from the upstream server",
    503: "name resolution failed",
    504: "The upstream server is timing out",
}
_CLOSE_OPCODE = 0x88


@dataclass(eq=False, slots=True)
class Fault:
    """One rule.

    Attributes:
        kind: what happens.
        path: prefix of the request's path; `/rest/v1/rpc/send_tip`, or `/` for all.
        times: how often it still happens; None for ever.
        probability: chance that it happens to a request that fits, from 0 to 1.
        hits: how often it has happened.
    """

    kind: FaultKind
    path: str
    times: int | None = None
    probability: float = 1.0
    status: int = 503
    body: Any = None
    retry_after: float | None = None
    seconds: float = 0.0
    jitter: float = 0.0
    hits: int = 0
    thawed: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        """The rule as JSON, for the control API."""
        names = ("kind", "path", "times", "probability", "status", "retry_after", "seconds", "jitter", "hits")
        return {name: getattr(self, name) for name in names}


class Faults:
    """The fault switches of one stack.

    Args:
        seed: of everything left to chance.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._rules: list[Fault] = []
        # By identity: a request compares as a mapping and so cannot be hashed.
        self._sockets: dict[int, web.Request] = {}
        self._realtime: RealtimeControls | None = None
        self.peak_sockets = 0

    @property
    def rules(self) -> tuple[Fault, ...]:
        """The rules in force, in the order they are tried."""
        return tuple(self._rules)

    @property
    def sockets(self) -> int:
        """WebSockets open now."""
        return len(self._sockets)

    def reseed(self, seed: int) -> None:
        """Starts chance anew."""
        self._random.seed(seed)

    def attach(self, realtime: object) -> None:
        """Names the Realtime that `kick`, `freeze_sockets`, `skip_system_ok` and `lose_sent` act on."""
        self._realtime = realtime if isinstance(realtime, RealtimeControls) else None

    # --------------------------------------------------------------------------------------------- HTTP requests

    def answer(
        self,
        path: str,
        status: int = 503,
        *,
        retry_after: float | None = None,
        body: Any = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> Fault:
        """Answers requests with an error; they do not reach their service.

        Args:
            path: prefix of the request's path.
            status: HTTP status, 400 to 599.
            retry_after: seconds, as the header of that name.
            body: JSON to answer with; by default the gateway's own.
            times: how often; None until removed.
            probability: chance for each request.
        """
        if not 400 <= status <= 599:
            raise LocalStackError(f"an error has a status from 400 to 599, not {status}")
        return self._add(Fault("answer", path, times, probability, status=status, body=body, retry_after=retry_after))

    def lose_response(self, path: str, *, times: int | None = 1, probability: float = 1.0) -> Fault:
        """Lets requests do their work, then cuts the connection instead of answering: the outcome is unknown.

        Args:
            path: prefix of the request's path.
            times: how often; None until removed.
            probability: chance for each request.
        """
        return self._add(Fault("lose_response", path, times, probability))

    def delay(
        self, path: str, seconds: float, *, jitter: float = 0.0, times: int | None = None, probability: float = 1.0
    ) -> Fault:
        """Holds requests up before they reach their service.

        Args:
            path: prefix of the request's path.
            seconds: how long.
            jitter: up to so many seconds more, by chance.
            times: how often; None until removed.
            probability: chance for each request.
        """
        return self._add(Fault("delay", path, times, probability, seconds=seconds, jitter=jitter))

    def freeze(self, path: str = "/") -> Fault:
        """Holds requests until `thaw`: taken, and never answered meanwhile. New sockets freeze in the handshake.

        Args:
            path: prefix of the request's path.
        """
        return self._add(Fault("freeze", path))

    def thaw(self) -> None:
        """Ends every freeze, of requests and of sockets: what was held goes on."""
        for rule in [rule for rule in self._rules if rule.kind == "freeze"]:
            self.remove(rule)
        if self._realtime is not None:
            self._realtime.hooks.frozen = False

    def remove(self, rule: Fault) -> None:
        """Ends one rule. One that is gone already is no error."""
        rule.thawed.set()
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Ends everything: rules, freezes and Realtime's switches."""
        for rule in self.rules:
            self.remove(rule)
        if self._realtime is not None:
            self._realtime.hooks.frozen = False
            self._realtime.hooks.skip_system_ok = False
            self._realtime.hooks.lose_sent = False

    def _add(self, rule: Fault) -> Fault:
        if not rule.path.startswith("/"):
            raise LocalStackError(f"a path starts with a slash: {rule.path!r}")
        if not 0 <= rule.probability <= 1:
            raise LocalStackError(f"a probability lies between 0 and 1: {rule.probability}")
        if min(rule.seconds, rule.jitter) < 0 or (rule.times is not None and rule.times < 1):
            raise LocalStackError("seconds and jitter are not negative, and times is at least 1")
        self._rules.append(rule)
        return rule

    # --------------------------------------------------------------------------------------------------- sockets

    def drop_sockets(self, code: int | None = 1012, reason: str = "") -> int:
        """Ends every WebSocket at once.

        Args:
            code: sent in a close frame; None cuts the connections without one, as a dead network does.
            reason: at most 123 bytes of UTF-8, sent with the code.

        Returns:
            How many there were.
        """
        text = reason.encode()
        if code is not None and not 1000 <= code <= 4999:
            raise LocalStackError(f"a close code lies between 1000 and 4999: {code}")
        if len(text) > 123:
            raise LocalStackError("a close reason has at most 123 bytes")
        dropped = 0
        for request in tuple(self._sockets.values()):
            transport = request.transport
            if transport is None or transport.is_closing():
                continue
            dropped += 1
            if code is None:
                transport.abort()
            else:
                # Written past the service, so that it works alike for ours and for a real one behind a proxy.
                payload = code.to_bytes(2, "big") + text
                transport.write(bytes([_CLOSE_OPCODE, len(payload)]) + payload)
                transport.close()
        return dropped

    async def kick(self, topic: str, message: str) -> int:
        """Ends every channel of a topic by a `system` error and `phx_close`, as the server does over quota.

        Args:
            topic: with or without the prefix `realtime:`.
            message: the error's text.

        Returns:
            How many channels there were.

        Raises:
            LocalStackError: the Realtime is not ours.
        """
        return await self._controls().kick(topic, message)

    def freeze_sockets(self) -> None:
        """Lets every socket hang: open, but silent in both directions, until `thaw`.

        Raises:
            LocalStackError: the Realtime is not ours.
        """
        self._controls().hooks.frozen = True

    def skip_system_ok(self, on: bool = True) -> None:
        """Withholds the `system` frames that tell a client that its subscription works.

        Args:
            on: False to send them again.

        Raises:
            LocalStackError: the Realtime is not ours.
        """
        self._controls().hooks.skip_system_ok = on

    def lose_sent(self, on: bool = True) -> None:
        """Lets vanish what the database sends by `realtime.send`, frames among it, as Realtime does over quota.

        Nobody is told: the database has gone on, and what was sent is not sent again.

        Args:
            on: False to let it through again.

        Raises:
            LocalStackError: the Realtime is not ours.
        """
        self._controls().hooks.lose_sent = on

    def _controls(self) -> RealtimeControls:
        if self._realtime is None:
            raise LocalStackError("this fault needs the stack's own Realtime, which is not part of this stack")
        return self._realtime

    # ------------------------------------------------------------------------------------------------ middleware

    async def apply(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Passes a request on, or does to it what the first rule that fits says."""
        rule = self._match(request.path)
        if rule is not None:
            if rule.kind == "answer":
                return _error(rule)
            if rule.kind == "freeze":
                await rule.thawed.wait()
            elif rule.kind == "delay":
                await asyncio.sleep(rule.seconds + self._random.uniform(0, rule.jitter))
        with self._tracked(request):
            response = await handler(request)
        if rule is not None and rule.kind == "lose_response" and request.transport is not None:
            request.transport.abort()
        return response

    def _match(self, path: str) -> Fault | None:
        for rule in self._rules:
            if path.startswith(rule.path) and (rule.probability >= 1 or self._random.random() < rule.probability):
                rule.hits += 1
                if rule.times is not None:
                    rule.times -= 1
                    if not rule.times:
                        self._rules.remove(rule)
                return rule
        return None

    @contextmanager
    def _tracked(self, request: web.Request) -> Iterator[None]:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            yield
            return
        self._sockets[id(request)] = request
        self.peak_sockets = max(self.peak_sockets, len(self._sockets))
        try:
            yield
        finally:
            self._sockets.pop(id(request), None)


def _error(rule: Fault) -> web.Response:
    headers = {} if rule.retry_after is None else {"Retry-After": f"{rule.retry_after:g}"}
    body = {"message": _TEXTS.get(rule.status, "injected fault")} if rule.body is None else rule.body
    return web.json_response(body, status=rule.status, headers=headers)
