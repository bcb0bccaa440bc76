"""Who is here, from presence states and diffs.

A person (presence key) may be here several times: on two devices, or for a moment twice while a connection is replaced.
Each time is one *meta* with its own ``phx_ref``. Somebody came when their first meta appears, and left when the last
one goes; so the pair of join (new ref) and leave (old ref) that every reconnect and every update makes is no news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..models import Presence, UserId
from .wire import presence_members

_Metas = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RosterChange:
    """Who came and who left by one state or diff."""

    joined: list[Presence] = field(default_factory=list)
    left: list[Presence] = field(default_factory=list)


class Roster:
    """Keeps the metas of a topic.

    Diffs that arrive before the state of a new join are kept and applied after it, as the state is older than they are:
    otherwise somebody who left in between would stay as a ghost. At most ``pending_limit`` diffs wait; a server that
    never sends a state (presence is off for the channel) must not fill the memory.
    """

    def __init__(self, pending_limit: int = 1_000) -> None:
        self._pending_limit = pending_limit
        self._metas: dict[str, _Metas] = {}
        self._members: dict[str, Presence] = {}
        self._synced = False
        self._pending: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []

    @property
    def members(self) -> dict[UserId, Presence]:
        """Who is here now."""
        return {member.user_id: member for member in self._members.values()}

    def rejoined(self) -> None:
        """A new join: the next state replaces what is known, and diffs wait for it."""
        self._synced = False
        self._pending = []

    def state(self, state: Mapping[str, Any]) -> RosterChange:
        """Takes a ``presence_state``."""
        before = self.members
        self._metas = {key: _metas_of(entry) for key, entry in state.items()}
        self._synced = True
        pending, self._pending = self._pending, []
        for joins, leaves in pending:
            self._apply(joins, leaves)
        self._describe()
        return self._compare(before)

    def diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> RosterChange:
        """Takes a ``presence_diff``."""
        if not self._synced:
            if len(self._pending) < self._pending_limit:
                self._pending.append((joins, leaves))
            return RosterChange()
        before = self.members
        self._apply(joins, leaves)
        self._describe()
        return self._compare(before)

    def _apply(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        for key, entry in joins.items():
            self._metas.setdefault(key, {}).update(_metas_of(entry))
        for key, entry in leaves.items():
            held = self._metas.get(key, {})
            for ref in _metas_of(entry):
                held.pop(ref, None)
            if not held:
                self._metas.pop(key, None)

    def _describe(self) -> None:
        described = {key: {"metas": list(metas.values())} for key, metas in self._metas.items() if metas}
        self._members = presence_members(described)

    def _compare(self, before: dict[UserId, Presence]) -> RosterChange:
        # By user, not by key: an app that leaves the key to the server has a key a device, and who borrows somebody's
        # user id and goes again must not take the owner with them.
        now = self.members
        joined = [member for user_id, member in now.items() if user_id not in before]
        left = [member for user_id, member in before.items() if user_id not in now]
        return RosterChange(joined, left)


def _metas_of(entry: Any) -> _Metas:
    metas = entry.get("metas") if isinstance(entry, dict) else None
    found: _Metas = {}
    for position, meta in enumerate(metas if isinstance(metas, list) else []):
        if isinstance(meta, dict):
            found[str(meta.get("phx_ref", position))] = meta
    return found
