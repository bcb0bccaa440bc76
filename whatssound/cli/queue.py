"""`whatssound queue`: lists and changes what plays next."""

from __future__ import annotations

import argparse

from ..models import QueueItem, QueueReceipt
from ..session import Session
from .account import add_account_arguments, command, open_session


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("queue", help="list and change what plays next", description=__doc__)
    add_account_arguments(parser)
    parser.set_defaults(run=command(_queue), action="list")
    actions = parser.add_subparsers(dest="action")
    actions.add_parser("list", help="what plays and what waits (the default)")
    add = actions.add_parser("add", help="add a song to the end")
    add.add_argument("title")
    add.add_argument("--artist")
    add.add_argument("--duration", type=float, metavar="SECONDS")
    move = actions.add_parser("move", help="move an item")
    move.add_argument("item")
    place = move.add_mutually_exclusive_group(required=True)
    place.add_argument("--before", metavar="ITEM")
    place.add_argument("--after", metavar="ITEM")
    remove = actions.add_parser("remove", help="take an item out")
    remove.add_argument("item")
    advance = actions.add_parser("next", help="play the next song (DJ and moderators)")
    advance.add_argument("--skip", action="store_true", help="say that the song before was cut short")


async def _queue(arguments: argparse.Namespace) -> int:
    async with open_session(arguments) as session:
        receipt = await _change(arguments, session)
        if receipt is not None and receipt.item is not None:
            print(f"{receipt.item.action}: {_line(receipt.item, session)}")
        if receipt is None:
            _show(session)
    return 0


async def _change(arguments: argparse.Namespace, session: Session) -> QueueReceipt | None:
    match arguments.action:
        case "add":
            return await session.queue.add(arguments.title, artist=arguments.artist, duration=arguments.duration)
        case "move":
            return await session.queue.move(arguments.item, before=arguments.before, after=arguments.after)
        case "remove":
            return await session.queue.remove(arguments.item)
        case "next":
            return await session.queue.advance(skipped=arguments.skip)
        case _:
            return None


def _show(session: Session) -> None:
    playing = session.state.now_playing
    print(f"plays  {_line(playing, session)}" if playing is not None else "nothing plays")
    for item in session.state.queue:
        print(f"waits  {_line(item, session)}")


def _line(item: QueueItem, session: Session) -> str:
    tally = session.state.tallies.get(item.song_id)
    votes = f"  +{tally.up} -{tally.down}" if tally is not None else ""
    return f"{item.title} — {item.artist or 'unknown'}{votes}  item {item.id}  song {item.song_id}"
