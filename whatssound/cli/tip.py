"""`whatssound tip`: tips the DJ. The tip is pending until the payment is confirmed."""

from __future__ import annotations

import argparse

from .account import add_account_arguments, command, open_session


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("tip", help="tip the DJ", description=__doc__)
    add_account_arguments(parser)
    parser.add_argument("amount", type=int, help="in minor units of the currency: 500 is five euros")
    parser.add_argument("--currency", default="EUR", help="ISO-4217 code")
    parser.add_argument("--note", help="a word for the DJ")
    parser.add_argument("--again", metavar="KEY", help="the key of an earlier try whose outcome is not known")
    parser.set_defaults(run=command(_tip))


async def _tip(arguments: argparse.Namespace) -> int:
    async with open_session(arguments) as session:
        receipt = await session.tips.send(
            arguments.amount, currency=arguments.currency, note=arguments.note, key=arguments.again
        )
    known = ", known from an earlier try" if receipt.duplicate else ""
    print(f"tip {receipt.tip.id}: {receipt.tip.amount} {receipt.tip.currency} {receipt.tip.status}{known}")
    return 0
