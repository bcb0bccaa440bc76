"""What we test with, for those who build on it: a local Supabase in a thread, a bad network, a pytest plugin."""

from __future__ import annotations

from .faults import FaultyLink
from .stack_thread import StackThread

__all__ = ["FaultyLink", "StackThread"]
