"""Adds up what many runs prove, and shows it as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.integration.faults.verdict import Drop, Evidence, Finding, judge, percentile


@dataclass(slots=True)
class Totals:
    """Findings and times of all runs so far."""

    runs: int = 0
    cases: dict[str, int] = field(default_factory=dict)
    violations: dict[str, list[str]] = field(default_factory=dict)
    recovery: dict[str, list[float]] = field(default_factory=dict)
    drops: list[Drop] = field(default_factory=list)
    slowest_send: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, evidence: Evidence) -> tuple[Finding, ...]:
        """Adds a run and returns its findings."""
        findings = judge(evidence)
        self.runs += 1
        for finding in findings:
            name = finding.guarantee
            self.cases[name] = self.cases.get(name, 0) + finding.cases
            self.violations.setdefault(name, []).extend(f"seed {seed}: {line}" for line in finding.violations)
            if name in evidence.recovery:
                self.recovery.setdefault(name, []).append(evidence.recovery[name])
        self.drops += evidence.drops
        self.slowest_send = max(self.slowest_send, evidence.slowest_send)
        self.hits += evidence.hits
        return findings

    @property
    def broken(self) -> int:
        """Violations in all."""
        return sum(len(lines) for lines in self.violations.values())

    def table(self) -> str:
        """The table in Markdown: one guarantee a line, then what plain drops cost."""
        lines = [
            "| what must not be | cases | violations | right again, s: p50 | p95 | worst |",
            "|---|---:|---:|---:|---:|---:|",
            *(
                f"| {name} | {cases:,} | {len(self.violations[name])} | {_times(self.recovery.get(name, []))} |"
                for name, cases in sorted(self.cases.items())
            ),
            "",
            "| a plain drop | n | s: p50 | p95 | worst |",
            "|---|---:|---:|---:|---:|",
        ]
        for feed in sorted({drop.feed for drop in self.drops}):
            drops = [drop for drop in self.drops if drop.feed == feed]
            for name, values in (
                ("to live again", [drop.live for drop in drops]),
                ("from live to equal", [drop.equal for drop in drops]),
            ):
                lines.append(f"| {feed}: {name} | {len(values)} | {_times(values)} |")
        felt = ", ".join(f"{count:,} {name}" for name, count in self.hits.items())
        lines += ["", f"Felt: {felt}. The slowest `chat.send` took {self.slowest_send * 1000:.0f} ms."]
        return "\n".join(lines)


def _times(values: Sequence[float]) -> str:
    shown = [percentile(values, 0.5), percentile(values, 0.95), max(values, default=float("nan"))]
    return " | ".join(f"{value:.2f}" for value in shown)
