"""Composes SQL text: quoting, and literals that are either inlined or sent as parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from whatssound.local.rest.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN_TYPES: Final = frozenset(
    {
        "smallint", "integer", "bigint", "numeric", "real", "double precision", "text", "uuid", "boolean", "date",
        "timestamp without time zone", "timestamp with time zone", "character varying",
    }
)  # fmt: skip
"""Types for which `cast(text as T)` reads exactly what an untyped literal would."""

_TYPE_MODIFIER: Final = re.compile(r"\(\d+(,\d+)?\)")


def quote_ident(name: str) -> str:
    """A name as a delimited identifier."""
    return '"' + _no_null(name).replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A text as a literal of unknown type: Postgres decides by the context, as for a value of an HTTP query."""
    quoted = "'" + _no_null(text).replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in quoted else quoted


def array_literal(values: Iterable[str]) -> str:
    """Texts as the text form of a Postgres array."""
    escaped = (value.replace("\0", "").replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


class Sql:
    """The text of one statement under construction, with its parameters.

    Values go in as parameters where the type is known and plain, so that equal requests share one prepared
    statement. Everything else is inlined as a literal of unknown type: only then does Postgres choose operators,
    and word its errors, as it does for PostgREST.
    """

    def __init__(self) -> None:
        self.args: list[str] = []

    def param(self, value: str, type_name: str) -> str:
        """Adds a parameter and returns its place, cast to a type.

        Args:
            value: The text form of the value.
            type_name: A type's name as SQL.
        """
        self.args.append(_no_null(value))
        place = f"${len(self.args)}"
        return f"{place}::{type_name}" if type_name in {"json", "jsonb"} else f"cast({place}::text as {type_name})"

    def value(self, text: str, type_name: str | None) -> str:
        """A value to be read as `type_name`, or as whatever the context makes of it.

        Args:
            text: The text form of the value.
            type_name: The type of what it is compared with, if known.
        """
        plain = plain_type(type_name)
        return self.param(text, plain) if plain else quote_literal(text)

    def array(self, values: Iterable[str], type_name: str | None) -> str:
        """An array whose elements are to be read as `type_name`.

        Args:
            values: The text forms of the elements.
            type_name: The type of what the elements are compared with, if known.
        """
        literal = array_literal(values)
        plain = plain_type(type_name)
        return self.param(literal, f"{plain}[]") if plain else quote_literal(literal)


def plain_type(type_name: str | None) -> str | None:
    """The type without its modifier if values of it can be sent as parameters, else None."""
    if type_name is None:
        return None
    bare = _TYPE_MODIFIER.sub("", type_name)
    if bare not in _PLAIN_TYPES:
        return None
    return "text" if bare == "character varying" else bare


def _no_null(text: str) -> str:
    if "\0" in text:
        # Postgres' own refusal: the character cannot even be sent to it.
        raise ApiError(400, "22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    return text
