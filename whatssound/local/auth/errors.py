"""Refusals in the two shapes that Supabase Auth gives them."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

_VERSION_HEADER: Final = "X-Supabase-Api-Version"
_NEW_SHAPE: Final = "2024-01-01"


class AuthError(Exception):
    """A refusal.

    Args:
        status: HTTP status.
        code: Its stable code, such as `invalid_credentials`.
        message: A sentence for people.
        weak_reasons: What a weak password lacks.
    """

    def __init__(self, status: int, code: str, message: str, *, weak_reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.weak_reasons = weak_reasons

    def response(self, version: str | None) -> web.Response:
        """The refusal as a response.

        Args:
            version: The API version that the client asked for; its date decides the shape.
        """
        headers = {"X-Sb-Error-Code": self.code}
        if version is not None and version >= _NEW_SHAPE:
            body: dict[str, Any] = {"code": self.code, "message": self.message}
            headers[_VERSION_HEADER] = _NEW_SHAPE
        else:
            body = {"code": self.status, "error_code": self.code, "msg": self.message}
        if self.weak_reasons:
            body["weak_password"] = {"reasons": list(self.weak_reasons)}
        return web.json_response(body, status=self.status, headers=headers)


class OAuthError(Exception):
    """A refusal in the words of OAuth.

    Args:
        error: Its OAuth code.
        description: A sentence for people.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description

    def response(self) -> web.Response:
        """The refusal as a response."""
        return web.json_response({"error": self.error, "error_description": self.description}, status=400)


def invalid(message: str) -> AuthError:
    """400 `validation_failed`."""
    return AuthError(400, "validation_failed", message)


def wrong_credentials() -> AuthError:
    """400 `invalid_credentials`: no such user, or another password; which one is not told."""
    return AuthError(400, "invalid_credentials", "Invalid login credentials")


def email_taken() -> AuthError:
    """422 `email_exists`."""
    return AuthError(422, "email_exists", "A user with this email address has already been registered")


def bad_token(message: str) -> AuthError:
    """403 `bad_jwt`."""
    return AuthError(403, "bad_jwt", message)
