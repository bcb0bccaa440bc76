"""Decides on a join: quotas, token, policies and replay, in the real server's order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from .access import Caller, Policies, TokenRefusedError, check_token
from .channel import Channel
from .database import DatabaseUnavailableError
from .inspect import inspect
from .join_config import JoinConfig, JoinCrashError, parse_join

if TYPE_CHECKING:
    from .codec import Push
    from .server import Server
    from .socket import Socket

_log = logging.getLogger(__name__)
_REPLAY_DEFAULT: Final = 25
_REPLAY_MOST: Final = 25
_LAST_MS: Final = 253_402_300_799_999
_NO_DATABASE: Final = "UnableToConnectToProject: Realtime was unable to connect to the project database"
_NO_PARTITION: Final = "MissingPartition: Realtime was unable to find the expected messages partition"


class JoinRefusedError(Exception):
    """A join is refused.

    Attributes:
        reason: What the reply says.
        disconnect: Whether the whole socket is closed.
    """

    def __init__(self, reason: str, *, disconnect: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.disconnect = disconnect


async def join(server: Server, socket: Socket, push: Push, name: str) -> tuple[Channel, list[Any]]:
    """Makes the channel that a join asks for, and fetches what it is to replay.

    Args:
        server: The server's parts.
        socket: Where the join came from.
        push: The join.
        name: The channel's name without prefix.

    Raises:
        JoinRefusedError: The join is refused.
    """
    payload = push.payload
    if not name:
        raise JoinRefusedError("TopicNameRequired: You must provide a topic name")
    if not isinstance(payload, dict):
        shown = inspect(payload) if payload is None or not hasattr(payload, "__dataclass_fields__") else "binary"
        raise JoinRefusedError(f"UnknownErrorOnChannel: expected params to be a :map, got: `{shown}`")
    # What crashes the real server's join does so only after quotas, token and policies have been looked at.
    try:
        config: JoinConfig | None = parse_join(name, payload)
        crash: JoinCrashError | None = None
    except JoinCrashError as error:
        config, crash = None, error
    _check_quotas(server, socket, private=config is not None and bool(config.private))
    token = _token_of(socket, payload)
    try:
        claims = check_token(server.keyring, token)
    except TokenRefusedError as refused:
        raise JoinRefusedError(f"{refused.code}: {refused.sentence}") from refused
    if config is None:
        raise JoinRefusedError(f"UnknownErrorOnChannel: {crash}") from crash
    policies = await _policies(server, socket, name, config, claims)
    replay = await _replay(server, name, config, policies)
    channel = Channel(server, socket, push, name=name, config=config, token=token, claims=claims, policies=policies)
    channel.replayed = frozenset(row["id"] for row in replay)
    return channel, replay


def _check_quotas(server: Server, socket: Socket, *, private: bool) -> None:
    hub = server.hub
    limits = hub.limits
    if limits.private_only and not private:
        raise JoinRefusedError("PrivateOnly: This project only allows private channels")
    if socket not in hub.users and len(hub.users) >= limits.max_concurrent_users:
        raise JoinRefusedError("ConnectionRateLimitReached: Too many connected users")
    if hub.joins.over:
        raise JoinRefusedError("ClientJoinRateLimitReached: Too many joins per second", disconnect=True)
    hub.joins.add()
    if socket.channel_count >= limits.max_channels_per_client:
        raise JoinRefusedError("ChannelRateLimitReached: Too many channels")


def _token_of(socket: Socket, payload: dict[str, Any]) -> str:
    # The user's token wins, but a publishable key in either place means the token of the URL.
    access, user = payload.get("access_token"), payload.get("user_token")
    first = user if access is None or access is False else access
    if isinstance(first, str) and first.startswith("sb_"):
        return socket.token
    for token in (user, access):
        if isinstance(token, str):
            return token
    return socket.token


async def _policies(
    server: Server, socket: Socket, name: str, config: JoinConfig, claims: dict[str, Any]
) -> Policies | None:
    if not config.private:
        if not server.feed.connected and not await server.database.alive():
            raise JoinRefusedError(_NO_DATABASE)
        return None
    presence = config.presence or server.hub.limits.presence_enabled
    try:
        policies = await server.database.read_policies(Caller(claims, socket.headers), name, presence=presence)
    except DatabaseUnavailableError as error:
        raise JoinRefusedError(_NO_DATABASE) from error
    except asyncpg.CheckViolationError as error:
        raise JoinRefusedError(_NO_PARTITION) from error
    except asyncpg.PostgresError as error:
        _log.warning("policies of %s failed: %s", name, error)
        policies = Policies(broadcast_read=False, presence_read=False)
    if not (policies.broadcast_read or policies.presence_read):
        raise _unauthorized(name)
    return policies


def _unauthorized(name: str) -> JoinRefusedError:
    return JoinRefusedError(f"Unauthorized: You do not have permissions to read from this Channel topic: {name}")


async def _replay(server: Server, name: str, config: JoinConfig, policies: Policies | None) -> list[Any]:
    if not config.mentions_replay:
        return []
    if policies is not None and policies.broadcast_read is False:
        raise _unauthorized(name)
    if config.private is False:
        raise JoinRefusedError("UnableToReplayMessages: Replay is not allowed for public channels")
    if config.private is None or config.replay is None:
        return []
    since, limit = config.replay.get("since"), config.replay.get("limit")
    limit = _REPLAY_DEFAULT if limit is None or limit is False else limit
    if not (type(since) is int and type(limit) is int and abs(since) <= _LAST_MS):
        raise JoinRefusedError("UnableToReplayMessages: Replay params are not valid")
    try:
        return await server.database.messages_since(name, since, max(1, min(limit, _REPLAY_MOST)))
    except (DatabaseUnavailableError, asyncpg.PostgresError) as error:
        raise JoinRefusedError("UnableToReplayMessages: Realtime was unable to replay messages") from error
