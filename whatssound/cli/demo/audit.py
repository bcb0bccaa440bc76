"""Whether the database holds every promise exactly once.

Pure: the ledger and the rows go in, the offences come out. The rows are read without the SDK (see `readback`), so that
a defect of the SDK cannot hide itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .ledger import Ballot, Ledger, Payment, Words


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A row of ``messages``; ``batch`` is the transaction that stored it."""

    id: str
    user_id: str
    content: str
    batch: str


@dataclass(frozen=True, slots=True)
class VoteRow:
    """A row of ``votes``."""

    user_id: str
    song_id: str
    value: int


@dataclass(frozen=True, slots=True)
class TipRow:
    """A row of ``tips``."""

    id: str
    tipper_id: str
    amount: int
    currency: str
    key: str
    status: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """An entry of the event log.

    Attributes:
        seq: its place.
        kind: ``message``, ``vote``, ``tip``, ``queue`` …
        subject: what it is about: the id of the message, tip or queue item, or the song's.
        user_id: who did it; empty where the log does not say.
        detail: the vote's value or the queue's action.
    """

    seq: int
    kind: str
    subject: str
    user_id: str = ""
    detail: str = ""


@dataclass(slots=True)
class Rows:
    """What the database has of one session."""

    messages: list[MessageRow] = field(default_factory=list)
    votes: list[VoteRow] = field(default_factory=list)
    tips: list[TipRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)

    def of_kind(self, kind: str) -> Iterator[EventRow]:
        """The log's entries of one kind."""
        return (event for event in self.events if event.kind == kind)


@dataclass(frozen=True, slots=True)
class Offence:
    """One promise that was not kept: ``what`` (chat, vote, tip, queue, log) and the story."""

    what: str
    story: str

    def __str__(self) -> str:
        return f"{self.what}: {self.story}"


def audit(ledger: Ledger, rows: Rows) -> list[Offence]:
    """Compares promises with rows, both ways: what is missing, what is there twice, and what nobody promised."""
    return [
        *_audit_chat(ledger, rows),
        *_audit_votes(ledger, rows),
        *_audit_tips(ledger, rows),
        *_audit_queue(ledger, rows),
        *_audit_log(rows),
    ]


def stored_twice(rows: Rows) -> int:
    """Surplus rows and log entries of chat messages: 0 when each was stored once."""
    counts = Counter((row.user_id, row.id) for row in rows.messages)
    entries = Counter(event.subject for event in rows.of_kind("message"))
    return sum(count - 1 for count in counts.values()) + sum(count - 1 for count in entries.values())


def batch_sizes(rows: Rows) -> list[int]:
    """How many rows each batch of chat stored."""
    return list(Counter(row.batch for row in rows.messages).values())


def _times(count: int) -> str:
    return "is missing" if count == 0 else f"is there {count} times"


def _audit_chat(ledger: Ledger, rows: Rows) -> Iterator[Offence]:
    stored: dict[str, list[MessageRow]] = defaultdict(list)
    for row in rows.messages:
        stored[row.id].append(row)
    entries = Counter(event.subject for event in rows.of_kind("message"))
    for words in ledger.words.values():
        yield from _one_message(words, stored.get(words.id, []), entries[words.id])
    for message_id, found in stored.items():
        if message_id in ledger.words:
            continue
        if message_id not in ledger.doubtful_words:
            yield Offence("chat", f"message {message_id} is stored but was never accepted")
        elif len(found) > 1 or entries[message_id] > 1:
            yield Offence("chat", f"message {message_id}, of unknown outcome, is there more than once")
    for message_id in entries:
        if message_id not in stored:
            yield Offence("chat", f"the log tells of message {message_id}, which has no row")


def _one_message(words: Words, stored: list[MessageRow], entries: int) -> Iterator[Offence]:
    if len(stored) != 1:
        yield Offence("chat", f"message {words.id} {_times(len(stored))}")
    elif (stored[0].user_id, stored[0].content) != (words.user_id, words.content):
        yield Offence("chat", f"message {words.id} is stored with another author or text")
    if entries != 1:
        yield Offence("chat", f"the log entry of message {words.id} {_times(entries)}")


def _audit_votes(ledger: Ledger, rows: Rows) -> Iterator[Offence]:
    stored: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows.votes:
        stored[row.user_id, row.song_id].append(row.value)
    last: dict[tuple[str, str], Ballot] = {}
    for ballot in ledger.ballots:
        last[ballot.user_id, ballot.song_id] = ballot
    for (user_id, song_id), ballot in last.items():
        values = stored.get((user_id, song_id), [])
        who = f"the vote of {user_id} on song {song_id}"
        # To take back a vote that was never cast changes nothing and needs no row.
        if len(values) != 1 and not (not values and ballot.value == 0):
            yield Offence("vote", f"{who} {_times(len(values))}")
        elif values and values[0] != ballot.value and (user_id, song_id) not in ledger.doubtful_ballots:
            yield Offence("vote", f"{who} is {values[0]}, accepted was {ballot.value}")
    for user_id, song_id in stored.keys() - last.keys() - ledger.doubtful_ballots:
        yield Offence("vote", f"the vote of {user_id} on song {song_id} is stored but was never accepted")
    yield from _audit_vote_events(ledger, rows)


def _audit_vote_events(ledger: Ledger, rows: Rows) -> Iterator[Offence]:
    entries = Counter((event.seq, event.user_id, event.subject, event.detail) for event in rows.of_kind("vote"))
    promised = Counter(
        (ballot.seq, ballot.user_id, ballot.song_id, str(ballot.value))
        for ballot in ledger.ballots
        if ballot.seq is not None
    )
    for entry, times in promised.items():
        if times != 1:
            yield Offence("vote", f"{times} accepted votes were told the same event {entry[0]}")
        if entries[entry] != 1:
            yield Offence("vote", f"event {entry[0]} (vote {entry[3]} on {entry[2]}) {_times(entries[entry])}")
    for seq, user_id, song_id, _ in entries.keys() - promised.keys():
        if (user_id, song_id) not in ledger.doubtful_ballots:
            yield Offence("vote", f"event {seq} counts a vote of {user_id} on {song_id} that was never accepted")


def _audit_tips(ledger: Ledger, rows: Rows) -> Iterator[Offence]:
    stored: dict[str, list[TipRow]] = defaultdict(list)
    for row in rows.tips:
        stored[row.id].append(row)
    entries = Counter(event.subject for event in rows.of_kind("tip"))
    for payment in ledger.payments.values():
        yield from _one_payment(payment, stored.get(payment.id, []), entries[payment.id])
    for tip_id, found in stored.items():
        if tip_id not in ledger.payments and found[0].tipper_id not in ledger.doubtful_payments:
            yield Offence("tip", f"tip {tip_id} is stored but was never accepted")
    keys = Counter((row.tipper_id, row.key) for row in rows.tips)
    for (tipper_id, key), times in keys.items():
        if times > 1:
            yield Offence("tip", f"the tip of {tipper_id} with key {key} is there {times} times")
    for tip_id in entries.keys() - stored.keys():
        yield Offence("tip", f"the log tells of tip {tip_id}, which has no row")


def _one_payment(payment: Payment, stored: list[TipRow], entries: int) -> Iterator[Offence]:
    if len(stored) != 1:
        yield Offence("tip", f"tip {payment.id} {_times(len(stored))}")
        return
    row = stored[0]
    promised = (payment.tipper_id, payment.amount, payment.currency, payment.key)
    if (row.tipper_id, row.amount, row.currency, row.key) != promised:
        yield Offence("tip", f"tip {payment.id} is stored with another tipper, amount, currency or key")
    if payment.confirmed and row.status != "confirmed":
        yield Offence("tip", f"tip {payment.id} is {row.status}, although it was confirmed")
    if payment.confirmed and entries != 1:
        yield Offence("tip", f"the log entry of tip {payment.id} {_times(entries)}")


def _audit_queue(ledger: Ledger, rows: Rows) -> Iterator[Offence]:
    entries = Counter((event.seq, event.subject, event.detail) for event in rows.of_kind("queue"))
    promised = {(fact.seq, fact.item_id, fact.action) for fact in ledger.queue}
    for seq, item_id, action in promised:
        times = entries[seq, item_id, action]
        if times != 1:
            yield Offence("queue", f"event {seq} ({action} {item_id}) {_times(times)}")
    surplus = sorted(entries.keys() - promised)
    # A command of unknown outcome may have left up to two entries: the song that ended and the next one.
    if len(surplus) > 2 * ledger.doubtful_queue:
        for seq, item_id, action in surplus:
            yield Offence("queue", f"event {seq} ({action} {item_id}) was never accepted")


def _audit_log(rows: Rows) -> Iterator[Offence]:
    seqs = sorted(event.seq for event in rows.events)
    if seqs and seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        yield Offence("log", f"the event log is not dense: {len(seqs)} entries from {seqs[0]} to {seqs[-1]}")
