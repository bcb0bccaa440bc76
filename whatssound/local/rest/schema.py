"""What the REST interface knows about the database: tables, views and functions of the exposed schemas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from whatssound.local.rest import errors
from whatssound.local.rest.fuzzy import best_match

if TYPE_CHECKING:
    from collections.abc import Collection

_TABLE_SIMILARITY: Final = 0.75
_PARAMETER_SIMILARITY: Final = 0.33
_RAW_TYPES: Final = frozenset({"text", "xml", "bytea"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or view.

    Args:
        name: Its name.
        type_name: Its type as SQL, with modifiers.
        base_type: The type under its domain, without modifiers of built-in types.
        default: Its default as SQL.
        represented: Whether casts of its domain give it another form in JSON or in a query string.
    """

    name: str
    type_name: str
    base_type: str
    default: str | None
    represented: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view.

    Args:
        schema: Its schema.
        name: Its name.
        columns: Its columns by name, in order.
        key: The columns of its primary key, sorted.
        insertable: Whether rows can be inserted.
        updatable: Whether rows can be updated.
        deletable: Whether rows can be deleted.
    """

    schema: str
    name: str
    columns: dict[str, Column]
    key: tuple[str, ...]
    insertable: bool
    updatable: bool
    deletable: bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function.

    Args:
        name: Its name; empty if it has none.
        type_name: Its type as SQL.
        required: Whether it has no default.
        variadic: Whether it takes the remaining arguments as an array.
    """

    name: str
    type_name: str
    required: bool
    variadic: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A function.

    Args:
        schema: Its schema.
        name: Its name.
        parameters: Its input parameters, in order.
        return_schema: Schema of the type it returns.
        return_name: Name of that type (of the table, for a row type).
        returns_set: Whether it returns rows rather than a value.
        returns_composite: Whether what it returns has columns.
        volatile: Whether it may write.
        variadic: Whether its last parameter is variadic.
        isolation: The isolation level it is set to run in.
    """

    schema: str
    name: str
    parameters: tuple[Parameter, ...]
    return_schema: str
    return_name: str
    returns_set: bool
    returns_composite: bool
    volatile: bool
    variadic: bool
    isolation: str | None

    @property
    def returns_void(self) -> bool:
        """Whether it returns nothing."""
        return not self.returns_set and (self.return_schema, self.return_name) == ("pg_catalog", "void")

    @property
    def returns_value(self) -> bool:
        """Whether it returns a value, or values, rather than rows with columns."""
        return not self.returns_composite

    @property
    def signature(self) -> str:
        """`schema.name(a => integer)`, as errors show it."""
        listed = ", ".join(f"{parameter.name} => {parameter.type_name}" for parameter in self.parameters)
        return f"{self.schema}.{self.name}({listed})"

    def accepts(self, keys: Collection[str], raw_type: str | None) -> bool:
        """Whether it can be called with arguments of these names.

        Args:
            keys: Names of the arguments.
            raw_type: The type of a body that is one argument as a whole.
        """
        if not self.parameters:
            return not keys and raw_type is None
        required = {parameter.name for parameter in self.parameters if parameter.required}
        optional = {parameter.name for parameter in self.parameters if not parameter.required}
        return set(keys) - optional == required

    def takes_body(self, raw_type: str | None) -> bool:
        """Whether the whole body can be its single, unnamed argument.

        Args:
            raw_type: The type of the body; None for JSON.
        """
        if len(self.parameters) != 1 or self.parameters[0].name:
            return False
        type_name = self.parameters[0].type_name
        return type_name in {"json", "jsonb"} if raw_type is None else type_name == raw_type


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """Settings that a role brings along, since `set role` alone applies none.

    Args:
        values: Names and values, without the isolation level.
        isolation: The isolation level of its transactions.
    """

    values: dict[str, str] = field(default_factory=dict)
    isolation: str | None = None


@dataclass(frozen=True, slots=True)
class SchemaCache:
    """Everything known about the exposed schemas at one moment."""

    tables: dict[tuple[str, str], Table]
    functions: dict[tuple[str, str], tuple[Function, ...]]
    roles: dict[str, RoleSettings]

    def table(self, schema: str, name: str) -> Table:
        """Finds a table or view.

        Raises:
            ApiError: PGRST205, or PGRST127 if it has columns that PostgREST would show in another form.
        """
        found = self.tables.get((schema, name))
        if found is None:
            names = [table for owner, table in self.tables if owner == schema]
            match = best_match(names, name, _TABLE_SIMILARITY)
            hint = None if match is None else f"Perhaps you meant the table '{schema}.{match}'"
            raise errors.no_table(schema, name, hint)
        represented = [column.name for column in found.columns.values() if column.represented]
        if represented:
            raise errors.not_supported(f"Data representations (of column '{represented[0]}')")
        return found

    def function(self, schema: str, name: str, keys: Collection[str], *, whole: bool, raw_type: str | None) -> Function:
        """Finds the function that fits some arguments.

        Args:
            schema: Its schema.
            name: Its name.
            keys: Names of the arguments.
            whole: Whether they came in a body that may be one argument as a whole.
            raw_type: The type of a body that is one argument as a whole.

        Raises:
            ApiError: PGRST202 if there is none, PGRST203 if there are several.
        """
        overloaded = self.functions.get((schema, name), ())
        fitting = [function for function in overloaded if function.accepts(keys, raw_type)]
        if not fitting and whole:
            fitting = [function for function in overloaded if function.takes_body(raw_type)]
        if not fitting:
            raise self._no_function(schema, name, sorted(keys), whole=whole, raw_type=raw_type)
        if len(fitting) > 1:
            raise errors.ambiguous_function(", ".join(function.signature for function in fitting))
        return fitting[0]

    def _no_function(
        self, schema: str, name: str, keys: list[str], *, whole: bool, raw_type: str | None
    ) -> errors.ApiError:
        qualified = f"{schema}.{name}"
        plural = "parameters" if len(keys) > 1 else "parameter"
        searched = f" with {plural} {', '.join(keys)}" if keys else " without parameters"
        called = f"({', '.join(keys)})" if keys else " without parameters"
        hint = self._function_hint(schema, name, keys)
        if whole and raw_type in _RAW_TYPES:
            searched, called, hint = f" with a single unnamed {raw_type} parameter", "", None
        elif whole:
            searched += " or with a single unnamed json/jsonb parameter"
        return errors.ApiError(
            404,
            "PGRST202",
            f"Could not find the function {qualified}{called} in the schema cache",
            f"Searched for the function {qualified}{searched}, but no matches were found in the schema cache.",
            hint,
        )

    def _function_hint(self, schema: str, name: str, keys: list[str]) -> str | None:
        overloaded = self.functions.get((schema, name), ())
        if not overloaded:
            names = [function for owner, function in self.functions if owner == schema]
            match = best_match(names, name, _TABLE_SIMILARITY)
        else:
            lists = [sorted(parameter.name for parameter in function.parameters) for function in overloaded]
            listed = [f"({', '.join(names)})" for names in lists]
            found = best_match(listed, f"({', '.join(keys)})", _PARAMETER_SIMILARITY)
            match = None if found is None else name + found
        return None if match is None else f"Perhaps you meant to call the function {schema}.{match}"
