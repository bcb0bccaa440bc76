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
            refused: a token that is no good any more, since a server has refused it or it is about to end: if it is
                still the current one, get another.

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
        replication: whether the topic carries what the database broadcasts, and nothing of ours: the server is asked to
            say when that flows (``broadcast.replication_ready``), and nothing is pushed there.
    """

    topic: str
    private: bool
    presence_key: str | None = None
    changes: Sequence[ChangeBinding] = field(default_factory=tuple)
    replication: bool = False


def pushed_to(joins: Sequence[JoinSpec]) -> JoinSpec | None:
    """Returns the topic that is pushed to: the first that carries more than the database's broadcasts, if any."""
    return next((spec for spec in joins if not spec.replication), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a generation ended.

    Attributes:
        reason: in a code.
        detail: in the server's or the network's words.
        held_for: seconds since all its topics were joined for the first time; 0 if they never were.
        refused: whether the server refused the handshake or a join.
    """

    reason: Reason
    detail: str = ""
    held_for: float = 0.0
    refused: bool = False


class LinkListener(Protocol):
    """Hears what a generation receives. All calls are synchronous and quick; none may raise.

    Topics are named as in `JoinSpec`. Rows and presence come without: at most one topic of a generation has them.
    """

    def joined(self, topic: str) -> None:
        """The join of a topic was accepted; from now on it may be pushed to."""
        ...

    def ready(self, topic: str) -> None:
        """What a topic carries flows from now on; what was committed before may be missing.

        Called every time the server says so (for Postgres Changes, also in the middle of a generation; for a topic with
        ``replication``, when the database's broadcasts flow), and at once after `joined` where there is nothing that
        the server would say. A server that never says it is waited for by nobody here: the join stands, and how long to
        do without the word is up to the listener (``ConnectionConfig.ready_timeout``).
        """
        ...

    def left(self, topic: str) -> None:
        """A topic was left on purpose, since it is no longer among the joins; nothing more comes from it."""
        ...

    def refused(self, topic: str, detail: str) -> None:
        """The join of a topic was refused, in the server's words; the generation ends with that."""
        ...

    def broadcast(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
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
    """One generation: one socket and the topics joined on it. It is used once and thrown away at the first doubt."""

    async def run(self, token: str, listener: LinkListener) -> Ended:
        """Connects, joins and reads until the end, and says how it ended. Cancelling it leaves and closes."""
        ...

    def set_joins(self, joins: Sequence[JoinSpec]) -> None:
        """Changes what to be on, on the same socket: what is new is joined, what is gone is left.

        A topic whose `JoinSpec` differs from before is left and joined anew. After the end this does nothing.
        """
        ...

    async def push(self, event: str, payload: Mapping[str, Any]) -> bool:
        """Sends on the session's topic (`pushed_to`); returns False (and sends nothing) unless joined there."""
        ...

    async def renew_token(self, token: str) -> None:
        """Gives the server a fresh token for every joined topic, and for those being joined once they are."""
        ...

    @property
    def is_joined(self) -> bool:
        """Whether the session's topic is joined, so that frames may be pushed."""
        ...

    @property
    def joined_topics(self) -> frozenset[str]:
        """The topics that are joined."""
        ...


class LinkFactory(Protocol):
    """Makes generations."""

    def __call__(self, joins: Sequence[JoinSpec]) -> Link:
        """Makes a new, unused one, for the topics to join at first."""
        ...
