"""Texts are refused before they are sent exactly where the database could not take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.text import chat_text, storable
from whatssound.errors import EmptyMessageError, InvalidInputError, InvalidTextError, MessageTooLongError

ANY_TEXT = st.text(st.characters())


@given(text=ANY_TEXT)
def test_whatever_utf8_can_hold_without_nul_is_stored_unchanged(text: str) -> None:
    if "\0" in text:
        with pytest.raises(InvalidTextError) as caught:
            storable(text)
        assert text[caught.value.position] == "\0"
    else:
        assert storable(text) == text


@given(before=st.text(max_size=5), surrogate=st.integers(0xD800, 0xDFFF), after=st.text(max_size=5))
def test_a_lone_surrogate_is_found(before: str, surrogate: int, after: str) -> None:
    text = before.replace("\0", "") + chr(surrogate) + after.replace("\0", "")
    with pytest.raises(InvalidTextError) as caught:
        storable(text, "note")
    assert caught.value.argument == "note"
    assert ord(text[caught.value.position]) == surrogate


@given(text=ANY_TEXT, limit=st.integers(1, 10))
def test_a_chat_text_is_returned_as_it_is_or_refused_for_one_reason(text: str, limit: int) -> None:
    if "\0" in text:
        expected: type[InvalidInputError] | None = InvalidTextError
    elif not text.strip():
        expected = EmptyMessageError
    elif len(text) > limit:
        expected = MessageTooLongError
    else:
        expected = None
    if expected is None:
        assert chat_text(text, limit) == text
    else:
        with pytest.raises(expected):
            chat_text(text, limit)


def test_the_limit_counts_code_points_and_is_inclusive() -> None:
    assert chat_text("🎶" * 5, 5) == "🎶" * 5
    with pytest.raises(MessageTooLongError) as caught:
        chat_text("🎶" * 6, 5)
    assert (caught.value.length, caught.value.limit) == (6, 5)


def test_white_space_around_a_text_is_kept() -> None:
    assert chat_text("  hola \n", 100) == "  hola \n"


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0", "\u2003"])
def test_blank_texts_are_empty(blank: str) -> None:
    with pytest.raises(EmptyMessageError):
        chat_text(blank, 100)


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["a"]])
def test_what_is_no_string_is_named(value: object) -> None:
    with pytest.raises(InvalidInputError, match=type(value).__name__):
        storable(value)  # type: ignore[arg-type]
