"""Writes the conformance table of docs/reference/local-stack.md by playing every recorded exchange against the stack.

Run: python docs/generate_local_stack.py (takes a minute or two; needs the extra `dev`)
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.contract.test_postgrest_cases import CASES, FREE_TEXT  # noqa: E402 - the tests are no package
from tests.contract.test_realtime_scenarios import DIFFERENCES, SCENARIOS  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "local-stack.md"
TESTS = ("tests/contract/test_postgrest_cases.py", "tests/contract/test_realtime_scenarios.py")
_MARKED = re.compile(r"(<!-- conformance -->\n).*?(<!-- /conformance -->)", re.DOTALL)
_ID = re.compile(r"\[(.+)\]$")


def rest_area(case: dict[str, object]) -> str:
    """What a recorded REST exchange is about."""
    request = case["request"]
    assert isinstance(request, dict)
    if request["auth"] in {"expired", "bad_signature", "garbage", "unknown_role"}:
        return "REST: tokens"
    if str(request["path"]).startswith("/rpc/"):
        return "REST: functions"
    return "REST: reading" if request["method"] in {"GET", "HEAD", "OPTIONS"} else "REST: writing"


def areas() -> dict[str, dict[str, str]]:
    """The recorded exchanges by area; each with what the local stack does otherwise, or nothing."""
    found: dict[str, dict[str, str]] = {}
    for case in CASES:
        body = case["response"]["body"]
        free = isinstance(body, dict) and body.get("code") in FREE_TEXT
        why = "the message is free text of PostgREST's parser: same status and code, another wording" if free else ""
        found.setdefault(rest_area(case), {})[case["name"].replace(" ", "-")] = why
    for name in SCENARIOS:
        why = DIFFERENCES[name][1] if name in DIFFERENCES else ""
        found.setdefault(f"Realtime: {name.partition('/')[0]}", {})[name] = why
    return dict(sorted(found.items()))


def play() -> dict[str, bool]:
    """Plays everything; whether each came out as recorded (or as its listed difference says)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *TESTS]
        subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603 - fixed words
        results: dict[str, bool] = {}
        for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - written by the line above
            if match := _ID.search(case.get("name", "")):
                results.setdefault(match[1], True)
                if case.find("failure") is not None or case.find("error") is not None:
                    results[match[1]] = False
    return results


def table(results: dict[str, bool], by_area: dict[str, dict[str, str]]) -> str:
    """The table and what explains it, as Markdown."""
    lines = ["| area | cases | identical | listed differences | failing |", "|---|--:|--:|--:|--:|"]
    totals = [0, 0, 0, 0]
    reasons: dict[str, list[str]] = {}
    for area, cases in by_area.items():
        failing = [name for name in cases if not results.get(name, False)]
        listed = [name for name, why in cases.items() if why and name not in failing]
        row = [len(cases), len(cases) - len(listed) - len(failing), len(listed), len(failing)]
        totals = [one + other for one, other in zip(totals, row, strict=True)]
        lines.append(f"| {area} | " + " | ".join(map(str, row)) + " |")
        for name in listed:
            reasons.setdefault(cases[name], []).append(name)
        for name in failing:
            reasons.setdefault("**not as recorded, and not meant to be so**", []).append(name)
    lines.append("| **all** | " + " | ".join(f"**{number}**" for number in totals) + " |")
    lines.append("")
    lines += [f"- {why}: {_names(names)}." for why, names in reasons.items()]
    return "\n".join(lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> int:
    """Writes the page; the exit code is 1 if something is not as recorded."""
    results = play()
    by_area = areas()
    written = table(results, by_area)
    text = PAGE.read_text("utf-8")
    changed, found = _MARKED.subn(lambda match: f"{match[1]}\n{written}\n\n{match[2]}", text)
    if found != 1:
        raise SystemExit(f"{PAGE} has no place for the table")
    PAGE.write_text(changed, "utf-8")
    failing = [name for cases in by_area.values() for name in cases if not results.get(name, False)]
    sys.stdout.write(json.dumps({"played": len(results), "failing": failing}, ensure_ascii=False) + "\n")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
