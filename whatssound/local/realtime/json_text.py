"""JSON texts as the real server writes them: members sorted by name, numbers in Erlang's shortest form."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import orjson

from .inspect import float_text

_OPTIONS: Final = orjson.OPT_SORT_KEYS
_UPPER_ESCAPE: Final = re.compile(rb"((?:^|[^\\])(?:\\\\)*)\\u00([01][0-9a-f])")


def parse(text: str | bytes) -> Any:
    """Reads a JSON text; integers keep every digit.

    Args:
        text: The text, UTF-8.

    Raises:
        ValueError: It is not JSON.
    """
    value = orjson.loads(text)
    # orjson turns integers beyond 64 bits into floats; Erlang does not.
    return json.loads(text, parse_float=_finite, parse_constant=_finite) if _has_float(value) else value


def render(value: Any) -> bytes:
    """Writes a JSON text without spaces, members sorted by name.

    Args:
        value: What `parse` yields.
    """
    if _has_float(value):
        return _render_slowly(value).encode()
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except (TypeError, orjson.JSONEncodeError):
        return _render_slowly(value).encode()
    if b"\\u00" in text:
        text = _UPPER_ESCAPE.sub(lambda found: found[1] + b"\\u00" + found[2].upper(), text)
    return text


def string(value: str) -> bytes:
    """Writes a JSON string.

    Args:
        value: Its characters.
    """
    return orjson.dumps(value)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _has_float(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return any(_has_float(member) for member in value.values())
    if kind is list:
        return any(_has_float(item) for item in value)
    return kind is float


def _render_slowly(value: Any) -> str:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode())
        return "{" + ",".join(f"{_quoted(name)}:{_render_slowly(member)}" for name, member in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_render_slowly, value)) + "]"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, str):
        return _quoted(value)
    return json.dumps(value)


def _quoted(value: str) -> str:
    return render(value).decode()
