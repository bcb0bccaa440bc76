"""What the features of an open session share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from ._auth import is_public_key
from .config import SessionConfig
from .connection import Connection
from .core.identifiers import Uuid7Source
from .core.reducer import RoomState
from .errors import NotSignedInError, ProtocolError, SessionClosedError, refusal
from .feed import Feed
from .gateway import Gateway
from .models import Model, SessionId, SessionInfo
from .outbox import Outbox
from .ports import Clock, TokenSource
from .state import ServerTime

M = TypeVar("M", bound=Model)

#: Seconds between two heartbeats of who holds a lease; the database names more to who holds none, in large rooms.
_HEARTBEAT = 25.0

#: The longest interval of heartbeats that is believed, in seconds.
_LONGEST_HEARTBEAT = 3_600.0


@dataclass(slots=True, kw_only=True)
class Room:
    """The parts of one open session, for its features; they never reach for each other otherwise."""

    session_id: SessionId
    gateway: Gateway
    connection: Connection
    outbox: Outbox
    feed: Feed
    state: RoomState
    config: SessionConfig
    tokens: TokenSource
    clock: Clock
    server_time: ServerTime
    ids: Uuid7Source
    is_open: bool = True

    def check_open(self) -> None:
        """Raises if the session is closed.

        Raises:
            SessionClosedError: it is.
        """
        if not self.is_open:
            raise SessionClosedError("the session is closed; open it again with `async with sound.session(...)`")

    def user_id(self) -> str:
        """Returns the signed-in user's id.

        Raises:
            NotSignedInError: nobody is.
        """
        self.check_open()
        user_id = self.tokens.user_id
        if user_id is None:
            raise NotSignedInError
        return user_id

    async def command(self, function: str, params: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        """Calls an RPC that changes this session, and learns from its answer what it says of the event log."""
        self.check_open()
        answer = await self.gateway.command(function, {"p_session_id": self.session_id, **params}, key=key)
        self.feed.heard_reply(answer)
        return answer


def parse(model: type[M], function: str, data: Any) -> M:
    """Reads an answer.

    Raises:
        ProtocolError: it does not have the model's shape.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ProtocolError(f"{function} answered in an unknown shape: {error}") from error


def heartbeat_wait(answer: Mapping[str, Any], configured: float) -> float:
    """Returns the seconds until the next heartbeat: as configured, or longer where the database has us call seldom."""
    named = answer.get("heartbeat_s")
    if isinstance(named, bool) or not isinstance(named, int | float) or not _HEARTBEAT < named <= _LONGEST_HEARTBEAT:
        return configured
    return max(float(named), configured)


async def check_access(gateway: Gateway, tokens: TokenSource, session_id: SessionId, *, private: bool) -> None:
    """Asks the database what a refused join would not say.

    Args:
        gateway: calls the database.
        tokens: who we are.
        session_id: the session.
        private: whether its private channel is to be joined.

    Raises:
        SessionEndedError: the session has ended, so nobody may join its channel.
        NotSignedInError: a private channel is for users.
        WhatsSoundError: what reading the session met: unknown, wrong key, unreachable …
    """
    answer = await gateway.read("session_snapshot", {"p_session_id": session_id, "p_messages": 1})
    if parse(SessionInfo, "session_snapshot", answer.get("session")).status == "ended":
        raise refusal("session_ended", "the session has ended")
    if private and is_public_key(await tokens.token()):
        raise NotSignedInError
