"""Adds up what many runs prove, and shows it as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.integration.faults.verdict import Evidence, Finding, judge, percentile


@dataclass(slots=True)
class Totals:
    """Findings and times of all runs so far."""

    runs: int = 0
    cases: dict[str, int] = field(default_factory=dict)
    violations: dict[str, list[str]] = field(default_factory=dict)
    plain: list[float] = field(default_factory=list)
    healed: list[float] = field(default_factory=list)
    slowest_send: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, evidence: Evidence) -> tuple[Finding, ...]:
        """Adds a run and returns its findings."""
        findings = judge(evidence)
        self.runs += 1
        for finding in findings:
            self.cases[finding.guarantee] = self.cases.get(finding.guarantee, 0) + finding.cases
            self.violations.setdefault(finding.guarantee, []).extend(
                f"seed {seed}: {line}" for line in finding.violations
            )
        self.plain += evidence.plain
        self.healed.append(evidence.healed)
        self.slowest_send = max(self.slowest_send, evidence.slowest_send)
        self.hits += evidence.hits
        return findings

    @property
    def broken(self) -> int:
        """Violations in all."""
        return sum(len(lines) for lines in self.violations.values())

    def table(self) -> str:
        """The table, one guarantee a line, and the times."""
        lines = [f"{'guarantee (what must not be)':<34}{'cases':>9}{'violations':>12}"]
        lines += [f"{name:<34}{cases:>9}{len(self.violations[name]):>12}" for name, cases in sorted(self.cases.items())]
        lines.append("")
        lines.append(f"{'seconds':<34}{'n':>9}{'p50':>8}{'p95':>8}{'worst':>8}")
        lines += [
            _times("plain drop to live again", self.plain),
            _times("last fault healed to all equal", self.healed),
        ]
        lines += ["", f"slowest chat.send: {self.slowest_send:.3f} s"]
        lines.append("felt: " + ", ".join(f"{count} {name}" for name, count in self.hits.items()))
        return "\n".join(lines)


def _times(name: str, values: list[float]) -> str:
    shown = [percentile(values, 0.5), percentile(values, 0.95), max(values, default=float("nan"))]
    return f"{name:<34}{len(values):>9}" + "".join(f"{value:>8.2f}" for value in shown)
