"""Finds the name somebody may have meant: by shared letter groups first, by edit distance then."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_GROUP_SIZES: Final = (3, 2)
_CANDIDATES: Final = 50
_TOO_MANY_NAMES: Final = 500


def best_match(names: Sequence[str], wanted: str, minimum: float) -> str | None:
    """The name most like the wanted one.

    Args:
        names: What there is; of very many, none is looked at.
        wanted: What was asked for.
        minimum: Least similarity, from 0 (nothing alike) to 1 (equal but for case).
    """
    if len(names) >= _TOO_MANY_NAMES:
        return None
    originals = {name.lower(): name for name in names}
    lowered = wanted.lower()
    if lowered in originals:
        return originals[lowered]
    for size in _GROUP_SIZES:
        match = _best_by_groups(list(originals), lowered, minimum, size)
        if match is not None:
            return originals[match]
    return None


def _best_by_groups(names: list[str], wanted: str, minimum: float, size: int) -> str | None:
    groups = _groups(wanted, size)
    alike = [(name, _cosine(groups, _groups(name, size))) for name in names]
    closest = sorted((pair for pair in alike if pair[1] > 0), key=lambda pair: -pair[1])[:_CANDIDATES]
    scored = [(name, _similarity(wanted, name)) for name, _ in closest]
    name, score = max(scored, key=lambda pair: pair[1], default=("", 0.0))
    return name if score >= minimum and score > 0 else None


def _groups(text: str, size: int) -> Counter[str]:
    kept = "".join(character for character in text if character.isalnum() or character.isspace() or character == ",")
    padded = f"-{kept}-"
    return Counter(padded[start : start + size] for start in range(len(padded) - size + 1))


def _cosine(first: Counter[str], second: Counter[str]) -> float:
    shared = sum(count * second[group] for group, count in first.items())
    lengths = sqrt(sum(count * count for count in first.values()) * sum(count * count for count in second.values()))
    return shared / lengths if lengths else 0.0


def _similarity(first: str, second: str) -> float:
    """One minus the edits that turn one text into the other, as a share of the longer one."""
    previous = list(range(len(second) + 1))
    for row, character in enumerate(first, 1):
        current = [row]
        for column, other in enumerate(second, 1):
            change = previous[column - 1] + (character != other)
            current.append(min(previous[column] + 1, current[-1] + 1, change))
        previous = current
    longest = max(len(first), len(second))
    return 1 - previous[-1] / longest if longest else 1.0
