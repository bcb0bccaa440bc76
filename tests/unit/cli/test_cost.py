from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from whatssound.cli import main
from whatssound.cli.cost.plot import render
from whatssound.planning.workload import Workload
from whatssound.quotas import PLANS, PRO, TEAM

TRACE = Path(__file__).parents[2] / "data" / "livechat.csv"
SVG = "{http://www.w3.org/2000/svg}"
ROOM = Workload(listeners=1000, messages_per_second=13.0, seconds=3 * 3600)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["cost", *arguments]) == 0
    return capsys.readouterr().out


def test_all_plans_and_both_feeds_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "--json"))
    assert [(each["plan"], each["feed"]) for each in found["estimates"]] == [
        (plan, feed) for plan in PLANS for feed in ("changes", "frames")
    ]
    assert found["phase"]["name"] == "0-10 k"


def test_one_plan_is_shown_alone_and_its_limit_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--listeners", "1000", "--messages-per-second", "13", "--hours", "3", "--plan", "pro")
    text = run(capsys, *arguments)
    assert "pro, frames: stops at the month's peak connections; first breaks connections, 1,000 of 500 (200%)" in text
    assert "team" not in text


def test_a_room_of_a_thousand_fits_team_by_frames_alone(capsys: pytest.CaptureFixture[str]) -> None:
    changes, frames = json.loads(run(capsys, "--plan", "team", "--json"))["estimates"]
    assert (changes["fits"], frames["fits"]) == (False, True)
    assert frames["tick_ms"] == 500
    assert frames["events_per_second"]["average_60_s"] < 2_500 < changes["events_per_second"]["average_60_s"]
    assert frames["price"]["month"] == 599 + sum(frames["price"]["beyond_the_plan"].values())


def test_what_was_agreed_on_counts(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "--plan", "enterprise", "--events-per-second", "100000", "--connections", "50000", "--json")
    frames = json.loads(text)["estimates"][1]
    assert frames["events_per_second"]["allowed"] == 100_000
    assert frames["tick_ms"] == 0


def test_a_trace_gives_chat_and_length(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "--trace", str(TRACE), "--plan", "team", "--json"))
    assert found["workload"]["messages_per_second"] == pytest.approx(12.9, abs=0.1)
    assert found["workload"]["hours"] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--listeners", "0"),
        ("--hours", "0"),
        ("--trace", "nowhere.csv"),
        ("--events-per-second", "5"),
        ("--plan", "team", "--connections", "0"),
    ],
)
def test_misuse_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert main(["cost", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("whatssound: ")
    assert streams.err.count("\n") == 1


def test_a_plot_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["cost", "--plot", str(tmp_path / "none" / "out.svg")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_plot_has_axes_curves_and_a_legend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out.svg"
    run(capsys, "--plan", "team", "--plot", str(out))
    root = ET.fromstring(out.read_text("utf-8"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"10", "100", "1,000", "10,000", "0.001", "listeners", "changes: votes", "frames: chat"} <= set(texts)
    curves = [element for element in root.iter(f"{SVG}polyline") if element.get("class") == "curve"]
    assert {curve.get("data-name") for curve in curves} == {
        "changes",
        "frames",
        "changes: chat",
        "changes: votes",
        "frames: chat",
        "frames: votes",
    }
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    for curve in curves:
        for point in curve.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 < x < width
            assert 0 < y < height


def test_the_plot_shows_frames_below_changes_in_a_large_room() -> None:
    root = ET.fromstring(render(ROOM, TEAM))
    curves = {element.get("data-name"): element for element in root.iter(f"{SVG}polyline")}  # the last part of each

    def last_y(name: str) -> float:
        return float(curves[name].attrib["points"].split()[-1].split(",")[1])

    assert last_y("frames") > last_y("changes") + 50  # y grows downwards
    assert curves["changes"].get("stroke-opacity") == "0.3"  # which the plan does not allow


def test_the_plot_marks_where_a_plan_takes_no_more_people() -> None:
    texts = [element.text for element in ET.fromstring(render(ROOM, PRO)).iter(f"{SVG}text")]
    assert "500 connections allowed" in texts
    assert not any(
        "allowed" in (element.text or "") for element in ET.fromstring(render(ROOM, TEAM)).iter(f"{SVG}text")
    )
