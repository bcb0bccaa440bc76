"""Chat heard by broadcast is a claim until the database vouches for it.

Whoever may write on the topic can put any author into a broadcast. So a message heard is remembered under (author, id);
the event log confirms it, contradicts it (same id under another author, or other words), or says nothing, in which case
it expires.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from ..models import Message

_Key = tuple[str, str]
Verdict = Literal["new", "confirmed", "known"]


@dataclass(slots=True)
class _Claim:
    message: Message
    heard_at: float


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the database's word means for what was shown.

    Attributes:
        verdict: ``new``: not shown before; ``confirmed``: shown as a claim, now vouched for; ``known``: confirmed
            before.
        withdrawn: claims that are now known to be false.
    """

    verdict: Verdict
    withdrawn: list[Message] = field(default_factory=list)


class Claims:
    """Remembers claims and confirmations; bounded.

    A message is shown at most once as a claim and at most once as confirmed, and each claim ends once: confirmed,
    withdrawn, expired or dropped. What has ended is remembered, so that a broadcast repeated later is not shown again.

    Args:
        capacity: most claims, most confirmations and most ended claims remembered. Beyond it the oldest claims count as
            expired at the next `expire`; beyond twice as many, new ones are not shown until the database vouches for
            them.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._open: OrderedDict[_Key, _Claim] = OrderedDict()
        # Tuples, since there is hardly ever a second claim on an id, and a set of one is four times as large.
        self._by_id: dict[str, tuple[_Key, ...]] = {}
        self._confirmed: OrderedDict[_Key, None] = OrderedDict()
        self._confirmed_ids: dict[str, str] = {}
        self._ended: OrderedDict[_Key, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def hear(self, message: Message, now: float) -> bool:
        """Takes a broadcast; returns whether to show it (False: shown before, or already contradicted)."""
        key = (message.user_id, message.id)
        if key in self._open or key in self._confirmed or key in self._ended:
            return False
        if message.id in self._confirmed_ids:
            # The database has this id under another author: this is somebody else's claim on it.
            return False
        if len(self._open) >= 2 * self._capacity:
            return False
        self._open[key] = _Claim(message, now)
        self._by_id[message.id] = (*self._by_id.get(message.id, ()), key)
        return True

    def confirm(self, message: Message) -> Confirmation:
        """Takes the database's word on a message."""
        key = (message.user_id, message.id)
        if key in self._confirmed:
            return Confirmation("known")
        self._confirmed[key] = None
        self._confirmed_ids[message.id] = message.user_id
        while len(self._confirmed) > self._capacity:
            (old_author, old_id), _ = self._confirmed.popitem(last=False)
            if self._confirmed_ids.get(old_id) == old_author:
                del self._confirmed_ids[old_id]
        withdrawn: list[Message] = []
        verdict: Verdict = "new"
        for rival in sorted(self._by_id.get(message.id, ())):
            claim = self._end(rival)
            if rival == key and claim.message.content == message.content:
                verdict = "confirmed"
            else:
                withdrawn.append(claim.message)
        return Confirmation(verdict, withdrawn)

    def drop(self, user_id: str, message_id: str) -> Message | None:
        """Forgets one claim (its sender learnt that it was rejected); returns it if it was open."""
        key = (user_id, message_id)
        return self._end(key).message if key in self._open else None

    def expire(self, before: float, pending: Collection[tuple[str, str]] = ()) -> list[Message]:
        """Ends and returns the claims heard before a time of the caller's clock or over capacity, oldest first.

        Args:
            before: the time, in seconds.
            pending: (author, id) of claims that are not to end: our own, on their way to the database.
        """
        expired: list[Message] = []
        for key in list(self._open):
            if len(self._open) <= self._capacity and self._open[key].heard_at >= before:
                break
            if key not in pending:
                expired.append(self._end(key).message)
        return expired

    def _end(self, key: _Key) -> _Claim:
        claim = self._open.pop(key)
        rivals = tuple(rival for rival in self._by_id.pop(key[1]) if rival != key)
        if rivals:
            self._by_id[key[1]] = rivals
        self._ended[key] = None
        while len(self._ended) > self._capacity:
            self._ended.popitem(last=False)
        return claim
