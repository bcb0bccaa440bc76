"""Postgres Changes: who has subscribed to which tables, and who gets which row."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from . import codec, json_text
from .bindings import Binding, BindingError, Filter, parse_binding
from .database import DatabaseUnavailableError
from .inspect import Atom, inspect
from .terms import binding_id

if TYPE_CHECKING:
    from .channel import Channel
    from .feed import CommittedRow
    from .join_config import JoinConfig
    from .server import Server

_log = logging.getLogger(__name__)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RECORD_BYTES: Final = 1024 * 1024
_SUBSCRIBED: Final = "Subscribed to PostgreSQL"
_FAILED: Final = "Unable to subscribe to changes with given parameters. "
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")
_CODE_NAMES: Final = {"P0001": "raise_exception", "42704": "undefined_object", "42P01": "undefined_table"}

Filters = tuple[Filter, ...]
Select = tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One binding of one channel on one table.

    Attributes:
        channel: Who hears of it.
        id: The binding's id, as told to the client.
        binding: What is wanted.
        role: The role of the token at the time of subscribing.
        claims: That token's claims as JSON text.
    """

    channel: Channel
    id: int
    binding: Binding
    role: str
    claims: str


@dataclass(slots=True)
class _Group:
    """The subscribers of one role, with equal things put together so that each is asked about once."""

    filters: dict[Filters, int]
    selects: dict[Select, int]
    claims: dict[str, int]
    members: list[Subscription]

    def as_json(self, role: str) -> dict[str, Any]:
        pairs = {(self.claims[m.claims], self.filters[m.binding.filters]) for m in self.members}
        return {
            "role": role,
            "filters": [[condition.as_tuple() for condition in filters] for filters in self.filters],
            "selects": list(self.selects),
            "claims": list(self.claims),
            "pairs": sorted(pairs),
        }


class Changes:
    """The subscriptions of all channels.

    Args:
        interval: Seconds between two looks at what was committed; the real server takes 0.1 to 0.5.
        resubscribe: The shortest and longest wait in seconds before a channel subscribes anew.
        retry: The same after a failure.
    """

    def __init__(
        self,
        *,
        interval: float = 0.05,
        resubscribe: tuple[float, float] = (1.0, 3.0),
        retry: tuple[float, float] = (5.0, 10.0),
    ) -> None:
        self._interval = interval
        self._resubscribe = resubscribe
        self._retry = retry
        self._server: Server | None = None
        self._by_table: dict[int, list[Subscription]] = {}
        self._tables_of: dict[Channel, set[int]] = {}
        self._timers: dict[Channel, asyncio.TimerHandle] = {}
        self._plans: dict[tuple[int, str], tuple[list[tuple[str, _Group]], str]] = {}

    def attach(self, server: Server) -> None:
        """Tells it which server it is part of.

        Args:
            server: The server.
        """
        self._server = server

    def _parts(self) -> Server:
        assert self._server is not None
        return self._server

    # -------------------------------------------------------------------------------------------------- subscribing

    @staticmethod
    def echo(config: JoinConfig) -> bytes:
        """The bindings of a join with their ids, as its reply shows them.

        Args:
            config: The join.
        """
        shown = []
        for members in config.bindings:
            identity = b'{"id":%d' % binding_id(members)
            rest = json_text.render({name: value for name, value in members.items() if name != "id"})[1:]
            shown.append(identity + (b"," if len(rest) > 1 else b"") + rest)
        return b"[" + b",".join(shown) + b"]"

    async def subscribe(self, channel: Channel) -> None:
        """Subscribes a channel to its bindings, or says why not; a failure of the database is tried again.

        Args:
            channel: The channel.
        """
        self._stop_timer(channel)
        if not self._parts().feed.connected:
            self._later(channel, self._resubscribe)
            return
        try:
            found = await self._look_up(channel)
        except BindingError as error:
            channel.system(str(error), status="error", extension="postgres_changes")
            return
        except DatabaseUnavailableError:
            message = inspect((Atom("error"), "connection refused"))
            channel.system(message, status="error", extension="postgres_changes")
            self._later(channel, self._retry)
            return
        if channel.closed:
            return
        if not self._parts().feed.follows_tables:
            self._parts().feed.renew()
            self._later(channel, self._resubscribe)
            return
        self._remove(channel)
        for subscription, tables in found:
            for table in tables:
                self._by_table.setdefault(table, []).append(subscription)
                self._tables_of.setdefault(channel, set()).add(table)
        self._plans.clear()
        channel.system(_SUBSCRIBED, status="ok", extension="postgres_changes")

    async def _look_up(self, channel: Channel) -> list[tuple[Subscription, list[int]]]:
        claims = json.dumps(channel.credentials.claims, sort_keys=True)
        role = str(channel.credentials.claims.get("role"))
        wanted = [(members, parse_binding(members)) for members in channel.config.bindings]
        found = []
        async with self._parts().database.connection() as connection:
            for members, binding in wanted:
                tables = await self._tables(connection, binding, role)
                found.append((Subscription(channel, binding_id(members), binding, role, claims), tables))
        return found

    @staticmethod
    async def _tables(connection: Any, binding: Binding, role: str) -> list[int]:
        filters = json.dumps([condition.as_tuple() for condition in binding.filters])
        select = list(binding.select) if binding.select is not None else None
        try:
            rows = await connection.fetch(
                "select * from _realtime_local.bound_tables($1, $2, $3, $4::text::jsonb, $5)",
                binding.schema,
                binding.table,
                role,
                filters,
                select,
            )
        except asyncpg.PostgresError as error:
            if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError):
                raise DatabaseUnavailableError from error
            raise BindingError(
                f"{_FAILED}An exception happened so please check your connect parameters: "
                f"[{binding.describe()}]. Exception: {_postgrex_text(error)}"
            ) from error
        if not rows:
            raise BindingError(
                f"{_FAILED}Please check Realtime is enabled for the given connect parameters: [{binding.describe()}]"
            )
        return [row[0] for row in rows]

    def unsubscribe(self, channel: Channel) -> None:
        """Forgets a channel.

        Args:
            channel: The channel.
        """
        self._stop_timer(channel)
        self._remove(channel)

    def resubscribe_later(self, channel: Channel) -> None:
        """Subscribes a channel anew in a while, as the real server does after a new token.

        Args:
            channel: The channel.
        """
        self._later(channel, self._resubscribe)

    def lost(self) -> None:
        """Forgets all subscriptions, since the stream broke, and has every channel subscribe anew."""
        self._by_table.clear()
        self._tables_of.clear()
        self._plans.clear()
        for channel in self._parts().hub.channels():
            if channel.config.bindings:
                self._later(channel, self._resubscribe)

    def _remove(self, channel: Channel) -> None:
        for table in self._tables_of.pop(channel, ()):
            left = [s for s in self._by_table.get(table, ()) if s.channel is not channel]
            if left:
                self._by_table[table] = left
            else:
                self._by_table.pop(table, None)
        self._plans.clear()

    def _later(self, channel: Channel, span: tuple[float, float]) -> None:
        self._stop_timer(channel)
        # Spread over a while, so that a room does not ask the database all at once.
        delay = random.uniform(*span)  # noqa: S311 - no secret
        self._timers[channel] = asyncio.get_running_loop().call_later(
            delay, channel.enqueue, partial(self.subscribe, channel)
        )

    def _stop_timer(self, channel: Channel) -> None:
        timer = self._timers.pop(channel, None)
        if timer is not None:
            timer.cancel()

    # --------------------------------------------------------------------------------------------------- delivering

    async def run(self) -> None:
        """Delivers what is committed, for ever."""
        commits = self._parts().feed.commits
        while True:
            batch = [await commits.get()]
            while not commits.empty():
                batch.append(commits.get_nowait())
            for rows in batch:
                for row in rows:
                    await self._deliver(row)
            await asyncio.sleep(self._interval)

    async def _deliver(self, row: CommittedRow) -> None:
        change = row.change
        if change.relation.oid not in self._by_table:
            return
        groups, asked = self._plan(change.relation.oid, change.action)
        if not groups or self._parts().hub.changes.over:
            return
        new, old = change.record(), change.identity() if change.action != "INSERT" else {}
        types = {column.name: column.type_oid for column in change.relation.columns}
        size = sum(len(value or "") + len(name) for values in (new, old) for name, value in values.items())
        too_large = size + 60 * len(new) > _RECORD_BYTES
        try:
            async with self._parts().database.connection() as connection:
                results = await connection.fetch(
                    "select * from _realtime_local.apply_change("
                    "$1, $2, $3::text::jsonb, $4::text::jsonb, $5::text::jsonb, $6, $7::text::jsonb, $8)",
                    change.relation.oid,
                    change.action,
                    json.dumps(new),
                    json.dumps(old),
                    json.dumps(types),
                    too_large,
                    asked,
                    row.xid,
                )
        except (DatabaseUnavailableError, asyncpg.PostgresError) as error:
            _log.warning("a change of %s could not be told: %s", change.relation.name, error)
            return
        for (_, group), result in zip(groups, results, strict=True):
            if result["error"] is not None:
                _log.warning("a change of %s was kept back: %s", change.relation.name, result["error"])
            else:
                self._tell(row, group, result, too_large=too_large)

    def _plan(self, table: int, action: str) -> tuple[list[tuple[str, _Group]], str]:
        known = self._plans.get((table, action))
        if known is not None:
            return known
        groups: dict[str, _Group] = {}
        for member in self._by_table.get(table, ()):
            if member.binding.event not in {"*", action}:
                continue
            group = groups.setdefault(member.role, _Group({}, {}, {}, []))
            group.members.append(member)
            group.filters.setdefault(member.binding.filters, len(group.filters))
            group.selects.setdefault(member.binding.select, len(group.selects))
            group.claims.setdefault(member.claims, len(group.claims))
        listed = list(groups.items())
        plan = (listed, json.dumps([group.as_json(role) for role, group in listed]))
        self._plans[table, action] = plan
        return plan

    def _tell(self, row: CommittedRow, group: _Group, result: Any, *, too_large: bool) -> None:
        passed, access = result["passed"], result["access"]
        by_channel: dict[tuple[Channel, int], list[int]] = {}
        for member in group.members:
            if passed[group.filters[member.binding.filters]] and access[group.claims[member.claims]]:
                key = (member.channel, group.selects[member.binding.select])
                by_channel.setdefault(key, []).append(member.id)
        hub = self._parts().hub
        frames: dict[Any, bytes] = {}
        for (channel, select), ids in by_channel.items():
            # The real server lists the bindings from the last to the first.
            ids.reverse()
            alike = (channel.version, channel.wire_topic, channel.config.old_form, select, *ids)
            frame = frames.get(alike)
            if frame is None:
                data = _data(row, result, select, too_large=too_large)
                frame = frames[alike] = _frame(channel, row.change.action, data, ids)
            channel.socket.write(frame)
            hub.changes.add(len(ids))
            hub.usage.messages += 1


def _data(row: CommittedRow, result: Any, select: int, *, too_large: bool) -> bytes:
    change = row.change
    at = _EPOCH + timedelta(microseconds=row.committed_us)
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
    parts = [
        f'"table":{json.dumps(change.relation.name, ensure_ascii=False)}',
        f'"type":"{change.action}"',
        f'"record":{result["records"][select]}' if change.action != "DELETE" else "",
        f'"columns":{result["columns"][select]}',
        f'"errors":{"[" + json.dumps("Error 413: Payload Too Large") + "]" if too_large else "null"}',
        f'"schema":{json.dumps(change.relation.schema, ensure_ascii=False)}',
        f'"commit_timestamp":"{stamp}"',
        f'"old_record":{result["olds"][select] or "null"}' if change.action != "INSERT" else "",
    ]
    return ("{" + ",".join(part for part in parts if part) + "}").encode()


def _frame(channel: Channel, action: str, data: bytes, ids: list[int]) -> bytes:
    if channel.config.old_form:
        event, payload = action, data
    else:
        listed = ",".join(map(str, ids)).encode()
        event, payload = "postgres_changes", b'{"data":%b,"ids":[%b]}' % (data, listed)
    return codec.text_frame(
        codec.message(channel.version, join_ref=None, ref=None, topic=channel.wire_topic, event=event, payload=payload)
    )


def _postgrex_text(error: asyncpg.PostgresError) -> str:
    """An error of Postgres as the real server's driver prints it."""
    code = error.sqlstate or "unknown"
    name = _CODE_NAMES.get(code) or _WORD.sub("_", type(error).__name__.removesuffix("Error")).lower()
    return f"ERROR {code} ({name}) {error.args[0] if error.args else ''}"
