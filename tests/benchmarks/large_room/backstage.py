"""A local stack in processes of its own, and what it has counted and used so far."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_STARTING = 120.0
_ENDING = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time used so far.

    Attributes:
        server: by the stack's own process.
        postgres: by all processes of Postgres.
    """

    server: float
    postgres: float


class Backstage:
    """A running stack, seen from outside.

    Args:
        pid: of its process.
        env: what it told of itself, by the names that Supabase's own tools use.
        http: asks it.
    """

    def __init__(self, pid: int, env: dict[str, str], http: aiohttp.ClientSession) -> None:
        self._pid = pid
        self._http = http
        self.url = env["SUPABASE_URL"]
        self.anon_key = env["SUPABASE_ANON_KEY"]
        self.service_key = env["SUPABASE_SERVICE_ROLE_KEY"]
        self.db_url = env["SUPABASE_DB_URL"]
        self.jwt_secret = env["SUPABASE_JWT_SECRET"]

    async def status(self) -> dict[str, Any]:
        """What the stack has counted: Realtime messages, sockets, calls of functions."""
        async with self._http.get(f"{self.url}/_local/status", headers={"apikey": self.service_key}) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found

    async def act(self, path: str, **arguments: Any) -> Any:
        """Does something by the control API, and answers what it says."""
        headers = {"apikey": self.service_key}
        async with self._http.post(f"{self.url}/_local/{path}", json=arguments, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json()

    def used(self) -> Usage:
        """The processor time that the stack has used so far."""
        processes = _processes()
        parents = {pid: parent for pid, parent, _ in processes}
        seconds = {pid: used for pid, _, used in processes}

        def is_below(pid: int) -> bool:
            while pid := parents.get(pid, 0):
                if pid == self._pid:
                    return True
            return False

        return Usage(seconds[self._pid], sum(used for pid, used in seconds.items() if is_below(pid)))


def _processes() -> list[tuple[int, int, float]]:
    """Process id, its parent's, and processor seconds, of all processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                user, system = int(fields[11]), int(fields[12])
                found.append((int(entry.name), int(fields[1]), (user + system) / _TICKS))
    return found


@asynccontextmanager
async def open_backstage(options: Sequence[str] = ()) -> AsyncIterator[Backstage]:
    """Runs `whatssound dev` with these options, on a free port and with data that is thrown away.

    Raises:
        RuntimeError: it did not start; what it said is on standard error.
    """
    with tempfile.TemporaryDirectory() as directory:
        env_file = Path(directory) / "env"
        arguments = ["dev", "--port", "0", "--env-file", str(env_file), *options]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "whatssound.cli", *arguments, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            env = await _started(child, env_file)
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
                yield Backstage(child.pid, env, http)
        finally:
            if child.returncode is None:
                child.terminate()
            async with asyncio.timeout(_ENDING):
                await child.wait()


async def _started(child: asyncio.subprocess.Process, env_file: Path) -> dict[str, str]:
    ends = time.monotonic() + _STARTING
    while not (env := _read(env_file)):
        if child.returncode is not None:
            raise RuntimeError(f"the stack ended with code {child.returncode} before it was ready")
        if time.monotonic() > ends:
            raise RuntimeError(f"the stack was not ready within {_STARTING:g} s")
        await asyncio.sleep(0.1)
    return env


def _read(env_file: Path) -> dict[str, str]:
    """What the stack wrote there; nothing as long as it is not ready."""
    if not env_file.exists():
        return {}
    lines = (line for line in env_file.read_text().splitlines() if not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)
