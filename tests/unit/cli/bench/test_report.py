"""What is told before and after a run."""

from __future__ import annotations

import json

import pytest

from whatssound.cli import main
from whatssound.cli.bench.audience import Listening
from whatssound.cli.bench.estimate import warning
from whatssound.cli.bench.options import Options
from whatssound.cli.bench.report import as_json, as_text, is_clean
from whatssound.cli.bench.sightings import Tally
from whatssound.errors import ConfigurationError
from whatssound.quotas import plan_named


def tally(*seconds: float, lost: int = 0, repeats: int = 0) -> Tally:
    made = Tally(sent=1, expected=len(seconds) + lost, repeats=repeats)
    made.seconds.extend(seconds)
    return made


def listening(*, entered: int = 2, reconnects: int = 0) -> Listening:
    return Listening(listeners=2, entered=entered, live=2, reconnects=reconnects)


def test_clean_is_everybody_everything_once() -> None:
    assert is_clean({"chat": tally(0.1, 0.2)}, listening())
    assert not is_clean({}, listening())
    assert not is_clean({"chat": tally(0.1, lost=1)}, listening())
    assert not is_clean({"chat": tally(0.1, 0.2, repeats=1)}, listening())
    assert not is_clean({"chat": tally(0.1, 0.2)}, listening(entered=1))


def test_a_report_is_json_and_says_what_went_wrong() -> None:
    befell = listening(reconnects=3)
    befell.failures["UnreachableError"] += 2
    befell.feeds["frames"] += 2
    report = as_json(
        {"chat": tally(0.012, 0.034, lost=1)}, befell, messages=1234, refused={"RefusedError": 4}, late=0.0051
    )
    assert json.loads(json.dumps(report)) == report
    assert report["kinds"]["chat"]["p50_ms"] == 12.0
    assert report["kinds"]["chat"]["max_ms"] == 34.0
    text = as_text(report)
    for part in (
        "NOT everything",
        "lost 3 times",
        "UnreachableError 2 times",
        "RefusedError 4 times",
        "1,234",
        "2 by frames",
    ):
        assert part in text


def test_the_warning_says_what_does_not_fit() -> None:
    small = warning(Options(), plan_named("pro"))
    assert "Realtime messages" in small
    assert "more than" not in small
    large = warning(Options(listeners=600, messages_per_second=20, feed="changes"), plan_named("pro"))
    assert "channels will be closed" in large
    assert "500 connections" in large


def test_nothing_is_no_run() -> None:
    with pytest.raises(ConfigurationError, match="listeners"):
        Options(listeners=0)
    with pytest.raises(ConfigurationError, match="seconds"):
        Options(seconds=float("nan"))
    with pytest.raises(ConfigurationError):
        Options(votes_per_second=-1)


def test_accounts() -> None:
    assert Options(listeners=20, messages_per_second=12).accounts == 23
    assert Options(listeners=20, one_account=True).accounts == 1


def test_without_a_yes_nothing_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--url", "http://127.0.0.1:9", "--key", "k"]) == 1
    told = capsys.readouterr().err
    assert "Realtime messages" in told
    assert "yes" in told
