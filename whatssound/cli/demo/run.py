"""Runs the demo from settings to exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from ...errors import WhatsSoundError
from .backstage import BackstageError
from .collector import rare_collections
from .options import Options
from .report import Report
from .screen import Screen
from .show import Show, choose_show
from .stage import Stage, find_target, write_acts


def run(options: Options) -> int:
    """Plays the demo; returns 0 if everything accepted is stored exactly once and seen by everybody, else 1.

    A room that does not come about is told in a line for each reason, and is 1 too.
    """
    reports: list[Report] = []
    with rare_collections():
        try:
            reports.append(asyncio.run(play(options, choose_show(plain=options.plain))))
        except* (WhatsSoundError, BackstageError, OSError) as group:
            for reason in sorted({str(error) for error in _single(group)}):
                print(f"whatssound demo: {reason}", file=sys.stderr)
    return 0 if reports and reports[0].passed else 1


def _single(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _single(error)
        else:
            yield error


async def play(options: Options, show: Show) -> Report:
    """Plays the demo and shows it.

    Args:
        options: its settings.
        show: where it is seen.

    Returns:
        The summary, audited.
    """
    acts = write_acts(options)
    last: list[Screen] = []
    async with find_target(options) as target:
        stage = Stage(options, target, acts)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(show.watch(stage), name="demo-show")

            def last_look() -> None:
                watching.cancel()
                last.append(stage.screen())
                show.last_look(last[-1])

            report = await stage.play(last_look)
    show.sum_up(report)
    if options.report is not None:
        await asyncio.to_thread(_write, options.report, json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    if options.svg is not None:
        from .view import draw_svg  # noqa: PLC0415 - only where it is asked for

        await asyncio.to_thread(draw_svg, options.svg, last[-1], report)
    return report


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
