"""The settings of the clients under faults: compressed where only waiting is meant."""

from __future__ import annotations

from whatssound import SessionConfig
from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig

#: Heartbeats, caps and floors are short; the first back-off and the batch are the defaults.
CHAOS = SessionConfig(
    reconcile_interval=1.0,
    silence_timeout=3.0,
    claim_timeout=3.0,
    occupancy_interval=2.0,
    retry=RetryConfig(attempts=5, deadline=6.0, request_timeout=1.5, base=0.1, cap=1.0),
    outbox=OutboxConfig(drain_timeout=10.0),
    connection=ConnectionConfig(
        heartbeat_interval=0.7,
        open_timeout=3.0,
        join_timeout=6.0,
        ready_timeout=3.0,
        backoff_cap=2.0,
        rate_limit_floor=1.0,
        hold=1.0,
    ),
)
