"""Reads the schema cache from Postgres' catalogue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from whatssound.local.rest.schema import Column, Function, Parameter, RoleSettings, SchemaCache, Table

if TYPE_CHECKING:
    import asyncpg

# Type names are rendered with an empty search path, so that they stay right under any other.
_BASE_TYPES: Final = """
with recursive under(oid, base) as (
  select oid, oid from pg_type where typbasetype = 0
  union all
  select t.oid, u.base from pg_type t join under u on t.typbasetype = u.oid
)
"""

_TABLES: Final = (
    _BASE_TYPES
    + """
select coalesce(json_agg(json_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'view', c.relkind in ('v', 'm'),
  'writes', case when c.relkind in ('r', 'p') then 28 when c.relkind in ('v', 'f')
    then pg_relation_is_updatable(c.oid::regclass, true) else 0 end,
  'key', coalesce((
    select json_agg(a.attname order by a.attname) from pg_constraint k
    join pg_attribute a on a.attrelid = c.oid and a.attnum = any (k.conkey)
    where k.conrelid = c.oid and k.contype = 'p'), '[]'),
  'rule', case when c.relkind in ('v', 'm') then (
    select r.ev_action::text from pg_rewrite r where r.ev_class = c.oid and r.rulename = '_RETURN') end,
  'columns', coalesce((
    select json_agg(json_build_array(
      a.attname, format_type(a.atttypid, a.atttypmod),
      case when t.typnamespace = 'pg_catalog'::regnamespace then format_type(u.base, null)
        else format_type(u.base, a.atttypmod) end,
      case
        when t.typbasetype <> 0 and d.adbin is null then pg_get_expr(t.typdefaultbin, 0)
        when a.attidentity = 'd' then (
          select format('nextval(%L)', s.objid::regclass) from pg_depend s
          where s.refclassid = 'pg_class'::regclass and s.refobjid = a.attrelid
            and s.refobjsubid = a.attnum and s.deptype = 'i' limit 1)
        when a.attgenerated <> '' then null
        else pg_get_expr(d.adbin, d.adrelid) end,
      t.typtype = 'd' and exists (
        select from pg_cast f
        where f.castcontext = 'i' and f.castmethod = 'f' and (
          (f.castsource = t.oid and f.casttarget in ('json'::regtype, 'text'::regtype))
          or (f.casttarget = t.oid and f.castsource in ('json'::regtype, 'text'::regtype))))
    ) order by a.attnum)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    join under u on u.oid = t.oid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]')
)), '[]')::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and n.nspname = any ($1::text[])
"""
)

_FUNCTIONS: Final = (
    _BASE_TYPES
    + """
select coalesce(json_agg(json_build_object(
  'schema', n.nspname, 'name', p.proname,
  'parameters', coalesce((
    select json_agg(json_build_array(
      coalesce(i.name, ''),
      case i.type when 'bit'::regtype then 'bit varying' when 'bit[]'::regtype then 'bit varying[]'
        when 'character'::regtype then 'character varying' when 'character[]'::regtype then 'character varying[]'
        else format_type(i.type, null) end,
      i.place <= p.pronargs - p.pronargdefaults, coalesce(i.mode = 'v', false)) order by i.place)
    from unnest(p.proargnames, p.proargtypes::oid[], p.proargmodes) with ordinality as i(name, type, mode, place)
    where i.type is not null), '[]'),
  'return_schema', tn.nspname, 'return_name', coalesce(rc.relname, t.typname), 'set', p.proretset,
  'composite', t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false),
  'volatile', p.provolatile = 'v', 'variadic', p.provariadic > 0,
  'isolation', (select substr(s, strpos(s, '=') + 1) from unnest(p.proconfig) s
                where s like 'default_transaction_isolation=%' limit 1)
)), '[]')::text
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join under u on u.oid = p.prorettype
join pg_type t on t.oid = u.base
join pg_namespace tn on tn.oid = t.typnamespace
left join pg_class rc on rc.oid = t.typrelid
where p.prokind = 'f' and t.oid <> 'trigger'::regtype and n.nspname = any ($1::text[])
"""
)

_ROLES: Final = """
select coalesce(json_object_agg(r.rolname, r.settings), '{}')::text from (
  select r.rolname, json_object_agg(substr(s, 1, strpos(s, '=') - 1), substr(s, strpos(s, '=') + 1)) as settings
  from pg_auth_members m join pg_roles r on r.oid = m.roleid, unnest(r.rolconfig) s
  join pg_settings ps on ps.name = substr(s, 1, strpos(s, '=') - 1)
  where m.member = quote_ident(current_user)::regrole
    and (ps.context = 'user' or has_parameter_privilege(current_user, ps.name, 'set'))
  group by r.rolname) r
"""

_UNNAMED_TYPES: Final = frozenset({"bytea", "json", "jsonb", "text", "xml"})
_CAN_INSERT, _CAN_UPDATE, _CAN_DELETE = 8, 4, 16
_TARGET: Final = re.compile(r":resno (\d+) .*?:resorigtbl (\d+) :resorigcol (\d+)", re.DOTALL)


async def read_catalog(connection: asyncpg.Connection, schemas: tuple[str, ...]) -> SchemaCache:
    """Reads the exposed schemas as they are now.

    Args:
        connection: A connection of the authenticator.
        schemas: The exposed schemas.
    """
    async with connection.transaction(readonly=True):
        await connection.execute("select set_config('search_path', '', true)")
        tables = orjson.loads(await connection.fetchval(_TABLES, list(schemas)))
        functions = orjson.loads(await connection.fetchval(_FUNCTIONS, list(schemas)))
        roles = orjson.loads(await connection.fetchval(_ROLES))
        keys = await _base_keys(connection, tables)
    return SchemaCache(
        {(row["schema"], row["name"]): _table(row, keys) for row in tables},
        _functions(functions),
        {name: _role(settings) for name, settings in roles.items()},
    )


async def _base_keys(connection: asyncpg.Connection, tables: list[dict[str, Any]]) -> dict[int, list[int]]:
    """Primary keys of the tables that views read, by column number: a view's own key is made of them."""
    if not any(row["view"] for row in tables):
        return {}
    rows = await connection.fetch("select conrelid::bigint, conkey::int[] from pg_constraint where contype = 'p'")
    return {row[0]: row[1] for row in rows}


def _table(row: dict[str, Any], keys: dict[int, list[int]]) -> Table:
    columns = {column[0]: Column(*column) for column in row["columns"]}
    key = tuple(row["key"])
    if row["rule"]:
        key = view_key(row["rule"], [column[0] for column in row["columns"]], keys)
    writes = row["writes"]
    return Table(
        row["schema"], row["name"], columns, key,
        bool(writes & _CAN_INSERT), bool(writes & _CAN_UPDATE), bool(writes & _CAN_DELETE),
    )  # fmt: skip


def view_key(rule: str, columns: list[str], keys: dict[int, list[int]]) -> tuple[str, ...]:
    """The columns of a view that hold the whole primary key of a table it reads.

    Args:
        rule: The view's query as Postgres stores it.
        columns: The view's columns, in order.
        keys: Primary keys by table, as column numbers.
    """
    origins: dict[int, dict[int, str]] = {}
    for number, table, column in _TARGET.findall(_outer_targets(rule)):
        position = int(number) - 1
        if position < len(columns) and int(table):
            origins.setdefault(int(table), {})[int(column)] = columns[position]
    found: set[str] = set()
    for table, names in origins.items():
        key = keys.get(table, [])
        if key and all(number in names for number in key):
            found.update(names[number] for number in key)
    return tuple(sorted(found))


def _outer_targets(rule: str) -> str:
    """The target list of the outermost query; the ones of subqueries lie deeper in braces."""
    pieces: list[str] = []
    depth = 0
    escaped = False
    for character in rule:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        # {QUERY is depth 1 and its {TARGETENTRY depth 2: what they compute is deeper still.
        elif depth == 2:
            pieces.append(character)
    return "".join(pieces)


def _functions(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[Function, ...]]:
    grouped: dict[tuple[str, str], list[Function]] = {}
    for row in rows:
        parameters = tuple(Parameter(*parameter) for parameter in row["parameters"])
        unnamed = [parameter for parameter in parameters if not parameter.name]
        # Arguments go by name; the one exception is a single one that takes the whole body.
        if len(unnamed) > 1 or (unnamed and parameters[0].type_name not in _UNNAMED_TYPES):
            continue
        function = Function(
            row["schema"], row["name"], parameters, row["return_schema"], row["return_name"], row["set"],
            row["composite"], row["volatile"], row["variadic"], row["isolation"],
        )  # fmt: skip
        grouped.setdefault((function.schema, function.name), []).append(function)
    return {
        name: tuple(sorted(overloaded, key=lambda function: (len(function.parameters), function.signature)))
        for name, overloaded in grouped.items()
    }


def _role(settings: dict[str, str]) -> RoleSettings:
    isolation = settings.pop("default_transaction_isolation", None)
    return RoleSettings(settings, isolation)
