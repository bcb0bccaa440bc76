from __future__ import annotations

import unicodedata
from random import Random

import pytest

from whatssound.cli.demo.words import SONGS, TONGUES, say


@pytest.mark.parametrize("length", [1, 2, 3, 5, 20, 54, 250, 500])
def test_a_message_has_exactly_the_length_asked_for(length: int) -> None:
    chance = Random(7)
    for _ in range(200):
        text = say(chance, length)
        assert len(text) == length
        assert text == text.strip()


def test_no_length_no_message() -> None:
    with pytest.raises(ValueError, match="at least one"):
        say(Random(1), 0)


def test_several_scripts_and_emoji_come_up() -> None:
    chance = Random(1)
    text = "".join(say(chance, 60) for _ in range(300))
    names = " ".join(unicodedata.name(character, "") for character in set(text))
    for script in ("LATIN", "CYRILLIC", "CJK", "HANGUL", "ARABIC", "HIRAGANA", "DEVANAGARI", "GREEK", "HEBREW", "THAI"):
        assert script in names
    assert "🔥" in text


def test_nothing_that_chat_refuses_is_said() -> None:
    said = "".join(word for tongue in TONGUES for word in (*tongue.words, tongue.laugh))
    said += "".join(title + artist for title, artist, _ in SONGS)
    assert not [character for character in said if unicodedata.category(character) in {"Cc", "Cf", "Cs"}]


def test_the_same_seed_says_the_same() -> None:
    assert [say(Random(3), 40) for _ in range(3)] == [say(Random(3), 40) for _ in range(3)]
    assert say(Random(3), 40) != say(Random(4), 40)
