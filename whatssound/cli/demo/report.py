"""The summary at the end: what was promised, what the database has, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .audit import Offence, Rows, audit, batch_sizes, stored_twice
from .ledger import Ledger
from .meter import Latency

#: Refusals that a room full of people at one queue brings about by itself: somebody else was quicker.
RACES = frozenset({"queue_conflict", "unknown_item", "unknown_song"})


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What the clients say of themselves.

    Attributes:
        people: clients in the room.
        sent: chat messages sent.
        seen_least: accepted messages that the client with the fewest has seen.
        repeats: messages shown to somebody twice.
        withdrawn: messages taken back after they were shown.
        latency: from sending to seeing.
        rpc_retries: RPC tries beyond the first.
        rpc_errors: RPCs that failed in the end.
        reconnects: connections lost.
        seconds: how long the room went on.
    """

    people: int
    sent: int
    seen_least: int
    repeats: int
    withdrawn: int
    latency: Latency
    rpc_retries: int
    rpc_errors: int
    reconnects: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """The summary of a run: clients' figures, the database's, and what does not fit."""

    witnessed: Witnessed
    ledger: Ledger
    rows: Rows
    offences: tuple[Offence, ...]

    @property
    def passed(self) -> bool:
        """Whether everything accepted is stored exactly once and everybody has seen it."""
        return not self.offences

    def lines(self) -> list[tuple[str, str]]:
        """The summary as names and values."""
        seen, rows, ledger = self.witnessed, self.rows, self.ledger
        sizes, commands = batch_sizes(rows), ledger.queue_commands
        per_batch = f"{sum(sizes) / len(sizes):.1f}, at most {max(sizes)}" if sizes else "none"
        confirmed = sum(tip.status == "confirmed" for tip in rows.tips)
        races = sum(count for code, count in ledger.refusals.items() if code in RACES)
        other = {code: count for code, count in sorted(ledger.refusals.items()) if code not in RACES}
        return [
            ("chat sent", f"{seen.sent} in {seen.seconds:.0f} s by {seen.people} clients"),
            ("seen by every client", f"{seen.seen_least} of {len(ledger.words)} at least, {seen.repeats} twice"),
            ("stored", f"{len(rows.messages)} of {len(ledger.words)} accepted"),
            ("stored twice", str(stored_twice(rows))),
            ("batches", f"{len(sizes)}, rows in each: {per_batch}"),
            (
                "send to seen",
                f"p50 {_ms(seen.latency.p50)}, p95 {_ms(seen.latency.p95)}, max {_ms(seen.latency.worst)}",
            ),
            ("votes", f"{len(ledger.ballots)} accepted, {len(rows.votes)} rows, {_count(rows, 'vote')} events"),
            ("tips", f"{len(ledger.payments)} accepted, {len(rows.tips)} rows, {confirmed} confirmed: {_money(rows)}"),
            ("queue changes", f"{commands.total()} accepted, {_count(rows, 'queue')} events: {_listed(commands)}"),
            ("refused", f"{races} lost a race for the queue" + (f"; {_listed(other)}" if other else "")),
            ("RPC errors", f"{seen.rpc_errors}, after {seen.rpc_retries} retries"),
            ("reconnects", str(seen.reconnects)),
        ]

    def verdict(self) -> str:
        """One sentence."""
        if self.passed:
            return "Everything accepted is in the database exactly once, and everybody has seen every message."
        return f"{len(self.offences)} promises were not kept."

    def as_json(self) -> dict[str, Any]:
        """The summary for machines."""
        seen, rows, ledger = self.witnessed, self.rows, self.ledger
        sizes = batch_sizes(rows)
        return {
            "passed": self.passed,
            "offences": [str(offence) for offence in self.offences],
            "seconds": seen.seconds,
            "clients": seen.people,
            "chat": {
                "sent": seen.sent,
                "accepted": len(ledger.words),
                "stored": len(rows.messages),
                "stored_twice": stored_twice(rows),
                "seen_by_everybody": seen.seen_least,
                "shown_twice": seen.repeats,
                "withdrawn": seen.withdrawn,
                "batches": len(sizes),
                "rows_per_batch": sum(sizes) / len(sizes) if sizes else 0.0,
                "latency": {"p50": seen.latency.p50, "p95": seen.latency.p95, "max": seen.latency.worst},
            },
            "votes": {"accepted": len(ledger.ballots), "rows": len(rows.votes), "events": _count(rows, "vote")},
            "tips": {"accepted": len(ledger.payments), "rows": len(rows.tips), "events": _count(rows, "tip")},
            "queue": {"accepted": dict(ledger.queue_commands), "events": _count(rows, "queue")},
            "refused": dict(ledger.refusals),
            "rpc_errors": seen.rpc_errors,
            "rpc_retries": seen.rpc_retries,
            "reconnects": seen.reconnects,
        }


def make_report(witnessed: Witnessed, ledger: Ledger, rows: Rows) -> Report:
    """Audits a run and sums it up; what some client never saw counts as an offence too."""
    offences: list[Offence] = audit(ledger, rows)
    if witnessed.seen_least < len(ledger.words):
        offences.append(Offence("chat", f"somebody saw only {witnessed.seen_least} of {len(ledger.words)} messages"))
    if witnessed.repeats:
        offences.append(Offence("chat", f"{witnessed.repeats} messages were shown to somebody twice"))
    return Report(witnessed, ledger, rows, tuple(offences))


def show_offences(offences: Sequence[Offence], most: int = 50) -> list[str]:
    """The offences as lines, the first ``most`` of them."""
    left = len(offences) - most
    return [str(offence) for offence in offences[:most]] + ([f"… and {left} more"] if left > 0 else [])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _count(rows: Rows, kind: str) -> int:
    return sum(1 for _ in rows.of_kind(kind))


def _money(rows: Rows) -> str:
    totals: dict[str, int] = {}
    for tip in rows.tips:
        if tip.status == "confirmed":
            totals[tip.currency] = totals.get(tip.currency, 0) + tip.amount
    return ", ".join(f"{amount / 100:.2f} {currency}" for currency, amount in sorted(totals.items())) or "nothing"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
