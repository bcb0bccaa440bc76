"""Chat heard by broadcast is a claim until the database vouches for it.

Whoever may write on the topic can put any author into a broadcast. So a message heard is remembered under (author, id);
the event log confirms it, contradicts it (same id under another author, or other words), or says nothing, in which case
it expires.
"""

from __future__ import annotations

from collections import OrderedDict
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

    Args:
        capacity: most claims, and most confirmations, remembered. Beyond it the oldest claims count as expired at the
            next `expire`.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._open: OrderedDict[_Key, _Claim] = OrderedDict()
        self._by_id: dict[str, set[_Key]] = {}
        self._confirmed: OrderedDict[_Key, None] = OrderedDict()
        self._confirmed_ids: dict[str, str] = {}
        self._overflow: list[Message] = []

    def __len__(self) -> int:
        return len(self._open)

    def hear(self, message: Message, now: float) -> bool:
        """Takes a broadcast; returns whether to show it (False: shown before, or already contradicted)."""
        key = (message.user_id, message.id)
        if key in self._open or key in self._confirmed:
            return False
        if message.id in self._confirmed_ids:
            # The database has this id under another author: this is somebody else's claim on it.
            return False
        self._open[key] = _Claim(message, now)
        self._by_id.setdefault(message.id, set()).add(key)
        while len(self._open) > self._capacity:
            self._overflow.append(self._remove(next(iter(self._open))).message)
        return True

    def confirm(self, message: Message) -> Confirmation:
        """Takes the database's word on a message."""
        key = (message.user_id, message.id)
        if key in self._confirmed:
            return Confirmation("known")
        self._confirmed[key] = None
        self._confirmed_ids[message.id] = message.user_id
        while len(self._confirmed) > self._capacity:
            (_, old_id), _ = self._confirmed.popitem(last=False)
            self._confirmed_ids.pop(old_id, None)
        withdrawn: list[Message] = []
        verdict: Verdict = "new"
        for rival in sorted(self._by_id.get(message.id, ())):
            claim = self._remove(rival)
            if rival == key and claim.message.content == message.content:
                verdict = "confirmed"
            else:
                withdrawn.append(claim.message)
        return Confirmation(verdict, withdrawn)

    def drop(self, user_id: str, message_id: str) -> Message | None:
        """Forgets one claim (its sender learnt that it was rejected); returns it if it was open."""
        key = (user_id, message_id)
        return self._remove(key).message if key in self._open else None

    def expire(self, before: float) -> list[Message]:
        """Removes and returns the claims heard before a time of the caller's clock, oldest first."""
        expired, self._overflow = self._overflow, []
        while self._open:
            key = next(iter(self._open))
            if self._open[key].heard_at >= before:
                break
            expired.append(self._remove(key).message)
        return expired

    def _remove(self, key: _Key) -> _Claim:
        claim = self._open.pop(key)
        keys = self._by_id[key[1]]
        keys.discard(key)
        if not keys:
            del self._by_id[key[1]]
        return claim
