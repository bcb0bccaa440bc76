"""`whatssound watch`: shows what happens in a session, one line an event."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from ..events import (
    ChatMessage,
    Event,
    PresenceJoined,
    PresenceLeft,
    QueueChanged,
    SessionChanged,
    StatusChanged,
    TipSent,
    VoteCast,
)
from ..streams import EventStream
from .account import add_account_arguments, command, open_client


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("watch", help="show what happens in a session", description=__doc__)
    add_account_arguments(parser)
    parser.add_argument("--json", action="store_true", help="every event, as a line of JSON")
    parser.set_defaults(run=command(_watch))


async def _watch(arguments: argparse.Namespace) -> int:
    async with open_client(arguments) as sound:
        session = sound.session(arguments.session)
        # Read from before it opens, so that its coming to life is told too.
        events = session.events()
        async with session:
            if not arguments.json:
                print(f"{session.state.session.title}: {session.state.occupancy} here", flush=True)
            await _tell(events, as_json if arguments.json else as_line)
    return 0


async def _tell(events: EventStream, write: Callable[[Event], str | None]) -> None:
    async for event in events:
        line = write(event)
        if line is not None:
            print(line, flush=True)
        if isinstance(event, SessionChanged) and event.action == "ended":
            return


def as_json(event: Event) -> str:
    """An event as one line of JSON; ``event`` names its class."""
    return json.dumps({"event": type(event).__name__, **event.model_dump(mode="json")}, ensure_ascii=False)


def as_line(event: Event) -> str | None:
    """An event for people; None for what does not interest them."""
    match event:
        case ChatMessage():
            return f"{event.username}: {event.content}"
        case VoteCast():
            return f"* {event.username or event.user_id} votes {event.value:+d} on {event.song_id}: {event.tally.score}"
        case TipSent():
            note = f" ({event.tip.note})" if event.tip.note else ""
            return f"* {event.tip.username or 'somebody'} tips {event.tip.amount / 100:.2f} {event.tip.currency}{note}"
        case QueueChanged():
            return f"* {event.item.title} {event.action}"
        case PresenceJoined():
            return f"* {event.member.username} comes"
        case PresenceLeft():
            return f"* {event.member.username} leaves"
        case SessionChanged():
            return f"* session {event.action}"
        case StatusChanged():
            return f"* {event.status.value}" + (f": {event.reason}" if event.reason else "")
        case _:
            return None
