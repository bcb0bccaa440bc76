"""PostgREST in Python: Supabase's `/rest/v1` for tables, views and functions."""

from whatssound.local.rest.errors import ApiError
from whatssound.local.rest.service import RestService
from whatssound.local.rest.settings import RestSettings

__all__ = ["ApiError", "RestService", "RestSettings"]
