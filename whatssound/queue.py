"""The shared song queue: the database decides; a change made against an old order is refused, not guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from uuid import UUID

from .core.identifiers import as_uuid
from .core.text import storable
from .errors import InvalidInputError, NotFoundError, QueueConflictError, refusal
from .gateway import make_key
from .models import QueueItem, QueueReceipt
from .room import Room, parse


class Queue:
    """`Session.queue`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def add(
        self,
        title: str | None = None,
        *,
        artist: str | None = None,
        duration: float | None = None,
        song_id: str | UUID | None = None,
        source_url: str | None = None,
        key: str | None = None,
    ) -> QueueReceipt:
        """Adds a song to the end.

        Args:
            title: its title; may be left out with a ``song_id``.
            artist: who plays it.
            duration: its length in seconds.
            song_id: a song that the database knows.
            source_url: where it can be heard.
            key: the idempotency key of an earlier call whose outcome is unknown.

        Raises:
            InvalidInputError: neither title nor song_id, or a duration that is not positive.
            QueueFullError: the session's limit is reached.
            RefusedError: not allowed, session ended, banned, rate limited …
            OutcomeUnknownError: see there.
        """
        if song_id is None and not (title and title.strip()):
            raise InvalidInputError("title", "give a title, or the song_id of a known song")
        if duration is not None and not 0 < duration < math.inf:  # NaN is not either
            raise InvalidInputError("duration", f"must be more than 0 seconds, not {duration!r}")
        for name, text in (("title", title), ("artist", artist), ("source_url", source_url)):
            if text is not None:
                storable(text, name)
        params = {
            "p_title": title,
            "p_artist": artist,
            "p_duration_ms": round(duration * 1000) if duration is not None else None,
            "p_song_id": as_uuid(song_id, "song_id") if song_id is not None else None,
            "p_source_url": source_url,
        }
        return await self._call("enqueue_song", params, key)

    async def move(
        self,
        item_id: str | UUID,
        *,
        before: str | UUID | None = None,
        after: str | UUID | None = None,
        key: str | None = None,
    ) -> QueueReceipt:
        """Moves an item directly before or after another.

        Raises:
            InvalidInputError: not exactly one of ``before`` and ``after``.
            QueueConflictError: somebody changed the item meanwhile; read the state and decide again.
            NotFoundError: no such item waits.
            RefusedError: not allowed, …
        """
        if (before is None) == (after is None):
            raise InvalidInputError("before/after", "give exactly one of them")
        item = self._known(item_id)
        params = {
            "p_item_id": item.id,
            "p_before": as_uuid(before, "before") if before is not None else None,
            "p_after": as_uuid(after, "after") if after is not None else None,
            "p_expected_version": item.version,
        }
        return await self._call("move_queue_item", params, key)

    async def remove(self, item_id: str | UUID, *, key: str | None = None) -> QueueReceipt:
        """Removes an item. See `move` for errors."""
        item = self._known(item_id)
        return await self._call("remove_queue_item", {"p_item_id": item.id, "p_expected_version": item.version}, key)

    async def advance(self, *, skipped: bool = False, key: str | None = None) -> QueueReceipt:
        """Ends what plays and starts the next; two crew members who do so at once advance by one, not by two.

        Args:
            skipped: whether what played was cut short.
            key: the idempotency key of an earlier call whose outcome is unknown.

        Raises:
            QueueConflictError: something else plays than this client knew.
            RefusedError: only the DJ and moderators may.
        """
        playing = self._room.state.now_playing
        params = {"p_expected_item_id": playing.id if playing is not None else None, "p_skipped": skipped}
        return await self._call("advance_queue", params, key)

    def _known(self, item_id: str | UUID) -> QueueItem:
        wanted = as_uuid(item_id, "item_id")
        for item in self._room.state.queue:
            if item.id == wanted:
                return item
        error = refusal("unknown_item", f"item {wanted} does not wait in this session's queue", status=404)
        assert isinstance(error, NotFoundError)
        raise error

    async def _call(
        self, function: str, params: Mapping[str, str | int | bool | None], key: str | None
    ) -> QueueReceipt:
        self._room.user_id()
        key = as_uuid(key, "key") if key is not None else make_key()
        try:
            answer = await self._room.command(function, params, key=key)
        except QueueConflictError:
            # The advice is to read the state and decide again, so the state has to be the new one by then.
            await self._room.feed.refresh()
            raise
        receipt = parse(QueueReceipt, function, {**answer, "key": key})
        # The answer is newer than what the channel has brought so far: a next call needs the item's new version.
        for item in (receipt.previous, receipt.item):
            if item is not None:
                self._room.state.take_item(item)
        return receipt
