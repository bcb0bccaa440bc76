"""Reactions are short, counted and bounded, whoever sends them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.reactions import (
    MAX_BYTES,
    MAX_COUNT,
    MAX_KINDS,
    ReactionCounter,
    believable_counts,
    reaction_text,
)
from whatssound.core.wire import reaction_claim, reaction_payload
from whatssound.errors import InvalidInputError


@pytest.mark.parametrize("text", ["🔥", "❤️", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🇪🇸", "+1", ":fire:"])
def test_emoji_are_taken(text: str) -> None:
    assert reaction_text(text) == text


@pytest.mark.parametrize("text", ["", " ", "🔥 🔥", "a\n", "a\x00", "\x1b[31m", "\ud83d", "🔥" * 9, "x" * 33, "\u00a0"])
def test_other_texts_are_refused_before_they_are_sent(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        reaction_text(text)
    assert caught.value.argument == "reaction"


@given(st.recursive(st.none() | st.integers() | st.text(max_size=40), lambda inner: st.dictionaries(st.text(), inner)))
def test_claims_are_believed_within_bounds_and_never_raise(counts: Any) -> None:
    believed = believable_counts(counts)
    assert len(believed) <= MAX_KINDS
    for text, count in believed.items():
        assert 1 <= count <= MAX_COUNT
        assert len(text.encode()) <= MAX_BYTES


def test_a_claim_reads_what_its_payload_says() -> None:
    assert reaction_claim(reaction_payload("ana", {"🔥": 3})) == ("ana", {"🔥": 3})
    for wrong in (None, {}, {"user_id": 3, "counts": {"🔥": 1}}, {"user_id": "ana", "counts": {"🔥": True}}):
        assert reaction_claim(wrong) is None


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=2), max_size=300), st.integers(1, 200))
def test_every_reaction_that_is_taken_is_sent_once(texts: list[str], capacity: int) -> None:
    counter = ReactionCounter(capacity)
    taken = Counter[str]()
    for text in texts:
        if counter.add(text):
            taken[text] += 1
    assert len(counter) == min(len(texts), capacity)
    sent = Counter[str]()
    while len(counter):
        call = counter.take()
        assert 0 < len(call) <= MAX_KINDS
        assert all(1 <= count <= MAX_COUNT for count in call.values())
        sent.update(call)
    assert sent == taken
    assert counter.take() == {}
