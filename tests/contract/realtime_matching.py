"""Compares frames with transcripts: placeholders, lists without order, binary frames."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

PLACEHOLDER = re.compile(r"\$(?:uuid|ref|time|int)\d+|\$secs")
_KINDS = {
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "ref": re.compile(r".+"),
    "time": re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*"),
    "secs": re.compile(r"\d+"),
    "int": re.compile(r"\d+"),
}


def kind_of(placeholder: str) -> str:
    return re.sub(r"\d+$", "", placeholder[1:])


class Bindings:
    """What the placeholders of a scenario stand for."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values = dict(values or {})

    def bind(self, name: str, value: Any) -> bool:
        kind = kind_of(name)
        if not _KINDS[kind].fullmatch(str(value)):
            return False
        if kind == "secs":
            return True
        if name in self.values:
            return bool(self.values[name] == value)
        # Different placeholders of a kind are different values, but for times.
        if kind != "time" and any(kind_of(n) == kind and v == value for n, v in self.values.items()):
            return False
        self.values[name] = value
        return True

    def match(self, expected: Any, actual: Any, *, unordered: bool = False) -> bool:
        if isinstance(expected, str):
            return self._match_text(expected, actual)
        if isinstance(expected, dict):
            if set(expected) == {"$repeat"}:
                text, count = expected["$repeat"]
                return bool(actual == text * count)
            return isinstance(actual, dict) and self._match_object(expected, actual)
        if isinstance(expected, list):
            if not isinstance(actual, list) or len(expected) != len(actual):
                return False
            if unordered:
                return self._match_any_order(expected, actual)
            return all(self.match(e, a) for e, a in zip(expected, actual, strict=True))
        return type(expected) is type(actual) and bool(expected == actual)

    def _match_text(self, expected: str, actual: Any) -> bool:
        if PLACEHOLDER.fullmatch(expected):
            return self.bind(expected, actual)
        if not isinstance(actual, str):
            return False
        names = PLACEHOLDER.findall(expected)
        if not names:
            return expected == actual
        pattern = "(.+?)".join(map(re.escape, PLACEHOLDER.split(expected)))
        found = re.fullmatch(pattern, actual, re.DOTALL)
        return found is not None and all(self.bind(n, v) for n, v in zip(names, found.groups(), strict=True))

    def _match_object(self, expected: dict[str, Any], actual: dict[str, Any]) -> bool:
        if len(expected) != len(actual):
            return False
        plain = {k: v for k, v in expected.items() if not PLACEHOLDER.fullmatch(k)}
        if not plain.keys() <= actual.keys():
            return False
        for key, value in plain.items():
            if not self.match(value, actual[key], unordered=key in {"ids", "metas"}):
                return False
        names = [k for k in expected if k not in plain]
        rest = [k for k in actual if k not in plain]
        return all(self.bind(n, k) and self.match(expected[n], actual[k]) for n, k in zip(names, rest, strict=True))

    def _match_any_order(self, expected: list[Any], actual: list[Any]) -> bool:
        if not expected:
            return True
        for index, candidate in enumerate(actual):
            trial = Bindings(self.values)
            if trial.match(expected[0], candidate) and trial._match_any_order(
                expected[1:], actual[:index] + actual[index + 1 :]
            ):
                self.values = trial.values
                return True
        return False

    def raw_equals(self, raw: str, text: str) -> bool:
        filled = PLACEHOLDER.sub(lambda found: str(self.values.get(found[0], found[0])), raw)
        if "$secs" in filled:
            pattern = r"\d+".join(map(re.escape, filled.split("$secs")))
            return re.fullmatch(pattern, text) is not None
        return filled == text


def decode_binary(data: bytes) -> Any:
    """A binary frame as transcripts show it."""
    kind = data[0]
    if kind == 4:
        sizes, at = (data[1], data[2], data[3]), 5
        parts = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        body = data[at:]
        payload: Any = json.loads(body) if data[4] else {"$base64": base64.b64encode(body).decode()}
        shown = {
            "kind": "user_broadcast",
            "topic": parts[0].decode(),
            "event": parts[1].decode(),
            "encoding": "json" if data[4] else "binary",
            "meta": json.loads(parts[2]) if parts[2] else None,
            "payload": payload,
        }
        return {"$binary": shown, "$hex": data[:5].hex()}
    if kind == 2:
        topic = data[3 : 3 + data[1]].decode()
        event = data[3 + data[1] : 3 + data[1] + data[2]].decode()
        body = data[3 + data[1] + data[2] :]
        shown = {"kind": "broadcast", "topic": topic, "event": event}
        return {"$binary": {**shown, "payload": {"$base64": base64.b64encode(body).decode()}}, "$hex": data[:3].hex()}
    return {"$bytes": data.hex()}


def encode_binary(shown: dict[str, Any]) -> bytes:
    """A client's binary frame from its transcript."""

    def part(name: str) -> bytes:
        value = shown.get(name)
        if isinstance(value, dict):
            return json.dumps(value).encode()
        return b"" if value is None else str(value).encode()

    payload = shown["payload"]
    if isinstance(payload, dict) and set(payload) == {"$base64"}:
        body = base64.b64decode(payload["$base64"])
    else:
        body = json.dumps(payload).encode()
    if shown["kind"] == "push":
        parts = [part(name) for name in ("join_ref", "ref", "topic", "event")]
        return bytes([0, *map(len, parts)]) + b"".join(parts) + body
    parts = [part(name) for name in ("join_ref", "ref", "topic", "event", "meta")]
    head = bytes([3, *map(len, parts), 1 if shown["encoding"] == "json" else 0])
    return head + b"".join(parts) + body
