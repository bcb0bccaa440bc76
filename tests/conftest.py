"""Stacks for tests: the one that the whole run shares is `whatssound_stack`; this one is for a test that breaks it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from whatssound.local import LocalStack


@pytest.fixture
async def fresh_stack() -> AsyncIterator[LocalStack]:
    """A stack of the test's own, to stop, break and fill."""
    async with LocalStack() as fresh:
        yield fresh
