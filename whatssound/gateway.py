"""Calls of the database that happen exactly once, or say that nobody knows.

A command carries one idempotency key, made once and kept over all tries; so trying again is safe, and only after the
retry budget is spent does the caller get `OutcomeUnknownError`, with the key. Equal reads that are asked for at the
same time are made once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import tenacity

from .config import RetryConfig
from .core.backoff import ceiling
from .errors import (
    DatabaseBusyError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
    ServerError,
    TransportError,
    WhatsSoundError,
)
from .ports import Clock, RpcPort


def make_key() -> str:
    """Makes an idempotency key for one logical call."""
    return str(uuid4())


def _server_wait(error: BaseException) -> float:
    """Seconds that the server asked for."""
    if isinstance(error, ServerError | RateLimitedError | DatabaseBusyError):
        return error.retry_after or 0.0
    return 0.0


class _Reading:
    """One read under way, and how many wait for it."""

    def __init__(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self.task = task
        self.waiting = 0


class Gateway:
    """Calls RPCs with retries.

    Args:
        rpc: makes one call.
        config: attempts, deadlines and waits.
        clock: time.
    """

    def __init__(self, rpc: RpcPort, config: RetryConfig, clock: Clock) -> None:
        self._rpc = rpc
        self._config = config
        self._clock = clock
        self._chance = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._reading: dict[str, _Reading] = {}
        self.retries = 0
        self.errors = 0

    async def command(
        self, function: str, params: Mapping[str, Any], *, key: str | None = None, deadline: float | None = None
    ) -> dict[str, Any]:
        """Calls a function that changes something; ``key`` goes with it as ``p_key`` and stays the same over all tries.

        Args:
            function: the RPC's name.
            params: its named arguments, without the key.
            key: the idempotency key; None for a function that is idempotent by its arguments.
            deadline: seconds for the whole call; the configured one by default.

        Raises:
            OutcomeUnknownError: the budget is spent and at least one try may have had its effect.
            WhatsSoundError: what the last try, or the database, said.
        """
        named = {**params, "p_key": key} if key is not None else params
        return await self._retrying(function, named, key, deadline or self._config.deadline, unknown_matters=True)

    async def read(self, function: str, params: Mapping[str, Any], *, deadline: float | None = None) -> dict[str, Any]:
        """Calls a function that changes nothing. Equal calls at the same time share one request.

        Raises:
            WhatsSoundError: what the last try, or the database, said.
        """
        name = f"{function}:{sorted(params.items())!r}"
        running = self._reading.get(name)
        if running is None:
            call = self._retrying(function, params, None, deadline or self._config.deadline, unknown_matters=False)
            running = _Reading(asyncio.create_task(call, name=f"whatssound-read-{function}"))
            self._reading[name] = running
            running.task.add_done_callback(lambda _: self._forget(name, running))
        running.waiting += 1
        try:
            # Shielded: one reader that is cancelled must not take the answer from the others.
            return await asyncio.shield(running.task)
        except asyncio.CancelledError:
            if running.task.cancelled():
                raise TransportError(f"{function} was cancelled while others waited for it", sent=False) from None
            if running.waiting == 1:
                self._forget(name, running)
                running.task.cancel()
                # Not left to end by itself later: who closes a session leaves no task behind.
                await asyncio.wait([running.task])
            raise
        finally:
            running.waiting -= 1

    def _forget(self, name: str, running: _Reading) -> None:
        if self._reading.get(name) is running:
            del self._reading[name]

    async def aclose(self) -> None:
        """Cancels reads under way; who still waits gets a `TransportError`."""
        running = [reading.task for reading in self._reading.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def once(self, function: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a function a single time; for callers that have their own schedule of retries."""
        try:
            return await self._rpc.call(function, params, within=self._config.request_timeout)
        except WhatsSoundError:
            self.errors += 1
            raise

    async def _retrying(
        self, function: str, params: Mapping[str, Any], key: str | None, deadline: float, *, unknown_matters: bool
    ) -> dict[str, Any]:
        ends = self._clock.monotonic() + deadline
        maybe_done = False
        attempts = 0

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            jitter = self._chance.random() * ceiling(state.attempt_number, self._config.base, self._config.cap)
            return jitter + (_server_wait(error) if error is not None else 0.0)

        def stop(state: tenacity.RetryCallState) -> bool:
            return state.attempt_number >= self._config.attempts or (
                self._clock.monotonic() + (state.upcoming_sleep or 0.0) >= ends
            )

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, WhatsSoundError) and error.retryable),
            wait=wait,
            stop=stop,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    attempts = attempt.retry_state.attempt_number
                    self.retries += attempts > 1
                    left = max(0.05, ends - self._clock.monotonic())
                    try:
                        return await self._rpc.call(function, params, within=min(self._config.request_timeout, left))
                    except TransportError as error:
                        maybe_done = maybe_done or error.sent
                        raise
        except WhatsSoundError as error:
            self.errors += 1
            # A final refusal is the database's word on this key: an earlier try that had its effect would have been
            # answered with its receipt. Anything else (an expired token, say) tells nothing about the earlier try.
            told = isinstance(error, RefusedError) and not error.retryable
            if unknown_matters and maybe_done and not told:
                raise OutcomeUnknownError(function, key, attempts, error) from error
            raise
        raise AssertionError("unreachable: every attempt returns or raises")
