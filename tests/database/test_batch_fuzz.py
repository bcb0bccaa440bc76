"""Whatever rows a batch has, as long as it is JSON: each has an outcome and the good one among them is stored."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.database.conftest import Room

_PIECES = [
    *("a", "ñ", "🎧", " ", "%", "'", ";--", "u0000"),
    *(r"\n", r"\t", r"\\", r"\"", r"\/", r"\u0000", r"\u0001", r"\u00e9", r"\u202e", r"\u007f", r"\ufffe"),
    *(r"\ud83c", r"\udfa7", r"\ud83c\udfa7", r"\uD83C", r"\\u0000", r"\\\u0000", r"\\ud83c"),
]
_REASONS = {"bad_id", "not_allowed", "empty", "invalid_text", "too_long", "bad_clock", "id_conflict", None}


def _uuid7(at: float) -> str:
    raw = bytearray(int(at * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = 0x70 | raw[6] & 0x0F, 0x80 | raw[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(raw)))


def _text(dice: random.Random) -> str:
    return '"' + "".join(dice.choice(_PIECES) for _ in range(dice.randrange(8))) + '"'


def _value(dice: random.Random, depth: int = 0) -> str:
    match dice.randrange(9 if depth < 3 else 6):
        case 0:
            return dice.choice(["null", "true", "1", "-0.5e3", "1e400", "123456789012345678901234567890"])
        case 1 | 2 | 3:
            return _text(dice)
        case 4 | 5:
            return f'"{_uuid7(time.time() + dice.choice([0, 0, 0, -864_000, 864_000]))}"'
        case 6:
            return "[" + ",".join(_value(dice, depth + 1) for _ in range(dice.randrange(3))) + "]"
        case _:
            names = ['"id"', '"content"', '"user_id"', _text(dice)]
            pairs = (f"{dice.choice(names)}: {_value(dice, depth + 1)}" for _ in range(dice.randrange(5)))
            return "{" + ",".join(pairs) + "}"


def _row(dice: random.Random) -> str:
    if dice.random() < 0.3:
        return _value(dice)
    return f'{{"id": "{_uuid7(time.time())}", "content": {_text(dice)}, "extra": {_value(dice, 2)}}}'


@pytest.mark.parametrize("seed", range(6))
async def test_every_row_has_an_outcome(room: Room, seed: int) -> None:
    """Sixty odd rows and a good one: sixty-one outcomes in order, and the good one is stored."""
    dice = random.Random(seed)
    good = _uuid7(time.time())
    rows = [_row(dice) for _ in range(60)]
    place = dice.randrange(60)
    rows.insert(place, f'{{"id": "{good}", "content": "good"}}')
    batch = f"[{','.join(rows)}]"
    json.loads(batch)  # it is JSON

    reply = await room.call(room.dj, "insert_messages", p_session_id=room.id, p_messages=batch)

    results = reply["results"]
    assert len(results) == len(rows)
    assert (results[place]["id"], results[place]["status"]) == (good, "stored")
    assert {result["reason"] for result in results} <= _REASONS
    assert {result["status"] for result in results} <= {"stored", "duplicate", "rejected"}
    stored = await room.fetch("select content from public.messages where session_id = $1", room.id)
    assert len(stored) == sum(result["status"] == "stored" for result in results)
    assert all(row["content"].strip() for row in stored)
