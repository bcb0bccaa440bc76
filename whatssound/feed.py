"""Turns what arrives into events, once each, and closes the gaps.

Two feeds carry the events of the log. ``frames``: the database's own broadcasts, in order, with gaps that show.
``changes``: votes, tips and queue by Postgres Changes. Chat, typing and reactions of members come by broadcast beside
either, and the event log (``events_since``) has whatever was missed. Each event of the log passes the sequencer, so it
is delivered once whichever way it came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from .attendance import Attendance
from .catchup import CatchUp
from .config import SessionConfig
from .core import wire
from .core.identifiers import frames_topic, session_topic
from .core.reasons import Reason, from_text
from .core.reducer import RoomState
from .delivery import Delivery
from .errors import FramesUnavailableError, ProtocolError, WhatsSoundError, refusal
from .events import ChatMessage, Event, MemberChanged, ReactionsCounted, TipPending
from .frames import Flusher, Frames
from .gateway import Gateway
from .mode_switch import ModeSwitch
from .models import FeedInfo, Frame, Message, Snapshot, StoredRow, Tip
from .ports import Clock
from .resync import Resync
from .state import ServerTime

#: The longest that a writer leaves it to others to ask for a frame, in seconds, and in parts of the tick.
_FLUSH_SPREAD = 0.2
_FLUSH_PART = 0.25

_REFUSED = (
    "its private topic refused us; deploy all migrations, the one with the policies on realtime.messages included, and "
    "check that we are a member"
)
_NOT_THERE = "its setting `frames` is off, the database's migrations are too old, or we are no member of it"


class Feed:
    """Hears the session's topics and its event log, and publishes events.

    Args:
        session_id: the session.
        me: the signed-in user, if any.
        gateway: calls the database.
        room: the state to keep.
        server_time: learns the server's clock.
        config: feed, chat path, intervals.
        clock: time.
        publish: called with each event, after it has been applied to the state.
        report: called with what went wrong in reading, which never stops the feed.
        synced: called when the state equals the database's again.
        rejoined: called with each join of the topic that members write to.
        switched: called when the mode or the topics to be on changed.
        lost: called when the session may not be read any more (banned, or made private); `run` then ends.
        chance: draws a uniform random number in [0, 1).

    Attributes:
        switch: which feed is on, and what follows from it.
        frames: takes frames.
        flusher: asks for frames that our own writes wait for; runs beside the feed.
        forged: frames heard where members can write, and ignored.
    """

    def __init__(
        self,
        session_id: str,
        *,
        me: str | None,
        gateway: Gateway,
        room: RoomState,
        server_time: ServerTime,
        config: SessionConfig,
        clock: Clock,
        publish: Callable[[Event], None],
        report: Callable[[Exception], None],
        synced: Callable[[], None],
        rejoined: Callable[[], None],
        switched: Callable[[], None],
        lost: Callable[[WhatsSoundError], None],
        chance: Callable[[], float],
    ) -> None:
        self._session_id = session_id
        self._topic, self._frames_topic = session_topic(session_id), frames_topic(session_id)
        self._me = me
        self._room = room
        self._publish_event = publish
        self._report = report
        self._synced = synced
        self._rejoined = rejoined
        self._switched = switched
        self._lost = lost
        self._chance = chance
        self._may_join: bool | None = None
        self._excused = False
        self._pending_tips: deque[str] = deque(maxlen=100)
        self.forged = 0
        self._delivery = Delivery(session_id, me=me, state=room, clock=clock, publish=self._published, report=report)
        self._attendance = Attendance(
            me, state=room, config=config, clock=clock, delivery=self._delivery, changed=self._woken
        )
        self.switch = ModeSwitch(
            session_id, config=config, state=room, publish=self._delivery.publish, changed=self._mode_changed
        )
        self.frames = Frames(self._delivery, room)
        self.flusher = Flusher(session_id, gateway, clock, answered=self._flushed)
        self._resync = Resync(
            catch_up=CatchUp(
                session_id,
                gateway=gateway,
                state=room,
                delivery=self._delivery,
                server_time=server_time,
                clock=clock,
                history=config.history,
                loaded=self._loaded,
            ),
            delivery=self._delivery,
            attendance=self._attendance,
            switch=self.switch,
            config=config,
            clock=clock,
            chance=chance,
            released=self.frames.release,
            synced=synced,
            lost=lost,
        )

    # --- opening and running

    async def open(self, *, may_join: bool | None = None) -> None:
        """Loads the state before anything is joined: it says what can be joined.

        Args:
            may_join: whether we may join the session's topics; None: as the database says of members.

        Raises:
            SessionEndedError: the session has ended, so nobody may join its topics.
            FramesUnavailableError: nothing but frames will do, and there are none for us.
            WhatsSoundError: the session cannot be read.
        """
        self._may_join = may_join
        await self._resync.open()
        if self._room.session is not None and self._room.session.status == "ended":
            raise refusal("session_ended", "the session has ended")
        if self.switch.is_unavailable:
            raise FramesUnavailableError(_NOT_THERE)

    async def run(self) -> None:
        """Asks the log when it is time, and expires what is stale; until cancelled or `lost`."""
        await self._resync.run()

    async def refresh(self) -> None:
        """Looks at the log now: somebody has just been told that what they see is old."""
        await self._resync.refresh()

    # --- what the topics bring (LinkListener)

    def joined(self, topic: str) -> None:
        """A topic is joined; what it carries flows a little later, or the server never says so."""
        if topic == self._topic:
            self._attendance.rejoined()
            self._rejoined()
        if topic == self.switch.durable_topic:
            self._resync.joined()
        elif self._resync.is_in_step:
            self._synced()

    def ready(self, topic: str) -> None:
        """From now on what a topic carries arrives; what was committed before may be missing."""
        if topic == self.switch.durable_topic:
            self._resync.want()

    def left(self, topic: str) -> None:
        """We left a topic on purpose."""
        if topic == self._topic:
            self._attendance.forget()

    def refused(self, topic: str, detail: str) -> None:
        """A join was refused. Without frames there are still Postgres Changes, if that will do."""
        if from_text(detail) is not Reason.UNAUTHORIZED:
            return
        self._resync.ask()  # the log says so if the session has ended
        if topic != self._frames_topic:
            return
        self.switch.refuse()
        if self.switch.is_unavailable:
            self._lost(FramesUnavailableError(_REFUSED))
        else:
            self._excused = True

    def excuses_refusal(self) -> bool:
        """Whether the refusal that has just ended a connection was one we go on without; tells it once."""
        excused, self._excused = self._excused, False
        return excused

    def broadcast(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        """Frames on their own topic, where only the database writes; chat, typing and reactions on the other."""
        if topic == self._frames_topic:
            if event == wire.FRAME:
                self._frame(payload)
        elif event == wire.CHAT:
            message = wire.chat_claim(payload, self._session_id)
            if message is not None:
                self._resync.when_ready(lambda: self._delivery.claim(message))
        elif event == wire.TYPING:
            self._attendance.types(payload)
        elif event == wire.REACTION:
            self._reaction(payload)
        elif event == wire.FRAME:
            self.forged += 1

    def row_changed(self, table: str, record: Mapping[str, Any]) -> None:
        """A vote, tip or queue item."""
        try:
            event = wire.row_event(table, record)
        except ProtocolError as error:
            self._report(error)
            return
        if event is None or (event.seq is not None and self.switch.mode.feed == "frames"):
            return  # frames bring what is in the log, in its order
        self._resync.when_ready(lambda: self._row(event))

    def presence_state(self, state: Mapping[str, Any]) -> None:
        """Everybody who is here, after a join."""
        self._attendance.state(state)

    def presence_diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        """Who came and left."""
        self._attendance.diff(joins, leaves)

    # --- what the session's own parts bring

    def said(self, message: Message) -> None:
        """Shows an own message at once."""
        self._delivery.said(message)

    def stored(self, message: Message, row: StoredRow) -> None:
        """An own message is stored: the answer is as good as its entry in the log."""
        self._delivery.stored(message, row, in_order=self.switch.mode.feed == "frames")
        self.frames.release()
        self._resync.told()

    def rejected(self, message: Message, reason: str) -> None:
        """An own message was refused: what was shown of it is taken back."""
        self._delivery.rejected(message, reason)

    def reacted(self, counts: Mapping[str, int]) -> None:
        """Shows own reactions that no frame will tell us of."""
        self._delivery.publish(ReactionsCounted(counts=dict(counts)))

    def learned(self, last_seq: int) -> None:
        """Some answer said how far the log goes."""
        self._delivery.sequencer.note(last_seq)
        self._resync.told()

    def heard_reply(self, reply: Mapping[str, Any], *, wrote: bool = True, reacted: bool = False) -> None:
        """Takes what every answer of the database says beside its own: how far the log goes, and what waits.

        Args:
            reply: the answer.
            wrote: whether something of ours may wait for a frame.
            reacted: whether reactions do.
        """
        last_seq = reply.get("last_seq")
        if isinstance(last_seq, int):
            self.learned(last_seq)
        if isinstance(reply.get("feed"), dict):
            self._told(reply["feed"])
        frame = reply.get("frame")
        if isinstance(frame, dict):
            self._frame_status(frame, last_seq if isinstance(last_seq, int) else 0, wrote=wrote, reacted=reacted)
        if isinstance(reply.get("tip"), dict):
            self._own_tip(reply["tip"])

    def heard_heartbeat(self, reply: Mapping[str, Any]) -> None:
        """Takes the answer to a heartbeat, which also says how many are here."""
        occupancy = reply.get("occupancy")
        if isinstance(occupancy, int):
            self._room.occupancy = occupancy
        self.heard_reply(reply, wrote=False)
        self.switch.look()

    # --- inside

    def _woken(self) -> None:
        self._resync.wake()

    def _published(self, event: Event) -> None:
        if isinstance(event, ChatMessage):
            self._attendance.stop_typing(event.message.user_id)
        self._publish_event(event)
        if isinstance(event, MemberChanged) and event.member.user_id == self._me:
            self.switch.look()
            if event.action == "banned":
                self._resync.ask()  # whether the session may still be read is for the database to say

    def _loaded(self, snapshot: Snapshot) -> None:
        if self._may_join is None:
            # The first word counts: topics of a session that has ended since are not joinable, and we are on them.
            self._may_join = bool(snapshot.feed.joinable)
        self.switch.told(snapshot.feed, may_join=self._may_join)

    def _told(self, feed: Mapping[str, Any]) -> None:
        try:
            info = FeedInfo.model_validate(feed)
        except ValidationError as error:
            self._report(ProtocolError(f"the feed's description cannot be read: {error}"))
            return
        self.switch.told(info)
        if self.switch.is_unavailable:
            self._lost(FramesUnavailableError(_NOT_THERE))

    def _mode_changed(self) -> None:
        mode = self.switch.mode
        crew_only = mode.room == "large" and mode.feed == "frames"
        if not self.switch.keeps_topic:
            self._attendance.forget()
        self._attendance.tell(crew_only=crew_only)
        self._switched()

    def _frame(self, payload: Mapping[str, Any]) -> None:
        try:
            frame = wire.frame(payload, self._session_id)
        except ProtocolError as error:
            self._report(error)
            self._resync.ask()
            return
        self.flusher.framed(frame.to_seq)
        self._resync.continues(frame.to_seq + 1 if frame.from_seq is None else frame.from_seq)
        self._resync.when_ready(lambda: self._take(frame))

    def _take(self, frame: Frame) -> None:
        complete = self.frames.take(frame)
        self._resync.told()
        if not complete:
            self._resync.hurry()
        self.switch.look(frame.tick_ms)

    def _row(self, event: Event) -> None:
        if isinstance(event, TipPending):
            if event.tip.id in self._pending_tips:
                return
            self._pending_tips.append(event.tip.id)
        self._delivery.deliver(event)

    def _own_tip(self, tip: Mapping[str, Any]) -> None:
        """By frames nobody but the DJ hears of pending tips; our own we know from the answer."""
        if self.switch.mode.feed != "frames" or tip.get("status") != "pending":
            return
        try:
            event = TipPending(tip=Tip.model_validate(tip))
        except ValidationError:
            return  # whoever asked gets the answer, and is told what is wrong with it
        self._row(event)
        self.switch.tipped()

    def _reaction(self, payload: Mapping[str, Any]) -> None:
        claim = wire.reaction_claim(payload)
        if claim is not None and not self._delivery.is_banned(claim[0]):
            self._delivery.publish(ReactionsCounted(counts=claim[1]))

    def _flushed(self, answer: Mapping[str, Any]) -> None:
        self.heard_reply({"last_seq": answer.get("last_seq"), "frame": answer})

    def _frame_status(self, frame: Mapping[str, Any], last_seq: int, *, wrote: bool, reacted: bool) -> None:
        to_seq, wait_ms = frame.get("to_seq"), frame.get("wait_ms")
        if isinstance(to_seq, int):
            self.flusher.framed(to_seq)
        if wrote and frame.get("pending") is True and isinstance(wait_ms, int):
            # Whoever waits the shortest asks for everybody.
            spread = min(_FLUSH_SPREAD, _FLUSH_PART * max(wait_ms, self.switch.mode.tick_ms) / 1000)
            self.flusher.want(last_seq, wait_ms / 1000 + spread * self._chance(), reactions=reacted)
