"""The page on scaling says what the arithmetic and the simulation say today."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from whatssound.core.budget import AT_ONCE_SHARE, BACK_TO_AT_ONCE_SHARE, CLIENT_SHARE, FRAME_SHARE, SHORTEST_TICK_MS
from whatssound.planning.traffic import LARGE_ROOM
from whatssound.planning.workload import read_trace

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_scaling", DOCS / "generate_scaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "explanation" / "scaling.md").read_text("utf-8")


def test_the_tables_are_current(generator: ModuleType, page: str) -> None:
    assert generator.fill(page) == page, "run python docs/generate_scaling.py"


def test_every_table_is_on_the_page(generator: ModuleType, page: str) -> None:
    assert set(re.findall(r"<!-- generated: (\w+) -->", page)) == set(generator.tables())


def test_a_stale_table_is_noticed(generator: ModuleType, page: str) -> None:
    stale = page.replace("| 1,000 | - | - | 500 ms |", "| 1,000 | - | - | 400 ms |")
    assert stale != page
    assert generator.fill(stale) == page


def test_the_text_beside_the_tables_holds_too(generator: ModuleType, page: str) -> None:
    text = re.sub(r"<!-- generated.*?/generated -->", "", page, flags=re.DOTALL).replace("\n", " ")
    chat, _ = read_trace(DOCS.parent / "tests" / "data" / "livechat.csv")
    assert round(sum(chat) / len(chat)) == 13
    assert f"its busiest second has {max(chat)}" in text
    assert f"max({SHORTEST_TICK_MS} ms, N / ({FRAME_SHARE} × messages a second))" in text
    assert f"{AT_ONCE_SHARE:.0%}".replace("%", " %") in text
    assert f"back to it below {BACK_TO_AT_ONCE_SHARE:.0%}".replace("%", " %") in text
    assert f"may take {CLIENT_SHARE:.0%}".replace("%", " %") in text
    assert f"Above {LARGE_ROOM} people" in text
    rooms = [line.split(" | ") for line in generator.tables()["rooms"].splitlines()]
    thousand = next(row for row in rooms if row[0] == "| 1,000" and row[1] == "frames")
    assert f"takes {thousand[3].removesuffix(' M')} million in one evening" in text
    largest = next(row for row in rooms if row[0] == "| 10,000" and row[1] == "frames")
    assert (largest[2], largest[-1]) == ("5,000 ms", "yes |")
    assert "a room of 10,000 fits, with a tick of five seconds" in text
