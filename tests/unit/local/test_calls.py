"""Calls of the database's functions, counted by second."""

from __future__ import annotations

from whatssound.local.calls import OTHERS, RpcCalls


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_busiest_second_adds_up_what_is_asked_for() -> None:
    clock = Clock()
    calls = RpcCalls(now=clock)
    for at, function in ((0.0, "a"), (0.9, "b"), (1.0, "a"), (1.2, "a"), (1.9, "c"), (5.0, "b")):
        clock.now = 1000 + at
        calls.count(function)
    assert calls.total == {"a": 3, "b": 2, "c": 1}
    assert calls.busiest_second("a") == 2
    assert calls.busiest_second("a", "b") == 2
    assert calls.busiest_second("a", "c") == 3
    assert calls.busiest_second("a", "c", since=1002) == 0
    assert calls.busiest_second("b", since=1005.7) == 1
    assert calls.as_json()["seconds"] == [[1000, {"a": 1, "b": 1}], [1001, {"a": 2, "c": 1}], [1005, {"b": 1}]]


def test_only_the_last_minutes_are_kept_by_second_and_names_are_bounded() -> None:
    clock = Clock()
    calls = RpcCalls(now=clock)
    for number in range(2000):
        clock.now += 1
        calls.count(f"f{number}")
    assert len(calls.as_json()["seconds"]) == 600
    assert len(calls.total) == 501
    assert calls.total[OTHERS] == 1500


def test_a_clock_set_back_loses_no_call() -> None:
    clock = Clock()
    calls = RpcCalls(now=clock)
    calls.count("a")
    clock.now -= 60
    calls.count("a")
    assert calls.busiest_second("a") == 2
