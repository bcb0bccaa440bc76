"""What this client and its rooms spend of the plan, and the pace that keeps its broadcasts within it.

Realtime counts a message when it is sent and again for every client that receives it; a plan allows so many a second,
as an average over a minute, for all rooms of the project together. `WhatsSound.budget` shows where one stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .core.budget import CLIENT_SHARE, Pacer, RateMeter, broadcast_cost, spent_by_changes, spent_by_frames
from .models import ChatPath, Feed, SessionId
from .ports import Clock, LinkListener
from .quotas import plan_named

_THEN = (
    "Realtime closes the channels that receive client broadcasts until the average of 60 s is below the limit, and "
    "frames from the database vanish; nothing stored is lost, clients fetch what they missed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomView:
    """What is known of a room at a moment.

    Attributes:
        people: in the room.
        rate: events of its log a second.
        feed: how its events reach us.
        chat_path: how our chat travels.
        tick_ms: milliseconds between two frames; 0 where each write is sent at once.
        events_per_second: what the database says that the project's plan allows; None if it has not said so yet.
        budget: the room's share of it, messages a second; None likewise.
    """

    people: int
    rate: float
    feed: Feed
    chat_path: ChatPath
    tick_ms: int
    events_per_second: int | None
    budget: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomBudget:
    """What one open session spends.

    Attributes:
        session_id: the session.
        people: in the room.
        rate: events of its log a second.
        feed: how its events reach us.
        chat_path: how our chat travels.
        tick_ms: milliseconds between two frames; 0 where each write is sent at once.
        budget: messages a second that the room may spend; None if that is not known.
        estimate: messages a second that the whole room spends now, everybody in it together; at most.
        sent: messages that this client has sent to the room.
        received: messages that it has received from it.
        paced: sends that had to wait, so that they kept within the plan.
    """

    session_id: SessionId
    people: int
    rate: float
    feed: Feed
    chat_path: ChatPath
    tick_ms: int
    budget: float | None
    estimate: float
    sent: int
    received: int
    paced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What this client and its rooms spend of the plan.

    Attributes:
        plan: the plan's name, where the client was given one.
        events_per_second: messages a second that the plan allows; None if neither the settings nor the database say so.
        sent: messages that this client has sent since it was made.
        received: messages that it has received.
        sent_per_second: the average of the last minute.
        received_per_second: the average of the last minute.
        rooms: its open sessions.
        then: what happens when more is spent than allowed.
    """

    plan: str | None
    events_per_second: int | None
    sent: int
    received: int
    sent_per_second: float
    received_per_second: float
    rooms: tuple[RoomBudget, ...]
    then: str = _THEN

    @property
    def estimate(self) -> float:
        """Messages a second that the open rooms spend together. Rooms this client is not in are not among them."""
        return sum(room.estimate for room in self.rooms)

    @property
    def share(self) -> float | None:
        """The part of the plan that they spend; over 1 the limit is exceeded. None where the plan is not known."""
        return None if self.events_per_second is None else self.estimate / self.events_per_second

    @property
    def headroom(self) -> float | None:
        """Messages a second that are left; negative when the limit is exceeded. None where the plan is not known."""
        return None if self.events_per_second is None else self.events_per_second - self.estimate


class Meter:
    """What one client has sent and received, all its sessions together, and what it may.

    Args:
        clock: time.
        plan: the plan's name, which overrides what the database says; None: the database's word.

    Raises:
        ConfigurationError: no plan of that name.
    """

    def __init__(self, clock: Clock, plan: str | None = None) -> None:
        self._clock = clock
        self.plan = plan_named(plan) if plan is not None else None
        self._rooms: list[Spending] = []
        self._sent = RateMeter(clock.monotonic())
        self._received = RateMeter(clock.monotonic())

    def open(self, session_id: SessionId, look: Callable[[], RoomView | None]) -> Spending:
        """Makes what counts and paces one session, and has it in the budget for as long as the session is open.

        Args:
            session_id: the session.
            look: tells what is known of the room; None once the session is closed.
        """
        self._rooms = [room for room in self._rooms if room.is_open]
        spending = Spending(session_id, self, look, self._clock)
        self._rooms.append(spending)
        return spending

    def sent(self) -> None:
        """Counts a message sent."""
        self._sent.add(1, self._clock.monotonic())

    def received(self) -> None:
        """Counts a message received."""
        self._received.add(1, self._clock.monotonic())

    def budget(self) -> Budget:
        """Returns the budget as it is now."""
        now = self._clock.monotonic()
        views = [(room, view) for room in self._rooms if (view := room.look()) is not None]
        told = [view.events_per_second for _, view in views if view.events_per_second is not None]
        events_per_second = self.plan.events_per_second if self.plan is not None else max(told, default=None)
        rooms = tuple(room.budget(view) for room, view in views)
        return Budget(
            plan=self.plan.name if self.plan is not None else None,
            events_per_second=events_per_second,
            sent=self._sent.total,
            received=self._received.total,
            sent_per_second=self._sent.rate(now),
            received_per_second=self._received.rate(now),
            rooms=rooms,
        )


class Spending:
    """Counts what one session sends and receives, and paces what it broadcasts.

    Args:
        session_id: the session.
        meter: counts for the whole client, and knows the plan.
        look: tells what is known of the room; None once the session is closed.
        clock: time.
    """

    def __init__(self, session_id: SessionId, meter: Meter, look: Callable[[], RoomView | None], clock: Clock) -> None:
        self._session_id = session_id
        self._meter = meter
        self.look = look
        self._clock = clock
        self._pacer: Pacer | None = None
        self._sent = 0
        self._received = 0
        self._paced = 0

    @property
    def is_open(self) -> bool:
        """Whether the session is open."""
        return self.look() is not None

    def budget(self, view: RoomView) -> RoomBudget:
        """Returns what the room spends.

        Args:
            view: the room as it is now.
        """
        if view.feed == "frames":
            broadcast = view.chat_path == "broadcast"
            estimate = spent_by_frames(view.people, view.rate, view.tick_ms / 1000, broadcast_chat=broadcast)
        else:
            estimate = spent_by_changes(view.people, view.rate)
        return RoomBudget(
            session_id=self._session_id,
            people=view.people,
            rate=view.rate,
            feed=view.feed,
            chat_path=view.chat_path,
            tick_ms=view.tick_ms,
            budget=self._allowed(view),
            estimate=estimate,
            sent=self._sent,
            received=self._received,
            paced=self._paced,
        )

    def sent(self, event: str) -> None:
        """Counts a frame that was sent."""
        if event in ("broadcast", "presence"):
            self._sent += 1
            self._meter.sent()

    def received(self) -> None:
        """Counts a message that arrived."""
        self._received += 1
        self._meter.received()

    async def pace(self, event: str) -> None:
        """Waits until a broadcast is within this client's part of the room's budget; others never wait.

        Args:
            event: what is to be pushed.
        """
        view = self.look()
        allowed = self._allowed(view) if view is not None else None
        if event != "broadcast" or view is None or allowed is None:
            return
        now, rate = self._clock.monotonic(), CLIENT_SHARE * allowed
        if self._pacer is None:
            self._pacer = Pacer(rate)
        elif self._pacer.rate != rate:
            self._pacer.change_rate(rate, now)
        wait = self._pacer.take(broadcast_cost(max(0, view.people - 1)), now)
        if wait > 0:
            self._paced += 1
            await self._clock.sleep(wait)

    def _allowed(self, view: RoomView) -> float | None:
        plan = self._meter.plan
        if plan is None or view.budget is None or not view.events_per_second:
            return view.budget if plan is None else float(plan.events_per_second)
        # The database shared out what it takes the plan for; the same part of what the settings say.
        return view.budget * plan.events_per_second / view.events_per_second


class Counted:
    """A listener that counts what arrives before it passes it on.

    Args:
        listener: hears it all.
        spending: counts.
    """

    def __init__(self, listener: LinkListener, spending: Spending) -> None:
        self._listener = listener
        self._spending = spending
        # These are no messages of the plan.
        self.joined = listener.joined
        self.ready = listener.ready
        self.left = listener.left
        self.refused = listener.refused

    def broadcast(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        """A broadcast: one message."""
        self._spending.received()
        self._listener.broadcast(topic, event, payload)

    def row_changed(self, table: str, record: Mapping[str, Any]) -> None:
        """A changed row: one message."""
        self._spending.received()
        self._listener.row_changed(table, record)

    def presence_state(self, state: Mapping[str, Any]) -> None:
        """Who is present: one message."""
        self._spending.received()
        self._listener.presence_state(state)

    def presence_diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        """Who came and left: one message."""
        self._spending.received()
        self._listener.presence_diff(joins, leaves)
