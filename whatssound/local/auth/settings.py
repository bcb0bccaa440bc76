"""What a project can set about signing in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Settings of an `AuthService`; the defaults suit development.

    Args:
        token_seconds: How long an access token lives, in seconds.
        reuse_seconds: How long a refresh token may be used again after its first use, in seconds.
        rotation: Whether a refresh token used again later ends its whole family.
        signup: Whether new users may sign up.
        anonymous: Whether anonymous sign-ins are allowed.
        autoconfirm: Whether an e-mail address counts as confirmed at once. Otherwise a new user cannot sign in until
            the service key confirms it: the local stack sends no mail.
        password_min_length: Least length of a password.
        anonymous_per_hour: Most anonymous sign-ins an hour from one address; None for no limit.
        issuer: The `iss` claim; None for the address the request came to.
    """

    token_seconds: int = 3600
    reuse_seconds: float = 10.0
    rotation: bool = True
    signup: bool = True
    anonymous: bool = True
    autoconfirm: bool = True
    password_min_length: int = 6
    anonymous_per_hour: int | None = None
    issuer: str | None = None
