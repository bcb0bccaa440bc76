"""What a tenant may do: the limits of the real server's tenants, with presets for the hosted plans."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_CALLS_PER_WINDOW: Final = 5
_WINDOW_MS: Final = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The quotas and switches of one tenant; the defaults are those of a self-hosted server.

    Attributes:
        max_concurrent_users: Sockets with at least one join that may be open at once.
        max_events_per_second: Messages a second, counted once sent and once per receiver, as an average over
            up to a minute.
        max_joins_per_second: Channel joins a second, averaged likewise.
        max_channels_per_client: Channels on one socket.
        max_presence_events_per_second: Presence messages a second, averaged likewise.
        max_payload_size_in_kb: Size of one broadcast payload, in 1000 bytes.
        max_client_presence_events_per_window: Presence calls of one channel in a window (None: 5).
        client_presence_window_ms: Length of that window in milliseconds (None: 30,000).
        private_only: Whether public channels are refused ("allow public access" is off).
        presence_enabled: Whether every channel has presence, asked for or not.
        suspend: Whether the tenant is suspended: every handshake is refused.
    """

    max_concurrent_users: int = 200
    max_events_per_second: int = 100
    max_joins_per_second: int = 100
    max_channels_per_client: int = 100
    max_presence_events_per_second: int = 1_000
    max_payload_size_in_kb: int = 3_000
    max_client_presence_events_per_window: int | None = None
    client_presence_window_ms: int | None = None
    private_only: bool = False
    presence_enabled: bool = False
    suspend: bool = False

    @classmethod
    def for_plan(cls, name: str) -> Limits:
        """The limits of a hosted plan.

        Args:
            name: `free`, `pro` or `team`.

        Raises:
            ValueError: There is no plan of that name.
        """
        try:
            return PLANS[name]
        except KeyError:
            raise ValueError(f"unknown plan {name!r}: choose one of {', '.join(PLANS)}") from None

    @property
    def payload_bytes(self) -> int:
        """The largest payload in bytes of its external term format, with the server's allowance of 500."""
        return self.max_payload_size_in_kb * 1_000 + 500

    @property
    def presence_calls(self) -> int:
        """Presence calls that one channel may make in a window."""
        return self.max_client_presence_events_per_window or _CALLS_PER_WINDOW

    @property
    def presence_window(self) -> float:
        """Length of the presence window in seconds."""
        return (self.client_presence_window_ms or _WINDOW_MS) / 1_000

    def changed(self, changes: Mapping[str, object]) -> Limits:
        """The limits with some of them changed; names that are no limit are ignored, as the real server does.

        Args:
            changes: New values by name.

        Raises:
            LimitValueError: A value has the wrong type or is negative.
        """
        known = {field.name: field for field in fields(self)}
        accepted: dict[str, Any] = {}
        wrong: dict[str, list[str]] = {}
        for name, value in changes.items():
            if name not in known:
                continue
            if _fits(name, value):
                accepted[name] = value
            else:
                wrong[name] = ["is invalid"]
        if wrong:
            raise LimitValueError(wrong)
        return replace(self, **accepted)

    def as_json(self) -> dict[str, Any]:
        """The limits by name, as the management API shows them."""
        return asdict(self)


class LimitValueError(ValueError):
    """A limit was given a value that it cannot take.

    Attributes:
        errors: What is wrong with each name.
    """

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(f"these limits are invalid: {', '.join(sorted(errors))}")
        self.errors = errors


PLANS: Final[Mapping[str, Limits]] = {
    "free": Limits(max_presence_events_per_second=20, max_payload_size_in_kb=256),
    "pro": Limits(
        max_concurrent_users=500,
        max_events_per_second=500,
        max_joins_per_second=500,
        max_presence_events_per_second=50,
    ),
    "team": Limits(
        max_concurrent_users=10_000,
        max_events_per_second=2_500,
        max_joins_per_second=2_500,
        max_presence_events_per_second=1_000,
    ),
}
"""The hosted plans by name."""


_SWITCHES: Final = frozenset({"private_only", "presence_enabled", "suspend"})
_OPTIONAL: Final = frozenset({"max_client_presence_events_per_window", "client_presence_window_ms"})


def _fits(name: str, value: object) -> bool:
    if name in _SWITCHES:
        return isinstance(value, bool)
    if value is None:
        return name in _OPTIONAL
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
