"""Supabase Realtime without Elixir: answers on the wire as the real server (2.129) does."""

from __future__ import annotations

from .hooks import RealtimeHooks
from .limits import PLANS, Limits
from .service import RealtimeService

__all__ = ["PLANS", "Limits", "RealtimeHooks", "RealtimeService"]
