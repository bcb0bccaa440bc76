"""A bot with a spool that talks in a process of its own, to be killed: `talker.py` starts it, kills it and reads on.

It writes down every message that `send` has accepted before it says the next, in a file that outlives it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

from tests.integration.faults.settings import CHAOS
from whatssound import Session, WhatsSound
from whatssound.errors import TransportError

#: Messages a second.
PACE = 20.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What a bot is told on its command line.

    Attributes:
        url: of the project, over a link.
        key: the anon key.
        session_id: where it talks.
        email: who it is.
        password: likewise.
        spool: its spool's path.
        accepted: the file of what was accepted, one text a line.
        name: of this run; begins every text.
        talking: whether it talks at once.
    """

    url: str
    key: str
    session_id: str
    email: str
    password: str
    spool: str
    accepted: str
    name: str
    talking: bool


class Ordered:
    """What the standard input says: ``talk``, ``hush``, or, like its end, ``enough``."""

    def __init__(self, talking: bool) -> None:
        self.enough = False
        self.going = asyncio.Event()
        if talking:
            self.going.set()

    async def listen(self) -> None:
        """Reads until it is enough."""
        while (line := await asyncio.to_thread(sys.stdin.readline)).strip() in {"talk", "hush"}:
            self.going.set() if line.strip() == "talk" else self.going.clear()
        self.enough = True
        self.going.set()


async def main(orders: Orders) -> None:
    """Talks as it is told to, and in the end waits until everything is stored."""
    ordered = Ordered(orders.talking)
    listening = asyncio.create_task(ordered.listen())
    config = replace(CHAOS, outbox=replace(CHAOS.outbox, spool=orders.spool, drain_timeout=20.0))
    async with WhatsSound(orders.url, orders.key, config=config) as sound:
        await _signed_in(sound, orders)
        # Out of order meanwhile: whoever starts a bot in an outage starts it again until it runs.
        while True:
            with suppress(TransportError):
                async with sound.session(orders.session_id) as session:
                    await _talk(session, orders, ordered)
                await listening
                return


async def _signed_in(sound: WhatsSound, orders: Orders) -> None:
    while True:
        with suppress(TransportError):
            await sound.sign_in(orders.email, orders.password)
            return
        await asyncio.sleep(0.2)


async def _talk(session: Session, orders: Orders, ordered: Ordered) -> None:
    written = os.open(orders.accepted, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        number = 0
        while True:
            await ordered.going.wait()
            if ordered.enough:
                return
            receipt = await session.chat.send(f"{orders.name} {number}")
            os.write(written, f"{receipt.message.content}\n".encode())
            number += 1
            await asyncio.sleep(1 / PACE)
    finally:
        os.close(written)


if __name__ == "__main__":
    asyncio.run(main(Orders(**json.loads(sys.argv[1]))))
