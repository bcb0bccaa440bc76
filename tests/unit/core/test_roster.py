"""`Roster`: who came and who left, told once, through reconnects, several devices and reordered states."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from whatssound.core.roster import Roster, RosterChange

KEYS = st.sampled_from(["ana", "eva", "leo"])


def entry(*refs: str, **facts: Any) -> dict[str, Any]:
    return {"metas": [{"phx_ref": ref, **facts} for ref in refs]}


def names(change: RosterChange) -> tuple[list[str], list[str]]:
    return [member.user_id for member in change.joined], [member.user_id for member in change.left]


class RosterMachine(RuleBasedStateMachine):
    """The server keeps metas; the watcher hears of them, loses the connection and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster()
        self.server: dict[str, list[str]] = {}
        self.told: Counter[str] = Counter()
        self.refs = 0
        self.connected = True
        self.take(self.roster.state({}))

    def take(self, change: RosterChange) -> None:
        joined, left = names(change)
        self.told.update(joined)
        self.told.subtract(left)
        assert not set(joined) & set(left)

    def new_ref(self) -> str:
        self.refs += 1
        return f"F{self.refs}"

    def diff(self, joins: dict[str, Any], leaves: dict[str, Any]) -> None:
        if self.connected:
            self.take(self.roster.diff(joins, leaves))

    @rule(key=KEYS)
    def come(self, key: str) -> None:
        ref = self.new_ref()
        self.server.setdefault(key, []).append(ref)
        self.diff({key: entry(ref)}, {})

    @rule(key=KEYS)
    def leave(self, key: str) -> None:
        if self.server.get(key):
            ref = self.server[key].pop(0)
            self.diff({}, {key: entry(ref)})

    @rule(key=KEYS)
    def update(self, key: str) -> None:
        """What a reconnect and a changed name look like: one diff with the new ref and the old."""
        if self.server.get(key):
            old, new = self.server[key].pop(), self.new_ref()
            self.server[key].append(new)
            self.diff({key: entry(new)}, {key: entry(old)})

    @rule()
    def lose_connection(self) -> None:
        self.connected = False

    @rule()
    def come_back(self) -> None:
        if not self.connected:
            self.connected = True
            self.roster.rejoined()
            self.take(self.roster.state({key: entry(*refs) for key, refs in self.server.items() if refs}))

    @invariant()
    def the_watcher_knows_who_is_here_and_was_told_once(self) -> None:
        if self.connected:
            here = {key for key, refs in self.server.items() if refs}
            assert set(self.roster.members) == here
            assert +self.told == Counter(here)
            assert set(self.told.values()) <= {0, 1}


TestRoster = RosterMachine.TestCase
TestRoster.settings = settings(max_examples=60, stateful_step_count=30)


def test_a_second_device_is_no_second_person() -> None:
    roster = Roster()
    assert names(roster.state({"ana": entry("F1", "F2")})) == (["ana"], [])
    assert names(roster.diff({}, {"ana": entry("F1")})) == ([], [])
    assert names(roster.diff({}, {"ana": entry("F2")})) == ([], ["ana"])


def test_p5_diffs_before_the_state_are_applied_after_it() -> None:
    roster = Roster()
    assert roster.diff({"eva": entry("F2")}, {"ana": entry("F1")}) == RosterChange()
    assert names(roster.state({"ana": entry("F1")})) == (["eva"], [])


def test_p4_a_rejoin_tells_only_what_changed_meanwhile() -> None:
    roster = Roster()
    roster.state({"ana": entry("F1"), "eva": entry("F2")})
    roster.rejoined()
    assert names(roster.state({"eva": entry("F9"), "leo": entry("F3")})) == (["leo"], ["ana"])


def test_a_server_that_never_sends_a_state_does_not_fill_the_memory() -> None:
    roster = Roster(pending_limit=2)
    for number in range(10):
        roster.diff({f"user{number}": entry(f"F{number}")}, {})
    assert set(roster.members) == set()
    assert names(roster.state({})) == (["user0", "user1"], [])


def test_the_newest_meta_describes_somebody() -> None:
    roster = Roster()
    roster.state({"ana": entry("F1", username="old")})
    roster.diff({"ana": entry("F2", username="new")}, {"ana": entry("F1")})
    assert [member.username for member in roster.members.values()] == ["new"]


def test_a_key_for_each_device_is_still_one_person() -> None:
    roster = Roster()
    roster.state({"key1": entry("F1", user_id="ana"), "key2": entry("F2", user_id="ana")})
    assert names(roster.diff({}, {"key2": entry("F2")})) == ([], [])
    assert names(roster.diff({}, {"key1": entry("F1")})) == ([], ["ana"])


def test_garbage_is_nobody() -> None:
    roster = Roster()
    state: dict[str, Any] = {"a": None, "b": {"metas": 5}, "c": {"metas": [None, 3]}, "d": {}}
    assert roster.state(state) == RosterChange()
    assert roster.diff(state, state) == RosterChange()
