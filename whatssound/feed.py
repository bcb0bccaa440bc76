"""Turns what arrives into events, once each, and closes the gaps.

The ``changes`` feed: chat and typing by broadcast, votes, tips and queue by Postgres Changes, and the session's event
log (``events_since``) for everything that was missed and for the database's word on chat. Each event of the log passes
the sequencer, so it is delivered once whichever way it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from .config import SessionConfig
from .core import wire
from .core.absences import Absences
from .core.claims import Claims, Verdict
from .core.reducer import RoomState
from .core.roster import Roster, RosterChange
from .core.sequence import Sequencer
from .errors import ProtocolError, SessionNotFoundError, WhatsSoundError
from .events import (
    ChatConfirmed,
    ChatMessage,
    ChatUnconfirmed,
    Discontinuity,
    Event,
    MemberChanged,
    MessageWithdrawn,
    PresenceJoined,
    PresenceLeft,
    StateResynced,
    TypingStarted,
    TypingStopped,
)
from .gateway import Gateway
from .models import Message, Snapshot, StoredRow, UserId
from .ports import ChangeBinding, Clock
from .state import ServerTime

_log = logging.getLogger("whatssound.feed")

#: Rows that a session hears about; the filter keeps other sessions' rows away at the server.
TABLES = ("votes", "tips", "queue_items")
_PAGE = 500
_HELD_LIMIT = 10_000


def change_bindings(session_id: str) -> tuple[ChangeBinding, ...]:
    """Makes the subscriptions to Postgres Changes of a session."""
    return tuple(ChangeBinding(table=table, filter=f"session_id=eq.{session_id}") for table in TABLES)


class Feed:
    """Hears a channel and the event log, and publishes events.

    Args:
        session_id: the session.
        me: the signed-in user, if any.
        gateway: calls the database.
        room: the state to keep.
        server_time: learns the server's clock.
        config: intervals.
        clock: time.
        publish: called with each event, after it has been applied to the state.
        report: called with what went wrong in reading, which never stops the feed.
        synced: called when the state equals the database's again.
        rejoined: called with each join of the channel.
        lost: called when the session may not be read any more (banned, or made private); `run` then ends.
        chance: draws a uniform random number in [0, 1).
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
        lost: Callable[[WhatsSoundError], None],
        chance: Callable[[], float],
    ) -> None:
        self._session_id = session_id
        self._me = me
        self._gateway = gateway
        self._room = room
        self._server_time = server_time
        self._config = config
        self._clock = clock
        self._publish_event = publish
        self._report = report
        self._synced = synced
        self._rejoined = rejoined
        self._lost = lost
        self._chance = chance
        self._sequencer = Sequencer()
        self._claims = Claims()
        self._roster = Roster()
        self._banned: set[str] = set()
        self._typing_until: dict[UserId, float] = {}
        self._absences = Absences(config.presence_grace)
        self._pending: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._resync_wanted = False
        self._ready_by: float | None = None
        self._loaded = False
        self._held: list[Callable[[], None]] | None = None

    # --- what the channel brings (LinkListener)

    def joined(self, topic: str) -> None:
        """The channel is joined; changes flow a little later, or the server never says so."""
        self._roster.rejoined()
        self._ready_by = self._clock.monotonic() + self._config.connection.ready_timeout
        self._wake.set()
        self._rejoined()

    def ready(self, topic: str) -> None:
        """From now on rows arrive; what was committed before may be missing, so the log is asked, every time."""
        self._ready_by = None
        self._resync_wanted = True
        # From here on, and not only once the look begins: what arrives now is newer than what was missed.
        self._held = [] if self._held is None else self._held
        self._wake.set()

    def left(self, topic: str) -> None:
        """A topic was left; this feed has one topic, for as long as it runs."""
        _log.debug("left %s", topic)

    def refused(self, topic: str, detail: str) -> None:
        """A join was refused; the connection says so by its status, and tries again."""
        _log.info("the join of %s was refused: %s", topic, detail)

    def broadcast(self, topic: str, event: str, payload: Mapping[str, Any]) -> None:
        """Chat and typing. Anything else (also a ``frame`` from a client) is not for this topic and is ignored."""
        if event == wire.CHAT:
            message = wire.chat_claim(payload, self._session_id)
            if message is not None:
                self._when_ready(lambda: self._claim(message))
        elif event == wire.TYPING:
            self._typing(payload)

    def row_changed(self, table: str, record: Mapping[str, Any]) -> None:
        """A vote, tip or queue item."""
        try:
            event = wire.row_event(table, record)
        except ProtocolError as error:
            self._report(error)
            return
        if event is not None:
            self._when_ready(lambda: self._deliver(event))

    def presence_state(self, state: Mapping[str, Any]) -> None:
        """Everybody who is here, after a join."""
        self._people(self._roster.state(state))

    def presence_diff(self, joins: Mapping[str, Any], leaves: Mapping[str, Any]) -> None:
        """Who came and left."""
        self._people(self._roster.diff(joins, leaves))

    # --- what the session's own parts bring

    def said(self, message: Message) -> None:
        """Shows an own message at once."""
        self._pending.add((message.user_id, message.id))
        if self._claims.hear(message, self._clock.monotonic()):
            self._publish(ChatMessage(message=message, own=True))

    def stored(self, message: Message, row: StoredRow) -> None:
        """An own message is stored: the answer is as good as its entry in the log."""
        self._pending.discard((message.user_id, message.id))
        if row.seq is None:
            return
        role = self._room.me.role if self._room.me else message.role
        confirmed = message.model_copy(
            update={"seq": row.seq, "created_at": row.created_at or message.created_at, "role": role, "confirmed": True}
        )
        self._deliver(ChatMessage(message=confirmed, own=True, seq=row.seq))

    def rejected(self, message: Message, reason: str) -> None:
        """An own message was refused: what was shown of it is taken back."""
        self._pending.discard((message.user_id, message.id))
        if self._claims.drop(message.user_id, message.id) is not None:
            self._publish(MessageWithdrawn(message_id=message.id, user_id=message.user_id, reason=reason))

    def learned(self, last_seq: int) -> None:
        """Some answer said how far the log goes."""
        self._sequencer.note(last_seq)

    def occupied(self, count: int) -> None:
        """A heartbeat said how many are here."""
        self._room.occupancy = count

    async def refresh(self) -> None:
        """Looks at the log now: somebody has just been told that what they see is old."""
        if not self._loaded:
            return
        try:
            async with self._looking:
                await self._catch_up()
        except WhatsSoundError as error:
            self._report(error)

    # --- the loop

    async def run(self) -> None:
        """Resyncs when wanted, reconciles now and then, and expires what is stale; until cancelled or `lost`."""
        next_look = self._clock.monotonic() + self._interval()
        while True:
            await self._pause(next_look)
            now = self._clock.monotonic()
            self._expire_typing(now)
            self._tell_who_left(now)
            if self._ready_by is not None and now >= self._ready_by:
                self._ready_by = None
                self._resync_wanted = True
            if not (self._resync_wanted or (self._loaded and now >= next_look)):
                if now >= next_look:
                    # Nothing to reconcile before the first load; without a new time this would spin and stop the loop.
                    next_look = now + self._interval()
                continue
            wanted, self._resync_wanted = self._resync_wanted, False
            try:
                await self._look(wanted)
                next_look = self._clock.monotonic() + self._interval()
            except SessionNotFoundError as error:
                # Forbidden answers like unknown; neither comes right by asking again every few seconds.
                self._lost(error)
                return
            except WhatsSoundError as error:
                self._report(error)
                self._resync_wanted = self._resync_wanted or wanted
                next_look = self._clock.monotonic() + min(1.0, self._interval())
                if wanted:
                    await self._clock.sleep(0.5 + self._chance())

    def _interval(self) -> float:
        # Jittered, so that listeners who came at the same moment do not ask at the same moment for ever.
        return self._config.reconcile_interval * (0.75 + 0.5 * self._chance())

    async def _pause(self, until: float) -> None:
        if self._ready_by is not None:
            until = min(until, self._ready_by)
        if self._typing_until:
            until = min(until, *self._typing_until.values())
        if (certain_at := self._absences.next_at()) is not None:
            until = min(until, certain_at)
        seconds = until - self._clock.monotonic()
        if self._resync_wanted or seconds <= 0:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, resync: bool) -> None:
        if resync:
            self._held = [] if self._held is None else self._held
        try:
            async with self._looking:
                fetched, fresh = (0, True) if not self._loaded else await self._catch_up()
                if not self._loaded:
                    await self._load()
        finally:
            self._release()
        before = self._clock.monotonic() - self._config.claim_timeout
        for message in self._claims.expire(before, self._pending):
            self._publish(ChatUnconfirmed(message_id=message.id, user_id=message.user_id))
        if resync:
            self._publish(StateResynced(seq=self._sequencer.watermark, fetched=fetched, fresh=fresh))
            self._synced()

    async def _load(self, skip_to: int | None = None) -> None:
        asked = self._clock.unix_ms()
        answer = await self._gateway.read(
            "session_snapshot",
            {"p_session_id": self._session_id, "p_messages": min(self._config.history, 200)},
        )
        try:
            snapshot = _read_snapshot(answer, self._session_id)
        except (ValidationError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(f"the snapshot cannot be read: {error}") from error
        self._server_time.learn(snapshot.server_time, asked)
        self._room.load(snapshot)
        self._sequencer.skip_to(snapshot.seq if skip_to is None else skip_to)
        self._loaded = True
        for message in snapshot.messages:
            if message.seq is not None and message.seq > self._sequencer.watermark:
                continue  # the log tells of it
            self._settle_claims(ChatMessage(message=message, own=message.user_id == self._me, seq=message.seq))

    async def _catch_up(self) -> tuple[int, bool]:
        """Fetches what is missing; returns how many events were new, and whether a fresh snapshot was needed."""
        fetched, fresh = 0, False
        while True:
            after = self._sequencer.watermark
            page = await self._gateway.read(
                "events_since", {"p_session_id": self._session_id, "p_after_seq": after, "p_limit": _PAGE}
            )
            try:
                entries = [(int(entry["seq"]), entry) for entry in page["events"]]
                last_seq, oldest = int(page["last_seq"]), int(page.get("oldest_seq") or 0)
            except (KeyError, TypeError, ValueError) as error:
                raise ProtocolError(f"events_since answered in an unknown shape: {error}") from error
            self._sequencer.note(last_seq)
            if last_seq > after and oldest > after + 1:
                # What is kept is still to be told of; only what is past retention is left out.
                await self._load(skip_to=oldest - 1)
                self._publish(Discontinuity(after_seq=after, before_seq=oldest))
                fresh = True
                continue
            for seq, entry in entries:
                fetched += self._take_entry(seq, entry)
            if entries:
                # Everything up to the last entry of a page is in the page or was seen before.
                self._sequencer.skip_to(entries[-1][0])
            self._room.reached(self._sequencer.watermark)
            if not page.get("more") or self._sequencer.watermark <= after:
                return fetched, fresh

    def _take_entry(self, seq: int, entry: Mapping[str, Any]) -> int:
        if self._sequencer.seen(seq):
            return 0
        try:
            event = wire.log_event(entry, self._session_id, me=self._me, recovered=True)
        except ProtocolError as error:
            # Unreadable is not unseen: asking for it again would never end.
            self._report(error)
            return 0
        self._deliver(event)
        return 1

    # --- delivering

    def _when_ready(self, deliver: Callable[[], None]) -> None:
        """Delivers now, or after the resync under way, so that what was missed comes first."""
        if self._held is None and self._loaded:
            deliver()
            return
        if self._held is None:
            self._held = []
        if len(self._held) < _HELD_LIMIT:
            self._held.append(deliver)
        else:
            self._resync_wanted = True

    def _release(self) -> None:
        if not self._loaded:
            return
        held, self._held = self._held, None
        for deliver in held or ():
            deliver()

    def _deliver(self, event: Event) -> None:
        if event.seq is not None:
            if not self._sequencer.admit(event.seq):
                return
            if isinstance(event, ChatMessage):
                self._confirm(event)
                return
            if isinstance(event, MemberChanged):
                self._note_ban(event)
        self._publish(event)

    def _claim(self, message: Message) -> None:
        if message.user_id in self._banned:
            return
        if self._claims.hear(message, self._clock.monotonic()):
            self._stop_typing(message.user_id)
            self._publish(ChatMessage(message=message))

    def _confirm(self, event: ChatMessage) -> None:
        if self._settle_claims(event) == "new":
            self._publish(event)

    def _settle_claims(self, event: ChatMessage) -> Verdict:
        """Tells readers what the database's word on a message means for what they were shown."""
        confirmation = self._claims.confirm(event.message)
        for claim in confirmation.withdrawn:
            self._publish(
                MessageWithdrawn(message_id=claim.id, user_id=claim.user_id, reason="contradicted by the database")
            )
        if confirmation.verdict == "confirmed":
            self._publish(ChatConfirmed(message=event.message, own=event.own, seq=event.seq))
        return confirmation.verdict

    def _note_ban(self, event: MemberChanged) -> None:
        if event.action == "banned":
            self._banned.add(event.member.user_id)
        elif event.action == "unbanned":
            self._banned.discard(event.member.user_id)

    def _publish(self, event: Event) -> None:
        self._room.apply(event)
        self._room.reached(self._sequencer.watermark)
        self._publish_event(event)

    def _people(self, change: RosterChange) -> None:
        now = self._clock.monotonic()
        for member in change.joined:
            event = PresenceJoined(member=member)
            if self._absences.back(member.user_id):
                self._room.apply(event)  # nobody was told that they had gone; only what they say may be new
            else:
                self._publish(event)
        for member in change.left:
            self._stop_typing(member.user_id)
            self._absences.gone(member, now)
        self._tell_who_left(now)
        self._wake.set()

    def _tell_who_left(self, now: float) -> None:
        for member in self._absences.left(now):
            self._publish(PresenceLeft(member=member))

    def _typing(self, payload: Mapping[str, Any]) -> None:
        given, name = payload.get("user_id"), payload.get("username")
        if not isinstance(given, str):
            return
        user_id = UserId(given)
        if user_id == self._me or user_id in self._banned:
            return
        if payload.get("typing") is False:
            self._stop_typing(user_id)
            return
        new = user_id not in self._typing_until
        if new and len(self._typing_until) >= 1_000:
            return
        self._typing_until[user_id] = self._clock.monotonic() + self._config.typing_ttl
        if new:
            self._publish(TypingStarted(user_id=user_id, username=name if isinstance(name, str) else ""))
            self._wake.set()

    def _expire_typing(self, now: float) -> None:
        for user_id in [user_id for user_id, until in self._typing_until.items() if until <= now]:
            self._stop_typing(user_id)

    def _stop_typing(self, user_id: UserId) -> None:
        if self._typing_until.pop(user_id, None) is not None:
            self._publish(TypingStopped(user_id=user_id, username=self._room.typing.get(user_id, "")))


def _read_snapshot(answer: Mapping[str, Any], session_id: str) -> Snapshot:
    tallies = {row["song_id"]: row for row in answer.get("tallies") or ()}
    messages = [wire.stored_message(row, session_id, row.get("seq")) for row in answer.get("messages") or ()]
    return Snapshot.model_validate({**answer, "tallies": tallies, "messages": messages})
