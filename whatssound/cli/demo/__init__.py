"""`whatssound demo`: a whole live room on this machine, checked against its database at the end."""

from __future__ import annotations

import argparse
import sys

from .options import add_arguments, read_options


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "demo", help="a whole live room on this machine, checked at the end", description=__doc__
    )
    add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        options = read_options(arguments)
    except ValueError as error:
        print(f"whatssound demo: {error}", file=sys.stderr)
        return 2
    from .run import run  # noqa: PLC0415 - the extras it needs are not asked for by --help

    return run(options)
