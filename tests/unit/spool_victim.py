"""A process that speaks through an outbox with a spool and kills itself at a named step; for `test_spool_outbox`.

Arguments: folder, step (or ``none``), how many messages to say. The database is a file that outlives it, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from whatssound._spool_file import Key, Row, SpoolFile
from whatssound.config import OutboxConfig, RetryConfig
from whatssound.core.identifiers import Uuid7Source
from whatssound.gateway import Gateway
from whatssound.models import Message, MessageId, SessionId, UserId
from whatssound.outbox import Outbox
from whatssound.ports import SystemClock
from whatssound.spool import Spool

ANA = UserId("00000000-0000-4000-8000-0000000000aa")
ROOM = SessionId("5e551010-0000-4000-8000-000000000001")


def die(step: str) -> None:
    """Ends like a power cut, if this is the step."""
    if sys.argv[2] == step:
        os.kill(os.getpid(), signal.SIGKILL)


def tell(*words: object) -> None:
    """Says something to the test, past any buffer that would die with us."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class DyingFile(SpoolFile):
    """A spool's file that dies around its commits."""

    def put(self, key: Key, row: Row) -> None:
        if "3" in row[1]:
            die("before the commit")
        super().put(key, row)
        if "3" in row[1]:
            die("after the commit")

    def remove(self, key: Key, ids: Sequence[str]) -> None:
        die("before the removal")
        super().remove(key, ids)
        die("after the removal")


class Table:
    """The database: each id once."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("create table if not exists stored (seq integer primary key, id text unique, content text)")

    async def call(self, function: str, params: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        die("batch sent")
        results = []
        for row in params["p_messages"]:
            fresh = self._db.execute(
                "insert into stored (id, content) values (?, ?) on conflict do nothing", (row["id"], row["content"])
            ).rowcount
            results.append({"id": row["id"], "status": "stored" if fresh else "duplicate", "seq": 1})
        die("before the answer")
        return {"results": results, "last_seq": 1}


async def main(folder: Path, count: int) -> None:
    """One run: what was left goes first, then ``count`` new messages."""
    Spool.open.__globals__["SpoolFile"] = DyingFile
    spool = Spool(folder / "chat.spool", project="p", max_messages=100, max_bytes=10_000)
    await spool.open()
    clock = SystemClock()
    outbox = Outbox(
        ROOM,
        Gateway(Table(folder / "database"), RetryConfig(), clock),
        OutboxConfig(interval=0.01),
        clock,
        chance=Random(1).random,
        settled=lambda receipt, outcome: tell("settled", receipt.message.content),
        heard=lambda answer: None,
        spool=spool,
        user_id=ANA,
    )
    running = asyncio.create_task(outbox.run())
    ids = Uuid7Source(Random(os.getpid()).getrandbits)
    for number in range(count):
        now = clock.unix_ms()
        await outbox.put(
            Message(
                id=MessageId(ids.make(now)),
                session_id=ROOM,
                user_id=ANA,
                content=f"{number}",
                created_at=datetime.now(UTC),
            )
        )
        tell("taken", number)
    await outbox.close()
    await running
    await spool.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[3])))
