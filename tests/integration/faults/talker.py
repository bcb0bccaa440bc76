"""Runs a bot that keeps what it says in a spool, kills it without warning, and starts it again."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import asdict, replace
from pathlib import Path

from tests.integration.faults.bot import Orders

_ROOT = Path(__file__).parents[3]


class Talker:
    """One bot over its lives.

    Args:
        orders: what every life is told; ``name`` gets the life's number, and ``talking`` follows `talk`.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._process: Process | None = None
        self._lives = 0
        self._talking = False
        # One death after the other, however close they are.
        self._dying = asyncio.Lock()

    async def start(self) -> None:
        """Starts the bot, and returns once it is ready to talk."""
        await self._live()
        while not self._has_opened():  # noqa: ASYNC110 - a file of another process tells nobody of its news
            await asyncio.sleep(0.02)

    def talk(self, on: bool) -> None:
        """Lets the bot talk, or be silent, in this life and the next."""
        self._talking = on
        if self._process is not None and self._process.stdin is not None and self._process.returncode is None:
            self._process.stdin.write(b"talk\n" if on else b"hush\n")

    async def kill(self, seconds: float) -> None:
        """Kills the bot (SIGKILL) and starts it again after so many seconds."""
        async with self._dying:
            if self._process is not None:
                self._process.kill()
                await self._process.wait()
            await asyncio.sleep(seconds)
            await self._live()

    async def finish(self, *, within: float) -> str:
        """Lets the bot store all it has and end; returns what went wrong, or nothing.

        Args:
            within: seconds, after which it is killed.
        """
        process = self._process
        if process is None:
            return "never started"
        try:
            async with asyncio.timeout(within):
                await process.communicate(b"enough\n")
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"did not end within {within:g} s"
        return f"ended with exit code {process.returncode}" if process.returncode else ""

    async def close(self) -> None:
        """Leaves no process behind."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def accepted(self) -> list[str]:
        """The texts of all that was accepted so far, in every life."""
        return Path(self._orders.accepted).read_text().splitlines()

    def _has_opened(self) -> bool:
        return Path(self._orders.accepted).exists()

    async def _live(self) -> None:
        self._lives += 1
        orders = replace(self._orders, name=f"{self._orders.name}{self._lives}", talking=self._talking)
        # Not our output: a lane speaks through it.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.faults.bot",
            json.dumps(asdict(orders)),
            cwd=_ROOT,
            stdin=PIPE,
            stdout=DEVNULL,
        )
