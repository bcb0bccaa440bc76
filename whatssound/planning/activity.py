"""What happened in a room, and how many Realtime messages that counts for."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import arrival_cost, broadcast_cost, change_cost, departure_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What happened in a room while nobody came or went; whole numbers, or averages a second.

    Attributes:
        members: channels joined to the topic that members write to.
        frame_listeners: channels joined to the frames' topic.
        broadcasts: broadcasts by clients: chat, typing.
        rows_changed: changed rows that every member may see and is subscribed to.
        frames: frames sent by the database; they count once even where nobody listens.
    """

    members: float = 0
    frame_listeners: float = 0
    broadcasts: float = 0
    rows_changed: float = 0
    frames: float = 0

    @property
    def messages(self) -> float:
        """Realtime messages, as billed."""
        return (
            self.broadcasts * broadcast_cost(max(0.0, self.members - 1))
            + self.rows_changed * change_cost(self.members)
            + self.frames * broadcast_cost(self.frame_listeners)
        )


def coming_and_going(present: int) -> int:
    """Messages of presence when so many come one after the other and all leave again.

    Args:
        present: how many.
    """
    return sum(arrival_cost(count) + departure_cost(count - 1) for count in range(1, present + 1))
