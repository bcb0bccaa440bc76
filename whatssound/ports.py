"""What the parts need of the outside, as protocols; the adapters and the tests' fakes fit them without inheriting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .core.reasons import Reason


class Clock(Protocol):
    """Time: monotonic seconds for waiting, wall milliseconds for identifiers."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def unix_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Milliseconds of `time.time_ns`."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Waits with `asyncio.sleep`."""
        await asyncio.sleep(seconds)


class TokenSource(Protocol):
    """Where access tokens come from."""

    @property
    def user_id(self) -> str | None:
        """The signed-in user's id; None for a bare key."""
        ...

    @property
    def username(self) -> str | None:
        """The name the user signed in with, if any."""
        ...

    async def token(self, *, refused: str | None = None) -> str:
        """Returns a token that is good for a while.

        Args:
            refused: a token that a server has just refused: if it is still the current one, get another.

        Raises:
            AuthenticationError: there is none to be had.
            TransportError: the auth server cannot be reached.
        """
        ...

    def expires_in(self) -> float | None:
        """Seconds until the current token ends; None if unknown or never."""
        ...


class RpcPort(Protocol):
    """Calls functions of the database, once each."""

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        """Calls ``function`` with named arguments and returns its JSON object.

        Raises:
            WhatsSoundError: typed by what went wrong.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBinding:
    """One subscription to Postgres Changes."""

    table: str
    filter: str
    event: str = "*"
    schema: str = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSpec:
    """How to join a topic.

    Attributes:
        topic: without the prefix ``realtime:``.
        private: whether policies decide who may join.
        presence_key: the key we are known under in presence; None: presence is off.
        changes: rows to hear about.
    """

    topic: str
    private: bool
    presence_key: str | None = None
    changes: Sequence[ChangeBinding] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a generation ended.

    Attributes:
        reason: in a code.
        detail: in the server's or the network's words.
        held_for: seconds it was joined; 0 if it never was.
        refused: whether the server refused the handshake or the join.
    """

    reason: Reason
    detail: str = ""
    held_for: float = 0.0
    refused: bool = False


class LinkListener(Protocol):
    """Hears what a generation receives. All calls are synchronous and quick; none may raise."""

    def joined(self) -> None:
        """The join was accepted: from now on frames may be pushed."""
        ...

    def changes_flow(self) -> None:
        """The server says that Postgres Changes flow from now on; what was committed before may be missing."""
        ...

    def broadcast(self, event: str, payload: Mapping[str, Any]) -> None:
        """A broadcast arrived."""
        ...

    def row_changed(self, table: str, record: Mapping[str, Any]) -> None:
        """A row was inserted or updated."""
        ...

    def presence_state(self, state: Mapping[str, Any]) -> None:
        """Everybody who is here."""
        ...

    def presence_diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        """Who came and who left."""
        ...


class Link(Protocol):
    """One generation: one socket, one join. It is used once and thrown away at the first doubt."""

    async def run(self, token: str, listener: LinkListener) -> Ended:
        """Connects, joins and reads until the end, and says how it ended. Cancelling it leaves and closes."""
        ...

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Sends on the topic; returns False (and sends nothing) unless joined."""
        ...

    async def renew_token(self, token: str) -> None:
        """Gives the server a fresh token for the joined topic."""
        ...

    @property
    def is_joined(self) -> bool:
        """Whether frames may be pushed."""
        ...


class LinkFactory(Protocol):
    """Makes generations."""

    def __call__(self, join: JoinSpec) -> Link:
        """Makes a new, unused one."""
        ...
