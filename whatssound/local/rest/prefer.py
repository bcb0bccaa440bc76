"""The `Prefer` header: what a request wishes, and what of it was done."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHOICES: Final = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "return": ("representation", "minimal", "headers-only"),
    "count": ("exact", "planned", "estimated"),
    "tx": ("commit", "rollback"),
    "missing": ("default", "null"),
    "handling": ("strict", "lenient"),
}
_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The preferences of one request; None where it has none.

    Args:
        resolution: What an insert does about rows that exist.
        returning: What a write answers with (`return=`).
        count: How the total is found.
        tx: How the transaction ends; None unless the service lets requests choose.
        missing: What stands for a column that a payload leaves out.
        handling: Whether unknown preferences are errors.
        timezone: The time zone of the response.
        max_affected: Most rows a write may touch, under strict handling.
        unknown: Preferences that mean nothing.
    """

    resolution: str | None = None
    returning: str | None = None
    count: str | None = None
    tx: str | None = None
    missing: str | None = None
    handling: str | None = None
    timezone: str | None = None
    max_affected: int | None = None
    unknown: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether unknown preferences are errors, and `max_affected` counts."""
        return self.handling == "strict"

    @property
    def counts(self) -> bool:
        """Whether rows are counted, rather than guessed or not at all."""
        return self.count in {"exact", "estimated"}

    def applied(
        self,
        *,
        inserts: bool = False,
        updates: bool = False,
        writes: bool = False,
        calls: bool = False,
        resolves: bool = False,
    ) -> str | None:
        """The `Preference-Applied` header.

        Args:
            inserts: The request is an insert.
            updates: It is an update.
            writes: It is any write to a table.
            calls: It calls a function.
            resolves: It is an insert with a unique key to resolve by.

        Returns:
            The header's value, or None for no header.
        """
        limits = (writes and not inserts) or calls
        said = (
            ("resolution", self.resolution if resolves else None),
            ("missing", self.missing if inserts or updates else None),
            ("return", self.returning if writes else None),
            ("count", self.count),
            ("tx", self.tx),
            ("handling", self.handling),
            ("timezone", self.timezone),
            ("max-affected", self.max_affected if limits and self.strict else None),
        )
        return ", ".join(f"{name}={value}" for name, value in said if value is not None) or None


def parse_preferences(headers: Iterable[str], *, tx_override: bool) -> Preferences:
    """Reads all `Prefer` headers of a request; of equal names the first counts.

    Args:
        headers: Their values.
        tx_override: Whether a request may choose how its transaction ends.
    """
    chosen: dict[str, str] = {}
    unknown: list[str] = []
    for preference in (piece.strip() for header in headers for piece in header.split(",")):
        name, _, value = preference.partition("=")
        free = name in {"timezone", "max-affected"} and "=" in preference
        if free or value in _CHOICES.get(name, ()):
            chosen.setdefault(name, value)
        else:
            unknown.append(preference)
    most = chosen.get("max-affected")
    return Preferences(
        resolution=chosen.get("resolution"),
        returning=chosen.get("return"),
        count=chosen.get("count"),
        tx=chosen.get("tx") if tx_override else None,
        missing=chosen.get("missing"),
        handling=chosen.get("handling"),
        timezone=chosen.get("timezone"),
        max_affected=int(most) if most is not None and _INTEGER.fullmatch(most) else None,
        unknown=tuple(unknown),
    )
