"""Change bindings: which table, which event, which rows. Parsed as the real server does, texts of errors included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .inspect import inspect

OPERATORS: Final = frozenset(
    {"eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"}
)
_EVENTS: Final = frozenset({"INSERT", "UPDATE", "DELETE"})
_NOTHING: Final = "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
_SELECT_TEXT: Final = (
    'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
)
_SELECT_WILDCARD: Final = (
    "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
)


class BindingError(Exception):
    """A binding cannot be understood; the text is what the `system` message says."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column.

    Attributes:
        column: The column's name.
        operator: One of `OPERATORS`.
        value: What it is compared with, as text; an array literal for `in`.
        negate: Whether the condition is turned round.
    """

    column: str
    operator: str
    value: str
    negate: bool

    def as_tuple(self) -> tuple[str, str, str, bool]:
        """The filter as the real server prints it."""
        return (self.column, self.operator, self.value, self.negate)


@dataclass(frozen=True, slots=True)
class Binding:
    """A wish to hear of changes.

    Attributes:
        event: `*`, `INSERT`, `UPDATE` or `DELETE`.
        schema: The schema's name, or `*`.
        table: The table's name, or `*`.
        filters: Conditions, all of which have to hold.
        select: Columns wanted (None: all).
    """

    event: str
    schema: str
    table: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    def describe(self) -> str:
        """The binding as the real server names it in errors."""
        select = list(self.select) if self.select is not None else None
        filters = [condition.as_tuple() for condition in self.filters]
        return (
            f"event: {self.event}, schema: {self.schema}, table: {self.table}, "
            f"filters: {inspect(filters, pretty=True)}, select: {inspect(select, pretty=True)}"
        )


def parse_binding(members: dict[str, Any]) -> Binding:
    """Reads a binding.

    Args:
        members: The binding as sent.

    Raises:
        BindingError: It makes no sense.
    """
    select = _select(members)
    schema, table, filters = _where(members)
    if select is not None and "*" in {schema, table}:
        raise BindingError(_SELECT_WILDCARD)
    return Binding(_event(members.get("event")), schema, table, filters, select)


def _where(members: dict[str, Any]) -> tuple[str, str, tuple[Filter, ...]]:
    schema, table, condition = members.get("schema"), members.get("table"), members.get("filter")
    has_filter, has_table = "filter" in members, "table" in members
    if isinstance(schema, str) and isinstance(table, str):
        if isinstance(condition, str):
            try:
                return schema, table, parse_filters(condition)
            except BindingError as error:
                raise BindingError(f"Error parsing `filter` params: {error}") from error
        if not has_filter:
            return schema, table, ()
    if isinstance(schema, str) and not has_table and not has_filter:
        return schema, "*", ()
    if isinstance(table, str) and "schema" not in members and not has_filter:
        return "public", table, ()
    secret = "user_token" in members or "auth_token" in members
    raise BindingError(_NOTHING + ("<redacted>" if secret else inspect(members)))


def _event(event: Any) -> str:
    upper = event.upper() if isinstance(event, str) else "*"
    return upper if upper in _EVENTS else "*"


def _select(members: dict[str, Any]) -> tuple[str, ...] | None:
    wanted = members.get("select")
    if isinstance(wanted, str):
        raise BindingError(_SELECT_TEXT)
    if not isinstance(wanted, list):
        return None
    return tuple(column for column in wanted if isinstance(column, str)) or None


def parse_filters(text: str) -> tuple[Filter, ...]:
    """Reads the conditions of a binding, separated by commas.

    Args:
        text: The `filter` member.

    Raises:
        BindingError: One of them is none.
    """
    trimmed = text.strip()
    return tuple(_filter(part) for part in _split(trimmed)) if trimmed else ()


def _filter(part: str) -> Filter:
    trimmed = part.strip()
    if not trimmed:
        raise BindingError("filter must not contain empty segments (check for extra commas)")
    column, equals, rest = trimmed.partition("=")
    if not equals:
        raise BindingError(inspect([column]))
    negate = rest.startswith("not.")
    condition = rest[4:] if negate else rest
    operator, dot, value = condition.partition(".")
    if not dot:
        raise BindingError(inspect([operator]))
    if operator not in OPERATORS:
        raise BindingError(inspect([operator, value]))
    return Filter(column, operator, _value(operator, value), negate)


def _value(operator: str, value: str) -> str:
    if operator != "in":
        return _unquoted(value)
    if not (len(value) >= 2 and value[0] == "(" and value[-1] == ")"):
        raise BindingError("`in` filter value must be wrapped by parentheses")
    return "{" + value[1:-1] + "}"


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    text, at = "", 1
    while at < len(value):
        char = value[at]
        if char == "\\" and at + 1 < len(value):
            text += value[at + 1]
            at += 2
        elif char == '"':
            return text if at + 1 == len(value) else value
        else:
            text += char
            at += 1
    return value


def _split(text: str) -> list[str]:
    parts, current, depth, quoted, at = [], "", 0, False, 0
    previous = ""
    while at < len(text):
        char = text[at]
        if quoted and char == "\\" and at + 1 < len(text):
            current += text[at : at + 2]
            at += 2
            continue
        if quoted:
            quoted = char != '"'
        elif char == '"' and previous in {".", "(", ","}:
            quoted = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth = max(0, depth - 1)
        elif char == "," and depth == 0:
            parts.append(current)
            current, previous, at = "", "", at + 1
            continue
        current += char
        previous = char
        at += 1
    return [*parts, current]
