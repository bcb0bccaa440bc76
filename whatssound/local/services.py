"""Which implementation stands behind each of a stack's services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whatssound.local.auth import AuthService, AuthSettings
from whatssound.local.ports import Service
from whatssound.local.proxy import PostgrestProcess, RealtimeProxy
from whatssound.local.realtime import PLANS, Limits, RealtimeService
from whatssound.local.rest import RestService
from whatssound.local.tokens import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How the services of a stack are to be.

    Attributes:
        plan: hosted plan whose Realtime limits apply, or None for limits that are not in the way of development.
        limits: single Realtime limits by name, on top of the plan's.
        jwt_expiry: seconds that a user's token is valid.
        postgrest_bin: a real PostgREST to run instead of ours, or None.
        realtime_url: a real Realtime to pass sockets on to, or None.
    """

    plan: str | None = None
    limits: Mapping[str, object] = field(default_factory=dict)
    jwt_expiry: int = 3600
    postgrest_bin: Path | None = None
    realtime_url: str | None = None

    def realtime_limits(self) -> Limits:
        """The Realtime limits that follow from plan and single limits.

        Raises:
            ValueError: there is no such plan, or a limit has an impossible value.
        """
        if self.plan is None:
            base = _UNLIMITED
        elif self.plan in PLANS:
            base = PLANS[self.plan]
        else:
            raise ValueError(f"unknown plan {self.plan!r}: choose one of {', '.join(PLANS)}")
        if unknown := set(self.limits) - set(base.as_json()):
            raise ValueError(f"unknown limits: {', '.join(sorted(unknown))}")
        return base.changed(self.limits)

    def planned_events(self) -> int | None:
        """Messages a second that the database is to plan with; None where nobody asked for a limit."""
        asked = self.plan is not None or "max_events_per_second" in self.limits
        return self.realtime_limits().max_events_per_second if asked else None


# A room on a laptop is to meet a plan's limits when its developer asks for them, and not by accident.
_UNLIMITED = Limits(
    max_concurrent_users=10_000,
    max_events_per_second=1_000_000,
    max_joins_per_second=10_000,
    max_presence_events_per_second=100_000,
)


def build_services(dsn_for: Callable[[str], str], keyring: Keyring, settings: ServiceSettings) -> dict[str, Service]:
    """Makes the services of a stack, by name and in the order they start; none is started.

    Args:
        dsn_for: connection string by database role; asked when a service starts.
        keyring: the project's keys.
        settings: how they are to be.

    Raises:
        ValueError: the plan or a limit makes no sense.
    """
    rest: Service = RestService(dsn_for, keyring)
    if settings.postgrest_bin is not None:
        rest = PostgrestProcess(settings.postgrest_bin, dsn_for, keyring)
    realtime: Service = RealtimeService(dsn_for, keyring, limits=settings.realtime_limits())
    if settings.realtime_url is not None:
        realtime = RealtimeProxy(settings.realtime_url)
    auth = AuthService(dsn_for, keyring, settings=AuthSettings(token_seconds=settings.jwt_expiry))
    return {"rest": rest, "auth": auth, "realtime": realtime}
