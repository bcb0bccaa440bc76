"""What a project can set about its REST interface, under the names and defaults of PostgREST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TransactionEnd = Literal["commit", "commit-allow-override", "rollback", "rollback-allow-override"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSettings:
    """Settings of a `RestService`; the defaults are those of `supabase start`.

    Args:
        schemas: Exposed schemas (`db-schemas`); the first is used when a request names none.
        extra_search_path: Schemas added to the search path of every request (`db-extra-search-path`).
        anon_role: The role of requests without a token (`db-anon-role`); None refuses them.
        max_rows: Most rows a read returns (`db-max-rows`); None for no limit.
        pool_size: Most database connections at once (`db-pool`).
        pool_timeout: Seconds a request waits for a connection (`db-pool-acquisition-timeout`).
        tx_end: How transactions end (`db-tx-end`), and whether `Prefer: tx=` may choose.
        aggregates: Whether `select=amount.sum()` is allowed (`db-aggregates-enabled`).
    """

    schemas: tuple[str, ...] = ("public",)
    extra_search_path: tuple[str, ...] = ("public", "extensions")
    anon_role: str | None = "anon"
    max_rows: int | None = 1000
    pool_size: int = 10
    pool_timeout: float = 10.0
    tx_end: TransactionEnd = "commit"
    aggregates: bool = False

    @property
    def tx_override(self) -> bool:
        """Whether a request may choose how its transaction ends."""
        return self.tx_end.endswith("allow-override")

    @property
    def tx_rollback(self) -> bool:
        """Whether transactions are rolled back unless the request says otherwise."""
        return self.tx_end.startswith("rollback")
