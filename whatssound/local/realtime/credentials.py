"""The token of one channel: its renewal, and its end."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from .access import Caller, Policies, TokenRefusedError, check_token
from .database import DatabaseUnavailableError

if TYPE_CHECKING:
    from .channel import Channel
    from .codec import Push
    from .server import Server

_log = logging.getLogger(__name__)
_CONFIRM_EVERY: Final = 300.0
_NO_DATABASE: Final = "Realtime was unable to connect to the project database"


class Credentials:
    """The token in force.

    Args:
        channel: The channel.
        server: The server's parts.
        token: The token of the join.
        claims: That token's claims.

    Attributes:
        claims: The claims in force.
    """

    def __init__(self, channel: Channel, server: Server, token: str, claims: dict[str, Any]) -> None:
        self._channel = channel
        self._server = server
        self._token = token
        self.claims = claims
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Ends the channel when the token has run out."""
        self.unwatch()
        # The server's clock ticks in whole seconds, so a token ends with its second.
        left = float(self.claims["exp"]) - int(time.time())
        delay = max(0.0, min(_CONFIRM_EVERY, left))
        self._timer = asyncio.get_running_loop().call_later(delay, self._confirm)

    def unwatch(self) -> None:
        """Stops to look after the token."""
        if self._timer is not None:
            self._timer.cancel()

    def renew_public(self, push: Push) -> None:
        """Takes a new token over on a public channel; nothing is answered.

        Args:
            push: The push that brings it.
        """
        token = self._news(push)
        claims = self._accept(token) if token is not None else None
        if token is not None and claims is not None:
            self._adopt(token, claims)

    async def renew(self, push: Push) -> None:
        """Takes a new token over if policies still let its bearer read; nothing is answered.

        Args:
            push: The push that brings it.
        """
        token = self._news(push)
        claims = self._accept(token) if token is not None else None
        if token is None or claims is None:
            return
        channel = self._channel
        before = channel.policies or Policies()
        try:
            now = await self._server.database.read_policies(
                Caller(claims, channel.socket.headers), channel.name, presence=channel.tracking.enabled
            )
        except DatabaseUnavailableError:
            channel.shutdown(_NO_DATABASE)
            return
        except asyncpg.CheckViolationError:
            channel.shutdown(_NO_DATABASE)
            return
        except asyncpg.PostgresError as error:
            _log.warning("policies of %s failed: %s", channel.name, error)
            now = Policies(broadcast_read=False, presence_read=False)
        if not (now.broadcast_read or now.presence_read):
            channel.shutdown(f"You do not have permissions to read from this Channel topic: {channel.name}")
        elif before.lost_read(now):
            channel.shutdown(f"You no longer have permission to read from this Channel topic: {channel.name}")
        elif not channel.closed:
            channel.policies = now
            self._adopt(token, claims)

    def _news(self, push: Push) -> str | None:
        payload = push.payload
        token = payload.get("access_token") if isinstance(payload, dict) else None
        # Nulls, other types and publishable keys are no tokens of a user; the real server overlooks them.
        if not isinstance(token, str) or token.startswith("sb_") or token == self._token:
            return None
        return token

    def _accept(self, token: str) -> dict[str, Any] | None:
        try:
            return check_token(self._server.keyring, token)
        except TokenRefusedError as refused:
            self._channel.shutdown(refused.system)
            return None

    def _adopt(self, token: str, claims: dict[str, Any]) -> None:
        self._token, self.claims = token, claims
        self.watch()
        if self._channel.config.bindings:
            self._server.changes.resubscribe_later(self._channel)

    def _confirm(self) -> None:
        if self._accept(self._token) is not None:
            self.watch()
