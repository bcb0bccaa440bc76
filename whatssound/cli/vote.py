"""`whatssound vote`: votes for or against a song of a session, or takes the vote back."""

from __future__ import annotations

import argparse

from .account import add_account_arguments, command, open_session


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("vote", help="vote on a song", description=__doc__)
    add_account_arguments(parser)
    parser.add_argument("song", help="the song's id, as `whatssound queue SESSION` lists it")
    parser.add_argument("vote", choices=("up", "down", "retract"))
    parser.set_defaults(run=command(_vote))


async def _vote(arguments: argparse.Namespace) -> int:
    async with open_session(arguments) as session:
        if arguments.vote == "retract":
            receipt = await session.votes.retract(arguments.song)
        else:
            receipt = await session.votes.cast(arguments.song, 1 if arguments.vote == "up" else -1)
    tally = receipt.tally
    print(f"{tally.up} up, {tally.down} down" + ("" if receipt.changed else " (nothing changed)"))
    return 0
