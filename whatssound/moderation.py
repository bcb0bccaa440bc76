"""What the DJ and moderators may do. Every call bites at the next RPC of whom it concerns."""

from __future__ import annotations

from uuid import UUID

from .core.identifiers import as_uuid
from .core.text import storable
from .errors import InvalidInputError
from .models import Role
from .room import Room


class Moderation:
    """`Session.moderation`: `NotAllowedError` for listeners, `NotFoundError` for unknown members."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def set_role(self, user_id: str | UUID, role: Role) -> None:
        """Makes a member a moderator or a listener (DJ only)."""
        await self._room.command("set_member_role", {"p_user_id": as_uuid(user_id, "user_id"), "p_role": role})

    async def mute(self, user_id: str | UUID, seconds: int) -> None:
        """Silences a member's chat for so many seconds.

        Raises:
            InvalidInputError: not more than 0 seconds.
        """
        if seconds <= 0:
            raise InvalidInputError("seconds", f"must be more than 0, not {seconds!r}; unmute() ends a mute")
        await self._room.command("mute_member", {"p_user_id": as_uuid(user_id, "user_id"), "p_seconds": seconds})

    async def unmute(self, user_id: str | UUID) -> None:
        """Ends a mute."""
        await self._room.command("mute_member", {"p_user_id": as_uuid(user_id, "user_id"), "p_seconds": 0})

    async def ban(self, user_id: str | UUID, *, reason: str | None = None) -> None:
        """Bans a member.

        Every RPC refuses at once. An open channel may still carry their broadcasts until their token is renewed;
        clients drop those on the ban event.
        """
        if reason is not None:
            storable(reason, "reason")
        params = {"p_user_id": as_uuid(user_id, "user_id"), "p_banned": True, "p_reason": reason}
        await self._room.command("ban_member", params)

    async def unban(self, user_id: str | UUID) -> None:
        """Ends a ban."""
        await self._room.command("ban_member", {"p_user_id": as_uuid(user_id, "user_id"), "p_banned": False})

    async def delete_message(self, message_id: str | UUID, *, user_id: str | UUID | None = None) -> None:
        """Deletes a stored message, from the event log too.

        Args:
            message_id: its id.
            user_id: its author, where two authors have used the same id.
        """
        author = as_uuid(user_id, "user_id") if user_id is not None else None
        params = {"p_message_id": as_uuid(message_id, "message_id"), "p_user_id": author}
        await self._room.command("delete_message", params)

    async def set_slow_mode(self, seconds: int) -> None:
        """Lets listeners speak only so often; 0 ends slow mode.

        Raises:
            InvalidInputError: a negative number.
        """
        if seconds < 0:
            raise InvalidInputError("seconds", f"must not be negative, not {seconds!r}")
        await self._room.command("set_slow_mode", {"p_seconds": seconds})

    async def freeze_chat(self, *, frozen: bool = True) -> None:
        """Lets only the crew speak, or everybody again."""
        await self._room.command("freeze_chat", {"p_frozen": frozen})
