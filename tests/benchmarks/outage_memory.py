"""What an outage of ten minutes costs in memory: of somebody who goes on talking, and of somebody who listens.

Run: python tests/benchmarks/outage_memory.py [--seconds 600] [--rate 50] [--speed 20]

Each client is a process of its own behind a link that refuses; the stack is in another. The talker's outbox has room
for the whole outage; each has a second reader that never reads its events. ``--speed 20`` plays the outage twenty times
faster with the same number of messages; ``--speed 1`` takes as long as it says.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg

from whatssound import EventStream, Lagged, Session, SessionConfig, SlowReaderError, WhatsSound
from whatssound.config import ConnectionConfig, OutboxConfig
from whatssound.events import EventBase, Status
from whatssound.testing import FaultyLink, StackThread

#: What an outage may cost, in MB.
AIM = 40.0
WORDS = "¿Quién pone la siguiente? Esta canción me recuerda al verano. "
_WARM = 200


def rss() -> float:
    """Resident memory of this process, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this needs Linux's /proc")


@dataclass
class Client:
    """One process' part.

    Attributes:
        role: ``talker`` or ``listener``.
        url: of the stack.
        key: the anon key.
        session_id: the room.
        count: messages of the outage.
        seconds: how long it takes here.
    """

    role: str
    url: str
    key: str
    session_id: str
    count: int
    seconds: float
    heard: int = 0
    unread: str = ""
    peak: float = field(default=0.0)

    async def run(self) -> dict[str, Any]:
        """Opens a session, cuts the link, counts memory, heals, and waits until all has come right."""
        speed = self.count / self.seconds
        config = SessionConfig(
            feed="frames",
            outbox=OutboxConfig(max_messages=self.count + 1000, max_bytes=64_000_000),
            # The waits between attempts shrink with everything else.
            connection=replace(ConnectionConfig(), backoff_cap=max(0.5, 30.0 * 50 / speed)),
        )
        async with FaultyLink(self.url) as link, WhatsSound(link.url, self.key, config=config) as sound:
            await sound.sign_in_anonymously(self.role)
            async with sound.session(self.session_id) as session:
                reading = asyncio.create_task(self._read(session))
                unread = session.events()
                await self._warm_up(session)
                sampling = asyncio.create_task(self._sample())
                before = self._settled()
                await link.refuse()
                link.reset()
                _say({"ready": True})
                outage = self._talk(session) if self.role == "talker" else asyncio.to_thread(sys.stdin.readline)
                await outage
                waiting = session.stats().waiting
                after = self._settled()
                await link.accept()
                last = int(await asyncio.to_thread(sys.stdin.readline)) if self.role == "listener" else 0
                await _until(lambda: session.status is Status.LIVE)
                await _until(lambda: session.stats().waiting == 0 and session.state.seq >= last)
                await asyncio.sleep(1.0)
                healed, stored = self._settled(), session.stats().stored
                sampling.cancel()
            await reading
            self.unread = await _what_is_held(unread)
        return {
            "role": self.role,
            "waiting": waiting,
            "before": before,
            "outage": after - before,
            "peak": self.peak - before,
            "after": healed - before,
            "stored": stored,
            "heard": self.heard,
            "unread": self.unread,
        }

    async def _warm_up(self, session: Session) -> None:
        for number in range(_WARM):
            await session.chat.send(f"{number} {WORDS}")
        await _until(lambda: session.stats().waiting == 0)

    async def _talk(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(self.count):
            await session.chat.send(f"{number} {WORDS}")
            if (wait := began + (number + 1) * self.seconds / self.count - loop.time()) > 0:
                await asyncio.sleep(wait)

    async def _read(self, session: Session) -> None:
        async for event in session.events():
            self.heard += isinstance(event, EventBase)

    async def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, rss())
            await asyncio.sleep(0.1)

    def _settled(self) -> float:
        gc.collect()
        now = rss()
        self.peak = max(self.peak, now)
        return now


async def _what_is_held(unread: EventStream) -> str:
    """What a reader that never read holds in the end, once its session is closed."""
    held = missed = 0
    try:
        async for event in unread:
            held += 1
            missed += event.missed if isinstance(event, Lagged) else 0
    except SlowReaderError as error:
        return f"{held} events, then {type(error).__name__}"
    return f"{held} events, {missed} left out"


async def _until(check: Callable[[], bool]) -> None:
    while not check():  # noqa: ASYNC110 - counters tell nobody that they changed
        await asyncio.sleep(0.05)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


# --- the parent: stack, healthy speaker, table


async def _speak(url: str, key: str, session_id: str, count: int, seconds: float) -> int:
    """Says it all over a good network, stored; returns the session's last event."""
    outbox = OutboxConfig(max_messages=count + 1000, max_bytes=64_000_000, drain_timeout=600.0)
    config = SessionConfig(feed="frames", outbox=outbox)
    async with WhatsSound(url, key, config=config) as sound:
        await sound.sign_in_anonymously("speaker")
        async with sound.session(session_id) as session:
            loop = asyncio.get_running_loop()
            began = loop.time()
            for number in range(count):
                await session.chat.send(f"{number} {WORDS}")
                if (wait := began + (number + 1) * seconds / count - loop.time()) > 0:
                    await asyncio.sleep(wait)
            await _until(lambda: session.stats().waiting == 0)
            return session.state.seq


async def _prepare(url: str, key: str, admin: str) -> str:
    connection = await asyncpg.connect(admin)
    # One person talks as a whole room does; what a user may send is not what is measured here.
    await connection.execute("update whatssound.rate_limits set capacity = 1000000, per_second = 1000000")
    await connection.close()
    async with WhatsSound(url, key) as sound:
        await sound.sign_in_anonymously("dj")
        return str((await sound.create_session("Noche")).id)


def _client(role: str, thread: StackThread, session_id: str, count: int, seconds: float) -> dict[str, Any]:
    stack = thread.stack
    command = [
        sys.executable,
        __file__,
        "--client",
        json.dumps([role, stack.url, stack.anon_key, session_id, count, seconds]),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the {role} did not start")
        if role == "listener":
            last = asyncio.run(_speak(stack.url, stack.anon_key, session_id, count, seconds))
            process.stdin.write(f"over\n{last}\n")
            process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def main() -> int:
    """Plays the outage with each client and prints the table; the exit code is 1 above what we aim at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="the outage")
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second")
    parser.add_argument("--speed", type=float, default=20.0, help="how many times faster it is played")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        _say(asyncio.run(Client(*json.loads(options.client)).run()))
        return 0
    count, seconds = round(options.seconds * options.rate), options.seconds / options.speed
    sys.stdout.write(f"{options.seconds:g} s at {options.rate:g}/s, {options.speed:g} times faster; MB\n\n")
    sys.stdout.write(
        "| who | waiting at its end | stored | events read | unread reader | before | growth in the outage "
        "| at the peak, recovery included | in the end |\n|---|---:|---:|---:|---|---:|---:|---:|---:|\n"
    )
    too_much = False
    for role in ("talker", "listener"):
        with StackThread(jwt_expiry=3600) as thread:
            session_id = asyncio.run(
                _prepare(thread.stack.url, thread.stack.anon_key, thread.stack.dsn("supabase_admin"))
            )
            told = _client(role, thread, session_id, count, seconds)
        too_much = too_much or told["outage"] > AIM
        cells = [told[name] for name in ("waiting", "stored", "heard", "unread", "before", "outage", "peak", "after")]
        sys.stdout.write("| " + " | ".join([role, *map(_cell, cells)]) + " |\n")
        sys.stdout.flush()
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
