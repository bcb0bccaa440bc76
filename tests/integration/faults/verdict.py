"""What a run proves: pure checks of what was asked for, stored and heard, one for each guarantee."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: What a rejected or unanswered message has instead of `STORED`.
STORED = "stored"

NO_CHAT_LOST = "accepted chat lost"
NO_CHAT_TWICE = "chat stored twice"
NO_SPOOLED_LOST = "accepted chat lost by kill -9"
NO_TIP_LOST = "tips lost"
NO_TIP_TWICE = "tips stored twice"
VOTES_ONCE = "votes lost or counted twice"
SONGS_ONCE = "queue changes lost or doubled"
NO_GAP = "silent gaps (listener × event)"
NOTHING_TWICE = "events heard twice"
CONVERGED = "states unlike the database"
ALIVE = "sessions ended or never live again"


@dataclass(frozen=True, slots=True)
class Said:
    """A chat message that `send` accepted: its id, its text (nobody says the same twice) and what became of it."""

    id: str
    text: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Voter:
    """A voter: how many votes were acknowledged, each unlike the one before, and the last value."""

    user_id: str
    votes: int
    last: int


@dataclass(slots=True)
class Listener:
    """What one session published.

    Attributes:
        name: whose.
        durable: numbers of the events that have one, in the order heard.
        shown: message ids shown by `ChatMessage`, except where the showing before was taken back.
        skipped: ranges that a `Discontinuity` named, both ends included.
        lagged: events that its reader was too slow for.
        recovered: how many were fetched after a gap.
        unlike: where its state differed from a fresh snapshot in the end.
        problem: why it ended or was not live in the end; empty if it was.
    """

    name: str
    durable: list[int] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    lagged: int = 0
    recovered: int = 0
    unlike: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """A plain drop: one connection breaks and nothing else does.

    Attributes:
        feed: of whose connection it was.
        live: seconds from the drop to live again.
        equal: seconds from there until the state equalled a fresh snapshot, chat stored since left out.
    """

    feed: str
    live: float
    equal: float


@dataclass(slots=True)
class Evidence:
    """All that one run asked for, and all that came of it.

    Attributes:
        said: chat accepted.
        spooled: texts that a process accepted which was killed; None if none was.
        talker: what went wrong with that process in the end; empty if nothing did.
        messages: texts of the rows stored.
        tips_paid: notes of tips whose receipt came.
        tips: notes of the rows stored.
        voters: who voted.
        votes: user → value as stored.
        vote_events: user of each vote in the event log.
        songs_added: titles whose receipt came.
        songs: title of each `added` in the event log.
        base: number of the last event before traffic.
        last: number of the last event after it.
        listeners: every open session.
        drops: what became of each plain drop.
        recovery: guarantee → seconds from the end of the last fault until it held for everybody.
        slowest_send: seconds of the slowest `chat.send`.
        hits: how often faults were felt at all: reconnects, retried calls and batches, rows that had been stored
            already, events that had to be fetched. A run that felt nothing proves nothing.
    """

    said: list[Said] = field(default_factory=list)
    spooled: list[str] | None = None
    talker: str = ""
    messages: list[str] = field(default_factory=list)
    tips_paid: list[str] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)
    voters: list[Voter] = field(default_factory=list)
    votes: dict[str, int] = field(default_factory=dict)
    vote_events: list[str] = field(default_factory=list)
    songs_added: list[str] = field(default_factory=list)
    songs: list[str] = field(default_factory=list)
    base: int = 0
    last: int = 0
    listeners: list[Listener] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    recovery: dict[str, float] = field(default_factory=dict)
    slowest_send: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one guarantee fared: how often it was put to the test, and each time it was broken."""

    guarantee: str
    cases: int
    violations: tuple[str, ...]


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Holds a run against every guarantee that it put to the test."""
    listeners = evidence.listeners
    events = max(0, evidence.last - evidence.base) * len(listeners)
    spooled = evidence.spooled
    kept = () if spooled is None else (Finding(NO_SPOOLED_LOST, len(spooled), tuple(_spooled_lost(evidence, spooled))),)
    return (
        *kept,
        Finding(NO_CHAT_LOST, len(evidence.said), tuple(_chat_lost(evidence))),
        Finding(NO_CHAT_TWICE, len(evidence.messages), tuple(_more_than_once(evidence.messages))),
        Finding(NO_TIP_LOST, len(evidence.tips_paid), tuple(_missing(evidence.tips_paid, evidence.tips))),
        Finding(NO_TIP_TWICE, len(evidence.tips), tuple(_more_than_once(evidence.tips))),
        Finding(VOTES_ONCE, sum(voter.votes for voter in evidence.voters), tuple(_votes(evidence))),
        Finding(SONGS_ONCE, len(evidence.songs_added), tuple(_songs(evidence))),
        Finding(NO_GAP, events, tuple(line for each in listeners for line in _gaps(each, evidence))),
        Finding(NOTHING_TWICE, events, tuple(line for each in listeners for line in _twice(each))),
        Finding(CONVERGED, len(listeners), tuple(f"{each.name}: {each.unlike}" for each in listeners if each.unlike)),
        Finding(ALIVE, len(listeners), tuple(f"{each.name}: {each.problem}" for each in listeners if each.problem)),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def _chat_lost(evidence: Evidence) -> Iterable[str]:
    stored = set(evidence.messages)
    for said in evidence.said:
        if said.outcome != STORED:
            yield f"{said.text}: {said.outcome}" + (", yet stored" if said.text in stored else "")
        elif said.text not in stored:
            yield f"{said.text}: said to be stored, and is not"


def _spooled_lost(evidence: Evidence, spooled: Sequence[str]) -> Iterable[str]:
    yield from _missing(spooled, evidence.messages)
    if evidence.talker:
        yield f"the process {evidence.talker}"


def _more_than_once(names: Iterable[str]) -> Iterable[str]:
    return (f"{name}: {count} times" for name, count in Counter(names).items() if count > 1)


def _missing(wanted: Iterable[str], stored: Iterable[str]) -> Iterable[str]:
    there = set(stored)
    return (f"{name}: not stored" for name in wanted if name not in there)


def _votes(evidence: Evidence) -> Iterable[str]:
    events = Counter(evidence.vote_events)
    for voter in evidence.voters:
        if events[voter.user_id] != voter.votes:
            yield f"{voter.user_id}: {voter.votes} votes acknowledged, {events[voter.user_id]} in the log"
        if voter.votes and evidence.votes.get(voter.user_id) != voter.last:
            yield f"{voter.user_id}: last vote {voter.last}, stored {evidence.votes.get(voter.user_id)}"


def _songs(evidence: Evidence) -> Iterable[str]:
    yield from _missing(evidence.songs_added, evidence.songs)
    yield from _more_than_once(evidence.songs)


def _gaps(listener: Listener, evidence: Evidence) -> Iterable[str]:
    heard = set(listener.durable)
    for seq in range(evidence.base + 1, evidence.last + 1):
        if seq not in heard and not any(first <= seq <= last for first, last in listener.skipped):
            yield f"{listener.name}: never heard of event {seq} (of {evidence.last})"
    if listener.lagged:
        yield f"{listener.name}: its reader was too slow for {listener.lagged}"


def _twice(listener: Listener) -> Iterable[str]:
    for what, count in Counter(listener.durable).items():
        if count > 1:
            yield f"{listener.name}: event {what} {count} times"
    for line in _more_than_once(listener.shown):
        yield f"{listener.name}: message {line}"
    for first, last in listener.skipped:
        for seq in listener.durable:
            if first <= seq <= last:
                yield f"{listener.name}: event {seq} and a Discontinuity over it"
