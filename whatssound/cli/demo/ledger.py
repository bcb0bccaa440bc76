"""What the room was promised: everything the SDK said is stored, written down as it said so.

The audit compares this with the database.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Words:
    """A chat message whose receipt said that it is stored."""

    id: str
    user_id: str
    content: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote that was accepted. ``seq`` is its place in the event log; None where nothing changed."""

    user_id: str
    song_id: str
    value: int
    seq: int | None


@dataclass(frozen=True, slots=True)
class Payment:
    """A tip that was accepted, ``amount`` in minor units, and whether its payment was confirmed."""

    id: str
    tipper_id: str
    amount: int
    currency: str
    key: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class QueueFact:
    """One change of one queue item. A command makes one, or two where a song ends and the next starts."""

    seq: int
    item_id: str
    action: str


@dataclass(slots=True)
class Ledger:
    """All promises of a run.

    Attributes:
        words: accepted chat, by id.
        ballots: accepted votes, in each voter's order.
        payments: accepted tips.
        queue: changes of the queue that were answered for.
        doubtful_words: ids of messages whose outcome never became known.
        doubtful_ballots: (user, song) of votes whose outcome never became known.
        doubtful_payments: tippers with a tip whose outcome never became known.
        doubtful_queue: queue commands whose outcome never became known.
        refusals: refused or failed commands, by code.
    """

    words: dict[str, Words] = field(default_factory=dict)
    ballots: list[Ballot] = field(default_factory=list)
    payments: dict[str, Payment] = field(default_factory=dict)
    queue: set[QueueFact] = field(default_factory=set)
    queue_commands: Counter[str] = field(default_factory=Counter)
    doubtful_words: set[str] = field(default_factory=set)
    doubtful_ballots: set[tuple[str, str]] = field(default_factory=set)
    doubtful_payments: set[str] = field(default_factory=set)
    doubtful_queue: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
