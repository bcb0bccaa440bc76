"""Rates, windows, limits and presences: what needs neither socket nor database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whatssound.local.realtime import PLANS, Limits
from whatssound.local.realtime.counters import PresenceWindow, RateCounter
from whatssound.local.realtime.limits import LimitValueError
from whatssound.local.realtime.presence import PresenceBook


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_until_the_next_look() -> None:
    clock = Clock()
    counter = RateCounter(5, now=clock)
    counter.add(1_000)
    clock.now += 4.9
    assert not counter.over
    clock.now += 0.2
    assert counter.over
    # The first look saw nothing and stays in the average.
    assert counter.average == pytest.approx(1_000 / 2 / 5)


def test_a_rate_is_an_average_over_a_minute() -> None:
    clock = Clock()
    counter = RateCounter(10, now=clock)
    for _ in range(12):
        counter.add(50)
        clock.now += 5
    assert counter.average == pytest.approx(10)
    assert counter.over
    clock.now += 5
    assert counter.average == pytest.approx(10 * 11 / 12)
    assert not counter.over
    clock.now += 3_600
    assert counter.average == 0


def test_a_window_of_presence_calls_starts_with_the_first() -> None:
    clock = Clock()
    window = PresenceWindow(2, 30, now=clock)
    assert [window.take() for _ in range(3)] == [True, True, False]
    clock.now += 30
    assert not window.take()
    clock.now += 0.1
    assert [window.take() for _ in range(3)] == [True, True, False]


def test_plans_are_known_by_name() -> None:
    assert Limits.for_plan("free").max_concurrent_users == 200
    assert Limits.for_plan("team").max_events_per_second == 2_500
    assert set(PLANS) == {"free", "pro", "team"}
    with pytest.raises(ValueError, match="unknown plan 'gold': choose one of free, pro, team"):
        Limits.for_plan("gold")


def test_limits_change_by_name_and_foreign_names_are_ignored() -> None:
    limits = Limits().changed(
        {"max_events_per_second": 7, "suspend": True, "name": "x", "client_presence_window_ms": None}
    )
    assert (limits.max_events_per_second, limits.suspend, limits.presence_window) == (7, True, 30.0)
    assert limits.payload_bytes == 3_000_500


@pytest.mark.parametrize("changes", [{"suspend": 1}, {"max_events_per_second": "7"}, {"max_joins_per_second": -1},
                                     {"max_concurrent_users": None}, {"max_concurrent_users": True}])  # fmt: skip
def test_a_limit_of_a_wrong_type_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(LimitValueError) as refused:
        Limits().changed(changes)
    assert refused.value.errors == {next(iter(changes)): ["is invalid"]}


def test_presences_share_a_key_and_leave_one_by_one() -> None:
    book: PresenceBook[str] = PresenceBook()
    first = json.loads(book.track("a", "k", {"d": 1}))
    second = json.loads(book.track("b", "k", {"d": 2}))
    assert first["leaves"] == {}
    (one,), (two,) = first["joins"]["k"]["metas"], second["joins"]["k"]["metas"]
    assert one["phx_ref"] != two["phx_ref"]
    assert json.loads(book.state()) == {"k": {"metas": [one, two]}}
    gone = book.untrack("a")
    assert gone is not None
    assert json.loads(gone) == {"joins": {}, "leaves": {"k": {"metas": [one]}}}
    assert book.untrack("a") is None
    assert book


def test_a_new_meta_names_the_one_it_replaces() -> None:
    book: PresenceBook[str] = PresenceBook()
    old = json.loads(book.track("a", "k", {"s": 1}))["joins"]["k"]["metas"][0]
    update = json.loads(book.track("a", "k", {"s": 2}))
    new = update["joins"]["k"]["metas"][0]
    assert update["leaves"]["k"]["metas"] == [old]
    assert (new["phx_ref_prev"], new["s"]) == (old["phx_ref"], 2)


def test_a_meta_shows_the_servers_members_first() -> None:
    book: PresenceBook[str] = PresenceBook()
    text = book.track("a", "é", {"b": 1, "a": {}}).decode()
    assert text.startswith('{"joins":{"é":{"metas":[{"phx_ref":"')
    assert text.endswith('","a":{},"b":1}]}},"leaves":{}}')
    assert book.track("b", "n", {}).decode().count(",") == 1
