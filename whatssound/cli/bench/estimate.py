"""What a run will cost, before it is run."""

from __future__ import annotations

from ...planning.traffic import FeedName, Traffic, traffic
from ...planning.workload import Workload
from ...quotas import Plan
from .options import Options


def expected_traffic(options: Options, plan: Plan) -> Traffic:
    """What a run will send, by the feed it will mostly use.

    Args:
        options: of the run.
        plan: its limits set the tick.
    """
    feed: FeedName = "changes" if options.feed == "changes" else "frames"
    hour = 3600 / options.listeners
    workload = Workload(
        listeners=options.listeners,
        messages_per_second=options.messages_per_second,
        seconds=options.seconds,
        votes_per_listener_hour=options.votes_per_second * hour,
        tips_per_listener_hour=options.tips_per_second * hour,
        songs_per_hour=0.0,
        crew=options.speakers,
    )
    return traffic(workload, feed, plan)


def warning(options: Options, plan: Plan) -> str:
    """What to tell before a run: how many messages it takes, of what the plan includes, and whether it fits."""
    expected = expected_traffic(options, plan)
    connections = options.listeners + options.speakers
    lines = [
        f"{options.listeners} listeners for {options.seconds:g} s, {options.messages_per_second:g} messages/s:",
        f"about {round(expected.messages):,} Realtime messages, {round(expected.events_in_busiest_minute):,}/s,",
        f"by {connections} connections of {options.accounts} users.",
    ]
    if plan.prices is not None:
        included = plan.prices.messages.included
        lines.append(f"The plan ({plan.title}) includes {included:,} messages a month for the whole project,")
        lines.append(f"and allows {plan.events_per_second:,}/s.")
    if expected.events_in_busiest_minute > plan.events_per_second:
        lines.append("That is more than the plan allows: channels will be closed, those of your users as well.")
    if connections > plan.connections:
        lines.append(f"That is more than the {plan.connections:,} connections that the plan allows.")
    return "\n".join(lines)
