"""What we test with, for those who build on it: a local Supabase, a bad network, fakes, and virtual time."""

from __future__ import annotations

from .fakes import FakeClock, FakeLink, FakeLinks, FakeRpc, FakeTokens
from .faults import FaultyLink
from .stack_thread import StackThread
from .virtual_time import DeadlockError, LoopClock, VirtualTimeLoop, run_virtual

__all__ = [
    "DeadlockError",
    "FakeClock",
    "FakeLink",
    "FakeLinks",
    "FakeRpc",
    "FakeTokens",
    "FaultyLink",
    "LoopClock",
    "StackThread",
    "VirtualTimeLoop",
    "run_virtual",
]
