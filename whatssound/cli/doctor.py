"""`whatssound doctor`: checks whether a project is set up for sessions, and says what to do where it is not."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

from ..client import WhatsSound
from ..config import ConnectionConfig, SessionConfig
from ..errors import SessionNotFoundError, WhatsSoundError
from .account import add_account_arguments, command, open_client

_GIVING_UP = ConnectionConfig(open_timeout=5.0, join_timeout=8.0, max_attempts=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was found."""

    what: str
    well: bool
    detail: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.well else 'FAIL'} {self.what}" + (f": {self.detail}" if self.detail else "")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("doctor", help="check whether a project is set up", description=__doc__)
    add_account_arguments(parser, session=False)
    parser.add_argument("--session", help="a session to check its channels with")
    parser.set_defaults(run=command(_doctor))


async def _doctor(arguments: argparse.Namespace) -> int:
    well = True
    async for finding in examine(arguments):
        print(finding, flush=True)
        well = well and finding.well
    return 0 if well else 1


async def examine(arguments: argparse.Namespace) -> AsyncIterator[Finding]:
    """Looks at a project, from its address to its channels; stops where the rest cannot work."""
    url = arguments.url or os.environ.get("SUPABASE_URL")
    try:
        async with open_client(arguments) as sound:
            yield Finding("sign-in", well=True, detail=f"at {url} as {sound.user_id or 'the given user'}")
            migrated = await _check_database(sound)
            yield migrated
            if not migrated.well:
                return
            if not arguments.session:
                yield Finding("channels", well=True, detail="not looked at; name a session with --session")
                return
            yield await _check_private(sound, arguments.session)
            yield await _check_public(sound, arguments.session)
    except WhatsSoundError as error:
        yield Finding("sign-in", well=False, detail=str(error))


async def _check_database(sound: WhatsSound) -> Finding:
    # A session that cannot exist: the right answer shows that key, API and migrations work, and changes nothing.
    try:
        async with sound.session(uuid4()):
            return Finding("database", well=False, detail="a session that does not exist was opened")
    except SessionNotFoundError:
        return Finding("database", well=True, detail="the migrations are there")
    except WhatsSoundError as error:
        return Finding("database", well=False, detail=f"{error}; deploy supabase/migrations with `supabase db push`")


async def _check_private(sound: WhatsSound, session_id: str) -> Finding:
    try:
        async with sound.session(session_id, config=SessionConfig(connection=_GIVING_UP)) as session:
            return Finding("private channel", well=True, detail=f"joined, {session.state.occupancy} here")
    except WhatsSoundError as error:
        return Finding("private channel", well=False, detail=str(error))


async def _check_public(sound: WhatsSound, session_id: str) -> Finding:
    config = SessionConfig(private=False, track_presence=False, connection=_GIVING_UP)
    try:
        async with sound.session(session_id, config=config):
            return Finding(
                "public channel",
                well=False,
                detail="anybody may join a public channel of the same name, which sessions do not hear: turn off "
                "'Allow public access' in the project's Realtime settings",
            )
    except WhatsSoundError:
        return Finding("public channel", well=True, detail="refused, as it should be")
