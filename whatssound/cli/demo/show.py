"""Shows a run while it goes on: a live view on a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live

from .report import Report, show_offences
from .screen import Screen
from .view import HEIGHT, draw, draw_report

#: Seconds between two pictures, and between two plain lines.
_PICTURE = 1 / 8
_LINE = 3.0


class Shown(Protocol):
    """What can be watched: a `Stage`."""

    phase: str

    @property
    def is_open(self) -> bool:
        """Whether there is a room to show."""
        ...

    def screen(self) -> Screen:
        """The room at this moment."""
        ...


class Show(Protocol):
    """A way of showing."""

    async def watch(self, stage: Shown) -> None:
        """Shows the room until cancelled."""
        ...

    def last_look(self, screen: Screen) -> None:
        """Shows the room one last time."""
        ...

    def sum_up(self, report: Report) -> None:
        """Shows the summary."""
        ...


def choose_show(*, plain: bool, out: TextIO | None = None) -> Show:
    """Chooses the live view, or plain lines where that was asked for, in a pipe and in CI."""
    out = out or sys.stdout
    if plain or not out.isatty() or os.environ.get("CI"):
        return PlainShow(lambda line: print(line, file=out, flush=True))
    return LiveShow(Console(file=out))


class LiveShow:
    """The live view.

    Args:
        console: where it is drawn.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop", screen=True)

    async def watch(self, stage: Shown) -> None:
        """Draws the room several times a second until cancelled."""
        with self._live:
            while True:
                if stage.is_open:
                    self._live.update(draw(stage.screen()), refresh=True)
                else:
                    self._live.update(f"{stage.phase} …", refresh=True)
                await asyncio.sleep(_PICTURE)

    def last_look(self, screen: Screen) -> None:
        """Leaves the live view and keeps its last picture."""
        self._live.stop()
        self._console.print(draw(screen), height=min(HEIGHT, self._console.height))

    def sum_up(self, report: Report) -> None:
        """Draws the summary."""
        self._console.print(draw_report(report))


class PlainShow:
    """Plain lines.

    Args:
        write: takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    async def watch(self, stage: Shown) -> None:
        """Writes a line every few seconds until cancelled."""
        while True:
            self._write(line_of(stage.screen()) if stage.is_open else f"{stage.phase} …")
            await asyncio.sleep(_LINE)

    def last_look(self, screen: Screen) -> None:
        """Writes the last line."""
        self._write(line_of(screen))

    def sum_up(self, report: Report) -> None:
        """Writes the summary."""
        self._write("")
        for name, value in report.lines():
            self._write(f"{name:<22}{value}")
        self._write("")
        self._write(report.verdict())
        for line in show_offences(report.offences):
            self._write(f"  {line}")


def line_of(screen: Screen) -> str:
    """One moment as one line."""
    figures = screen.figures
    playing = screen.playing.title if screen.playing is not None else "nothing"
    money = sum(screen.tips.values()) / 100
    return (
        f"{figures.elapsed:5.1f} s  {screen.phase}: {screen.here} here, {figures.rate:.0f} messages/s, "
        f"{figures.sent} sent, {figures.stored} stored in {figures.batches} batches, "
        f"seen after p50 {figures.latency.p50 * 1000:.0f} p95 {figures.latency.p95 * 1000:.0f} ms, "
        f"{figures.votes} votes, tips {money:.2f}, plays {playing}, {len(screen.queue) + screen.more_songs} waiting"
    )
