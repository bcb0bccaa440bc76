"""`Claims`: each claim shown once and ended once, whoever forges whatever."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from typing_extensions import override

from whatssound.core.claims import Claims, Confirmation
from whatssound.models import Message, MessageId, SessionId, UserId

CAPACITY = 4
TIMEOUT = 30.0
USERS = st.sampled_from(["ana", "eva", "mal"])
NUMBERS = st.integers(0, 11)
WORDS = st.sampled_from(["hola", "hola", "other words"])

Key = tuple[str, str]


def said(user: str, number: int, content: str = "hola") -> Message:
    return Message(
        id=MessageId(f"m{number}"),
        session_id=SessionId("s"),
        user_id=UserId(user),
        content=content,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def key_of(message: Message) -> Key:
    return message.user_id, message.id


class ClaimsMachine(RuleBasedStateMachine):
    """Follows what a reader of the events would have seen of each (author, id)."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = Claims(CAPACITY)
        self.now = 0.0
        self.open: dict[Key, tuple[Message, float]] = {}
        self.shown: Counter[Key] = Counter()
        self.ended: Counter[Key] = Counter()
        self.confirmed: Counter[Key] = Counter()
        self.recently_ended: list[Key] = []
        self.recently_confirmed: list[Key] = []

    def end(self, key: Key) -> None:
        del self.open[key]
        self.ended[key] += 1
        self.recently_ended.append(key)

    @rule(user=USERS, number=NUMBERS, content=WORDS)
    def hear(self, user: str, number: int, content: str) -> None:
        message = said(user, number, content)
        key = key_of(message)
        shown = self.claims.hear(message, self.now)
        known_ids = {message_id for _, message_id in self.recently_confirmed[-CAPACITY:]}
        hidden = (
            key in self.open
            or key in self.recently_ended[-CAPACITY:]
            or message.id in known_ids
            or len(self.open) >= 2 * CAPACITY
        )
        assert shown is not hidden
        if shown:
            self.shown[key] += 1
            self.open[key] = (message, self.now)

    @rule(user=USERS, number=NUMBERS)
    def confirm(self, user: str, number: int) -> None:
        stored = said(user, number)
        key = key_of(stored)
        rivals = [other for other in self.open if other[1] == stored.id]
        told = self.claims.confirm(stored)
        if key in self.recently_confirmed[-CAPACITY:]:
            assert told == Confirmation("known")
            return
        self.confirmed[key] += 1
        self.recently_confirmed.append(key)
        believed = key in self.open and self.open[key][0].content == stored.content
        assert told.verdict == ("confirmed" if believed else "new")
        false = [self.open[rival][0] for rival in sorted(rivals) if not (believed and rival == key)]
        assert told.withdrawn == false
        for rival in sorted(rivals):
            self.end(rival)

    @rule(user=USERS, number=NUMBERS)
    def drop(self, user: str, number: int) -> None:
        key = (user, f"m{number}")
        dropped = self.claims.drop(*key)
        if key in self.open:
            assert dropped == self.open[key][0]
            self.end(key)
        else:
            assert dropped is None

    @rule(seconds=st.sampled_from([0.0, 10.0, 31.0]))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        expired = self.claims.expire(self.now - TIMEOUT)
        oldest_first = list(self.open.items())
        too_many = max(0, len(oldest_first) - CAPACITY)
        expected = [
            message
            for at, (_, (message, heard)) in enumerate(oldest_first)
            if at < too_many or heard < self.now - TIMEOUT
        ]
        assert expired == expected
        for message in expired:
            self.end(key_of(message))

    @invariant()
    def each_claim_is_open_or_has_ended_once(self) -> None:
        assert len(self.claims) == len(self.open) <= 2 * CAPACITY
        for key, times in self.shown.items():
            assert times == self.ended[key] + (key in self.open)

    @override
    def teardown(self) -> None:
        for message in self.claims.expire(float("inf")):
            self.end(key_of(message))
        assert not self.open
        assert self.shown == self.ended


TestClaims = ClaimsMachine.TestCase
TestClaims.settings = settings(max_examples=150, stateful_step_count=50)


def test_a_claim_is_shown_once_and_then_confirmed_once() -> None:
    claims = Claims()
    assert claims.hear(said("ana", 1), 0.0)
    assert not claims.hear(said("ana", 1), 0.1)
    assert claims.confirm(said("ana", 1)) == Confirmation("confirmed")
    assert claims.confirm(said("ana", 1)) == Confirmation("known")
    assert not claims.hear(said("ana", 1), 0.2)
    assert claims.expire(99.0) == []


def test_a_forged_author_is_withdrawn_when_the_database_names_another() -> None:
    claims = Claims()
    claims.hear(said("ana", 1), 0.0)
    assert claims.confirm(said("mal", 1)) == Confirmation("new", [said("ana", 1)])
    assert not claims.hear(said("ana", 1), 0.1)


def test_forged_words_are_withdrawn_and_the_true_ones_shown() -> None:
    claims = Claims()
    claims.hear(said("ana", 1, "forged"), 0.0)
    assert claims.confirm(said("ana", 1)) == Confirmation("new", [said("ana", 1, "forged")])


def test_the_author_whose_id_was_stolen_is_still_shown_once_stored() -> None:
    claims = Claims()
    claims.confirm(said("mal", 1))
    assert not claims.hear(said("ana", 1), 0.0)
    assert claims.confirm(said("ana", 1)) == Confirmation("new")


def test_a_claim_over_capacity_that_is_confirmed_in_time_does_not_expire_as_well() -> None:
    claims = Claims(capacity=1)
    claims.hear(said("ana", 1), 0.0)
    claims.hear(said("ana", 2), 0.0)
    assert claims.confirm(said("ana", 1)) == Confirmation("confirmed")
    assert claims.expire(0.0) == []


def test_a_flood_is_not_shown_and_costs_nobody_else_their_claim() -> None:
    claims = Claims(capacity=2)
    assert [claims.hear(said("mal", number), 0.0) for number in range(6)] == [True] * 4 + [False] * 2
    assert [message.id for message in claims.expire(0.0)] == ["m0", "m1"]
    assert claims.hear(said("ana", 9), 0.0)
    assert claims.confirm(said("mal", 5)) == Confirmation("new")


def test_a_broadcast_repeated_after_it_expired_is_not_shown_again() -> None:
    claims = Claims()
    claims.hear(said("ana", 1), 0.0)
    assert claims.expire(1.0) == [said("ana", 1)]
    assert not claims.hear(said("ana", 1), 2.0)
    assert claims.confirm(said("ana", 1)) == Confirmation("new")


def test_what_is_remembered_is_bounded() -> None:
    claims = Claims(capacity=3)
    for number in range(100):
        claims.hear(said("ana", number), float(number))
        claims.expire(float(number))
        claims.confirm(said("eva", number))
    remembered = (claims._open, claims._by_id, claims._ended, claims._confirmed, claims._confirmed_ids)
    assert all(len(memory) <= 3 for memory in remembered)
