"""What is said, and when."""

from __future__ import annotations

from whatssound.cli.bench.programme import Say, Vote, as_recorded, evenly, text_of, together


def test_an_even_pace_fills_the_time() -> None:
    acts = list(evenly(Vote, per_second=2, seconds=3))
    assert [act.at for act in acts] == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    assert list(evenly(Vote, per_second=0, seconds=3)) == []


def test_a_part_of_a_recording_starts_at_its_own_zero() -> None:
    lines = [(9.9, 1, 5), (10.0, 2, 6), (10.5, 1, 7), (12.0, 3, 8)]
    assert list(as_recorded(lines, start=10, seconds=2)) == [Say(0.0, 2, 6), Say(0.5, 1, 7)]


def test_parts_are_played_beside_each_other() -> None:
    acts = together(evenly(Say, per_second=1, seconds=2), evenly(Vote, per_second=2, seconds=2))
    assert [act.at for act in acts] == sorted(act.at for act in acts)
    assert [type(act) for act in acts].count(Vote) == 4


def test_no_two_texts_are_alike_and_all_have_their_length() -> None:
    texts = [text_of(number, 30) for number in range(200)]
    assert len(set(texts)) == 200
    assert all(28 <= len(text) <= 30 and text == text.strip() for text in texts)
    assert text_of(12345, 3) == "12345"
