"""The live room on a terminal, drawn with Rich."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .report import Report, show_offences
from .screen import Line, Screen, Song

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_red", "bright_cyan", "bright_green")
_ROLES = {"dj": "🎧 ", "moderator": "🛡 "}
HEIGHT = 30
#: Rich has the picture load its font from elsewhere; any monospaced font will do.
_FONTS = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)


def draw(screen: Screen) -> RenderableType:
    """Draws one moment of the room."""
    layout = Layout()
    layout.split_column(Layout(_head(screen), size=3), Layout(name="middle"), Layout(_foot(screen), size=4))
    layout["middle"].split_row(Layout(_chat(screen), ratio=3), Layout(name="side", ratio=2))
    layout["middle"]["side"].split_column(Layout(_music(screen)), Layout(_people(screen), size=9))
    return layout


def _head(screen: Screen) -> Panel:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    figures = screen.figures
    clock = f"{min(figures.elapsed, figures.seconds):.0f} of {figures.seconds:.0f} s"
    line.add_row(Text(f"🎶 {screen.title}", "bold"), Text(f"{screen.phase} · {clock}", "dim"))
    return Panel(line, border_style="magenta")


def _chat(screen: Screen) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, max_width=18)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for line in screen.chat:
        table.add_row(*_said(line))
    typing = ", ".join(screen.typing[:4])
    more = f" and {len(screen.typing) - 4} more" if len(screen.typing) > 4 else ""
    subtitle = Text(f"{typing}{more} typing …" if typing else "", "italic dim")
    return Panel(table, title="chat", subtitle=subtitle, subtitle_align="left", border_style="cyan")


def _said(line: Line) -> tuple[Text, Text]:
    # The same name has the same colour in every run, unlike with hash().
    colour = _COLOURS[sum(line.who.encode()) % len(_COLOURS)]
    mark = "✓ " if line.stored else "· "
    name = Text.assemble((mark, "green" if line.stored else "dim"), (_ROLES.get(line.role, "") + line.who, colour))
    return name, Text(line.text)


def _music(screen: Screen) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    playing = screen.playing
    if playing is not None:
        table.add_row(Text(f"▶ {playing.title} — {playing.artist}", "bold green"), _votes(playing))
    for place, song in enumerate(screen.queue, 1):
        table.add_row(Text(f"{place}. {song.title} — {song.artist}"), _votes(song))
    if screen.more_songs:
        table.add_row(Text(f"… and {screen.more_songs} more", "dim"), "")
    parts: list[RenderableType] = [table]
    if playing is not None and playing.duration and playing.position is not None:
        parts.append(ProgressBar(total=playing.duration, completed=playing.position, complete_style="green"))
    return Panel(Group(*parts), title="now playing and next", border_style="green")


def _votes(song: Song) -> Text:
    return Text.assemble((f"▲{song.up}", "green"), " ", (f"▼{song.down}", "red"))


def _people(screen: Screen) -> Panel:
    money = (
        ", ".join(f"{amount / 100:.2f} {currency}" for currency, amount in sorted(screen.tips.items())) or "none yet"
    )
    tips = Text.assemble(("💰 tips ", "bold"), f"{money} ({screen.tip_count})")
    here = Text.assemble((f"👥 {screen.here} here ", "bold"), (", ".join(screen.names), "dim"))
    here.truncate(5 * 46, overflow="ellipsis")
    return Panel(Group(tips, here), title="the room", border_style="yellow")


def _foot(screen: Screen) -> Panel:
    figures = screen.figures
    latency = figures.latency
    chat = (
        f"{figures.rate:5.1f} messages/s · {figures.sent} sent · {figures.stored} stored in {figures.batches} batches"
        f" · {figures.votes} votes"
    )
    seen = (
        f"sent → seen p50 {latency.p50 * 1000:.0f} ms, p95 {latency.p95 * 1000:.0f} ms"
        f" · {figures.reconnects} reconnects"
    )
    return Panel(Text(f"{chat}\n{seen}", no_wrap=True, overflow="ellipsis"), border_style="blue")


def draw_report(report: Report) -> RenderableType:
    """Draws the summary."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, value in report.lines():
        table.add_row(name, value)
    verdict = Text(report.verdict(), "bold green" if report.passed else "bold red")
    offences = [Text(line, "red") for line in show_offences(report.offences)]
    return Panel(Group(table, Text(), verdict, *offences), title="what the database says", border_style="white")


def draw_svg(path: Path, screen: Screen, report: Report, *, width: int = 110) -> None:
    """Draws the final screen and the summary into an SVG file.

    Raises:
        OSError: the file cannot be written.
    """
    console = Console(record=True, file=io.StringIO(), width=width, height=HEIGHT, force_terminal=True)
    console.print(draw(screen), height=HEIGHT)
    console.print(draw_report(report))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_FONTS.sub("", console.export_svg(title="whatssound demo")), encoding="utf-8")
