"""`whatssound dev`: Supabase on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

DEFAULT_PORT = 54321
"""Where `supabase start` listens too, so that a project's settings fit both."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "dev",
        help="Supabase on this machine, until Ctrl-C",
        description="Runs Postgres, REST, Auth and Realtime on one port, with the well-known local keys, until Ctrl-C.",
    )
    add_arguments(parser)
    parser.set_defaults(run=_run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `whatssound dev` to a parser."""
    add = parser.add_argument
    add("--port", type=_port, default=DEFAULT_PORT, help="TCP port; 0 takes a free one (default: %(default)s)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add(
        "--env-file",
        type=Path,
        metavar="PATH",
        help="write URL, keys and database URL there once all is ready; removed at the end",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep the database there (default: .whatssound/PORT; with --port 0 it is thrown away)",
    )
    data.add_argument("--reset", action="store_true", help="throw the kept database away and start afresh")
    data.add_argument(
        "--migrations",
        type=_directory_or_none,
        default="product",
        metavar="DIR|none",
        help="migrations to apply (default: whatssound's own)",
    )
    data.add_argument("--no-seed", action="store_true", help="leave out the seed.sql beside the migrations")
    data.add_argument(
        "--sql",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="run this file too, as superuser, once; may be repeated",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--plan", choices=("free", "pro", "team"), help="apply a hosted plan's Realtime limits")
    limits.add_argument(
        "--limit", type=_limit, action="append", default=[], metavar="NAME=N", help="set one Realtime limit"
    )
    limits.add_argument(
        "--jwt-expiry", type=_positive, default=3600, metavar="SECONDS", help="life of tokens (default: %(default)s)"
    )
    limits.add_argument("--jwt-algorithm", choices=("HS256", "ES256"), default="HS256", help="how tokens are signed")
    limits.add_argument("--fault-seed", type=int, default=0, metavar="N", help="seed of faults left to chance")
    real = parser.add_argument_group("real parts instead of ours")
    real.add_argument("--database-url", metavar="URL", help="an existing Postgres 15 to 18, by a superuser's URL")
    real.add_argument("--postgrest-bin", type=Path, metavar="PATH", help="a real PostgREST")
    real.add_argument("--realtime-url", metavar="URL", help="a real Realtime, such as http://tenant.localhost:4000")
    real.add_argument(
        "--supabase-cli", action="store_true", help="no stack of ours: show the one that `supabase start` runs"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.database_url and (arguments.data_dir or arguments.reset):
        return _misuse("--database-url excludes --data-dir and --reset: that database is yours to keep or drop")
    from whatssound.cli._serving import serve  # noqa: PLC0415 - the extras it needs are not asked for by --help

    return serve(arguments)


def _misuse(reason: str) -> int:
    print(f"whatssound dev: {reason}", file=sys.stderr)
    return 2


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"a port lies between 0 and 65535, not {number}")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _directory_or_none(text: str) -> Path | str:
    if text in {"none", "product"}:
        return text
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"no such directory: {text}")
    return Path(text)


def _limit(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not value.isdigit():
        raise argparse.ArgumentTypeError(f"a limit looks like max_events_per_second=100, not {text}")
    return name.replace("-", "_"), int(value)
