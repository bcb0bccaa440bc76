"""Supabase Auth in Python: `/auth/v1` for anonymous and e-mail users."""

from whatssound.local.auth.errors import AuthError
from whatssound.local.auth.service import AuthService
from whatssound.local.auth.settings import AuthSettings

__all__ = ["AuthError", "AuthService", "AuthSettings"]
