"""Cuts SQL text into statements, as a client must before it can send them one by one."""

from __future__ import annotations

import re

# One token at a time: what may hide a semicolon (comments, strings, quoted names, dollar quotes) is one token.
_TOKEN = re.compile(
    r"""
    (?P<line>--[^\n]*)
  | (?P<block>/\*)
  | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<dollar>\$(?:[A-Za-z_\x80-\uffff][A-Za-z0-9_\x80-\uffff]*)?\$)
  | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
  | (?P<space>\s+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def split_statements(text: str) -> list[str]:
    """The statements of `text`, without their semicolons; comments before a statement stay with it.

    Knows strings, quoted names, dollar quotes, nested comments, parentheses (rules) and `begin atomic … end` bodies.
    """
    statements: list[str] = []
    start = position = depth = atomic = 0
    empty = True
    previous = ""
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None  # `other` takes any character
        kind, found = match.lastgroup, match[0]
        end = match.end()
        if kind == "block":
            end = _after_comment(text, position)
        elif kind == "dollar":
            close = text.find(found, end)
            end = len(text) if close < 0 else close + len(found)
            empty = False
        elif found == ";" and not depth and not atomic:
            if not empty:
                statements.append(text[start:position].strip())
            start, empty, previous = end, True, ""
        elif kind not in {"line", "space"}:
            empty = False
            depth += {"(": 1, ")": -1}.get(found, 0)
            word = found.lower()
            atomic = _atomic(atomic, previous, word)
            previous = word
        position = end
    if not empty:
        statements.append(text[start:].strip())
    return statements


def _atomic(depth: int, previous: str, word: str) -> int:
    """How deep we are in `begin atomic … end`, where a `case` needs an `end` of its own."""
    if previous == "begin" and word == "atomic":
        return depth + 1
    if depth and word == "case":
        return depth + 1
    if depth and word == "end":
        return depth - 1
    return depth


def _after_comment(text: str, start: int) -> int:
    depth, position = 0, start
    while position < len(text):
        two = text[position : position + 2]
        if two == "/*":
            depth, position = depth + 1, position + 2
        elif two == "*/":
            depth, position = depth - 1, position + 2
            if not depth:
                return position
        else:
            position += 1
    return len(text)
