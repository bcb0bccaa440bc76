"""One run against a project: makes a session and its people, plays, and reports."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from ...client import WhatsSound
from ...config import SessionConfig
from ...errors import ConfigurationError
from ...session import Session
from ..account import open_client
from .audience import Audience
from .options import Options
from .performance import Performance
from .programme import Say, Tip, Vote, evenly, together
from .report import as_json

_AT_THE_DOOR = 10
_SONGS = 3


async def run(arguments: argparse.Namespace, options: Options) -> dict[str, Any]:
    """Runs once.

    Args:
        arguments: where, as whom, and in which session, as `whatssound.cli.account` has them.
        options: what is to be done.

    Returns:
        The report, see `report.as_json`.

    Raises:
        WhatsSoundError: the project, session or account does not permit it.
    """
    config = SessionConfig(feed=options.feed, reader_events=20_000)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_client(arguments))
        bank = await _bank(stack, arguments) if options.tips_per_second else None
        session_id = await stack.enter_async_context(_session(first, arguments.session))
        more = await _sign_in(stack, arguments, options.accounts - 1)
        speakers = [
            await stack.enter_async_context(sound.session(session_id, config=replace(config, track_presence=False)))
            for sound in (first, *more[: options.speakers - 1])
        ]
        songs = await _songs(speakers[0], own=arguments.session is None)
        listeners = [first] * options.listeners if options.one_account else more[options.speakers - 1 :]
        audience = await stack.enter_async_context(Audience(session_id, listeners, config=config, at_once=_AT_THE_DOOR))
        performance = Performance(speakers, songs=songs, bank=bank)
        await performance.play(_programme(options))
        await audience.until_seen(list(performance.sent), within=options.patience)
        return as_json(
            audience.sightings.tallies(performance.sent),
            audience.listening(),
            messages=_spent({first, *more}),
            refused=performance.refused,
            late=performance.latest,
        )


def _programme(options: Options) -> Sequence[Any]:
    seconds = options.seconds
    return together(
        evenly(Say, per_second=options.messages_per_second, seconds=seconds),
        evenly(Vote, per_second=options.votes_per_second, seconds=seconds),
        evenly(Tip, per_second=options.tips_per_second, seconds=seconds),
    )


async def _bank(stack: AsyncExitStack, arguments: argparse.Namespace) -> WhatsSound:
    key = os.environ.get("SUPABASE_SERVICE_ROLE_KEY")
    if not key:
        raise ConfigurationError("SUPABASE_SERVICE_ROLE_KEY", "is not set: tips are paid with the service key")
    return await stack.enter_async_context(WhatsSound(arguments.url or os.environ["SUPABASE_URL"], key))


@asynccontextmanager
async def _session(sound: WhatsSound, session_id: str | None) -> AsyncIterator[str]:
    """Gives the session that was named, or one of our own that is ended after the block."""
    if session_id is not None:
        yield session_id
        return
    own = await sound.create_session("whatssound bench")
    try:
        yield own.id
    finally:
        await sound.end_session(own.id)


async def _sign_in(stack: AsyncExitStack, arguments: argparse.Namespace, count: int) -> list[WhatsSound]:
    door = asyncio.Semaphore(_AT_THE_DOOR)
    url, key = (arguments.url or os.environ["SUPABASE_URL"]), (arguments.key or os.environ["SUPABASE_ANON_KEY"])
    sounds = [await stack.enter_async_context(WhatsSound(url, key)) for _ in range(count)]

    async def enter(number: int, sound: WhatsSound) -> None:
        async with door:
            await sound.sign_in_anonymously(f"bench{number}")

    await asyncio.gather(*(enter(number, sound) for number, sound in enumerate(sounds, start=1)))
    return sounds


async def _songs(session: Session, *, own: bool) -> list[str]:
    if own:
        for number in range(1, _SONGS + 1):
            await session.queue.add(f"Bench {number}")
    return [item.song_id for item in session.state.queue[:_SONGS]]


def _spent(sounds: set[WhatsSound]) -> int:
    budgets = [sound.budget() for sound in sounds]
    return sum(budget.sent + budget.received for budget in budgets)
