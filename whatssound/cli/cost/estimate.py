"""All that is worked out for a workload: one line for each plan and feed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...planning.bill import Bill, bill
from ...planning.latency import Latency, latency
from ...planning.traffic import FeedName, Traffic, traffic
from ...planning.workload import Workload
from ...quotas import Plan

FEEDS: tuple[FeedName, ...] = ("changes", "frames")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a workload means on one plan by one feed."""

    plan: Plan
    traffic: Traffic
    latency: Latency
    bill: Bill


def estimate(workload: Workload, plan: Plan, feed: FeedName) -> Estimate:
    """Works one line out."""
    sent = traffic(workload, feed, plan)
    return Estimate(plan=plan, traffic=sent, latency=latency(workload, sent), bill=bill(workload, sent, plan))


def estimates(workload: Workload, plans: Iterable[Plan]) -> list[Estimate]:
    """Works out every plan by both feeds."""
    return [estimate(workload, plan, feed) for plan in plans for feed in FEEDS]
