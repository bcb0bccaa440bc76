"""`whatssound bench`: what a room of a project delivers, how fast, and what that spends."""

from __future__ import annotations

import argparse
import json
import sys

from ...errors import ConfigurationError
from ...quotas import PLANS, plan_named
from ..account import add_account_arguments, command
from .estimate import warning
from .options import Options
from .report import as_text
from .run import run

_DEFAULTS = Options()


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("bench", help="measure a room of a project", description=__doc__)
    add_account_arguments(parser, session=False)
    parser.add_argument("--session", help="a session that is there, instead of one that is made and ended")
    parser.add_argument("--listeners", type=int, default=_DEFAULTS.listeners, help="default: %(default)s")
    parser.add_argument(
        "--messages-per-second",
        type=float,
        default=_DEFAULTS.messages_per_second,
        help="chat, all speakers together (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=_DEFAULTS.seconds, help="default: %(default)s")
    parser.add_argument(
        "--votes-per-second", type=float, default=_DEFAULTS.votes_per_second, help="default: %(default)s"
    )
    parser.add_argument(
        "--tips-per-second", type=float, default=0.0, help="paid with $SUPABASE_SERVICE_ROLE_KEY (default: none)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=_DEFAULTS.patience,
        help="seconds after the last word in which everything is to arrive (default: %(default)s)",
    )
    parser.add_argument("--feed", choices=("auto", "frames", "changes"), default="auto", help="default: %(default)s")
    parser.add_argument(
        "--one-account",
        action="store_true",
        help="all listen as one user, where sign-ins are limited; the database then counts one person, and sends as in "
        "a small room",
    )
    parser.add_argument("--plan", choices=sorted(PLANS), default="free", help="for the warning (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to spend what it costs")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=command(_bench))


async def _bench(arguments: argparse.Namespace) -> int:
    options = Options(
        listeners=arguments.listeners,
        messages_per_second=arguments.messages_per_second,
        seconds=arguments.seconds,
        votes_per_second=arguments.votes_per_second,
        tips_per_second=arguments.tips_per_second,
        feed=arguments.feed,
        one_account=arguments.one_account,
        patience=arguments.patience,
    )
    print(warning(options, plan_named(arguments.plan)), file=sys.stderr, flush=True)
    if not arguments.yes and not _agreed():
        raise ConfigurationError("yes", "is not given: nothing was sent")
    found = await run(arguments, options)
    print(json.dumps(found, indent=2) if arguments.json else as_text(found))
    return 0 if found["clean"] else 1


def _agreed() -> bool:
    # Before anything runs, so nothing waits while this does.
    return sys.stdin.isatty() and input("Go on? [y/N] ").strip().lower() in ("y", "yes")
