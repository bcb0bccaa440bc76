"""Reads the messages of Postgres' logical decoding plugin `pgoutput` (protocol version 1, text values)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_EPOCH_2000_US: Final = 946_684_800_000_000


class Unchanged:
    """Stands for a large value that an update left alone, which the log does not repeat."""


UNCHANGED: Final = Unchanged()
Value = str | None | Unchanged
Action = Literal["INSERT", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the log describes it.

    Attributes:
        name: Its name.
        type_oid: Its type.
        key: Whether it is part of the replica identity.
    """

    name: str
    type_oid: int
    key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the log describes it.

    Attributes:
        oid: The table's oid.
        schema: Its schema.
        name: Its name.
        columns: Its columns, in order.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction starts.

    Attributes:
        committed_us: When it was committed, in microseconds of the epoch.
        xid: Its number.
    """

    committed_us: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction's changes have all been told.

    Attributes:
        end_lsn: Where the log goes on.
    """

    end_lsn: int


@dataclass(frozen=True, slots=True)
class RowChange:
    """A changed row.

    Attributes:
        action: What happened.
        relation: The table.
        new: The new values in the order of the columns; None for a delete.
        old: The old row or key likewise; None where the log has none.
        old_is_key: Whether `old` holds the replica identity only.
    """

    action: Action
    relation: Relation
    new: tuple[Value, ...] | None
    old: tuple[Value, ...] | None
    old_is_key: bool

    def identity(self) -> dict[str, str | None]:
        """The old values that the replica identity keeps, by column."""
        columns = self.relation.columns
        if self.old is not None:
            pairs = zip(columns, self.old, strict=True)
            return {c.name: v for c, v in pairs if not isinstance(v, Unchanged) and (c.key or not self.old_is_key)}
        # The key did not change, so the new row tells what it was.
        pairs = zip(columns, self.new or (), strict=False)
        return {c.name: v for c, v in pairs if c.key and not isinstance(v, Unchanged)}

    def record(self) -> dict[str, str | None]:
        """The new values that the log tells, by column."""
        pairs = zip(self.relation.columns, self.new or (), strict=False)
        return {c.name: v for c, v in pairs if not isinstance(v, Unchanged)}


class DecodeError(Exception):
    """The log holds something that is not understood."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "big")

    def bytes(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise DecodeError("a message of the log is cut short")
        part = self._data[self._at : self._at + size]
        self._at += size
        return part

    def text(self) -> str:
        end = self._data.index(0, self._at)
        part = self._data[self._at : end].decode()
        self._at = end + 1
        return part

    def row(self) -> tuple[Value, ...]:
        return tuple(self._value() for _ in range(self.number(2)))

    def _value(self) -> Value:
        kind = self.bytes(1)
        if kind == b"n":
            return None
        if kind == b"u":
            return UNCHANGED
        if kind == b"t":
            return self.bytes(self.number(4)).decode()
        raise DecodeError(f"unknown kind of value {kind!r}")


class Decoder:
    """Reads messages one after the other and remembers the tables they speak of."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}

    def read(self, data: bytes) -> Begin | Commit | RowChange | None:
        """Reads one message; None for those that tell nothing of rows (tables, types, truncation, origin).

        Args:
            data: The message.

        Raises:
            DecodeError: It is not understood.
        """
        reader = _Reader(data)
        match reader.bytes(1):
            case b"B":
                reader.bytes(8)
                return Begin(reader.number(8) + _EPOCH_2000_US, reader.number(4))
            case b"C":
                reader.bytes(9)
                return Commit(reader.number(8))
            case b"R":
                self._learn(reader)
            case b"I":
                relation = self._relation(reader)
                reader.bytes(1)
                return RowChange("INSERT", relation, reader.row(), None, old_is_key=False)
            case b"U":
                return self._update(reader)
            case b"D":
                relation = self._relation(reader)
                kind = reader.bytes(1)
                return RowChange("DELETE", relation, None, reader.row(), old_is_key=kind == b"K")
        return None

    def _learn(self, reader: _Reader) -> None:
        oid, schema, name = reader.number(4), reader.text(), reader.text()
        reader.bytes(1)
        columns = []
        for _ in range(reader.number(2)):
            key = bool(reader.number(1) & 1)
            column, type_oid = reader.text(), reader.number(4)
            reader.bytes(4)
            columns.append(Column(column, type_oid, key))
        self._relations[oid] = Relation(oid, schema or "pg_catalog", name, tuple(columns))

    def _relation(self, reader: _Reader) -> Relation:
        oid = reader.number(4)
        try:
            return self._relations[oid]
        except KeyError:
            raise DecodeError(f"the log has not introduced table {oid}") from None

    def _update(self, reader: _Reader) -> RowChange:
        relation = self._relation(reader)
        old: tuple[Value, ...] | None = None
        kind = reader.bytes(1)
        old_is_key = kind == b"K"
        if kind in {b"K", b"O"}:
            old = reader.row()
            reader.bytes(1)
        return RowChange("UPDATE", relation, reader.row(), old, old_is_key=old_is_key)
