"""How a project grows: which plan carries how many people at once, and what is bought or run next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One step of the scaling plan.

    Attributes:
        name: as in the tables.
        people: at once, up to.
        plan: a plan's name that carries it; limits beyond its published ones are agreed on.
        buys: what is bought or run in it.
    """

    name: str
    people: float
    plan: str
    buys: str


PHASES = (
    Phase(
        name="0-10 k",
        people=10_000,
        plan="pro-no-cap",
        buys="Pro, without the spend cap from 500 people on; one project",
    ),
    Phase(
        name="10-100 k",
        people=100_000,
        plan="team",
        buys="Team with raised limits; a CDN before what is the same for everybody: the app, covers, public pages",
    ),
    Phase(
        name="100 k-1 M",
        people=1_000_000,
        plan="enterprise",
        buys="Enterprise limits, or Realtime self-hosted: several nodes, rooms spread over several databases",
    ),
    Phase(
        name="1 M+",
        people=float("inf"),
        plan="self-hosted",
        buys="an Elixir cluster of your own, in several regions, with shards of Postgres behind it",
    ),
)


def phase_of(people: int) -> Phase:
    """Returns the phase that so many people at once are in.

    Args:
        people: in all rooms together.
    """
    return next(phase for phase in PHASES if people <= phase.people)
