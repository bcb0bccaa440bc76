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


#: What stands before the colon of a refused join. The sentence after it may quote a topic or a database's words, so a
#: known code decides alone. Supabase documents the codes as its "operational error codes".
_CODES = {
    "channelratelimitreached": Reason.RATE_LIMITED,
    "clientjoinratelimitreached": Reason.RATE_LIMITED,
    "connectionratelimitreached": Reason.RATE_LIMITED,
    "clientpresenceratelimitreached": Reason.RATE_LIMITED,
    "toomanyconnectattempts": Reason.RATE_LIMITED,
    "invalidjwttoken": Reason.TOKEN,
    "invalidjwtexpiration": Reason.TOKEN,
    "malformedjwt": Reason.TOKEN,
    "jwtsignatureerror": Reason.TOKEN,
    "unauthorized": Reason.UNAUTHORIZED,
    "privateonly": Reason.UNAUTHORIZED,
    "realtimedisabledfortenant": Reason.UNAUTHORIZED,
    "tenantnotfound": Reason.NOT_FOUND,
    "realtimerestarting": Reason.SERVER_RESTART,
    "databaseconnectionissue": Reason.DATABASE,
    "databaselackofconnections": Reason.DATABASE,
    "connectioninitializing": Reason.DATABASE,
    "initializingprojectconnection": Reason.DATABASE,
    "increaseconnectionpool": Reason.DATABASE,
    "unabletoconnecttoproject": Reason.DATABASE,
    "unabletoconnecttotenantdatabase": Reason.DATABASE,
    "unknownerroronchannel": Reason.CRASHED,
}

#: Words of sentences, in order of precedence. Change feeds come first: their errors quote tables, filters and whatever
#: the database said.
_SENTENCES: tuple[tuple[Reason, tuple[str, ...]], ...] = (
    (Reason.DATABASE, ("unable to subscribe", "subscription params", "error parsing", "too many database")),
    (Reason.RATE_LIMITED, ("too many", "rate limit")),
    (Reason.UNAUTHORIZED, ("unauthorized", "do not have permissions", "disabled for this tenant")),
    (Reason.TOKEN, ("token has expired", "token expired", "signature_error", "jwt")),
    (Reason.SERVER_RESTART, ("server requested disconnect", "restart")),
    (Reason.DATABASE, ("database", "postgres", "replication")),
    (Reason.TOO_LARGE, ("payload_size_exceeded", "payload size", "message size")),
    (Reason.CRASHED, ("channel_crash",)),
)


def from_text(text: str) -> Reason:
    """Reads a ``system`` error, a refused join's reason or a handshake's body."""
    lowered = text.lower()
    code = _CODES.get(lowered.split(":", 1)[0].strip())
    if code is not None:
        return code
    for reason, words in _SENTENCES:
        if any(word in lowered for word in words):
            return reason
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
