"""Draws cost and latency against the number of listeners, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from xml.sax.saxutils import escape

from ...planning.traffic import FeedName
from ...planning.workload import Workload
from ...quotas import Plan
from .estimate import FEEDS, Estimate, estimate

_WIDTH, _HEIGHT = 760, 660
_LEFT, _RIGHT = 84, 24
_PANEL = 210
_TOPS = (92, 382)
_COLOURS = {"changes": "#b3541e", "frames": "#1f6f8b"}
_MOST = 10_000
_OPENING = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
    f'width="{_WIDTH}" height="{_HEIGHT}" font-size="12" role="img">'
)
_POINTS = 81


@dataclass(frozen=True, slots=True)
class Line:
    """A named curve.

    Attributes:
        name: in the legend.
        colour: of the stroke.
        dashed: whether it is broken.
        points: (listeners, value, whether it fits the plan); the value is None where there is none.
    """

    name: str
    colour: str
    dashed: bool
    points: Sequence[tuple[float, float | None, bool]]


def render(workload: Workload, plan: Plan) -> str:
    """Draws both panels: the month's price beyond the plan's own, and latency at the 95th percentile.

    Args:
        workload: what people do; chat a second grows with the listeners, as they are drawn.
        plan: on which plan.
    """
    counts = [round(10 * (_MOST / 10) ** (step / (_POINTS - 1))) for step in range(_POINTS)]
    found = {feed: [estimate(_scaled(workload, count), plan, feed) for count in counts] for feed in FEEDS}

    def curve(value: Callable[[Estimate], float | None], feed: FeedName) -> list[tuple[float, float | None, bool]]:
        return [(float(count), value(each), _fits(each)) for count, each in zip(counts, found[feed], strict=True)]

    # A logarithmic axis has no 0: what the plan includes is drawn at its foot.
    prices = [Line(feed, _COLOURS[feed], False, curve(_dollars, feed)) for feed in FEEDS]
    times = [
        Line(f"{feed}: {what}", _COLOURS[feed], what == "votes", curve(value, feed))
        for feed in FEEDS
        for what, value in (("chat", _chat), ("votes", _votes))
    ]
    title = (
        f"One room on {plan.title}, {workload.seconds / 3600:.3g} h: {_rate(workload):.3g} chat messages/s per 1,000"
    )
    parts = [
        _OPENING,
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="28" font-size="16">{escape(title)}</text>',
        *_panel(_TOPS[0], "Realtime, egress, disk: US dollars a month beyond the plan", prices, (1.0, 10_000.0)),
        *_panel(_TOPS[1], "Latency, 95th percentile, seconds", times, (0.001, 100.0)),
        *_limit(plan),
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 12}" text-anchor="end">listeners</text>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 12}">faint: more than the plan allows</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _scaled(workload: Workload, listeners: int) -> Workload:
    share = listeners / workload.listeners
    return replace(
        workload, listeners=listeners, rooms=1, chat=(), messages_per_second=workload.messages_per_second * share
    )


def _rate(workload: Workload) -> float:
    return workload.messages_per_second * 1000 / workload.listeners


def _dollars(each: Estimate) -> float | None:
    costs = [cost for cost in each.bill.beyond.values() if cost is not None]
    return max(1.0, sum(costs) / 1000) if each.bill.beyond and len(costs) == len(each.bill.beyond) else None


def _chat(each: Estimate) -> float | None:
    return each.latency.chat_p95


def _votes(each: Estimate) -> float | None:
    return each.latency.vote_p95


def _fits(each: Estimate) -> bool:
    return each.bill.loads[0].share <= 1


def _x(listeners: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log10(listeners / 10) / math.log10(_MOST / 10)


def _y(value: float, top: int, span: tuple[float, float]) -> float:
    low, high = span
    inside = min(max(value, low), high)
    return top + _PANEL * (1 - math.log10(inside / low) / math.log10(high / low))


def _panel(top: int, title: str, lines: Sequence[Line], span: tuple[float, float]) -> list[str]:
    bottom, right = top + _PANEL, _WIDTH - _RIGHT
    parts = [f'<text x="{_LEFT}" y="{top - 30}" font-weight="bold">{escape(title)}</text>']
    for power in range(round(math.log10(span[0])), round(math.log10(span[1])) + 1):
        y = _y(10.0**power, top, span)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_label(power)}</text>')
    for power in range(1, round(math.log10(_MOST)) + 1):
        x = _x(10.0**power)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{10**power:,}</text>')
    for number, line in enumerate(lines):
        parts += [*_curve(line, top, span), *_legend(line, _LEFT + number * 150, top - 10)]
    return parts


def _curve(line: Line, top: int, span: tuple[float, float]) -> list[str]:
    parts = []
    for (fits, known), run in groupby(line.points, lambda point: (point[2], point[1] is not None)):
        if known:
            points = " ".join(f"{_x(listeners):.1f},{_y(value or 0, top, span):.1f}" for listeners, value, _ in run)
            parts.append(
                f'<polyline class="curve" data-name="{escape(line.name)}" points="{points}" fill="none" '
                f'stroke="{line.colour}" stroke-width="2"{_dashes(line)} stroke-opacity="{1 if fits else 0.3}"/>'
            )
    return parts


def _legend(line: Line, x: int, y: int) -> list[str]:
    stroke = f'stroke="{line.colour}" stroke-width="2"{_dashes(line)}'
    return [
        f'<line class="legend" x1="{x}" y1="{y - 4}" x2="{x + 26}" y2="{y - 4}" {stroke}/>',
        f'<text class="legend" x="{x + 32}" y="{y}">{escape(line.name)}</text>',
    ]


def _dashes(line: Line) -> str:
    return ' stroke-dasharray="6 4"' if line.dashed else ""


def _limit(plan: Plan) -> list[str]:
    """Where the plan takes no more people."""
    if plan.connections >= _MOST:
        return []
    x = _x(plan.connections)
    broken = 'stroke="#999" stroke-dasharray="2 3"'
    return [
        f'<line class="limit" x1="{x:.1f}" y1="{_TOPS[0]}" x2="{x:.1f}" y2="{_TOPS[1] + _PANEL}" {broken}/>',
        f'<text class="limit" x="{x + 6:.1f}" y="{_TOPS[0] + 14}">{plan.connections:,} connections allowed</text>',
    ]


def _label(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
