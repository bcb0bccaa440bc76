"""What `whatssound demo` can be told."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An existing project to play in: its API, its keys, and its database for the audit."""

    url: str
    anon_key: str
    service_key: str
    db_url: str

    def __repr__(self) -> str:
        return f"<Target {self.url}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of one run.

    Attributes:
        speed: how many times faster than recorded the chat goes.
        seconds: how long it goes on.
        listeners: how many there are, besides DJ and moderator.
        plain: lines instead of a live view.
        svg: where the final screen is drawn.
        report: where the summary goes as JSON.
        seed: makes the same script again.
        target: an existing project; None starts a local stack.
    """

    speed: float = 10.0
    seconds: float = 60.0
    listeners: int = 40
    plain: bool = False
    svg: Path | None = None
    report: Path | None = None
    seed: int = 1
    target: Target | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options to a parser."""
    parser.add_argument("--speed", type=_positive, default=10.0, help="times faster than the recorded chat")
    parser.add_argument("--seconds", type=_positive, default=60.0, help="how long the room goes on")
    parser.add_argument("--listeners", type=_count, default=40, help="besides the DJ and a moderator")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live view (as in a pipe or CI)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the final screen there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the summary there")
    parser.add_argument("--seed", type=int, default=1, help="the same seed plays the same script")
    there = parser.add_argument_group(
        "an existing project",
        "Give all four to play there instead of on a local stack: the last two confirm tips and check the result.",
    )
    there.add_argument("--url", help="its URL")
    there.add_argument("--key", help="its anon (publishable) key; default: $SUPABASE_ANON_KEY")
    there.add_argument("--service-key", help="its service key; default: $SUPABASE_SERVICE_ROLE_KEY")
    there.add_argument("--db-url", help="its database; default: $SUPABASE_DB_URL")


def read_options(arguments: argparse.Namespace) -> Options:
    """Makes settings of parsed arguments.

    Raises:
        ValueError: an existing project is named in part.
    """
    return Options(
        speed=arguments.speed,
        seconds=arguments.seconds,
        listeners=arguments.listeners,
        plain=arguments.plain,
        svg=arguments.svg,
        report=arguments.json,
        seed=arguments.seed,
        target=_target(arguments),
    )


def _target(arguments: argparse.Namespace) -> Target | None:
    if not arguments.url:
        if arguments.key or arguments.service_key or arguments.db_url:
            raise ValueError("--key, --service-key and --db-url need --url")
        return None
    anon_key = arguments.key or os.environ.get("SUPABASE_ANON_KEY")
    service_key = arguments.service_key or os.environ.get("SUPABASE_SERVICE_ROLE_KEY")
    db_url = arguments.db_url or os.environ.get("SUPABASE_DB_URL")
    if not (anon_key and service_key and db_url):
        raise ValueError("--url needs --key, --service-key and --db-url too: without them nothing can be checked")
    return Target(url=arguments.url, anon_key=anon_key, service_key=service_key, db_url=db_url)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return number


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"must be 1 to 1000, not {text}")
    return number
