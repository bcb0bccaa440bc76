"""Erlang terms as text: some answers of the real server show its values the way Elixir prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

_WIDTH: Final = 80
_MOST_ITEMS: Final = 50
_PRINTABLE: Final = 4096
_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b",
    "\f": "\\f", "\v": "\\v", "\x1b": "\\e", "\x00": "\\0", "\x7f": "\\d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Atom:
    """An Erlang atom.

    Attributes:
        name: Its name, without the colon.
    """

    name: str


@dataclass(frozen=True, slots=True)
class _Group:
    """A container that is laid out on one line if it fits.

    Attributes:
        left: The opening bracket.
        items: What is in it: texts or further containers.
        right: The closing bracket.
        fill: Whether as many items as fit share a line (else: one a line).
    """

    left: str
    items: tuple[str | _Group, ...]
    right: str
    fill: bool


def inspect(value: Any, *, pretty: bool = False) -> str:
    """A value as Elixir's `inspect` shows it.

    Args:
        value: JSON values, tuples and `Atom`s, nested at will.
        pretty: Whether lines are broken at 80 columns.
    """
    document = _document(value)
    return _layout(document, 0, 0) if pretty else _flat(document)


def float_text(value: float) -> str:
    """A float in Erlang's shortest form, which differs from Python's for large and small exponents.

    Args:
        value: A finite float.
    """
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    sign = "-" if value < 0 else ""
    digits, place = _shortest(abs(value))
    return sign + _decimal(digits, place, scientific=abs(value) >= 2**53)


def _shortest(value: float) -> tuple[str, int]:
    mantissa, _, exponent = f"{value!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    place = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return digits.rstrip("0") or "0", place


def _decimal(digits: str, place: int, *, scientific: bool) -> str:
    exponent = str(place - 1)
    dot = 2 if len(digits) == 1 else 1
    cost = len(exponent) + 1 + dot
    mantissa = f"{digits[0]}.{digits[1:] or '0'}e{exponent}"
    if scientific:
        return mantissa
    if place == 0:
        return f"0.{digits}"
    if place < 0:
        return f"0.{'0' * -place}{digits}" if 2 - place <= cost else mantissa
    if place >= len(digits):
        return f"{digits}{'0' * (place - len(digits))}.0" if place - len(digits) + 2 <= cost else mantissa
    return f"{digits[:place]}.{digits[place:]}"


def _document(value: Any) -> str | _Group:
    match value:
        case None | True | False:
            return {None: "nil", True: "true", False: "false"}[value]
        case Atom(name):
            return f":{name}"
        case str():
            return _text(value)
        case float():
            return float_text(value)
        case int():
            return str(value)
        case tuple():
            return _container("{", [_document(item) for item in value], "}", strict=False)
        case list():
            return _container("[", [_document(item) for item in value], "]", strict=False)
        case dict():
            pairs = sorted(value.items(), key=lambda pair: pair[0].encode())
            return _container("%{", [_pair(name, member) for name, member in pairs], "}", strict=True)
    raise TypeError(f"no Erlang term for {type(value).__name__}")


def _pair(name: str, member: Any) -> str | _Group:
    shown = _document(member)
    prefix = f"{_text(name)} => "
    if isinstance(shown, str):
        return prefix + shown
    return _Group(prefix + shown.left, shown.items, shown.right, shown.fill)


def _container(left: str, items: list[str | _Group], right: str, *, strict: bool) -> str | _Group:
    if not items:
        return left + right
    shown = [*items[:_MOST_ITEMS], "..."] if len(items) > _MOST_ITEMS else items
    return _Group(left, tuple(shown), right, not strict and all(isinstance(item, str) for item in shown))


def _text(value: str) -> str:
    cut = value[:_PRINTABLE]
    shown = "".join(_ESCAPES.get(char) or (char if char.isprintable() else f"\\x{{{ord(char):X}}}") for char in cut)
    shown = shown.replace("#{", "\\#{")
    return f'"{shown}"' + (" <> ..." if len(value) > _PRINTABLE else "")


def _flat(document: str | _Group) -> str:
    if isinstance(document, str):
        return document
    return document.left + ", ".join(map(_flat, document.items)) + document.right


def _layout(document: str | _Group, nest: int, column: int, trailing: int = 0) -> str:
    flat = _flat(document)
    if isinstance(document, str) or column + len(flat) + trailing <= _WIDTH:
        return flat
    if document.fill:
        return _filled(document, nest, column, trailing)
    indent = nest + 2
    lines = []
    for index, item in enumerate(document.items):
        comma = "," if index + 1 < len(document.items) else ""
        lines.append(" " * indent + _layout(item, indent, indent, len(comma)) + comma)
    return document.left + "\n" + "\n".join(lines) + "\n" + " " * nest + document.right


def _filled(document: _Group, nest: int, column: int, trailing: int) -> str:
    # Elixir indents by the width of the bracket from the enclosing level, not from the column.
    indent = nest + len(document.left)
    text, at = document.left, column + len(document.left)
    for index, item in enumerate(document.items):
        last = index + 1 == len(document.items)
        shown = _flat(item) + (document.right if last else ",")
        room = len(shown) + (trailing if last else 0)
        if index == 0:
            text, at = text + shown, at + len(shown)
        elif at + 1 + room <= _WIDTH:
            text, at = f"{text} {shown}", at + 1 + len(shown)
        else:
            text, at = f"{text}\n{' ' * indent}{shown}", indent + len(shown)
    return text
