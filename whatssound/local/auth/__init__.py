"""Supabase Auth in Python: `/auth/v1` for anonymous and e-mail users.

Known differences from Supabase Auth:

* No mail and no messages are sent, so there are no links, codes, invitations or recoveries; a new e-mail address of a
  user counts at once. What is not there answers 404 `feature_disabled` and names the path.
* No phones, other providers, SSO, multi-factor sign-in, hooks, captchas or audit log.
* Passwords are kept by scrypt rather than bcrypt; bcrypt ones of a seed file work where the database has pgcrypto.
* `amr` tells how the user of a token signs in, not how each of several steps was made.
"""

from whatssound.local.auth.errors import AuthError
from whatssound.local.auth.service import AuthService
from whatssound.local.auth.settings import AuthSettings

__all__ = ["AuthError", "AuthService", "AuthSettings"]
