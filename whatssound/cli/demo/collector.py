"""Python's cyclic garbage collector, told that a whole room lives in this process.

Dozens of clients keep hundreds of thousands of objects that are no garbage. With the usual thresholds the collector
went through them all again and again: a quarter of the demo's time, and pauses that every listener felt.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 50, 100)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Lets the collector look less often during the block."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
