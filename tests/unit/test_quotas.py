from __future__ import annotations

import pytest

from whatssound.errors import ConfigurationError
from whatssound.local.billing import SHARES, Usage
from whatssound.local.realtime.limits import PLANS as LOCAL_PLANS
from whatssound.local.realtime.limits import Limits
from whatssound.quotas import FREE, PLANS, PRO, PRO_NO_CAP, SELF_HOSTED, SOURCES, TEAM, Metered, Plan, plan_named


def test_plans_are_found_by_name() -> None:
    assert plan_named("team") is TEAM
    assert all(plan_named(name).name == name for name in PLANS)


def test_an_unknown_plan_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="pro-no-cap") as raised:
        plan_named("gold")
    assert raised.value.setting == "plan"


@pytest.mark.parametrize("plan", [FREE, PRO, TEAM], ids=lambda plan: plan.name)
def test_the_local_stack_has_the_same_limits(plan: Plan) -> None:
    """Two tables, since the stack imports nothing of the client; one truth."""
    local = LOCAL_PLANS[plan.name]
    assert local.max_concurrent_users == plan.connections
    assert local.max_events_per_second == plan.events_per_second
    assert local.max_joins_per_second == plan.joins_per_second
    assert local.max_presence_events_per_second == plan.presence_per_second
    assert local.max_channels_per_client == plan.channels_per_connection
    assert local.max_payload_size_in_kb == plan.broadcast_kb
    assert local.presence_calls == plan.presence_calls


def test_a_self_hosted_server_starts_with_the_local_stacks_defaults() -> None:
    local = Limits()
    assert (SELF_HOSTED.connections, SELF_HOSTED.events_per_second) == (
        local.max_concurrent_users,
        local.max_events_per_second,
    )
    assert SELF_HOSTED.presence_per_second == local.max_presence_events_per_second


@pytest.mark.parametrize("plan", [FREE, PRO_NO_CAP, TEAM], ids=lambda plan: plan.name)
@pytest.mark.parametrize("messages", [0, 2_000_000, 2_000_001, 5_000_001, 54_100_000])
@pytest.mark.parametrize("connections", [200, 201, 501, 1_501])
def test_the_local_stack_bills_the_same(plan: Plan, messages: int, connections: int) -> None:
    prices = plan.prices
    assert prices is not None
    parts = (prices.messages.cost(messages), prices.peak_connections.cost(connections))
    ours = None if None in parts else sum(part for part in parts if part is not None)
    name = plan.name.removesuffix("-no-cap")  # the stack's bill for Pro is that of an organisation without the cap
    local = Usage(messages, 0, connections).cost_cents(name)
    assert ours == (None if local is None else local * 10)
    assert SHARES[name].messages == prices.messages.included


def test_only_whole_packages_are_sold() -> None:
    """Supabase's own example: 3.5 million over 5 million cost four packages."""
    prices = PRO_NO_CAP.prices
    assert prices is not None
    assert prices.messages.cost(8_500_000) == 10_000
    assert prices.egress_gb.cost(300) == 4_500
    assert prices.disk_gb.cost(50) == 5_250
    assert Metered(10).cost(10) == 0
    assert Metered(10).cost(10.1) is None


def test_without_a_spend_cap_pro_allows_what_team_does_and_costs_what_pro_does() -> None:
    assert PRO_NO_CAP.prices is not None
    assert PRO.prices == PRO_NO_CAP.prices.capped()
    assert PRO.prices.base == PRO_NO_CAP.prices.base
    assert PRO.prices.messages.cost(5_000_001) is None
    assert PRO_NO_CAP.events_per_second == TEAM.events_per_second
    assert PRO_NO_CAP.connections == TEAM.connections


def test_every_fact_says_where_it_was_read() -> None:
    assert all(source.page.startswith("https://") and source.revision for source in SOURCES)
