"""Keeps a session's topics alive: one generation after the other, for as long as it takes.

A generation (`ports.Link`) is used once and ends at the first doubt. The supervisor says what happened, waits (full
jitter, longer after a rate limit, over again only once a join has held), gets a fresh token where that may help, and
starts the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .config import ConnectionConfig
from .core.backoff import Backoff
from .core.lifecycle import check_transition
from .core.reasons import WANTS_FRESH_TOKEN, Reason
from .errors import ConnectionRefusedByServerError, TransportError, UnreachableError, WhatsSoundError
from .events import Status, StatusChanged
from .ports import Clock, Ended, JoinSpec, Link, LinkFactory, LinkListener, TokenSource

_log = logging.getLogger("whatssound.connection")

#: Seconds before a token's end at which the joined topics get the next one; half its life before, if that is shorter.
_RENEW_BEFORE = 30.0

#: Seconds until the auth server is asked again after a failure, and at least between two looks at an ending token.
_TRY_AGAIN = 3.0
_LEAST_WAIT = 0.25

#: Seconds between two looks at a token that does not say when it ends.
_NO_END = 300.0


class Connection:
    """Supervises the generations of one session's topics.

    Args:
        joins: what to join at first, at least one.
        links: makes generations.
        tokens: who we are.
        config: timeouts and back-off.
        clock: time.
        listener: hears what arrives.
        changed: called with each change of status.
        chance: draws a uniform random number in [0, 1).
        sent: called with the event's name for each frame that `push` has sent, for who keeps a budget.
        pace: awaited with the event's name before each is sent, so that it may wait for its turn.
    """

    def __init__(
        self,
        joins: Sequence[JoinSpec],
        links: LinkFactory,
        tokens: TokenSource,
        config: ConnectionConfig,
        clock: Clock,
        *,
        listener: LinkListener,
        changed: Callable[[StatusChanged], None],
        chance: Callable[[], float],
        sent: Callable[[str], None] | None = None,
        pace: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._joins = tuple(joins)
        self._name = self._joins[0].topic
        self._links = links
        self._tokens = tokens
        self._config = config
        self._clock = clock
        self._listener = listener
        self._changed = changed
        self._chance = chance
        self._sent = sent
        self._pace = pace
        self._link: Link | None = None
        self._token = ""
        self._wake = asyncio.Event()
        self.status = Status.NEW
        self.reconnects = 0

    @property
    def is_joined(self) -> bool:
        """Whether the session's topic is joined, so that frames may be pushed."""
        return self._link is not None and self._link.is_joined

    def set_joins(self, joins: Sequence[JoinSpec]) -> None:
        """Changes which topics to be on, at once on the current generation and in all later ones.

        Args:
            joins: all topics that are wanted from now on.
        """
        self._joins = tuple(joins)
        if self._link is not None:
            self._link.set_joins(self._joins)

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Sends on the session's topic; returns False, and sends nothing, unless joined."""
        if self._pace is not None and self.is_joined:
            await self._pace(event)
        link = self._link  # only now: it may be another than before the wait
        if link is None or not await link.push(event, payload):
            return False
        if self._sent is not None:
            self._sent(event)
        return True

    def retry_now(self) -> None:
        """Ends the wait before the next attempt."""
        self._wake.set()

    def live(self) -> None:
        """Notes that the session is in step with the database again; counts only while every wanted topic is joined."""
        joined = self._link.joined_topics if self._link is not None else frozenset[str]()
        if joined.issuperset(spec.topic for spec in self._joins) and self.status in (
            Status.CONNECTING,
            Status.RECONNECTING,
        ):
            self._become(StatusChanged(status=Status.LIVE))

    def failed(self, reason: str, detail: str) -> None:
        """Notes that the session may not go on; whoever runs this connection cancels it."""
        if self.status not in (Status.CLOSED, Status.FAILED):
            self._become(StatusChanged(status=Status.FAILED, reason=reason, detail=detail))

    def closed(self) -> None:
        """Notes that the session is closed."""
        if self.status is not Status.CLOSED:
            self._become(StatusChanged(status=Status.CLOSED))

    async def run(self) -> None:
        """Connects and reconnects until cancelled, or until ``max_attempts`` in a row have failed.

        Raises:
            UnreachableError: gave up; the server could not be reached.
            ConnectionRefusedByServerError: gave up; the server refused.
        """
        backoff = Backoff(
            base=self._config.backoff_base,
            cap=self._config.backoff_cap,
            rate_limit_floor=self._config.rate_limit_floor,
            hold=self._config.hold,
        )
        self._become(StatusChanged(status=Status.CONNECTING))
        refused: str | None = None
        failed = 0
        while True:
            ended = await self._generation(refused)
            backoff.ended(ended.held_for)
            refused = self._token if ended.reason in WANTS_FRESH_TOKEN else None
            # A join that has held was no failed attempt; its end is where counting begins.
            failed = 0 if ended.held_for >= self._config.hold else failed + 1
            limit = self._config.max_attempts
            if limit is not None and failed >= limit:
                self._become(StatusChanged(status=Status.FAILED, reason=ended.reason.value, detail=ended.detail))
                raise self._gave_up(ended)
            delay = backoff.next_delay(ended.reason, self._chance())
            self.reconnects += 1
            self._wake.clear()  # who hears of this may know that it need not wait
            self._become(
                StatusChanged(
                    status=Status.RECONNECTING,
                    reason=ended.reason.value,
                    detail=ended.detail,
                    attempt=backoff.attempt,
                    retry_in=delay,
                )
            )
            await self._pause(delay)

    async def _generation(self, refused: str | None) -> Ended:
        try:
            self._token = await self._tokens.token(refused=refused)
        except TransportError as error:
            return Ended(reason=Reason.UNREACHABLE, detail=str(error))
        except WhatsSoundError as error:
            # Also a token that cannot be sent: the app's function may give a better one next time.
            return Ended(reason=Reason.TOKEN, detail=str(error), refused=True)
        link = self._links(self._joins)
        self._link = link
        try:
            async with asyncio.TaskGroup() as group:
                renewer = group.create_task(self._renew_tokens(link), name="whatssound-renew")
                ended = await link.run(self._token, self._listener)
                renewer.cancel()
        finally:
            self._link = None
        return ended

    async def _renew_tokens(self, link: Link) -> None:
        """Gives the joined topics each next token before the current one ends; the server closes them otherwise."""
        failed = False
        while True:
            await self._clock.sleep(_next_look(self._tokens.expires_in(), failed=failed))
            try:
                # As if refused: what is about to end must not be given again, whatever its source thinks of its age.
                token = await self._tokens.token(refused=self._token)
                failed = False
            except WhatsSoundError as error:
                _log.warning("no fresh token for %s yet: %s", self._name, error)
                failed = True
                continue
            if token != self._token:
                self._token = token
                await link.renew_token(token)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _gave_up(self, ended: Ended) -> TransportError:
        if ended.refused:
            return ConnectionRefusedByServerError(ended.detail)
        return UnreachableError(self._name, ended.detail)

    def _become(self, event: StatusChanged) -> None:
        check_transition(self.status, event.status)
        self.status = event.status
        _log.info("%s: %s %s", self._name, event.status.value, event.reason or "")
        self._changed(event)


def _next_look(left: float | None, *, failed: bool) -> float:
    """Returns the seconds to wait before the next token is asked for.

    Args:
        left: seconds until the current token ends; None if unknown or never.
        failed: whether the last time there was none to be had; the topics then still have the old one, so it is soon,
            whatever the source says by now.
    """
    if left is None:
        return _TRY_AGAIN if failed else _NO_END
    if left <= 0:
        return _TRY_AGAIN
    # Half of what is left, so that a source which gives the same token again is asked ever sooner, but few times.
    wait = max(left - _RENEW_BEFORE, left / 2, _LEAST_WAIT)
    return min(wait, _TRY_AGAIN) if failed else wait
