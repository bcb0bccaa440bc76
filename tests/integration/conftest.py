"""People in a room on the shared stack, whose faults are off again after every test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The helpers are a module beside the tests, which pytest's importlib mode does not put on the path.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.lab import Lab, People, people
from whatssound.testing import StackThread


@pytest.fixture
async def lab(whatssound_stack: StackThread) -> AsyncIterator[Lab]:
    """The stack with all faults off before and after."""
    lab = Lab(whatssound_stack)
    yield lab
    await lab.switch(lambda stack: stack.faults.clear())


@pytest.fixture
async def who(lab: Lab) -> AsyncIterator[People]:
    """People who are sent home in the end."""
    async with people(lab) as everybody:
        yield everybody
