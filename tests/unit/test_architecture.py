"""The shape of the package: imports point down, modules stay small, and every rule of delivery has its tests."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "whatssound"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = sorted(module.stem for module in (PACKAGE / "core").glob("*.py") if module.stem != "__init__")

LONGEST = 500
MEDIAN = 200
VAGUE = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


def name_of(module: Path) -> str:
    return str(module.relative_to(ROOT))


def lines_of(module: Path) -> int:
    return len(module.read_text(encoding="utf-8").splitlines())


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is(module: Path) -> None:
    assert lines_of(module) <= LONGEST
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert module.stem not in VAGUE


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_annotations_are_not_evaluated(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    if any(isinstance(node, ast.arg | ast.AnnAssign) and node.annotation for node in ast.walk(tree)):
        assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


def test_the_median_module_is_small() -> None:
    assert statistics.median(lines_of(module) for module in MODULES) <= MEDIAN


@pytest.mark.parametrize("module", CORE)
def test_every_module_of_the_core_has_its_tests(module: str) -> None:
    tests = ROOT / "tests" / "unit" / "core" / f"test_{module}.py"
    assert "def test_" in tests.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", CORE)
def test_the_core_awaits_nothing(module: str) -> None:
    tree = ast.parse((PACKAGE / "core" / f"{module}.py").read_text(encoding="utf-8"))
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(tree) if isinstance(node, waits)]


def test_there_is_something_to_check() -> None:
    assert len(CORE) >= 10
    assert len(MODULES) > len(CORE)
