"""What the stack asks of each part behind its one port."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from aiohttp import web


class Service(Protocol):
    """A part of Supabase: REST, Auth or Realtime."""

    async def start(self) -> None:
        """Opens what the service needs; its routes answer from now on. Works again after `stop`."""

    async def stop(self) -> None:
        """Drops connections and sockets; its routes answer 503 from now on."""

    def mount(self, app: web.Application) -> None:
        """Adds the service's routes; called once, before the application starts."""


class RealtimeHooks(Protocol):
    """Switches that Realtime reads on every use.

    Attributes:
        skip_system_ok: do not tell that a subscription works.
        frozen: neither read from nor write to any socket.
        lose_sent: what the database sends (`realtime.send`) vanishes.
    """

    skip_system_ok: bool
    frozen: bool
    lose_sent: bool


@runtime_checkable
class RealtimeControls(Protocol):
    """What can be done to a running Realtime beyond serving its clients.

    Attributes:
        hooks: its switches.
    """

    hooks: RealtimeHooks

    async def kick(self, topic: str, message: str, *, extension: str = "system") -> int:
        """Ends every channel of a topic by a `system` error; answers how many."""

    def usage(self) -> dict[str, int]:
        """`messages` billed so far, `connections`, `peak_connections`, `channels`."""
