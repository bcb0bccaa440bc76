"""What hosted Supabase would have counted: messages and peak connections, against the plan's share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from whatssound.local.faults import Faults
from whatssound.local.ports import RealtimeControls


@dataclass(frozen=True, slots=True)
class Share:
    """What a hosted plan includes a month, and what more costs (whole packages).

    Attributes:
        messages: Realtime messages included.
        connections: peak connections included.
        overage: whether the plan sells more; Free does not.
    """

    messages: int
    connections: int
    overage: bool


SHARES = {
    "free": Share(2_000_000, 200, overage=False),
    "pro": Share(5_000_000, 500, overage=True),
    "team": Share(5_000_000, 500, overage=True),
}
"""The hosted plans by name, as of 2026."""

_MESSAGES_PACKAGE = 1_000_000
_MESSAGES_PRICE_CENTS = 250
_CONNECTIONS_PACKAGE = 1_000
_CONNECTIONS_PRICE_CENTS = 1_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run of a stack has used.

    Attributes:
        messages: Realtime messages as hosted counts them: one sent, and one for every receiver.
        connections: sockets open now.
        peak_connections: most sockets open at once.
    """

    messages: int
    connections: int
    peak_connections: int

    def cost_cents(self, plan: str) -> int | None:
        """What a month with this use costs beyond the plan's price, in US cents; None where the plan stops first."""
        share = SHARES[plan]
        more_messages = max(0, self.messages - share.messages)
        more_connections = max(0, self.peak_connections - share.connections)
        if not share.overage:
            return None if more_messages or more_connections else 0
        return (
            math.ceil(more_messages / _MESSAGES_PACKAGE) * _MESSAGES_PRICE_CENTS
            + math.ceil(more_connections / _CONNECTIONS_PACKAGE) * _CONNECTIONS_PRICE_CENTS
        )

    def describe(self, plan: str = "pro") -> str:
        """A line or two for a person."""
        share = SHARES[plan]
        text = (
            f"Hosted Supabase would have counted {self.messages:,} Realtime messages "
            f"({self.messages / share.messages:.2%} of a month on {plan}) "
            f"and {self.peak_connections:,} peak connections ({share.connections:,} included)."
        )
        cost = self.cost_cents(plan)
        if cost is None:
            return f"{text}\nThat is more than {plan} allows."
        return f"{text}\nThat is ${cost / 100:,.2f} beyond the plan's price." if cost else text


def measure(realtime: object, faults: Faults) -> Usage:
    """Reads the counters of a stack.

    Args:
        realtime: its Realtime; one that is not ours tells nothing of messages.
        faults: its gateway's view of sockets.
    """
    if isinstance(realtime, RealtimeControls):
        counted = realtime.usage()
        return Usage(counted["messages"], counted["connections"], counted["peak_connections"])
    return Usage(0, faults.sockets, faults.peak_sockets)
