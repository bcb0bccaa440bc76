"""The SQL statements that insert, update and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whatssound.local.rest.fragments import ROW_COUNT, SOURCE, Columns, body, result
from whatssound.local.rest.sql import Sql, quote_ident, quote_literal
from whatssound.local.rest.statements import NO_BODY, Ask, Statement, qualified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whatssound.local.rest.payload import Payload
    from whatssound.local.rest.schema import Table


def insert(table: Table, payload: Payload, ask: Ask, *, put: bool) -> Statement:
    """Inserts rows, or updates those that are there.

    Args:
        table: Where to.
        payload: The rows.
        ask: What to return, what to do about rows that exist, and for a PUT which row.
        put: Whether this is a PUT: one row, named by its primary key.
    """
    sql = Sql()
    prefer = ask.prefer
    name = qualified(table.schema, table.name)
    target = f"insert into {name}"
    if payload.keys:
        target += f"({', '.join(map(quote_ident, payload.keys))})"
    merges = put or prefer.resolution == "merge-duplicates"
    text = f"{target} {_rows_of(sql, table, payload, defaults=prefer.missing == 'default' and not put, insert=True)}"
    conditions = [f"{_count_inserted('+', '0')}"] if merges else []
    if put:
        conditions += [Columns(sql, "pgrst_body", table).condition(condition) for condition in ask.query.conditions]
    if conditions:
        text += f" where {' and '.join(conditions)}"
    text += _on_conflict(table, payload, ask, put=put)
    returned = _returned(table, ask)
    text += _returning(name, returned)
    inserted = "nullif(current_setting('pgrst.inserted', true), '')::int" if merges else "0"
    location = _location(table.key) if prefer.returning == "headers-only" and not put and table.key else "null::text[]"
    extra = f", {inserted} as inserted, {location} as location"
    return _write(sql, text, table, ask, extra)


def update(table: Table, payload: Payload, ask: Ask) -> Statement:
    """Updates the rows that fulfil the conditions."""
    sql = Sql()
    name = qualified(table.schema, table.name)
    returned = _returned(table, ask)
    if not payload.keys:
        # Nothing to set: no row is touched, but unknown columns in select are still errors.
        nothing = ", ".join(f"{quote_ident(table.name)}.{_star_or_name(column)}" for column in returned) or "null"
        return _write(sql, f"select {nothing} from {name} where false", table, ask)
    assignments = ", ".join(f"{quote_ident(key)} = pgrst_body.{quote_ident(key)}" for key in payload.keys)
    source = _rows_of(sql, table, payload, defaults=ask.prefer.missing == "default", insert=False)
    where = Columns(sql, name, table).where(ask.query.conditions)
    text = f"update {name} set {assignments} {source}{where}{_returning(name, returned)}"
    return _write(sql, text, table, ask)


def delete(table: Table, ask: Ask) -> Statement:
    """Deletes the rows that fulfil the conditions."""
    sql = Sql()
    name = qualified(table.schema, table.name)
    where = Columns(sql, name, table).where(ask.query.conditions)
    text = f"delete from {name}{where}{_returning(name, _returned(table, ask))}"
    return _write(sql, text, table, ask)


def _rows_of(sql: Sql, table: Table, payload: Payload, *, defaults: bool, insert: bool) -> str:
    """The payload as rows named `pgrst_body`: a from clause, for an insert with its select list."""
    names = ", ".join(map(quote_ident, payload.keys))
    kind = "jsonb" if defaults else "json"
    source, lateral = "pgrst_payload.json_data", ""
    if defaults:
        known = (
            f"{quote_literal(key)}, {table.columns[key].default}" for key in payload.keys if table.columns[key].default
        )
        given = f"jsonb_build_object({', '.join(known)})"
        filled = (
            f"select {given} || pgrst_payload.json_data as val"
            if payload.is_object
            else f"select jsonb_agg({given} || elem) as val from jsonb_array_elements(pgrst_payload.json_data) elem"
        )
        source, lateral = "pgrst_json_defs.val", f"lateral ({filled}) pgrst_json_defs, "
    if payload.keys:
        types = ", ".join(f"{quote_ident(key)} {table.columns[key].type_name}" for key in payload.keys)
        reader = f"{kind}_to_record{'' if payload.is_object else 'set'}"
        rows = f"select {names} from {reader}({source}) as _({types})"
    elif payload.is_object:
        rows = "select from (values (1)) _"
    else:
        rows = f"select from {kind}_array_elements({source}) _"
    select = f"select {', '.join(f'pgrst_body.{quote_ident(key)}' for key in payload.keys)} " if insert else ""
    place = sql.param(payload.text, kind)
    return f"{select}from (select {place} as json_data) pgrst_payload, {lateral}lateral ({rows}) pgrst_body"


def _on_conflict(table: Table, payload: Payload, ask: Ask, *, put: bool) -> str:
    resolution = "merge-duplicates" if put else ask.prefer.resolution
    key = table.key if put or ask.query.on_conflict is None else ask.query.on_conflict
    if resolution is None or not key:
        return ""
    target = f" on conflict ({', '.join(map(quote_ident, key))}) do "
    if resolution == "ignore-duplicates" or not payload.keys:
        return f"{target}nothing"
    assignments = ", ".join(f"{quote_ident(name)} = excluded.{quote_ident(name)}" for name in payload.keys)
    return f"{target}update set {assignments} where {_count_inserted('-', '-1')}"


def _count_inserted(sign: str, impossible: str) -> str:
    """A condition that is always true and counts, in a setting, rows inserted rather than updated."""
    setting = "coalesce(nullif(current_setting('pgrst.inserted', true), '')::int, 0)"
    return f"set_config('pgrst.inserted', ({setting} {sign} 1)::text, true) <> '{impossible}'"


def _returned(table: Table, ask: Ask) -> list[str]:
    """The columns a write must return: what is selected, and the key for the `Location`."""
    if ask.prefer.returning in {None, "minimal"}:
        return []
    names = {item.field.name for item in ask.query.select}
    return ["*"] if "*" in names else sorted(names | set(table.key))


def _returning(name: str, columns: list[str]) -> str:
    listed = ", ".join(f"{name}.{_star_or_name(column)}" for column in columns)
    return f" returning {listed or '1'}"


def _star_or_name(column: str) -> str:
    return "*" if column == "*" else quote_ident(column)


def _location(key: Sequence[str]) -> str:
    """The key of the one row that was inserted, as filters of a query string."""
    names = ", ".join(quote_literal(column) for column in key)
    return (
        f"(select array_agg(pair.key || '=' || coalesce('eq.' || pair.value, 'is.null')) "
        f"from (select row_to_json(row) as data from {SOURCE} as row) one, json_each_text(one.data) as pair "
        f"where pair.key in ({names}) having (select count(*) from {SOURCE}) = 1)"
    )


def _write(sql: Sql, text: str, table: Table, ask: Ask, extra: str = "") -> Statement:
    if ask.prefer.returning == "representation":
        alias = quote_ident(table.name)
        columns = Columns(sql, alias, table)
        shaped = (
            f"select {columns.select(ask.query.select)} from {SOURCE} as {alias}"
            f"{columns.group_by(ask.query.select)}{columns.order_by(ask.query.order)}"
        )
        content = body(ask.rendering)
    else:
        shaped, content = f"select * from {SOURCE}", NO_BODY
    final = result(total="null::bigint", page=ROW_COUNT, content=content, rows=shaped, extra=extra)
    return Statement(f"with {SOURCE} as ({text}) {final}", tuple(sql.args))
