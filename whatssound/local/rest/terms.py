"""What a query string says, as values: columns, filters, order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class JsonStep:
    """One step into a JSON value: `->key`, `->>key`, `->2`."""

    operand: str
    as_text: bool
    is_index: bool


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or a path into it."""

    name: str
    path: tuple[JsonStep, ...] = ()


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One entry of `select=`."""

    field: Field
    alias: str | None = None
    cast: str | None = None
    aggregate: str | None = None
    aggregate_cast: str | None = None

    @property
    def label(self) -> str | None:
        """The name in the response where it is not the column's: an alias, or the last key of a JSON path."""
        if self.alias is not None or self.aggregate is not None or not self.field.path:
            return self.alias
        keys = [step.operand for step in self.field.path if not step.is_index]
        if not self.field.path[-1].is_index:
            return keys[-1]
        return keys[-1] if keys else self.field.name


STAR = SelectItem(Field("*"))
"""`select=*`."""


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One entry of `order=`."""

    field: Field
    direction: Literal["asc", "desc"] | None = None
    nulls: Literal["first", "last"] | None = None
    relation: str | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """`eq.5`, `like(any).{a,b}`: an SQL operator with one value on its right."""

    operator: str
    value: str
    quantifier: Literal["any", "all"] | None = None


@dataclass(frozen=True, slots=True)
class In:
    """`in.(1,2)`."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Is:
    """`is.null` and the like."""

    keyword: str


@dataclass(frozen=True, slots=True)
class DistinctFrom:
    """`isdistinct.5`."""

    value: str


@dataclass(frozen=True, slots=True)
class TextSearch:
    """`fts(english).cat`: a full-text query."""

    function: str
    language: str | None
    value: str


Operation = Compare | In | Is | DistinctFrom | TextSearch


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on one column."""

    field: Field
    operation: Operation
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions joined by and/or."""

    operator: Literal["and", "or"]
    operands: tuple[Condition, ...]
    negated: bool = False


Condition = Filter | Logic
