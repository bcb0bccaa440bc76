"""All features of an open session, made together."""

from __future__ import annotations

from .chat import Chat
from .moderation import Moderation
from .presence import Presences
from .queue import Queue
from .reactions import Reactions
from .room import Room
from .state import LiveState
from .tips import Tips
from .typing import Typing
from .votes import Votes


class Features:
    """The features of an open session.

    Args:
        room: what they share.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.chat = Chat(room)
        self.votes = Votes(room)
        self.tips = Tips(room)
        self.queue = Queue(room)
        self.reactions = Reactions(room)
        self.typing = Typing(room)
        self.presence = Presences(room)
        self.moderation = Moderation(room)
        self.state = LiveState(
            room.state, lambda: room.connection.status, room.server_time.now, lambda: room.feed.switch.mode
        )
