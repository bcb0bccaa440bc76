"""Messages on disk, so that what was accepted outlives the process.

A spool is a file of one process at a time. Messages are kept by project, user and session: they are only ever sent as
the user who wrote them. What a running session holds is claimed, so that nothing else sends it at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast
from uuid import UUID

from ._spool_file import Key, SpoolFile
from .errors import SpoolError, SpoolFullError, WhatsSoundError
from .models import Message, MessageId, Role, SessionId, UserId

T = TypeVar("T")
_log = logging.getLogger("whatssound.spool")


@dataclass(frozen=True, slots=True)
class SpooledMessages:
    """What a spool holds of one user for one session.

    Attributes:
        user_id: who wrote them; only as this user they can be sent.
        session_id: the session they are for.
        messages: how many.
        bytes: of UTF-8 of their text.
        oldest_at: when the oldest was written.
    """

    user_id: str
    session_id: str
    messages: int
    bytes: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A message that an earlier run had accepted, and how often it has failed by its own fault."""

    message: Message
    tries: int


class Spool:
    """A spool's file, behind a thread of its own: nothing here blocks the event loop.

    Args:
        path: the file; its folder must exist.
        project: the project's URL.
        max_messages: most messages in the file, of all users and sessions.
        max_bytes: most bytes of text, likewise.
        executor: runs what blocks, one after the other; a thread by default.
    """

    def __init__(
        self, path: Path, *, project: str, max_messages: int, max_bytes: int, executor: Executor | None = None
    ) -> None:
        self.path = path
        self._project = project
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._executor = executor
        self._file: SpoolFile | None = None
        self._opening = asyncio.Lock()
        self._claimed: set[tuple[str, str, str]] = set()

    def __repr__(self) -> str:
        return f"<Spool {self.path}>"

    async def open(self) -> None:
        """Opens the file, once; further calls do nothing.

        Raises:
            SpoolInUseError: another process, or another client of this one, has it open.
            SpoolDamagedError: no spool, or damaged.
            SpoolError: it cannot be opened.
        """
        async with self._opening:
            if self._file is not None:
                return
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="whatssound-spool")

            def opened() -> None:
                self._file = SpoolFile(self.path)

            try:
                await self._run(opened)
            except WhatsSoundError:
                self._stop_thread()
                raise

    async def aclose(self) -> None:
        """Closes the file and frees it for others. What it holds stays."""
        async with self._opening:
            if self._executor is not None:
                await self._run(self._closed)
            self._stop_thread()

    def _closed(self) -> None:
        # In the thread, so that it comes after an opening whose caller was cancelled.
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- messages

    async def put(self, message: Message) -> None:
        """Keeps a message and claims it. Once this has returned, it is on the disk.

        Raises:
            SpoolFullError: the disk, or what the spool may hold, is full; the message is not kept.
        """
        key, row = self._key(message.user_id, message.session_id), _row(message)

        def put() -> None:
            file = self._open_file()
            messages, held = file.total()
            too_large = messages > 0 and held + len(message.content.encode()) > self._max_bytes
            if messages >= self._max_messages or too_large:
                raise SpoolFullError(str(self.path), _FULL.format(messages=messages, held=held))
            file.put(key, row)

        self._claimed.add((message.user_id, message.session_id, message.id))
        try:
            await self._run(put)
        except BaseException:
            # Cancelled: it may be kept by now, and nobody was told so. The thread does one thing after the other.
            self._claimed.discard((message.user_id, message.session_id, message.id))
            raise

    def retract(self, message: Message) -> None:
        """Removes a message without waiting for it; for a caller who has been cancelled."""
        if self._executor is None or self._file is None:
            return
        file, key = self._file, self._key(message.user_id, message.session_id)

        def remove() -> None:
            try:
                file.remove(key, [message.id])
            except WhatsSoundError as error:
                _log.warning("a message whose sending was cancelled stays in the spool and may be sent: %s", error)

        self._executor.submit(remove)

    async def take(self, user_id: str, session_id: str) -> list[LeftOver]:
        """Claims and returns what is kept for a user and session and not claimed, in order."""
        key = self._key(user_id, session_id)
        rows = await self._run(lambda: self._open_file().rows(key))
        taken: list[LeftOver] = []
        for message_id, content, username, role, tries in rows:
            claim = (user_id, session_id, message_id)
            if claim in self._claimed:
                continue
            self._claimed.add(claim)
            message = Message(
                id=MessageId(message_id),
                session_id=SessionId(session_id),
                user_id=UserId(user_id),
                username=username,
                role=cast("Role", role),
                content=content,
                created_at=_written_at(message_id),
            )
            taken.append(LeftOver(message, tries))
        return taken

    async def remove(self, messages: Sequence[Message]) -> None:
        """Removes messages whose outcome is known."""
        by_key: dict[Key, list[str]] = {}
        for message in messages:
            by_key.setdefault(self._key(message.user_id, message.session_id), []).append(message.id)

        def remove() -> None:
            for key, ids in by_key.items():
                self._open_file().remove(key, ids)

        await self._run(remove)
        self.release(messages)

    def release(self, messages: Sequence[Message]) -> None:
        """Gives up the claim on messages, which stay for whoever takes them next."""
        self._claimed.difference_update((message.user_id, message.session_id, message.id) for message in messages)

    async def set_tries(self, message: Message, tries: int) -> None:
        """Notes how often a message has failed by its own fault."""
        key = self._key(message.user_id, message.session_id)
        await self._run(lambda: self._open_file().set_tries(key, message.id, tries))

    async def waiting(self) -> tuple[SpooledMessages, ...]:
        """What is kept of this project, by user and session, the oldest first; what is being sent is among it."""
        sums = await self._run(lambda: self._open_file().sums(self._project))
        return tuple(
            SpooledMessages(user_id, session_id, count, size, _written_at(first))
            for user_id, session_id, count, size, first in sums
        )

    async def discard(self, user_id: str, session_id: str | None) -> int:
        """Removes what is kept of a user and not being sent; returns how many messages that were."""
        found = [entry for entry in await self.waiting() if entry.user_id == user_id]
        discarded = 0
        for entry in found:
            if session_id in (None, entry.session_id):
                messages = [left.message for left in await self.take(user_id, entry.session_id)]
                await self.remove(messages)
                discarded += len(messages)
        return discarded

    # --- anonymous sign-ins

    async def keep_sign_in(self, user_id: str, refresh_token: str) -> None:
        """Keeps what an anonymous user needs to be the same user in the next run."""
        await self._run(lambda: self._open_file().keep_sign_in(self._project, user_id, refresh_token))

    async def kept_sign_in(self) -> tuple[str, str] | None:
        """User id and refresh token of the anonymous user of earlier runs, if there was one."""
        return await self._run(lambda: self._open_file().kept_sign_in(self._project))

    async def forget_sign_in(self) -> None:
        """Forgets the anonymous user of earlier runs."""
        await self._run(lambda: self._open_file().forget_sign_in(self._project))

    # --- the thread

    def _key(self, user_id: str, session_id: str) -> Key:
        return (self._project, user_id, session_id)

    def _open_file(self) -> SpoolFile:
        if self._file is None:
            raise SpoolError(str(self.path), "is closed; use it inside `async with WhatsSound(...)`")
        return self._file

    async def _run(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            raise SpoolError(str(self.path), "is closed; use it inside `async with WhatsSound(...)`")
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # It goes on in its thread; nobody is left to hear what it raises.
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    def _stop_thread(self) -> None:
        if isinstance(self._executor, ThreadPoolExecutor):
            self._executor.shutdown(wait=False)
            self._executor = None


_FULL = (
    "the spool holds {messages} messages ({held} bytes), as many as it may; "
    "await sound.flush_spool() to send them or sound.discard_spool() to let them go"
)


def _row(message: Message) -> tuple[str, str, str, str, int]:
    return (message.id, message.content, message.username, message.role, 0)


def _written_at(message_id: str) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=UUID(message_id).int >> 80)
