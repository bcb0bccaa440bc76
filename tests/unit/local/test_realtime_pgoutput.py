"""The messages of the write-ahead log, built by hand after Postgres' documentation of the format."""

from __future__ import annotations

import struct

import pytest

from whatssound.local.realtime.pgoutput import Begin, Commit, DecodeError, Decoder, RowChange


def relation(oid: int = 7, *, full: bool = False) -> bytes:
    columns = [("id", 23, True), ("body", 25, full)]
    data = b"R" + struct.pack(">I", oid) + b"public\0room\0" + b"d" + struct.pack(">H", len(columns))
    for name, type_oid, key in columns:
        data += bytes([key]) + name.encode() + b"\0" + struct.pack(">Ii", type_oid, -1)
    return data


def row(*values: str | bytes | None) -> bytes:
    data = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            data += b"n"
        elif value == b"u":
            data += b"u"
        else:
            text = value.encode() if isinstance(value, str) else value
            data += b"t" + struct.pack(">I", len(text)) + text
    return data


@pytest.fixture
def decoder() -> Decoder:
    decoder = Decoder()
    assert decoder.read(relation()) is None
    return decoder


def change(decoder: Decoder, data: bytes) -> RowChange:
    read = decoder.read(data)
    assert isinstance(read, RowChange)
    return read


HEAD = struct.pack(">I", 7)


def test_a_transaction_has_a_time_and_an_end(decoder: Decoder) -> None:
    begin = decoder.read(b"B" + struct.pack(">QqI", 1, 1_000_000, 5))
    assert begin == Begin(946_684_801_000_000, 5)
    assert decoder.read(b"C" + b"\0" + struct.pack(">QQq", 1, 99, 0)) == Commit(99)


def test_an_insert_has_a_record_only(decoder: Decoder) -> None:
    read = change(decoder, b"I" + HEAD + b"N" + row("1", None))
    assert (read.action, read.record(), read.old) == ("INSERT", {"id": "1", "body": None}, None)


def test_an_update_that_keeps_the_key_tells_it_from_the_new_row(decoder: Decoder) -> None:
    read = change(decoder, b"U" + HEAD + b"N" + row("1", "é"))
    assert read.record() == {"id": "1", "body": "é"}
    assert read.identity() == {"id": "1"}


def test_an_update_of_the_key_tells_the_old_one(decoder: Decoder) -> None:
    read = change(decoder, b"U" + HEAD + b"K" + row("1", None) + b"N" + row("2", "b"))
    assert (read.record(), read.identity()) == ({"id": "2", "body": "b"}, {"id": "1"})


def test_a_large_value_that_was_left_alone_is_missing(decoder: Decoder) -> None:
    read = change(decoder, b"U" + HEAD + b"N" + row("1", b"u"))
    assert read.record() == {"id": "1"}


def test_a_delete_tells_the_replica_identity(decoder: Decoder) -> None:
    assert change(decoder, b"D" + HEAD + b"K" + row("1", None)).identity() == {"id": "1"}
    decoder.read(relation(full=True))
    assert change(decoder, b"D" + HEAD + b"O" + row("1", None)).identity() == {"id": "1", "body": None}


@pytest.mark.parametrize("data", [b"T" + b"\0" * 9, b"O" + b"\0" * 9, b"Y" + b"\0" * 4, b"M\0"])
def test_other_messages_tell_nothing_of_rows(decoder: Decoder, data: bytes) -> None:
    assert decoder.read(data) is None


@pytest.mark.parametrize(
    "data", [b"I" + struct.pack(">I", 8) + b"N" + row("1"), b"I" + HEAD + b"N\0\x01", b"I" + HEAD + b"N\0\x01z"]
)
def test_a_message_that_makes_no_sense_is_an_error(decoder: Decoder, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decoder.read(data)
