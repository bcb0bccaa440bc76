from __future__ import annotations

from pathlib import Path

import pytest

from whatssound.cli.demo.script import (
    Act,
    Add,
    Advance,
    Move,
    Remove,
    Say,
    Tip,
    TraceLine,
    Type,
    Vote,
    read_trace,
    write_script,
)
from whatssound.local.assets import trace_path

TRACE = [TraceLine(at / 10, at * 7 % 23, 1 + at % 30) for at in range(600)]


def script(*, seed: int = 1, listeners: int = 10, seconds: float = 12.0, speed: float = 5.0) -> list[Act]:
    return write_script(TRACE, listeners=listeners, seconds=seconds, speed=speed, seed=seed)


def test_a_trace_is_read_as_far_as_asked(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("offset_ms,author,length\n0,1,22\n1500,2,3\n9000,1,4\n")
    assert read_trace(file, until=9.0) == [TraceLine(0.0, 1, 22), TraceLine(1.5, 2, 3)]


def test_a_trace_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("offset_ms,author,length\n0,one,22\n")
    with pytest.raises(ValueError, match="one"):
        read_trace(file, until=1.0)


def test_the_recorded_chat_is_as_busy_as_the_demo_says() -> None:
    lines = read_trace(trace_path(), until=600.0)
    assert 10 < len(lines) / 600 < 20
    assert all(line.length >= 1 for line in lines)


def test_chat_keeps_rhythm_and_length() -> None:
    said = [act for act in script() if isinstance(act, Say)]
    assert [act.at for act in said] == [line.at / 5 for line in TRACE if line.at / 5 < 12.0]
    assert [len(act.text) for act in said] == [line.length for line in TRACE if line.at / 5 < 12.0]


def test_one_author_is_one_listener() -> None:
    seats: dict[int, set[int]] = {}
    said = [act for act in script() if isinstance(act, Say)]
    for line, act in zip(TRACE, said, strict=False):
        seats.setdefault(line.author, set()).add(act.who)
    assert all(len(seat) == 1 for seat in seats.values())
    assert set().union(*seats.values()) == set(range(10))


def test_everything_happens_in_order_and_in_time() -> None:
    acts = script(listeners=40, seconds=60.0)
    assert [act.at for act in acts] == sorted(act.at for act in acts)
    assert all(0 <= act.at < 60.0 and 0 <= act.who < 40 for act in acts)
    for kind in (Type, Say, Vote, Tip, Add, Move, Remove, Advance):
        assert any(isinstance(act, kind) for act in acts), kind


def test_votes_go_all_ways() -> None:
    assert {act.value for act in script(listeners=40, seconds=60.0) if isinstance(act, Vote)} == {-1, 0, 1}


def test_staff_is_two_and_only_the_dj_plays_the_next_song() -> None:
    acts = script(listeners=40, seconds=60.0)
    assert {act.who for act in acts if isinstance(act, Move | Remove)} == {0, 1}
    assert {act.who for act in acts if isinstance(act, Advance)} == {0}


def test_a_seed_makes_the_script_again() -> None:
    assert script(seed=5) == script(seed=5)
    assert script(seed=5) != script(seed=6)


def test_a_message_over_the_limit_is_cut_to_it() -> None:
    acts = write_script([TraceLine(0.0, 1, 700)], listeners=1, seconds=1.0, speed=1.0, seed=1)
    assert [len(act.text) for act in acts if isinstance(act, Say)] == [500]
