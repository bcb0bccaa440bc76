"""What the fault tests leave out of a comparison is chat stored later, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.faults.recovery import _up_to

EARLY = ("1", "ana", "hola", 5)
OTHER = ("2", "ben", "qué tal", 6)
LATE = ("3", "ana", "adiós", 9)
CLAIM = ("3", "ana", "adiós", None)


def _messages(mine: list[Any], stored: list[Any]) -> dict[str, tuple[Any, Any]]:
    return {"messages": (mine, stored)}


@pytest.mark.parametrize(
    ("unlike", "names"),
    [
        ({}, set()),
        ({"tallies": ({}, {"song": 1})}, {"tallies"}),
        ({"seq": (7, 9)}, set()),
        ({"seq": (6, 9)}, {"seq"}),
        (_messages([EARLY, CLAIM], [EARLY, LATE]), set()),
        (_messages([EARLY], [EARLY, OTHER]), {"messages"}),
        (_messages([(*OTHER[:3], None)], [OTHER]), {"messages"}),
    ],
)
def test_only_chat_stored_after_the_event_is_left_out(unlike: dict[str, tuple[Any, Any]], names: set[str]) -> None:
    assert set(_up_to(unlike, 7)) == names


def test_everything_counts_where_no_event_is_named() -> None:
    unlike = {"seq": (7, 9), **_messages([EARLY, CLAIM], [EARLY, LATE])}
    assert _up_to(unlike, None) == unlike
