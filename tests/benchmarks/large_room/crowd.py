"""Listeners in processes of their own, so that neither server nor speakers pay for them; asked over pipes."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from whatssound import SessionConfig, WhatsSound
from whatssound.cli.bench.audience import Audience, Listening
from whatssound.cli.bench.sightings import Tally
from whatssound.cli.demo.collector import rare_collections
from whatssound.config import ConnectionConfig

_ENDING = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where listeners go.

    Attributes:
        url: the project's URL.
        anon_key: its public key.
        session_id: the session.
        feed: how its events are to reach them.
        at_once: how many of one process may be about to come in at the same time.
    """

    url: str
    anon_key: str
    session_id: str
    feed: Literal["frames", "changes"]
    at_once: int = 20

    def config(self) -> SessionConfig:
        """Settings of each listener: as by default, but as patient with a busy machine as the benchmark is."""
        return SessionConfig(
            feed=self.feed, reader_events=20_000, connection=ConnectionConfig(open_timeout=60.0, join_timeout=60.0)
        )


def raise_file_limit() -> None:
    """Lets this process and those it starts hold thousands of sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    """Several processes of listeners, seen from the one that runs the benchmark."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    async def _ask(self, question: str, *arguments: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send((question, arguments))
        return [await asyncio.to_thread(_receive, pipe) for pipe in self._pipes]

    async def enter(self) -> Listening:
        """Lets everybody in; answers when all are in or have been kept out."""
        return _together(await self._ask("enter"))

    async def listening(self) -> Listening:
        """What has befallen them so far."""
        return _together(await self._ask("listening"))

    async def missing(self, keys: Sequence[str]) -> int:
        """How many sightings of these things there are still to be."""
        return int(sum(await self._ask("missing", keys)))

    async def behind(self, seq: int) -> int:
        """How many are not connected, or have not been told of everything in the log up to ``seq``."""
        return int(sum(await self._ask("behind", seq)))

    async def tallies(self, sent: dict[str, float]) -> dict[str, Tally]:
        """What became of what was sent, by kind."""
        whole: dict[str, Tally] = {}
        for part in await self._ask("tallies", sent):
            for kind, tally in part.items():
                whole.setdefault(kind, Tally()).add(tally)
        return whole

    async def used(self) -> float:
        """Processor seconds that they have used so far."""
        return float(sum(await self._ask("used")))


@asynccontextmanager
async def open_crowd(place: Place, tokens: Sequence[str], *, processes: int) -> AsyncIterator[Crowd]:
    """Starts processes with a share of the listeners each; nobody comes in before `Crowd.enter`.

    Args:
        place: where they go.
        tokens: one for each listener.
        processes: how many.
    """
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    try:
        for number in range(processes):
            ours, theirs = context.Pipe()
            child = context.Process(target=_run, args=(theirs, place, tokens[number::processes]), daemon=True)
            child.start()
            theirs.close()
            pipes.append(ours)
            children.append(child)
        yield Crowd(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for child in children:
            await asyncio.to_thread(child.join, _ENDING)
            if child.is_alive():
                child.kill()


def _together(parts: Sequence[Listening]) -> Listening:
    whole = Listening()
    for part in parts:
        whole.add(part)
    return whole


def _receive(pipe: Connection) -> Any:
    answer = pipe.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _run(pipe: Connection, place: Place, tokens: Sequence[str]) -> None:
    raise_file_limit()
    with rare_collections():
        asyncio.run(_serve(pipe, place, tokens))


async def _serve(pipe: Connection, place: Place, tokens: Sequence[str]) -> None:
    config = place.config()
    async with AsyncExitStack() as stack:
        sounds = [
            await stack.enter_async_context(WhatsSound(place.url, place.anon_key, access_token=token, config=config))
            for token in tokens
        ]
        audience = Audience(place.session_id, sounds, config=config, at_once=place.at_once)
        while True:
            try:
                question, arguments = await asyncio.to_thread(pipe.recv)
            except EOFError:
                return
            try:
                pipe.send(await _answer(audience, stack, question, *arguments))
            except Exception as error:  # noqa: BLE001 - told to the process that asked
                pipe.send(RuntimeError(f"{question}: {error!r}"))


async def _answer(audience: Audience, stack: AsyncExitStack, question: str, *arguments: Any) -> Any:
    match question:
        case "enter":
            await stack.enter_async_context(audience)
            return audience.listening()
        case "listening":
            return audience.listening()
        case "missing":
            return audience.sightings.missing(*arguments)
        case "behind":
            return audience.behind(*arguments)
        case "tallies":
            return audience.sightings.tallies(*arguments)
        case "used":
            return time.process_time()
    raise ValueError(f"not a question: {question}")
