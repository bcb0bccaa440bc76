"""Follows what the database commits: messages sent by `realtime.send`, and rows of published tables."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from .codec import UserBroadcast
from .database import DatabaseUnavailableError
from .hub import Topic
from .pgoutput import Begin, Commit, DecodeError, Decoder, RowChange
from .replication import ReplicationConnection, ReplicationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .database import Database
    from .hub import Hub

_log = logging.getLogger(__name__)
_TABLES: Final = "supabase_realtime"
_PUBLICATIONS: Final = (_TABLES, "supabase_realtime_messages_publication")
_RETRY_FIRST: Final = 0.1
_RETRY_MOST: Final = 2.0
_MOST_COMMITS: Final = 10_000
_BREATH: Final = 64


class CommittedRow:
    """A change of a published table.

    Args:
        change: What changed.
        committed_us: When, in microseconds of the epoch.
        xid: The number of the transaction that changed it.
    """

    __slots__ = ("change", "committed_us", "xid")

    def __init__(self, change: RowChange, committed_us: int, xid: int) -> None:
        self.change = change
        self.committed_us = committed_us
        self.xid = xid


class Feed:
    """One streaming connection to the log, made anew whenever it breaks.

    Messages are delivered at once; changes of rows wait in `commits` for whoever checks who may see them.

    Args:
        hub: Where messages go.
        database: The database.
        lost: Called when the stream broke, so that channels can subscribe anew.

    Attributes:
        failure: Why the stream broke last.
    """

    def __init__(self, hub: Hub, database: Database, lost: Callable[[], None]) -> None:
        self._hub = hub
        self._database = database
        self._lost = lost
        self._ready = asyncio.Event()
        self._connection: ReplicationConnection | None = None
        self._publications: tuple[str, ...] = ()
        self.failure: Exception | None = None
        self.commits: asyncio.Queue[list[CommittedRow]] = asyncio.Queue(_MOST_COMMITS)

    @property
    def connected(self) -> bool:
        """Whether the stream runs."""
        return self._ready.is_set()

    @property
    def follows_tables(self) -> bool:
        """Whether the project's publication was there when the stream began."""
        return _TABLES in self._publications

    def renew(self) -> None:
        """Begins the stream anew, for a publication that has been made meanwhile."""
        if self._connection is not None:
            self._connection.close()

    async def wait_ready(self, timeout: float) -> bool:  # noqa: ASYNC109 - the answer is a bool, not an exception
        """Waits for the stream to run.

        Args:
            timeout: Seconds to wait at most.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Follows the log for ever."""
        wait = _RETRY_FIRST
        while True:
            try:
                await self._follow()
            except (OSError, TimeoutError, ReplicationError, DecodeError, DatabaseUnavailableError) as error:
                self.failure = error
                _log.info("the stream of the database broke: %s", error)
            if self._ready.is_set():
                self._ready.clear()
                wait = _RETRY_FIRST
                self._lost()
            await asyncio.sleep(wait)
            wait = min(wait * 2, _RETRY_MOST)

    async def _follow(self) -> None:
        self._publications = await self._database.publications(_PUBLICATIONS)
        if not self._publications:
            raise ReplicationError("there is no publication to follow")
        connection = self._connection = await ReplicationConnection.connect(self._database.dsn)
        try:
            slot = f"realtime_local_{os.getpid()}_{os.urandom(6).hex()}"
            await connection.query(f'CREATE_REPLICATION_SLOT "{slot}" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT')
            stream = connection.stream(slot, self._publications)
            self._ready.set()
            decoder = Decoder()
            begin = Begin(0, 0)
            rows: list[CommittedRow] = []
            count = 0
            async for data in stream:
                count += 1
                if count % _BREATH == 0:
                    # A large transaction comes in one piece; the sockets must not wait for its end.
                    await asyncio.sleep(0)
                read = decoder.read(data)
                if isinstance(read, Begin):
                    begin, rows = read, []
                elif isinstance(read, RowChange):
                    if read.relation.schema == "realtime":
                        self._on_message(read)
                    else:
                        rows.append(CommittedRow(read, begin.committed_us, begin.xid))
                elif isinstance(read, Commit) and rows:
                    await self.commits.put(rows)
                    rows = []
        finally:
            self._connection = None
            connection.close()

    def _on_message(self, change: RowChange) -> None:
        if change.action != "INSERT" or not change.relation.name.startswith("messages"):
            return
        row = change.record()
        topic, event, identity, private = (row.get(name) for name in ("topic", "event", "id", "private"))
        if topic is None or event is None or identity is None or private is None:
            return
        blob, text = row.get("binary_payload"), row.get("payload")
        payload = bytes.fromhex(blob[2:]) if blob is not None else (text or "").encode()
        if blob is None and text is None:
            return
        too_much = len(payload) + 6 > self._hub.limits.payload_bytes or self._hub.events.over
        if too_much or self._hub.hooks.lose_sent:
            # The real server says so in its own log only: the database has long gone on.
            _log.warning("a message of the database on %s was dropped: too large, or over quota", topic)
            return
        self._hub.events.add()
        self._hub.usage.messages += 1
        message = UserBroadcast(f"realtime:{topic}", event, "json" if blob is None else "binary", payload, identity)
        self._hub.send_leniently(Topic(private=private == "t", name=topic), message)
