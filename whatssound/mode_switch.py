"""Puts the mode into effect: which topics are joined, how chat travels, and who is told of a change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .config import SessionConfig
from .core.identifiers import frames_topic, session_topic
from .core.mode import Mode, ModeChooser
from .core.reducer import RoomState
from .events import Event, FeedChanged, RoomModeChanged
from .models import FeedInfo
from .ports import ChangeBinding, JoinSpec

#: Rows that a session hears about by Postgres Changes; the filter keeps other sessions' rows away at the server.
TABLES = ("votes", "tips", "queue_items")


def change_bindings(session_id: str, *tables: str) -> tuple[ChangeBinding, ...]:
    """Makes the subscriptions to Postgres Changes of a session, by default to all its tables."""
    return tuple(ChangeBinding(table=table, filter=f"session_id=eq.{session_id}") for table in tables or TABLES)


class ModeSwitch:
    """Keeps the mode, and says what follows from it.

    Args:
        session_id: the session.
        config: what is wanted.
        state: our role, and how many are here.
        publish: called with what readers should know of.
        changed: called when the mode, and perhaps `joins`, changed.
    """

    def __init__(
        self,
        session_id: str,
        *,
        config: SessionConfig,
        state: RoomState,
        publish: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self._session_id = session_id
        self._private = config.private
        self._state = state
        self._publish = publish
        self._changed = changed
        self._chooser = ModeChooser(feed=config.feed, chat_path=config.chat_path, large_room=config.large_room)
        self._is_on = False
        self._spoken = self._chooser.mode
        self._tipped = False
        self.mode: Mode = self._chooser.mode
        self._joined = self.joins()

    @property
    def info(self) -> FeedInfo:
        """What the database said last of the feed."""
        return self._chooser.info

    @property
    def is_unavailable(self) -> bool:
        """Whether nothing but frames will do, and there are none for us."""
        return self._chooser.is_unavailable

    @property
    def keeps_topic(self) -> bool:
        """Whether we are on the topic that members write to."""
        return self._chooser.keeps_topic

    @property
    def people(self) -> int:
        """How many are in the room, as far as we know."""
        return self._state.occupancy

    @property
    def durable_topic(self) -> str:
        """The topic that carries the events of the log."""
        return frames_topic(self._session_id) if self.mode.feed == "frames" else session_topic(self._session_id)

    def joins(self) -> Sequence[JoinSpec]:
        """The topics to be on."""
        frames = JoinSpec(topic=frames_topic(self._session_id), private=True, replication=True)
        if self.mode.feed == "changes":
            return (self._session_join(change_bindings(self._session_id)),)
        if not self.keeps_topic:
            return (frames,)
        # A tip that is not confirmed concerns the DJ and its tipper alone, so no frame has it.
        tips = self._tipped or (self._state.me is not None and self._state.me.role == "dj")
        return (self._session_join(change_bindings(self._session_id, "tips") if tips else ()), frames)

    def told(self, info: FeedInfo, *, may_join: bool | None = None) -> None:
        """Takes what the database says of the feed; ``may_join``: None where it does not say that."""
        self._chooser.told(info, may_join=may_join)
        self._settle("database")

    def refuse(self) -> None:
        """Our join of the frames' topic was refused."""
        self._chooser.refuse()
        self._settle("refused")

    def tipped(self) -> None:
        """We have tipped: what becomes of it is news for us."""
        self._tipped = True
        self._settle("database")

    def look(self, tick_ms: int | None = None) -> None:
        """Our role, the number of people, or the tick (as a frame names it) may have changed."""
        if tick_ms is not None:
            self._chooser.ticks(tick_ms)
        self._settle("database")

    def _settle(self, reason: str) -> None:
        self._chooser.occupied(self._state.occupancy)
        self._chooser.crew(self._state.me is not None and self._state.me.role in ("dj", "moderator"))
        before, self.mode = self.mode, self._chooser.mode
        joined, self._joined = self._joined, self.joins()
        first, self._is_on = not self._is_on, True
        if first:
            self._spoken = self.mode  # what is on from the beginning is no change
        else:
            self._tell(before, self.mode, reason)
        if first or self.mode != before or self._joined != joined:
            self._changed()

    def _tell(self, before: Mode, mode: Mode, reason: str) -> None:
        if mode.room != before.room:
            self._publish(RoomModeChanged(mode=mode.room, occupancy=self._state.occupancy))
        if not mode.travels_as(self._spoken):
            self._spoken = mode
            self._publish(FeedChanged(feed=mode.feed, chat_path=mode.chat_path, tick_ms=mode.tick_ms, reason=reason))

    def _session_join(self, changes: Sequence[ChangeBinding]) -> JoinSpec:
        return JoinSpec(
            topic=session_topic(self._session_id),
            private=self._private,
            presence_key=self._state.me_id or "",
            changes=changes,
        )
