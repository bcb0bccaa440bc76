"""`whatssound say`: says something in a session and waits until it is stored."""

from __future__ import annotations

import argparse
import asyncio
import sys

from ..outbox import MessageReceipt
from .account import add_account_arguments, command, open_session


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("say", help="say something and wait until it is stored", description=__doc__)
    add_account_arguments(parser)
    parser.add_argument("text", help="what to say; - says each line of standard input")
    parser.set_defaults(run=command(_say))


async def _say(arguments: argparse.Namespace) -> int:
    async with open_session(arguments) as session:
        receipts: list[MessageReceipt] = []
        if arguments.text == "-":
            while line := await asyncio.to_thread(sys.stdin.readline):
                if line.strip():
                    receipts.append(await session.chat.send(line.rstrip("\n")))
        else:
            receipts.append(await session.chat.send(arguments.text))
        for receipt in receipts:
            row = await receipt.stored()
            print(f"{row.id} stored at {row.seq}")
    return 0
