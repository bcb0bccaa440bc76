"""What we test with, for those who build on it: a local Supabase in a thread, and a pytest plugin that offers it."""

from __future__ import annotations

from .stack_thread import StackThread

__all__ = ["StackThread"]
