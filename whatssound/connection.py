"""Keeps a session's channel alive: one generation after the other, for as long as it takes.

A generation (`ports.Link`) is used once and ends at the first doubt. The supervisor says what happened, waits (full
jitter, longer after a rate limit, over again only once a join has held), gets a fresh token where that may help, and
starts the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from .config import ConnectionConfig
from .core.backoff import Backoff
from .core.lifecycle import check_transition
from .core.reasons import WANTS_FRESH_TOKEN, Reason
from .errors import ConnectionRefusedByServerError, TransportError, UnreachableError, WhatsSoundError
from .events import Status, StatusChanged
from .ports import Clock, Ended, JoinSpec, Link, LinkFactory, LinkListener, TokenSource

_log = logging.getLogger("whatssound.connection")

#: Seconds before a token's end at which a joined channel gets the next one.
_RENEW_BEFORE = 30.0

#: Seconds until the auth server is asked again.
_TRY_AGAIN = 3.0


class Connection:
    """Supervises the generations of one channel.

    Args:
        join: what to join.
        links: makes generations.
        tokens: who we are.
        config: timeouts and back-off.
        clock: time.
        listener: hears what arrives.
        changed: called with each change of status.
        chance: draws a uniform random number in [0, 1).
    """

    def __init__(
        self,
        join: JoinSpec,
        links: LinkFactory,
        tokens: TokenSource,
        config: ConnectionConfig,
        clock: Clock,
        *,
        listener: LinkListener,
        changed: Callable[[StatusChanged], None],
        chance: Callable[[], float],
    ) -> None:
        self._spec = join
        self._links = links
        self._tokens = tokens
        self._config = config
        self._clock = clock
        self._listener = listener
        self._changed = changed
        self._chance = chance
        self._link: Link | None = None
        self._token = ""
        self._wake = asyncio.Event()
        self.status = Status.NEW
        self.reconnects = 0

    @property
    def is_joined(self) -> bool:
        """Whether frames may be pushed."""
        return self._link is not None and self._link.is_joined

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Sends on the topic; returns False, and sends nothing, unless joined."""
        link = self._link
        return await link.push(event, payload) if link is not None else False

    def retry_now(self) -> None:
        """Ends the wait before the next attempt."""
        self._wake.set()

    def live(self) -> None:
        """Notes that the session is in step with the database again."""
        if self.is_joined and self.status in (Status.CONNECTING, Status.RECONNECTING):
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
        link = self._links(self._spec)
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
        """Gives a joined channel each next token before the current one ends; the server closes it otherwise."""
        failed = False
        while True:
            left = self._tokens.expires_in()
            wait = max(1.0, left - _RENEW_BEFORE) if left is not None else 300.0
            # After a failure soon, whatever the source says by now: the channel still has the old token.
            await self._clock.sleep(_TRY_AGAIN if failed else wait)
            failed = False
            try:
                token = await self._tokens.token()
            except WhatsSoundError as error:
                _log.warning("no fresh token for %s yet: %s", self._spec.topic, error)
                failed = True
                continue
            if token == self._token:
                continue
            while not link.is_joined:
                # The join under way carries the old one; a push would not be sent, and the next look is far away.
                await self._clock.sleep(1.0)
            self._token = token
            await link.renew_token(token)

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _gave_up(self, ended: Ended) -> TransportError:
        if ended.refused:
            return ConnectionRefusedByServerError(ended.detail)
        return UnreachableError(self._spec.topic, ended.detail)

    def _become(self, event: StatusChanged) -> None:
        check_transition(self.status, event.status)
        self.status = event.status
        _log.info("%s: %s %s", self._spec.topic, event.status.value, event.reason or "")
        self._changed(event)
