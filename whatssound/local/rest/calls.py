"""The SQL statement that calls a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whatssound.local.rest.fragments import ROW_COUNT, SOURCE, Columns, body, result
from whatssound.local.rest.sql import Sql, plain_type, quote_ident, quote_literal
from whatssound.local.rest.statements import NO_BODY, Ask, Statement, qualified
from whatssound.local.rest.terms import Logic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whatssound.local.rest.payload import Payload
    from whatssound.local.rest.query_string import Query
    from whatssound.local.rest.schema import Function, Parameter, Table
    from whatssound.local.rest.terms import Condition


def call(function: Function, table: Table | None, payload: Payload | None, ask: Ask) -> Statement:
    """Calls a function.

    Args:
        function: Which.
        table: The table whose rows it returns, if any.
        payload: The arguments of a POST.
        ask: What to return of it; the arguments of a GET.
    """
    sql = Sql()
    query = ask.query
    arguments, origin = _arguments(sql, function, query, payload)
    invocation = f"{qualified(function.schema, function.name)}({arguments})"
    if function.returns_value:
        source = f"select pgrst_call.pgrst_scalar from {origin}(select {invocation} pgrst_scalar) pgrst_call"
    else:
        source = f"select {_called_columns(query)} from {origin}{invocation} pgrst_call"
    alias = quote_ident(function.name if function.returns_value else function.return_name)
    columns = Columns(sql, alias, table)
    shaped = (
        f"select {columns.select(query.select)} from {SOURCE} as {alias}{columns.where(query.conditions)}"
        f"{columns.group_by(query.select)}{columns.order_by(query.order)}{columns.limit(ask.rows.at_most(ask.max_rows))}"
    )
    counted, total = "", "null::bigint"
    if ask.prefer.counts:
        counted = f", pgrst_source_count as (select 1 from {SOURCE} as {alias}{columns.where(query.conditions)})"
        total = "(select pg_catalog.count(*) from pgrst_source_count)"
    content = (
        NO_BODY if ask.head else body(ask.rendering, value=function.returns_value, single=not function.returns_set)
    )
    page = ROW_COUNT if function.returns_set else "1::bigint"
    final = result(total=total, page=page, content=content, rows=shaped)
    args: tuple[str | bytes, ...] = tuple(sql.args)
    if payload is not None and payload.raw_type == "bytea":
        args = (payload.raw, *args[1:])
    return Statement(f"with {SOURCE} as ({source}){counted} {final}", args)


def _called_columns(query: Query) -> str:
    """What a row-returning function must give: what is selected and what is filtered by."""
    names = {item.field.name for item in query.select}
    if "*" in names:
        return "pgrst_call.*"
    if not names:
        return "*"
    names |= {name for condition in query.conditions for name in _condition_columns(condition)}
    return ", ".join(f"pgrst_call.{quote_ident(name)}" for name in sorted(names))


def _condition_columns(condition: Condition) -> list[str]:
    if isinstance(condition, Logic):
        return [name for operand in condition.operands for name in _condition_columns(operand)]
    return [condition.field.name]


def _arguments(sql: Sql, function: Function, query: Query, payload: Payload | None) -> tuple[str, str]:
    """The argument list, and what must stand before the call in its from clause."""
    if payload is None or payload.arguments is not None:
        pairs = query.arguments if payload is None else payload.arguments or []
        return _direct_arguments(sql, function, pairs), ""
    if len(function.parameters) == 1 and not function.parameters[0].name:
        return _body_argument(sql, function.parameters[0], payload), ""
    chosen = [parameter for parameter in function.parameters if parameter.name in set(payload.keys)]
    if not chosen:
        return "", ""
    names = ", ".join(quote_ident(parameter.name) for parameter in chosen)
    types = ", ".join(f"{quote_ident(parameter.name)} {parameter.type_name}" for parameter in chosen)
    reader = "json_to_record" if payload.is_object else "json_to_recordset"
    place = sql.param(payload.text, "json")
    origin = (
        f"(select {place} as json_data) pgrst_payload, "
        f"lateral (select {names} from {reader}(pgrst_payload.json_data) as _({types}) limit 1) pgrst_body, lateral "
    )
    arguments = ", ".join(
        f"{_variadic(parameter)}{quote_ident(parameter.name)} := pgrst_body.{quote_ident(parameter.name)}"
        for parameter in chosen
    )
    return arguments, origin


def _body_argument(sql: Sql, parameter: Parameter, payload: Payload) -> str:
    if payload.raw_type == "bytea":
        sql.args.append("")
        return f"${len(sql.args)}::bytea"
    if payload.raw_type is not None:
        return f"{sql.param(payload.raw.decode(errors='replace'), 'text')}::{parameter.type_name}"
    return sql.param(payload.text, parameter.type_name)


def _direct_arguments(sql: Sql, function: Function, pairs: Sequence[tuple[str, str]]) -> str:
    """Arguments of a query string or form; only a variadic parameter may be repeated."""
    pieces: list[str] = []
    for parameter in function.parameters:
        values = [value for key, value in pairs if key == parameter.name]
        if not values:
            continue
        if parameter.variadic:
            value = f"{sql.array(values, 'text')}::{parameter.type_name}"
        elif plain_type(parameter.type_name):
            value = sql.param(values[-1], parameter.type_name)
        else:
            value = f"{quote_literal(values[-1])}::{parameter.type_name}"
        pieces.append(f"{_variadic(parameter)}{quote_ident(parameter.name)} := {value}")
    return ", ".join(pieces)


def _variadic(parameter: Parameter) -> str:
    return "variadic " if parameter.variadic else ""
