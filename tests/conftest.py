"""Stacks for tests: the one that the whole run shares, and one for a test that breaks it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from whatssound.local import LocalStack
from whatssound.testing import StackThread


@pytest.fixture
def stack(whatssound_stack: StackThread) -> LocalStack:
    """The shared stack's address and keys; leave its services and faults alone."""
    return whatssound_stack.stack


@pytest.fixture
async def fresh_stack() -> AsyncIterator[LocalStack]:
    """A stack of the test's own, to stop, break and fill."""
    async with LocalStack() as fresh:
        yield fresh
