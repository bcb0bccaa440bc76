"""Pieces of SQL that reads, writes and calls share: columns, conditions, order, the shape of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from whatssound.local.rest.sql import plain_type, quote_ident, quote_literal
from whatssound.local.rest.terms import Compare, DistinctFrom, Filter, In, Is, Logic, TextSearch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from whatssound.local.rest.media import Rendering
    from whatssound.local.rest.ranges import RowRange
    from whatssound.local.rest.schema import Table
    from whatssound.local.rest.sql import Sql
    from whatssound.local.rest.terms import Condition, Field, OrderTerm, SelectItem

SOURCE: Final = "pgrst_source"
_ROWS: Final = "_postgrest_t"
SETTINGS: Final = (
    "nullif(current_setting('response.headers', true), '') as response_headers, "
    "nullif(current_setting('response.status', true), '') as response_status"
)
ROW_COUNT: Final = f"pg_catalog.count({_ROWS})"

_COMPARISONS: Final = frozenset({"=", "<>", ">", ">=", "<", "<="})
_PATTERNS: Final = frozenset({"like", "ilike", "~", "~*"})


class Columns:
    """Names the columns of one relation in SQL.

    Args:
        sql: The statement they are for.
        relation: The relation's name as SQL.
        table: The table behind it, whose column types decide how values are read; None if there is none.
    """

    def __init__(self, sql: Sql, relation: str, table: Table | None) -> None:
        self._sql = sql
        self._relation = relation
        self._table = table

    def name(self, column: str) -> str:
        """A column, or all of them for `*`."""
        return f"{self._relation}.{'*' if column == '*' else quote_ident(column)}"

    def field(self, field: Field) -> str:
        """A column with its JSON path."""
        column = self.name(field.name)
        if not field.path:
            return column
        is_json = self._type(field.name) in {"json", "jsonb"}
        steps = "".join(
            f"{'->>' if step.as_text else '->'}{quote_literal(step.operand)}{'::int' if step.is_index else ''}"
            for step in field.path
        )
        return (column if is_json else f"to_jsonb({column})") + steps

    def item(self, item: SelectItem) -> str:
        """An entry of the select list with its name."""
        text = self.field(item.field)
        if item.cast:
            text = f"cast({text} as {item.cast})"
        if item.aggregate:
            text = f"{item.aggregate}({text})"
            if item.aggregate_cast:
                text = f"cast({text} as {item.aggregate_cast})"
        return f"{text} as {quote_ident(item.label)}" if item.label else text

    def select(self, items: Sequence[SelectItem]) -> str:
        """The select list; everything if it is empty."""
        return ", ".join(self.item(item) for item in items) if items else self.name("*")

    def group_by(self, items: Sequence[SelectItem]) -> str:
        """Groups by what is not aggregated, once something is."""
        if not any(item.aggregate for item in items):
            return ""
        terms = [
            quote_ident(item.label) if item.label else self.field(item.field) for item in items if not item.aggregate
        ]
        return f" group by {', '.join(terms)}" if terms else ""

    def where(self, conditions: Iterable[Condition]) -> str:
        """The where clause, or nothing."""
        terms = [self.condition(condition) for condition in conditions]
        return f" where {' and '.join(terms)}" if terms else ""

    def condition(self, condition: Condition) -> str:
        """One condition, with everything inside it."""
        if isinstance(condition, Logic):
            joined = f" {condition.operator} ".join(self.condition(operand) for operand in condition.operands)
            return f"{'not ' if condition.negated else ''}({joined})"
        return f"{'not ' if condition.negated else ''}{self._filter(condition)}"

    def order_by(self, terms: Sequence[OrderTerm]) -> str:
        """The order by clause, or nothing."""
        if not terms:
            return ""
        listed = (
            self.field(term.field)
            + (f" {term.direction}" if term.direction else "")
            + (f" nulls {term.nulls}" if term.nulls else "")
            for term in terms
        )
        return f" order by {', '.join(listed)}"

    def limit(self, rows: RowRange) -> str:
        """The limit and offset clause, or nothing."""
        if rows.is_all:
            return ""
        limit = "all" if rows.limit is None else self._sql.param(str(rows.limit), "bigint")
        return f" limit {limit} offset {self._sql.param(str(rows.first), 'bigint')}"

    def _filter(self, condition: Filter) -> str:
        operation = condition.operation
        column = self.field(condition.field)
        if isinstance(operation, TextSearch):
            return self._search(column, condition.field, operation)
        if isinstance(operation, Is):
            return f"{column} is {operation.keyword}"
        type_name = self._field_type(condition.field)
        if isinstance(operation, DistinctFrom):
            return f"{column} is distinct from {self._sql.value(operation.value, type_name)}"
        if isinstance(operation, In):
            if operation.values == ("",):
                return f"{column} = any ('{{}}')"
            return f"{column} = any ({self._sql.array(operation.values, type_name)})"
        return f"{column} {operation.operator} {self._operand(operation, type_name)}"

    def _operand(self, operation: Compare, type_name: str | None) -> str:
        pattern = operation.operator in _PATTERNS
        text = operation.value.replace("*", "%") if operation.operator in {"like", "ilike"} else operation.value
        if operation.quantifier:
            return f"{operation.quantifier} ({quote_literal(text)})"
        if operation.operator in _COMPARISONS or (pattern and plain_type(type_name) == "text"):
            return self._sql.value(text, type_name)
        return quote_literal(text)

    def _search(self, column: str, field: Field, operation: TextSearch) -> str:
        language = f"{quote_literal(operation.language)}, " if operation.language else ""
        # What is not known to be a column may be computed, and may be a tsvector as it is.
        if self._base_type(field.name) not in {None, "tsvector"}:
            column = f"to_tsvector({language}{column})"
        return f"{column} @@ {operation.function}({language}{quote_literal(operation.value)})"

    def _field_type(self, field: Field) -> str | None:
        """The type of what a filter compares; a JSON path ends in text or in jsonb."""
        if not field.path:
            return self._type(field.name)
        return "text" if field.path[-1].as_text else None

    def _type(self, column: str) -> str | None:
        found = self._table.columns.get(column) if self._table else None
        return found.type_name if found else None

    def _base_type(self, column: str) -> str | None:
        found = self._table.columns.get(column) if self._table else None
        return found.base_type if found else None


def body(rendering: Rendering, *, value: bool = False, single: bool = False) -> str:
    """The response body, made by Postgres.

    Args:
        rendering: The form that was negotiated.
        value: Whether rows are bare values rather than records.
        single: Whether there is one result and not an array, whatever was negotiated.
    """
    rows = f"{_ROWS}.pgrst_scalar" if value else _ROWS
    json = f"json_agg({rows})"
    if single or rendering.single:
        json += "->0"
    if rendering.strip_nulls:
        json = f"json_strip_nulls({json})"
    return f"coalesce({json}, '{'null' if single or rendering.single else '[]'}')::text"


def result(*, total: str, page: str, content: str, rows: str, extra: str = "") -> str:
    """The one row that every statement ends in.

    Args:
        total: How many rows there are.
        page: How many rows the response holds.
        content: Its body.
        rows: Where the rows come from.
        extra: Further columns, each with a comma before it.
    """
    return f"select {total} as total, {page} as page, {content} as body, {SETTINGS}{extra} from ({rows}) {_ROWS}"
