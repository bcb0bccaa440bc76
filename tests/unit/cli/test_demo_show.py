from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from whatssound.cli.demo.audit import Rows
from whatssound.cli.demo.ledger import Ledger, Words
from whatssound.cli.demo.meter import Latency
from whatssound.cli.demo.report import Report, Witnessed, make_report
from whatssound.cli.demo.screen import Figures, Line, Screen, Song
from whatssound.cli.demo.show import LiveShow, PlainShow, choose_show, line_of
from whatssound.cli.demo.view import draw, draw_report, draw_svg

SCREEN = Screen(
    title="Noche",
    phase="live",
    playing=Song("Luz", "Los Faroles", 7, 2, 60.0, 200.0),
    queue=(Song("夜の海", "波止場バンド", 3, 1), Song("Slow [Elevator]", "", 0, 0)),
    more_songs=4,
    chat=(Line("ana", "listener", "¡temazo! 🔥", stored=True), Line("DJ Quinta", "dj", "[b]gracias[/b]", stored=False)),
    tips={"EUR": 1550},
    tip_count=3,
    here=42,
    names=("ana", "Łukasz"),
    typing=("Zoë", "Omar"),
    figures=Figures(12.0, 60.0, 1500, 1400, 300, 130.4, Latency(10, 0.004, 0.02, 0.3), 55, 1),
)


def drawn(what: object) -> str:
    console = Console(file=io.StringIO(), width=110, height=30, record=True)
    console.print(what, height=30)
    return console.export_text()


def report(*, kept: bool) -> Report:
    ledger = Ledger() if kept else Ledger(words={"m1": Words("m1", "ana", "hola")})
    return make_report(Witnessed(2, 0, len(ledger.words), 0, 0, Latency(), 0, 0, 0, 5.0), ledger, Rows())


def test_the_view_shows_the_room() -> None:
    text = drawn(draw(SCREEN))
    for part in (
        "Noche",
        "live",
        "▶ Luz",
        "▲7",
        "▼2",
        "夜の海",
        "and 4 more",
        "temazo",
        "15.50 EUR",
        "42 here",
        "130.4",
        "p50 4 ms",
        "p95 20 ms",
        "1400 stored in 300 batches",
        "Zoë",
        "1 reconnects",
    ):
        assert part in text, part


def test_what_people_write_is_not_markup() -> None:
    text = drawn(draw(SCREEN))
    assert "[b]gracias[/b]" in text
    assert "Slow [Elevator]" in text


def test_an_empty_room_can_be_drawn() -> None:
    empty = replace(SCREEN, playing=None, queue=(), more_songs=0, chat=(), tips={}, names=(), typing=())
    assert "none yet" in drawn(draw(empty))


def test_the_summary_tells_offences() -> None:
    assert "exactly once" in drawn(draw_report(report(kept=True)))
    assert "message m1 is missing" in drawn(draw_report(report(kept=False)))


def test_the_final_screen_is_drawn_as_svg(tmp_path: Path) -> None:
    file = tmp_path / "new" / "demo.svg"
    draw_svg(file, SCREEN, report(kept=True))
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "temazo" in text
    assert "url(http" not in text.replace('"', "")
    assert "monospace" in text


def test_a_line_has_it_all() -> None:
    line = line_of(SCREEN)
    for part in (
        "12.0 s",
        "42 here",
        "130 messages/s",
        "1500 sent",
        "1400 stored",
        "p95 20 ms",
        "plays Luz",
        "6 waiting",
    ):
        assert part in line


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_and_ci_get_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert isinstance(choose_show(plain=False, out=io.StringIO()), PlainShow)
    assert isinstance(choose_show(plain=False, out=Terminal()), LiveShow)
    assert isinstance(choose_show(plain=True, out=Terminal()), PlainShow)
    monkeypatch.setenv("CI", "true")
    assert isinstance(choose_show(plain=False, out=Terminal()), PlainShow)


class Room:
    """A room that can be watched."""

    phase = "opening the doors"

    def __init__(self) -> None:
        self.is_open = False
        self.looks = 0
        self.looked = asyncio.Event()

    def screen(self) -> Screen:
        self.looks += 1
        if self.looks == 2:
            self.looked.set()
        return SCREEN


async def test_the_live_view_draws_until_cancelled_and_keeps_the_last_picture() -> None:
    out = Terminal()
    show, room = LiveShow(Console(file=out, width=110, height=30, force_terminal=True)), Room()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(show.watch(room))
        await asyncio.sleep(0)
        room.is_open = True
        await room.looked.wait()
        watching.cancel()
    show.last_look(SCREEN)
    show.sum_up(report(kept=True))
    assert "opening the doors" in out.getvalue()
    assert "exactly once" in out.getvalue()


async def test_plain_lines_are_written_until_cancelled() -> None:
    lines: list[str] = []
    show, room = PlainShow(lines.append), Room()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(show.watch(room))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        watching.cancel()
    show.last_look(SCREEN)
    show.sum_up(report(kept=False))
    assert lines[0] == "opening the doors …"
    assert lines[1] == line_of(SCREEN)
    assert lines[-1].endswith("is missing") or "missing" in "\n".join(lines)
