"""Reactions: short texts (emoji) that are counted instead of told apart; bounded on both sides."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInputError

#: The most bytes of UTF-8 of a reaction; the longest emoji sequences in use stay below.
MAX_BYTES = 32

#: The most kinds, and the most of each kind, that one call or broadcast carries.
MAX_KINDS = 20
MAX_COUNT = 50


def reaction_text(text: str) -> str:
    """Returns a reaction that may be sent.

    Raises:
        InvalidInputError: it is empty, too long, or has white space, control characters or lone surrogates.
    """
    problem = _problem(text)
    if problem is not None:
        raise InvalidInputError("reaction", problem)
    return text


def _problem(text: str) -> str | None:
    if not text:
        return "must not be empty"
    # Cf is fine: emoji are joined and flags spelt with such characters.
    if any(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        return "must have no white space, control characters or lone surrogates"
    if len(text.encode()) > MAX_BYTES:
        return f"must be at most {MAX_BYTES} bytes of UTF-8; send one emoji at a time"
    return None


def believable_counts(counts: Any) -> dict[str, int]:
    """Reads counts that a member claims: what is out of bounds is left out or cut, never raised."""
    believed: dict[str, int] = {}
    for text, count in counts.items() if isinstance(counts, Mapping) else ():
        if len(believed) == MAX_KINDS:
            break
        if isinstance(text, str) and type(count) is int and count > 0 and _problem(text) is None:
            believed[text] = min(count, MAX_COUNT)
    return believed


class ReactionCounter:
    """Counts our own reactions until they are sent together.

    Args:
        capacity: the most that are held; what comes beyond is dropped, as reactions are ephemeral.
    """

    def __init__(self, capacity: int = 1_000) -> None:
        self._capacity = capacity
        self._counts: dict[str, int] = {}
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def add(self, text: str) -> bool:
        """Counts one; returns False if there is no room."""
        if self._held >= self._capacity:
            return False
        self._counts[text] = self._counts.get(text, 0) + 1
        self._held += 1
        return True

    def take(self) -> dict[str, int]:
        """Takes as many as one call carries, in the order in which their kinds came."""
        taken = {text: min(count, MAX_COUNT) for text, count in list(self._counts.items())[:MAX_KINDS]}
        for text, count in taken.items():
            self._counts[text] -= count
            if not self._counts[text]:
                del self._counts[text]
        self._held -= sum(taken.values())
        return taken
