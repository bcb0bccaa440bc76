"""What the commands that take part in a session have in common: where, as whom, and how errors are told."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ..client import WhatsSound
from ..errors import ConfigurationError, WhatsSoundError
from ..session import Session

Work = Callable[[argparse.Namespace], Awaitable[int]]


def add_account_arguments(parser: argparse.ArgumentParser, *, session: bool = True) -> None:
    """Adds where to connect and as whom; ``session`` adds the session's id as first argument."""
    if session:
        parser.add_argument("session", help="the session's id")
    parser.add_argument("--url", help="the project's URL; default: $SUPABASE_URL")
    parser.add_argument("--key", help="its anon (publishable) key; default: $SUPABASE_ANON_KEY")
    parser.add_argument("--name", help="the name others see, for an anonymous sign-in")
    parser.add_argument("--email", help="sign in with this address; the password is read from $WHATSSOUND_PASSWORD")


@asynccontextmanager
async def open_client(arguments: argparse.Namespace) -> AsyncIterator[WhatsSound]:
    """Gives a signed-in client.

    By ``$SUPABASE_ACCESS_TOKEN`` it is that token's user, with ``--email`` that address', else a new anonymous one.

    Raises:
        ConfigurationError: URL, key or password is missing.
        WhatsSoundError: signing in failed.
    """
    url = arguments.url or os.environ.get("SUPABASE_URL")
    key = arguments.key or os.environ.get("SUPABASE_ANON_KEY")
    if not url or not key:
        missing = "--url" if not url else "--key"
        raise ConfigurationError(missing, "is not given, nor set in the environment")
    token = os.environ.get("SUPABASE_ACCESS_TOKEN")
    async with WhatsSound(url, key, access_token=token) as sound:
        if arguments.email:
            password = os.environ.get("WHATSSOUND_PASSWORD")
            if not password:
                raise ConfigurationError("WHATSSOUND_PASSWORD", "is not set in the environment")
            await sound.sign_in(arguments.email, password)
        elif not token:
            await sound.sign_in_anonymously(arguments.name)
        yield sound


@asynccontextmanager
async def open_session(arguments: argparse.Namespace) -> AsyncIterator[Session]:
    """Gives the session that the arguments name, open. See `open_client` for errors."""
    async with open_client(arguments) as sound, sound.session(arguments.session) as session:
        yield session


def command(work: Work) -> Callable[[argparse.Namespace], int]:
    """Makes a subcommand of a coroutine function: errors become one line and exit code 1, Ctrl-C code 130."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            return asyncio.run(_whole(work, arguments))
        except KeyboardInterrupt:
            return 130
        except WhatsSoundError as error:
            print(f"whatssound: {error}", file=sys.stderr)
            return 1

    return run


async def _whole(work: Work, arguments: argparse.Namespace) -> int:
    return await work(arguments)
