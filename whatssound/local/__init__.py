"""Supabase without Docker: Postgres, REST, Auth and Realtime in one process, on one port."""

from __future__ import annotations

from whatssound.local.billing import Usage
from whatssound.local.errors import LocalStackError
from whatssound.local.faults import Fault, Faults
from whatssound.local.stack import LocalStack

__all__ = ["Fault", "Faults", "LocalStack", "LocalStackError", "Usage"]
