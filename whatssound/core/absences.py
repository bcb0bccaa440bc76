"""Who has gone from presence, and whether they have left or only lost the connection for a moment.

The server says the same of both. So nobody is told for a while; who is back by then was never away.
"""

from __future__ import annotations

from ..models import Presence, UserId


class Absences:
    """Remembers who has gone until it is certain.

    Args:
        grace: seconds before somebody who is not back has left.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._gone: dict[UserId, tuple[float, Presence]] = {}

    def gone(self, member: Presence, now: float) -> None:
        """Notes that somebody has gone; ``now`` is the caller's clock, in seconds."""
        self._gone[member.user_id] = (now + self._grace, member)

    def back(self, user_id: UserId) -> bool:
        """Notes that somebody is here; returns whether they had gone without anybody having been told."""
        return self._gone.pop(user_id, None) is not None

    def next_at(self) -> float | None:
        """Returns when `left` has something to say next; None if nobody is away."""
        return min((until for until, _ in self._gone.values()), default=None)

    def left(self, now: float) -> list[Presence]:
        """Returns, once each, those who are not coming back."""
        certain = [member for until, member in self._gone.values() if until <= now]
        for member in certain:
            del self._gone[member.user_id]
        return certain
