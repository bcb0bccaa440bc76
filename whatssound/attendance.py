"""Who is here and who types, from what the session's topic carries; none of it is stored anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .config import SessionConfig
from .core.absences import Absences
from .core.reducer import RoomState
from .core.roster import Roster, RosterChange
from .delivery import Delivery
from .events import PresenceJoined, PresenceLeft, TypingStarted, TypingStopped
from .models import Presence, UserId
from .ports import Clock

#: The most people shown as typing; more than anybody can read.
_TYPISTS = 1_000


class Attendance:
    """Turns presence and typing into events.

    In a large room the crew alone is told of: listeners leave the topic there, which says nothing about their being
    here.

    Args:
        me: the signed-in user, if any.
        state: what events are applied to.
        config: times to live.
        clock: time.
        delivery: publishes events.
        changed: called when `next_at` may have become sooner.
    """

    def __init__(
        self,
        me: str | None,
        *,
        state: RoomState,
        config: SessionConfig,
        clock: Clock,
        delivery: Delivery,
        changed: Callable[[], None],
    ) -> None:
        self._me = me
        self._state = state
        self._typing_ttl = config.typing_ttl
        self._grace = config.presence_grace
        self._clock = clock
        self._delivery = delivery
        self._changed = changed
        self._roster = Roster()
        self._absences = Absences(config.presence_grace)
        self._typing_until: dict[UserId, float] = {}
        self._crew_only = False

    def rejoined(self) -> None:
        """The topic was joined again: its next state replaces what is known."""
        self._roster.rejoined()

    def state(self, state: Mapping[str, Any]) -> None:
        """Everybody who is here, after a join."""
        self._people(self._roster.state(state))

    def diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        """Who came and left."""
        self._people(self._roster.diff(joins, leaves))

    def tell(self, *, crew_only: bool) -> None:
        """Sets who is told of; those who are told of from now on and are here are told of at once."""
        before, self._crew_only = self._crew_only, crew_only
        if before and not crew_only:
            for member in self._roster.members.values():
                if not _is_crew(member):
                    self._delivery.publish(PresenceJoined(member=member))

    def forget(self) -> None:
        """Forgets everybody without a word: the topic was left."""
        self._roster = Roster()
        self._absences = Absences(self._grace)
        self._typing_until.clear()
        self._state.presence.clear()
        self._state.typing.clear()

    def next_at(self) -> float | None:
        """When `expire` has something to do next, in the clock's seconds; None if nobody waits."""
        times = list(self._typing_until.values())
        if (certain_at := self._absences.next_at()) is not None:
            times.append(certain_at)
        return min(times, default=None)

    def expire(self, now: float) -> None:
        """Ends what is stale: typing without a word, and absences that are no mere reconnect."""
        for user_id in [user_id for user_id, until in self._typing_until.items() if until <= now]:
            self.stop_typing(user_id)
        for member in self._absences.left(now):
            event = PresenceLeft(member=member)
            if self._is_told_of(member):
                self._delivery.publish(event)
            else:
                self._state.apply(event)

    def types(self, payload: Mapping[str, Any]) -> None:
        """Takes a ``typing`` broadcast."""
        given, name = payload.get("user_id"), payload.get("username")
        if not isinstance(given, str):
            return
        user_id = UserId(given)
        if user_id == self._me or self._delivery.is_banned(user_id):
            return
        if payload.get("typing") is False:
            self.stop_typing(user_id)
            return
        new = user_id not in self._typing_until
        if new and len(self._typing_until) >= _TYPISTS:
            return
        self._typing_until[user_id] = self._clock.monotonic() + self._typing_ttl
        if new:
            self._delivery.publish(TypingStarted(user_id=user_id, username=name if isinstance(name, str) else ""))
            self._changed()

    def stop_typing(self, user_id: UserId) -> None:
        """Shows somebody as no longer typing, if they were."""
        if self._typing_until.pop(user_id, None) is not None:
            self._delivery.publish(TypingStopped(user_id=user_id, username=self._state.typing.get(user_id, "")))

    def _people(self, change: RosterChange) -> None:
        now = self._clock.monotonic()
        for member in change.joined:
            event = PresenceJoined(member=member)
            if self._absences.back(member.user_id) or not self._is_told_of(member):
                # Nobody was told that they had gone, or is told of such people; only what they say may be new.
                self._state.apply(event)
            else:
                self._delivery.publish(event)
        for member in change.left:
            self.stop_typing(member.user_id)
            self._absences.gone(member, now)
        self.expire(now)
        self._changed()

    def _is_told_of(self, member: Presence) -> bool:
        return not self._crew_only or _is_crew(member)


def _is_crew(member: Presence) -> bool:
    return member.role in ("dj", "moderator")
