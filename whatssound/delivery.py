"""Delivers each event once, to the state and then to readers, whichever way it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .core import wire
from .core.claims import Claims, Verdict
from .core.reducer import RoomState
from .core.sequence import Sequencer
from .errors import ProtocolError
from .events import ChatConfirmed, ChatMessage, ChatUnconfirmed, Event, MemberChanged, MessageWithdrawn
from .models import Message, StoredRow
from .ports import Clock


class Delivery:
    """Passes events of the log through the sequencer, and chat through the claims.

    Args:
        session_id: the session.
        me: the signed-in user, if any.
        state: what events are applied to.
        clock: time.
        publish: called with each event, after it has been applied to the state.
        report: called with what cannot be read, which never stops anything.

    Attributes:
        sequencer: what has been delivered, and what is known to exist.
    """

    def __init__(
        self,
        session_id: str,
        *,
        me: str | None,
        state: RoomState,
        clock: Clock,
        publish: Callable[[Event], None],
        report: Callable[[Exception], None],
    ) -> None:
        self._session_id = session_id
        self._me = me
        self._state = state
        self._clock = clock
        self._publish = publish
        self.report = report
        self.sequencer = Sequencer()
        self._claims = Claims()
        self._pending: set[tuple[str, str]] = set()
        self._banned: set[str] = set()

    def publish(self, event: Event) -> None:
        """Applies an event and hands it to readers."""
        self._state.apply(event)
        self._state.reached(self.sequencer.watermark)
        self._publish(event)

    def deliver(self, event: Event) -> None:
        """Delivers an event unless it is of the log and was delivered before."""
        if event.seq is not None:
            if not self.sequencer.admit(event.seq):
                return
            if isinstance(event, ChatMessage):
                if self._settle(event) == "new":
                    self.publish(event)
                return
            if isinstance(event, MemberChanged):
                self._note_ban(event)
        self.publish(event)

    def entry(self, seq: int, entry: Mapping[str, Any], *, recovered: bool) -> bool:
        """Delivers the entry ``seq`` of the log; returns whether it was new.

        What cannot be read is reported and counts as delivered once everything up to it does: asking for it again would
        never end.
        """
        if self.sequencer.seen(seq):
            return False
        try:
            event = wire.log_event(entry, self._session_id, me=self._me, recovered=recovered)
        except ProtocolError as error:
            self.report(error)
            return False
        self.deliver(event)
        return True

    def reached(self, seq: int) -> None:
        """Everything up to ``seq`` has been delivered."""
        self.sequencer.skip_to(seq)
        self._state.reached(self.sequencer.watermark)

    # --- chat

    def is_banned(self, user_id: str) -> bool:
        """Whether the log says that somebody is banned: what they broadcast is not believed."""
        return user_id in self._banned

    def claim(self, message: Message) -> None:
        """Shows a message heard by broadcast, unless it was shown before or is not to be believed."""
        if message.user_id not in self._banned and self._claims.hear(message, self._clock.monotonic()):
            self.publish(ChatMessage(message=message))

    def said(self, message: Message) -> None:
        """Shows an own message at once."""
        self._pending.add((message.user_id, message.id))
        if self._claims.hear(message, self._clock.monotonic()):
            self.publish(ChatMessage(message=message, own=True))

    def stored(self, message: Message, row: StoredRow, *, in_order: bool) -> None:
        """An own message is stored: the answer is as good as its entry in the log.

        Args:
            message: what was sent.
            row: the database's answer.
            in_order: whether to leave it to its entry in the log where others come before it.
        """
        self._pending.discard((message.user_id, message.id))
        if row.seq is None:
            return
        if in_order and row.seq > self.sequencer.watermark + 1:
            self.sequencer.note(row.seq)
            return
        role = self._state.me.role if self._state.me else message.role
        confirmed = message.model_copy(
            update={"seq": row.seq, "created_at": row.created_at or message.created_at, "role": role, "confirmed": True}
        )
        self.deliver(ChatMessage(message=confirmed, own=True, seq=row.seq))

    def rejected(self, message: Message, reason: str) -> None:
        """An own message was refused: what was shown of it is taken back."""
        self._pending.discard((message.user_id, message.id))
        if self._claims.drop(message.user_id, message.id) is not None:
            self.publish(MessageWithdrawn(message_id=message.id, user_id=message.user_id, reason=reason))

    def vouched(self, message: Message) -> None:
        """Settles claims by a message of a snapshot, which readers are not told of otherwise."""
        self._settle(ChatMessage(message=message, own=message.user_id == self._me, seq=message.seq))

    def expire_claims(self, before: float) -> None:
        """Ends claims heard before a time of the clock that nobody vouched for; our own on their way stay."""
        for message in self._claims.expire(before, self._pending):
            self.publish(ChatUnconfirmed(message_id=message.id, user_id=message.user_id))

    def _settle(self, event: ChatMessage) -> Verdict:
        """Tells readers what the database's word on a message means for what they were shown."""
        confirmation = self._claims.confirm(event.message)
        for claim in confirmation.withdrawn:
            self.publish(
                MessageWithdrawn(message_id=claim.id, user_id=claim.user_id, reason="contradicted by the database")
            )
        if confirmation.verdict == "confirmed":
            self.publish(ChatConfirmed(message=event.message, own=event.own, seq=event.seq, recovered=event.recovered))
        return confirmation.verdict

    def _note_ban(self, event: MemberChanged) -> None:
        if event.action == "banned":
            self._banned.add(event.member.user_id)
        elif event.action == "unbanned":
            self._banned.discard(event.member.user_id)
