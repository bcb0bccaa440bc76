"""What a message costs in memory while it waits for the database: an outage is long, and a room goes on talking."""

from __future__ import annotations

import gc
import tracemalloc

from tests.unit.test_session import Stage
from whatssound.config import OutboxConfig, SessionConfig
from whatssound.errors import UnreachableError
from whatssound.events import Status
from whatssound.testing import run_virtual
from whatssound.testing.fakes import settle

#: Of one message in an outage, all that remembers it included. 30,000 of them (ten minutes at 50 a second) are to stay
#: under 40 MB, with room for what the allocator does not give back.
MOST_BYTES = 1_300
MESSAGES = 4_000
WORDS = "¿Quién pone la siguiente? Esta canción me recuerda al verano. "


def test_a_message_that_waits_costs_little_more_than_a_kilobyte() -> None:
    async def main() -> None:
        stage = Stage(SessionConfig(outbox=OutboxConfig(drain_timeout=0.1)))
        stage.rpc.always("insert_messages", UnreachableError("https://abc.supabase.co", "no network"))
        async with stage.session as session:
            await session.chat.send("warm")
            stage.links.last.end()
            await settle()
            assert session.status is Status.RECONNECTING
            texts = [f"{number} {WORDS}" for number in range(MESSAGES)]
            gc.collect()
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                for text in texts:
                    await session.chat.send(text)
                gc.collect()
                after, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert session.stats().waiting == MESSAGES + 1
            spent = (after - before) / MESSAGES
            assert spent <= MOST_BYTES, f"{spent:.0f} bytes a message"

    run_virtual(main)
