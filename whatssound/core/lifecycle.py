"""The states of a session's connection and the only ways between them."""

from __future__ import annotations

from ..events import Status

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.CONNECTING, Status.CLOSED}),
    Status.CONNECTING: frozenset({Status.LIVE, Status.RECONNECTING, Status.FAILED, Status.CLOSED}),
    Status.LIVE: frozenset({Status.RECONNECTING, Status.FAILED, Status.CLOSED}),
    # An attempt that fails stays "reconnecting", with the next attempt's number and wait.
    Status.RECONNECTING: frozenset({Status.LIVE, Status.RECONNECTING, Status.FAILED, Status.CLOSED}),
    Status.FAILED: frozenset({Status.CLOSED}),
    Status.CLOSED: frozenset(),
}


def check_transition(before: Status, after: Status) -> None:
    """Raises if a transition is not in the table, which would be a defect of this package.

    Raises:
        RuntimeError: the transition is not in `TRANSITIONS`.
    """
    if after not in TRANSITIONS[before]:
        raise RuntimeError(f"connection cannot go from {before.value} to {after.value}")
