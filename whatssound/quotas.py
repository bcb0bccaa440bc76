"""What each plan of Supabase allows and charges, with the day and the page each fact was read on.

Limits of a hosted project count for the project as a whole, whatever the number of rooms. ``None`` stands where nothing
is published: Enterprise prices are agreed on, and a self-hosted server costs what its machines cost. Where a plan's
numbers can be raised on request, ``negotiable`` says so; the numbers are then where it starts.

Money is in mills, a thousandth of a US dollar, so that every published price is a whole number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date

from .errors import ConfigurationError

#: The day these numbers were last compared with the pages in `SOURCES`.
AS_OF = date(2026, 11, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a group of facts was read.

    Attributes:
        facts: which ones.
        page: the page's address.
        revision: the commit of ``supabase/supabase`` (or ``supabase/realtime``) that was read.
    """

    facts: str
    page: str
    revision: str


SOURCES = (
    Source(
        facts="connections, messages, joins, presence, channels, payloads, replay",
        page="https://supabase.com/docs/guides/realtime/limits",
        revision="3ab8f65",
    ),
    Source(
        facts="how messages are counted",
        page="https://supabase.com/docs/guides/platform/manage-your-usage/realtime-messages",
        revision="04410d8",
    ),
    Source(
        facts="what a month includes and what more costs",
        page="https://supabase.com/docs/guides/platform/billing-on-supabase",
        revision="124cddf",
    ),
    Source(
        facts="egress",
        page="https://supabase.com/docs/guides/platform/manage-your-usage/egress",
        revision="015ca3f",
    ),
    Source(
        facts="disk",
        page="https://supabase.com/docs/guides/platform/manage-your-usage/disk-size",
        revision="124cddf",
    ),
    Source(
        facts="what the spend cap stops",
        page="https://supabase.com/docs/guides/platform/cost-control",
        revision="2e76677",
    ),
    Source(
        facts="the price of Pro and Team", page="https://supabase.com/pricing", revision="second-hand, January 2026"
    ),
    Source(
        facts="defaults of a self-hosted server, the 60 s average, presence calls a client",
        page="https://github.com/supabase/realtime",
        revision="833cf36",
    ),
)


@dataclass(frozen=True, slots=True)
class Metered:
    """Something a month includes an amount of.

    Attributes:
        included: units in the plan's price.
        package: units that are sold together, whole packages only; 0: the plan sells no more.
        mills: price of one package.
    """

    included: float
    package: int = 0
    mills: int = 0

    def cost(self, used: float) -> int | None:
        """Returns the price in mills of a month with ``used`` units; None where the plan stops before that."""
        over = used - self.included
        if over <= 0:
            return 0
        return math.ceil(over / self.package) * self.mills if self.package else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a month costs.

    Attributes:
        base: the plan's price in mills, one project on the smallest compute included.
        messages: Realtime messages.
        peak_connections: most sockets open at once.
        egress_gb: gigabytes sent to clients, not from a cache.
        disk_gb: gigabytes of database.
        edge_invocations: calls of Edge Functions.
    """

    base: int
    messages: Metered
    peak_connections: Metered
    egress_gb: Metered
    disk_gb: Metered
    edge_invocations: Metered

    def capped(self) -> Prices:
        """Returns these prices with the spend cap on: what is included is all there is."""
        return Prices(
            base=self.base,
            messages=Metered(self.messages.included),
            peak_connections=Metered(self.peak_connections.included),
            egress_gb=Metered(self.egress_gb.included),
            disk_gb=Metered(self.disk_gb.included),
            edge_invocations=Metered(self.edge_invocations.included),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one plan allows.

    Attributes:
        name: as used in arguments.
        title: as people say it.
        connections: sockets open at once.
        events_per_second: Realtime messages a second, sent and delivered, as an average over 60 s.
        joins_per_second: channel joins a second, averaged likewise.
        channels_per_connection: topics on one socket.
        presence_per_second: presence messages a second, averaged likewise.
        presence_calls: presence calls one client may make in 30 s.
        broadcast_kb: size of one broadcast in thousands of bytes.
        change_kb: size of one Postgres change.
        negotiable: whether support (or your own configuration) raises the limits.
        prices: None where they are agreed on, or your own.
    """

    name: str
    title: str
    connections: int
    events_per_second: int
    joins_per_second: int
    channels_per_connection: int = 100
    presence_per_second: int
    presence_calls: int = 5
    broadcast_kb: int = 3_000
    change_kb: int = 1_024
    negotiable: bool = False
    prices: Prices | None = None


_PAID = Prices(
    base=25_000,
    messages=Metered(5_000_000, 1_000_000, 2_500),
    peak_connections=Metered(500, 1_000, 10_000),
    egress_gb=Metered(250, 1, 90),
    disk_gb=Metered(8, 1, 125),
    edge_invocations=Metered(2_000_000, 1_000_000, 2_000),
)


FREE = Plan(
    name="free",
    title="Free",
    connections=200,
    events_per_second=100,
    joins_per_second=100,
    presence_per_second=20,
    broadcast_kb=256,
    prices=Prices(
        base=0,
        messages=Metered(2_000_000),
        peak_connections=Metered(200),
        egress_gb=Metered(5),
        disk_gb=Metered(0.5),  # then the database becomes read-only
        edge_invocations=Metered(500_000),
    ),
)
PRO = Plan(
    name="pro",
    title="Pro, spend cap on",
    connections=500,
    events_per_second=500,
    joins_per_second=500,
    presence_per_second=50,
    prices=_PAID.capped(),
)
PRO_NO_CAP = Plan(
    name="pro-no-cap",
    title="Pro, no spend cap",
    connections=10_000,
    events_per_second=2_500,
    joins_per_second=2_500,
    presence_per_second=1_000,
    prices=_PAID,
)
TEAM = Plan(
    name="team",
    title="Team",
    connections=10_000,
    events_per_second=2_500,
    joins_per_second=2_500,
    presence_per_second=1_000,
    negotiable=True,
    prices=replace(_PAID, base=599_000),
)
ENTERPRISE = Plan(
    name="enterprise",
    title="Enterprise",
    connections=10_000,
    events_per_second=2_500,
    joins_per_second=2_500,
    presence_per_second=1_000,
    negotiable=True,
)
SELF_HOSTED = Plan(
    name="self-hosted",
    title="Self-hosted",
    connections=200,
    events_per_second=100,
    joins_per_second=100,
    presence_per_second=1_000,
    negotiable=True,
)

#: Every plan by name, smallest first.
PLANS: dict[str, Plan] = {plan.name: plan for plan in (FREE, PRO, PRO_NO_CAP, TEAM, ENTERPRISE, SELF_HOSTED)}


def plan_named(name: str) -> Plan:
    """Returns a plan by its name.

    Raises:
        ConfigurationError: there is none of that name.
    """
    try:
        return PLANS[name]
    except KeyError:
        raise ConfigurationError("plan", f"is {name!r}; use one of {', '.join(PLANS)}") from None
