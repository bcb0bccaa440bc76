"""The conformance table in the docs is about the recordings and differences of today."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contract.test_postgrest_cases import CASES
from tests.contract.test_realtime_scenarios import DIFFERENCES, SCENARIOS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "local-stack.md"


def test_the_table_counts_every_recorded_exchange_and_names_every_difference() -> None:
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (REST|Realtime): \w+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    counted = {part: sum(int(row[1]) for row in rows if row[0] == part) for part in ("REST", "Realtime")}
    assert counted == {"REST": len(CASES), "Realtime": len(SCENARIOS)}
    assert all(int(cases) == int(same) + int(listed) + int(failing) for _, cases, same, listed, failing in rows)
    assert {failing for *_, failing in rows} == {"0"}
    for name, (_, why) in DIFFERENCES.items():
        assert f"`{name}`" in text
        assert why in text
