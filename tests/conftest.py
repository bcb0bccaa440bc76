"""Stacks for tests: one that the whole run shares, and one for a test that breaks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from whatssound.local import LocalStack
from whatssound.testing import StackThread


@pytest.fixture(scope="session")
def shared_stack() -> Iterator[StackThread]:
    """One stack for the run, in a thread of its own, since every test has an event loop of its own."""
    with StackThread() as thread:
        yield thread


@pytest.fixture
def stack(shared_stack: StackThread) -> LocalStack:
    """The shared stack's address and keys; leave its services and faults alone."""
    return shared_stack.stack


@pytest.fixture
async def fresh_stack() -> AsyncIterator[LocalStack]:
    """A stack of the test's own, to stop, break and fill."""
    async with LocalStack() as fresh:
        yield fresh
