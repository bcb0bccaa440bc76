"""Erlang's hash and size of a term: ids of change bindings and the payload limit are made of them."""

from __future__ import annotations

import json
from typing import Any, Final

_MASK: Final = 0xFFFFFFFF
_GOLDEN: Final = 0x9E3779B9
_ID_BITS: Final = 27


def binding_id(members: dict[str, Any]) -> int:
    """The id of a change binding: `erlang:phash2/1` of its members, as on the real server.

    Args:
        members: The binding as the client sent it.
    """
    return _hash(members, 0) & ((1 << _ID_BITS) - 1)


def external_size(value: Any) -> int:
    """The bytes of a value in Erlang's external term format, which is what the payload limit counts.

    Args:
        value: JSON values, bytes and tuples, nested at will.
    """
    return 1 + _size(value)


def _size(value: Any) -> int:
    match value:
        case bool() | None:
            return 2 + len(str(value)) if value is not None else 5
        case int():
            return _integer_size(value)
        case float():
            return 9
        case str():
            return 5 + len(value.encode())
        case bytes():
            return 5 + len(value)
        case list():
            return 6 + sum(map(_size, value)) if value else 1
        case tuple():
            return 2 + sum(map(_size, value))
        case dict():
            return 5 + sum(5 + len(name.encode()) + _size(member) for name, member in value.items())
    raise TypeError(f"no Erlang term for {type(value).__name__}")


def _integer_size(value: int) -> int:
    if 0 <= value <= 255:
        return 2
    if -(1 << 31) <= value < (1 << 31):
        return 5
    return 3 + (abs(value).bit_length() + 7) // 8


def _constant(number: int) -> int:
    return (_GOLDEN * number) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    # Bob Jenkins' mix of 1996, with the shifts that Erlang uses.
    for right, left, last in ((13, 8, 13), (12, 16, 5), (3, 10, 15)):
        a = ((a - b - c) & _MASK) ^ (c >> right)
        b = ((b - c - a) & _MASK) ^ ((a << left) & _MASK)
        c = ((c - a - b) & _MASK) ^ (b >> last)
    return a, b, c


def _word(state: int, number: int, constant: int) -> int:
    return _mix((constant + number) & _MASK, constant, state)[2]


def _block(data: bytes, start: int) -> int:
    a = b = _GOLDEN
    c = start
    at = 0
    while len(data) - at >= 12:
        a = (a + int.from_bytes(data[at : at + 4], "little")) & _MASK
        b = (b + int.from_bytes(data[at + 4 : at + 8], "little")) & _MASK
        c = (c + int.from_bytes(data[at + 8 : at + 12], "little")) & _MASK
        a, b, c = _mix(a, b, c)
        at += 12
    rest = data[at:]
    a = (a + int.from_bytes(rest[:4], "little")) & _MASK
    b = (b + int.from_bytes(rest[4:8], "little")) & _MASK
    # The lowest byte of the last word is where the length goes.
    c = (c + len(data) + (int.from_bytes(rest[8:], "little") << 8)) & _MASK
    return _mix(a, b, c)[2]


def _atom(name: str) -> int:
    state = 0
    for byte in name.encode():
        state = ((state << 4) + byte) & _MASK
        high = state & 0xF0000000
        if high:
            state ^= high >> 24
            state ^= high
    return state


def _hash(value: Any, state: int) -> int:
    match value:
        case bool() | None:
            name = {None: "nil", True: "true", False: "false"}[value]
            return _word(state, _atom(name), _constant(3)) if state else _atom(name)
        case int():
            if value < 0:
                state = _word(state, -value & _MASK, _GOLDEN)
            return _word(state, value & _MASK, _GOLDEN)
        case str():
            start = (_constant(13) + state) & _MASK
            return _block(value.encode(), start) if value else start
        case dict():
            return _map_hash(value, state)
        case list():
            return _list_hash(value, state)
    # Floats have no place in a binding; any stable number does.
    return _block(json.dumps(value).encode(), (_constant(12) + state) & _MASK)


def _map_hash(value: dict[str, Any], state: int) -> int:
    state = _word(state, len(value), _constant(16))
    if not value:
        return state
    pairs = 0
    for name, member in value.items():
        pairs ^= _hash(member, _hash(name, 0))
    return _word(state, pairs, _constant(19))


def _list_hash(value: list[Any], state: int) -> int:
    at = 0
    while True:
        word = count = 0
        # Runs of bytes are hashed four at a time, as the text they would be in Erlang.
        while at < len(value) and type(value[at]) is int and 0 <= value[at] <= 255:
            word = ((word << 8) + value[at]) & _MASK
            count += 1
            at += 1
            if count == 4:
                state = _word(state, word, _constant(4))
                word = count = 0
        if count:
            state = _word(state, word, _constant(4))
        if at >= len(value):
            return _word(state, 2, _constant(2)) if state else 3468870702
        state = _hash(value[at], state)
        at += 1
