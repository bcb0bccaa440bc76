"""Why a connection ended, in a handful of codes, read off what the server and the network say.

The server's texts are those of Supabase Realtime 2.129: ``system`` errors before a deliberate ``phx_close``, reasons of
refused joins (``Code: sentence``), close codes and HTTP statuses of the handshake.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a generation of the connection ended."""

    CLOSED = "closed"  # the socket or channel was closed without a particular reason
    SILENT = "silent"  # heartbeats were not answered
    UNREACHABLE = "unreachable"  # no handshake: refused, DNS, TLS, 5xx
    JOIN_TIMEOUT = "join_timeout"
    RATE_LIMITED = "rate_limited"
    TOKEN = "token"  # noqa: S105 - a reason, not a secret
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    SERVER_RESTART = "server_restart"
    DATABASE = "database"
    CRASHED = "crashed"
    TOO_LARGE = "too_large"


_RATE_LIMITS = (
    "too many",
    "rate limit",
    "ratelimitreached",
    "clientjoinratelimitreached",
    "channelratelimitreached",
    "connectionratelimitreached",
)
_TOKENS = (
    "token has expired",
    "token expired",
    "invalidjwttoken",
    "malformedjwt",
    "jwtsignatureerror",
    "signature_error",
    "jwt",
)
_DENIED = ("unauthorized", "do not have permissions", "privateonly")
_DATABASE = ("database", "postgres", "replication", "subscription")


def from_text(text: str) -> Reason:
    """Reads a ``system`` error, a refused join's reason or a handshake's body."""
    lowered = text.lower()
    if any(word in lowered for word in _RATE_LIMITS) and "too many database" not in lowered:
        return Reason.RATE_LIMITED
    if any(word in lowered for word in _DENIED):
        return Reason.UNAUTHORIZED
    if any(word in lowered for word in _TOKENS):
        return Reason.TOKEN
    if "server requested disconnect" in lowered or "restart" in lowered:
        return Reason.SERVER_RESTART
    if any(word in lowered for word in _DATABASE):
        return Reason.DATABASE
    return Reason.CLOSED


def from_close_code(code: int | None) -> Reason:
    """Reads the WebSocket close code (RFC 6455 §7.4.1); None is a connection cut without one."""
    if code == 1012:
        return Reason.SERVER_RESTART
    if code == 1009:
        return Reason.TOO_LARGE
    if code == 1011:
        return Reason.CRASHED
    return Reason.CLOSED


def from_http_status(status: int) -> Reason:
    """Reads the HTTP status of a refused handshake."""
    if status == 401:
        return Reason.TOKEN
    if status == 403:
        return Reason.UNAUTHORIZED
    if status == 404:
        return Reason.NOT_FOUND
    if status == 429:
        return Reason.RATE_LIMITED
    return Reason.UNREACHABLE


#: Reasons that a fresh token may cure: refresh it before the next attempt.
WANTS_FRESH_TOKEN = frozenset({Reason.TOKEN, Reason.UNAUTHORIZED})
