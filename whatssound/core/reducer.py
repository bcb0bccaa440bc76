"""What a session looks like after its events: a snapshot plus everything since.

Events may arrive ahead of others (a vote by Postgres Changes before the log's entries in between), so each thing keeps
the ``seq`` that last changed it and ignores what is older; and a snapshot that is older than some of what has been
applied already gets those events applied again. That makes the state converge: a snapshot and later events, in any
order and also with the snapshot in between, equal a later snapshot.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import datetime

from ..events import (
    ChatConfirmed,
    ChatMessage,
    ChatUnconfirmed,
    Event,
    MemberChanged,
    MessageDeleted,
    MessageWithdrawn,
    PresenceJoined,
    PresenceLeft,
    QueueChanged,
    ReactionsCounted,
    SessionChanged,
    TipRefunded,
    TipSent,
    TypingStarted,
    TypingStopped,
    VoteCast,
)
from ..models import (
    ItemId,
    Member,
    Message,
    Presence,
    QueueItem,
    SessionInfo,
    Snapshot,
    SongId,
    Tally,
    TipTotals,
    UserId,
)

_REMEMBERED = 2_000

#: The most kinds of reactions that are counted; the rarest makes way for a new one.
_KINDS = 100

_MessageKey = tuple[str, str]  # author, id: two authors may have stored the same id
_DeletedKey = tuple[str | None, str]  # the author is None where the deletion does not name one


class RoomState:
    """The state of one session; changed only by `load` and `apply`.

    Args:
        me: the signed-in user's id, if any.
        history: how many messages to keep.
    """

    def __init__(self, me: str | None, history: int) -> None:
        self.me_id = me
        self._history = history
        self.session: SessionInfo | None = None
        self.me: Member | None = None
        self.seq = 0
        self.tallies: dict[SongId, Tally] = {}
        self.my_votes: dict[SongId, int] = {}
        self.tips = TipTotals()
        self.recent_tips: deque[TipSent] = deque(maxlen=50)
        self.occupancy = 0
        self.server_time: datetime | None = None
        self.presence: dict[UserId, Presence] = {}
        self.typing: dict[UserId, str] = {}
        self.reactions: dict[str, int] = {}
        self._items: dict[ItemId, QueueItem] = {}
        self._gone: OrderedDict[ItemId, int] = OrderedDict()
        self._confirmed: dict[_MessageKey, Message] = {}
        self._claims: dict[_MessageKey, Message] = {}
        self._deleted: OrderedDict[_DeletedKey, None] = OrderedDict()
        self._ahead: dict[int, Event] = {}
        self._loaded_seq = 0
        self._message_floor = 0
        self._session_seq = 0
        self._me_seq = 0
        self._ban_seq = 0
        self._my_vote_seq: dict[SongId, int] = {}

    # --- reading

    @property
    def now_playing(self) -> QueueItem | None:
        """The item that plays, if any."""
        return max(
            (item for item in self._items.values() if item.status == "playing"),
            key=lambda item: item.seq,
            default=None,
        )

    @property
    def queue(self) -> tuple[QueueItem, ...]:
        """What plays next, in order (equal ranks go by id, as in the database)."""
        queued = (item for item in self._items.values() if item.status == "queued")
        return tuple(sorted(queued, key=lambda item: (item.rank, item.id)))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The newest messages: stored ones in the database's order, then those not yet confirmed as they were heard."""
        stored = sorted(self._confirmed.values(), key=lambda message: message.seq or 0)
        return (*stored, *self._claims.values())[-self._history :]

    # --- changing

    def load(self, snapshot: Snapshot) -> None:
        """Takes over a snapshot, unless the state is already newer."""
        if self.session is not None and snapshot.seq < self.seq:
            return
        self.session = snapshot.session
        self.me = snapshot.me or self.me
        self.seq = self._loaded_seq = snapshot.seq
        self._session_seq = self._me_seq = self._ban_seq = snapshot.seq
        self.tallies = dict(snapshot.tallies)
        self.my_votes = {song: value for song, value in snapshot.my_votes.items() if value}
        self._my_vote_seq = {}
        self.tips = snapshot.tips
        self.occupancy = snapshot.occupancy
        self.server_time = snapshot.server_time
        self._items = {item.id: item for item in snapshot.queue}
        if snapshot.now_playing is not None:
            self._items[snapshot.now_playing.id] = snapshot.now_playing
        self._gone.clear()
        self._confirmed = {(message.user_id, message.id): message for message in snapshot.messages}
        self._message_floor = snapshot.seq + 1
        for key in self._confirmed:
            self._claims.pop(key, None)
        # What came ahead of the snapshot is delivered once, so it has to be put back on top.
        self._ahead = {seq: event for seq, event in self._ahead.items() if seq > snapshot.seq}
        for event in self._ahead.values():
            self._change(event)
        self._close_up()

    def reached(self, seq: int) -> None:
        """Notes that all events up to ``seq`` have been applied."""
        if seq > self.seq:
            self.seq = seq
            self._ahead = {number: event for number, event in self._ahead.items() if number > seq}
            self._close_up()

    def apply(self, event: Event) -> None:
        """Applies one event. Each event with a ``seq`` must be applied once; any order will do."""
        if isinstance(event, TipSent):
            self.recent_tips.append(event)
        if event.seq is not None:
            if event.seq <= self._loaded_seq:
                self._contained(event)
                return
            if event.seq > self.seq:
                self._ahead[event.seq] = event
        self._change(event)
        self._close_up()

    def _close_up(self) -> None:
        while self.seq + 1 in self._ahead:
            self.seq += 1
            del self._ahead[self.seq]

    def _contained(self, event: Event) -> None:
        """Takes an event that the snapshot contains: only claims can still be settled by it."""
        match event:
            case ChatMessage() | ChatConfirmed():
                self._claims.pop((event.message.user_id, event.message.id), None)
            case MessageDeleted():
                self._delete(event)
            case _:
                pass

    def _change(self, event: Event) -> None:
        match event:
            case ChatMessage() | ChatConfirmed():
                self._message(event.message)
            case MessageDeleted():
                self._delete(event)
            case MessageWithdrawn() | ChatUnconfirmed():
                self._claims.pop((event.user_id, event.message_id), None)
            case VoteCast():
                self._vote(event)
            case TipSent():
                self._tip(event, 1)
            case TipRefunded():
                if event.counted:
                    self._tip(event, -1)
            case QueueChanged():
                self.take_item(event.item)
            case MemberChanged():
                self._member(event)
            case SessionChanged():
                if (event.seq or 0) >= self._session_seq:
                    self.session, self._session_seq = event.session, event.seq or 0
            case _:
                self._change_ephemeral(event)

    def _change_ephemeral(self, event: Event) -> None:
        match event:
            case PresenceJoined():
                self.presence[event.member.user_id] = event.member
            case PresenceLeft():
                self.presence.pop(event.member.user_id, None)
            case TypingStarted():
                self.typing[event.user_id] = event.username
            case TypingStopped():
                self.typing.pop(event.user_id, None)
            case ReactionsCounted():
                self._react(event)
            case _:
                pass  # connection events and those of newer databases change nothing here

    def _message(self, message: Message) -> None:
        key = (message.user_id, message.id)
        if key in self._deleted or (None, message.id) in self._deleted:
            return
        if not message.confirmed:
            if key not in self._confirmed:
                self._claims[key] = message
                while len(self._claims) > self._history:
                    del self._claims[next(iter(self._claims))]
            return
        self._claims.pop(key, None)
        if message.seq is not None and message.seq < self._message_floor and key not in self._confirmed:
            return  # contained in the snapshot (and perhaps deleted since), or it would stand beside a hole
        self._confirmed[key] = message
        if len(self._confirmed) > 2 * self._history:
            newest = sorted(self._confirmed.items(), key=lambda entry: entry[1].seq or 0)[-self._history :]
            self._confirmed = dict(newest)
            self._message_floor = newest[0][1].seq or 0

    def _delete(self, event: MessageDeleted) -> None:
        self._deleted[event.user_id, event.message_id] = None
        while len(self._deleted) > _REMEMBERED:
            self._deleted.popitem(last=False)
        for messages in (self._confirmed, self._claims):
            for key in [key for key in messages if key[1] == event.message_id and event.user_id in (None, key[0])]:
                del messages[key]

    def _vote(self, event: VoteCast) -> None:
        known = self.tallies.get(event.song_id)
        if known is None or event.tally.seq >= known.seq:
            self.tallies[event.song_id] = event.tally
        if event.user_id == self.me_id and (event.seq or 0) >= self._my_vote_seq.get(event.song_id, 0):
            self._my_vote_seq[event.song_id] = event.seq or 0
            self.my_votes.pop(event.song_id, None)
            if event.value:
                self.my_votes[event.song_id] = event.value

    def _tip(self, event: TipSent | TipRefunded, sign: int) -> None:
        totals = dict(self.tips.totals)
        totals[event.tip.currency] = totals.get(event.tip.currency, 0) + sign * event.tip.amount
        if totals[event.tip.currency] == 0:
            del totals[event.tip.currency]
        self.tips = TipTotals(totals=totals, count=self.tips.count + sign)

    def _react(self, event: ReactionsCounted) -> None:
        for text, count in event.counts.items():
            if text not in self.reactions and len(self.reactions) >= _KINDS:
                del self.reactions[min(self.reactions, key=self.reactions.__getitem__)]
            self.reactions[text] = self.reactions.get(text, 0) + count

    def take_item(self, item: QueueItem) -> None:
        """Takes an item as an RPC's answer has it, unless a newer version is known."""
        known = self._items.get(item.id)
        last = known.seq if known is not None else self._gone.get(item.id, -1)
        if item.seq < last:
            return
        if item.status in ("queued", "playing"):
            self._items[item.id] = item
            self._gone.pop(item.id, None)
            return
        self._items.pop(item.id, None)
        self._gone[item.id] = item.seq
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _member(self, event: MemberChanged) -> None:
        member = event.member
        if member.user_id == self.me_id:
            self._change_me(event)
        if event.action == "banned":
            self.typing.pop(member.user_id, None)
            self.presence.pop(member.user_id, None)
            for key in [key for key in self._claims if key[0] == member.user_id]:
                del self._claims[key]

    def _change_me(self, event: MemberChanged) -> None:
        seq = event.seq or 0
        banned = self.me.banned if self.me is not None else event.member.banned
        # Only a ban or its end says anything about being banned: a new role leaves it as it was.
        if event.action in ("banned", "unbanned") and seq >= self._ban_seq:
            banned, self._ban_seq = event.action == "banned", seq
        if seq >= self._me_seq:
            self.me, self._me_seq = event.member, seq
        if self.me is not None:
            self.me = self.me.model_copy(update={"banned": banned})
