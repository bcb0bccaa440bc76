"""What we test with, for those who build on it: a local Supabase in a thread, fakes, and virtual time."""

from __future__ import annotations

from .fakes import FakeClock, FakeLink, FakeLinks, FakeRpc, FakeTokens
from .stack_thread import StackThread
from .virtual_time import DeadlockError, LoopClock, VirtualTimeLoop, run_virtual

__all__ = [
    "DeadlockError",
    "FakeClock",
    "FakeLink",
    "FakeLinks",
    "FakeRpc",
    "FakeTokens",
    "LoopClock",
    "StackThread",
    "VirtualTimeLoop",
    "run_virtual",
]
