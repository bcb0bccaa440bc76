"""Pytest plugin: fixtures that give a test a real room. Loaded in every run, so it imports nothing heavy itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .stack_thread import StackThread


@pytest.fixture(scope="session")
def whatssound_stack() -> Iterator[StackThread]:
    """A local Supabase with the migrations and the seed, shared by all tests of the run (needs the extra ``local``)."""
    from .stack_thread import StackThread  # noqa: PLC0415 - keeps the plugin light

    with StackThread() as thread:
        yield thread
