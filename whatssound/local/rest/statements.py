"""What is asked, and the SQL statement that reads a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from whatssound.local.rest.fragments import ROW_COUNT, SOURCE, Columns, body, result
from whatssound.local.rest.ranges import ALL, RowRange
from whatssound.local.rest.sql import Sql, quote_ident

if TYPE_CHECKING:
    from whatssound.local.rest.media import Rendering
    from whatssound.local.rest.prefer import Preferences
    from whatssound.local.rest.query_string import Query
    from whatssound.local.rest.schema import Table

NO_BODY: Final = "''::text"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its parameters.

    Args:
        text: The SQL.
        args: Values for `$1`, `$2` and so on, as text or, for a raw body, bytes.
    """

    text: str
    args: tuple[str | bytes, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request wants, whatever it is about.

    Args:
        query: Its query string.
        prefer: Its preferences.
        rendering: The form of the response.
        rows: Which rows it asks for.
        max_rows: Most rows the service sends; None for no limit.
        head: Whether the body is not wanted.
    """

    query: Query
    prefer: Preferences
    rendering: Rendering
    rows: RowRange = ALL
    max_rows: int | None = None
    head: bool = False


def qualified(schema: str, name: str) -> str:
    """A name with its schema, as SQL."""
    return f"{quote_ident(schema)}.{quote_ident(name)}"


def read(table: Table, ask: Ask) -> Statement:
    """Reads a table or view."""
    sql = Sql()
    query, prefer = ask.query, ask.prefer
    name = qualified(table.schema, table.name)
    columns = Columns(sql, name, table)
    source = (
        f"select {columns.select(query.select)} from {name}{columns.where(query.conditions)}"
        f"{columns.group_by(query.select)}{columns.order_by(query.order)}{columns.limit(ask.rows.at_most(ask.max_rows))}"
    )
    counted, total = "", "null::bigint"
    if prefer.counts:
        count_limit = ""
        if prefer.count == "estimated" and ask.max_rows is not None:
            # One more than can be sent is enough to know that the planner's guess is needed.
            count_limit = f" limit {ask.max_rows + 1}"
        counted = f", pgrst_source_count as (select 1 from {name}{columns.where(query.conditions)}{count_limit})"
        total = "(select pg_catalog.count(*) from pgrst_source_count)"
    content = NO_BODY if ask.head else body(ask.rendering)
    final = result(total=total, page=ROW_COUNT, content=content, rows=f"select * from {SOURCE}")
    return Statement(f"with {SOURCE} as ({source}){counted} {final}", tuple(sql.args))


def explain_count(table: Table, query: Query) -> Statement:
    """Asks the planner how many rows fulfil the conditions."""
    sql = Sql()
    name = qualified(table.schema, table.name)
    where = Columns(sql, name, table).where(query.conditions)
    return Statement(f"explain (format json) select 1 from {name}{where}", tuple(sql.args))
