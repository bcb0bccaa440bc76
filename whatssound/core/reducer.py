"""What a session looks like after its events: a snapshot plus everything since.

Events may arrive ahead of others (a vote by Postgres Changes before the log's entries in between), so each thing keeps
the ``seq`` that last changed it and ignores what is older. That makes the state converge: snapshot + later events, in
any order, equals a later snapshot.
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
        self._items: dict[ItemId, QueueItem] = {}
        self._gone: OrderedDict[ItemId, int] = OrderedDict()
        self._confirmed: dict[tuple[str, str], Message] = {}
        self._claims: dict[tuple[str, str], Message] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._session_seq = 0
        self._me_seq = 0
        self._my_vote_seq: dict[SongId, int] = {}

    # --- reading ------------------------------------------------------------------------------------------------------

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
        """What plays next, in order (rank is compared byte by byte, as the database does with collation "C")."""
        queued = (item for item in self._items.values() if item.status == "queued")
        return tuple(sorted(queued, key=lambda item: (item.rank.encode(), item.id)))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The newest messages: stored ones in the database's order, then those not yet confirmed as they were heard."""
        stored = sorted(self._confirmed.values(), key=lambda message: message.seq or 0)
        return (*stored, *self._claims.values())[-self._history :]

    # --- changing
    # ----------------------------------------------------------------------------------------------------------

    def load(self, snapshot: Snapshot) -> None:
        """Takes over a snapshot, unless the state is already newer."""
        if self.session is not None and snapshot.seq < self.seq:
            return
        self.session = snapshot.session
        self.me = snapshot.me or self.me
        self.seq = self._session_seq = self._me_seq = snapshot.seq
        self.tallies = dict(snapshot.tallies)
        self.my_votes = dict(snapshot.my_votes)
        self._my_vote_seq = dict.fromkeys(snapshot.my_votes, snapshot.seq)
        self.tips = snapshot.tips
        self.occupancy = snapshot.occupancy
        self.server_time = snapshot.server_time
        self._items = {item.id: item for item in snapshot.queue}
        if snapshot.now_playing is not None:
            self._items[snapshot.now_playing.id] = snapshot.now_playing
        self._gone.clear()
        self._confirmed = {(message.user_id, message.id): message for message in snapshot.messages}
        for key in self._confirmed:
            self._claims.pop(key, None)

    def reached(self, seq: int) -> None:
        """Notes that all events up to ``seq`` have been applied."""
        self.seq = max(self.seq, seq)

    def apply(self, event: Event) -> None:
        """Applies one event. Each event with a ``seq`` must be applied once; any order will do."""
        match event:
            case ChatMessage() | ChatConfirmed():
                self._message(event.message)
            case MessageDeleted():
                self._delete(event.message_id)
            case MessageWithdrawn() | ChatUnconfirmed():
                self._claims.pop((event.user_id, event.message_id), None)
            case VoteCast():
                self._vote(event)
            case TipSent():
                self._tip(event, 1)
                self.recent_tips.append(event)
            case TipRefunded():
                self._tip(event, -1)
            case QueueChanged():
                self._item(event.item)
            case MemberChanged():
                self._member(event)
            case SessionChanged():
                if (event.seq or 0) >= self._session_seq:
                    self.session, self._session_seq = event.session, event.seq or 0
            case PresenceJoined():
                self.presence[event.member.user_id] = event.member
            case PresenceLeft():
                self.presence.pop(event.member.user_id, None)
            case TypingStarted():
                self.typing[event.user_id] = event.username
            case TypingStopped():
                self.typing.pop(event.user_id, None)
            case _:
                pass  # connection events and those of newer databases change nothing here

    def _message(self, message: Message) -> None:
        if message.id in self._deleted:
            return
        key = (message.user_id, message.id)
        if not message.confirmed:
            if key not in self._confirmed:
                self._claims[key] = message
                self._bound(self._claims)
            return
        self._claims.pop(key, None)
        self._confirmed[key] = message
        if len(self._confirmed) > 2 * self._history:
            newest = sorted(self._confirmed.items(), key=lambda entry: entry[1].seq or 0)[-self._history :]
            self._confirmed = dict(newest)

    def _bound(self, messages: dict[tuple[str, str], Message]) -> None:
        while len(messages) > self._history:
            del messages[next(iter(messages))]

    def _delete(self, message_id: str) -> None:
        self._deleted[message_id] = None
        while len(self._deleted) > _REMEMBERED:
            self._deleted.popitem(last=False)
        for messages in (self._confirmed, self._claims):
            for key in [key for key in messages if key[1] == message_id]:
                del messages[key]

    def _vote(self, event: VoteCast) -> None:
        known = self.tallies.get(event.song_id)
        if known is None or event.tally.seq >= known.seq:
            self.tallies[event.song_id] = event.tally
        if event.user_id == self.me_id and (event.seq or 0) >= self._my_vote_seq.get(event.song_id, 0):
            self.my_votes[event.song_id] = event.value
            self._my_vote_seq[event.song_id] = event.seq or 0

    def _tip(self, event: TipSent | TipRefunded, sign: int) -> None:
        totals = dict(self.tips.totals)
        totals[event.tip.currency] = totals.get(event.tip.currency, 0) + sign * event.tip.amount
        if totals[event.tip.currency] == 0:
            del totals[event.tip.currency]
        self.tips = TipTotals(totals=totals, count=self.tips.count + sign)

    def _item(self, item: QueueItem) -> None:
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
        if event.member.user_id == self.me_id and (event.seq or 0) >= self._me_seq:
            self.me, self._me_seq = event.member, event.seq or 0
        if event.action == "banned":
            self.typing.pop(event.member.user_id, None)
            self.presence.pop(event.member.user_id, None)
            for key in [key for key in self._claims if key[0] == event.member.user_id]:
                del self._claims[key]
