"""Reads a query string: which parameters are filters, which shape the response, which are arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, unquote_to_bytes

from whatssound.local.rest import filter_parser, list_parser
from whatssound.local.rest.errors import bad_query, not_embedded
from whatssound.local.rest.scanner import ParseFailure, Scanner
from whatssound.local.rest.terms import Condition, Field, Filter, OrderTerm, SelectItem

if TYPE_CHECKING:
    from collections.abc import Callable

Parsed = TypeVar("Parsed")

_RESERVED: Final = frozenset({"select", "columns", "on_conflict"})
_RESERVED_ENDINGS: Final = frozenset({"order", "limit", "offset", "and", "or"})
_INTEGER: Final = re.compile(r"\s*(-?\d+)\s*", re.ASCII)
_UNRESERVED: Final = "-_.~"


@dataclass(slots=True)
class Query:
    """A parsed query string.

    Args:
        canonical: The string with its parameters in order, for `Content-Location`.
        select: Columns of the response; empty when `select=` is.
        filters: Conditions of parameters of their own, in order.
        filter_keys: Names of the parameters in `filters`, as sent.
        logic: Conditions of `and=` and `or=`.
        order: How rows are sorted.
        columns: Columns of the payload, if named.
        on_conflict: Columns of the unique key for an upsert, if named.
        limit: `limit=`; None if absent or no number.
        offset: `offset=`; None if absent.
        has_limit: Whether `limit=` was there at all.
        arguments: What else was there, for a function called by GET.
    """

    canonical: str = ""
    select: tuple[SelectItem, ...] = ()
    filters: list[Filter] = field(default_factory=list)
    filter_keys: list[str] = field(default_factory=list)
    logic: list[Condition] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    limit: int | None = None
    offset: int | None = None
    has_limit: bool = False
    arguments: list[tuple[str, str]] = field(default_factory=list)

    @property
    def conditions(self) -> list[Condition]:
        """Everything a row must fulfil."""
        return [*self.filters, *self.logic]


def parse_pairs(text: str) -> list[tuple[str, str | None]]:
    """Splits a query string or a form body; a key without `=` has no value."""
    pairs: list[tuple[str, str | None]] = []
    for piece in text.split("&"):
        if piece:
            key, equals, value = piece.partition("=")
            pairs.append((_unquote(key), _unquote(value) if equals else None))
    return pairs


def parse_query(text: str, *, takes_arguments: bool) -> Query:
    """Parses a query string.

    Args:
        text: What stands after the question mark, still percent-encoded.
        takes_arguments: Whether a parameter without an operator is an argument (a function called by GET).

    Raises:
        ApiError: PGRST100, PGRST108 or PGRST127.
    """
    pairs = parse_pairs(text)
    given = [(key, value) for key, value in pairs if value is not None]
    first = dict(reversed(pairs))
    query = Query(canonical=_canonical(pairs))
    # First, since it tells that embedding is refused before others complain that nothing is embedded.
    select = first.get("select")
    select = "*" if select is None else select
    query.select = _parse(select, list_parser.select_list, f"failed to parse select parameter ({select})")
    _read_order(query, given)
    _read_logic(query, given)
    if (columns := first.get("columns")) is not None:
        query.columns = _parse(columns, list_parser.name_list, f"failed to parse columns parameter ({columns})")
    _read_filters(query, given, takes_arguments)
    if (target := first.get("on_conflict")) is not None:
        what = f"failed to parse on_conflict parameter ({target})"
        query.on_conflict = _parse(target, list_parser.name_list, what)
    _read_limits(query, given)
    return query


def _read_order(query: Query, given: list[tuple[str, str]]) -> None:
    for key, value in given:
        if key.rpartition(".")[2] == "order":
            path = _path_of(key)
            terms = _parse(value, list_parser.order_list, f"failed to parse order ({value})")
            _refuse_path(path)
            for term in terms:
                if term.relation is not None:
                    raise not_embedded(term.relation)
            query.order = terms


def _read_logic(query: Query, given: list[tuple[str, str]]) -> None:
    for key, value in given:
        if key.rpartition(".")[2] not in {"and", "or"}:
            continue
        words = _path_of(key)
        operator = words[-1]
        prefix = "not." if "not" in words else ""
        tree = _parse(prefix + operator + value, filter_parser.logic_tree, f"failed to parse logic tree ({value})")
        _refuse_path([word for word in words[:-1] if word != "not"] + [operator])
        query.logic.append(tree)


def _read_filters(query: Query, given: list[tuple[str, str]], takes_arguments: bool) -> None:
    for key, value in given:
        if key in _RESERVED or key.rpartition(".")[2] in _RESERVED_ENDINGS:
            continue
        scanner = Scanner(key)
        try:
            path = [filter_parser.field_name(scanner)]
            while scanner.take("."):
                path.append(filter_parser.field_name(scanner))
            json_path = filter_parser.json_path(scanner)
        except ParseFailure as failure:
            raise _failed(f"failed to parse tree path ({key})", failure) from failure
        try:
            negated, operation = filter_parser.operation(Scanner(value), filter_parser.whole_value)
        except ParseFailure as failure:
            if takes_arguments and failure.position == 0:
                query.arguments.append((path[-1], value))
                continue
            raise _failed(f"failed to parse filter ({value})", failure) from failure
        _refuse_path(path)
        column = Field(path[-1], json_path)
        query.filters.append(Filter(column, operation, negated))
        query.filter_keys.append(key)


def _read_limits(query: Query, given: list[tuple[str, str]]) -> None:
    for key, value in given:
        ending = key.rpartition(".")[2]
        if ending not in {"limit", "offset"}:
            continue
        _refuse_path(_path_of(key))
        number = _INTEGER.fullmatch(value)
        if ending == "limit":
            query.has_limit = True
            query.limit = int(number[1]) if number else None
        else:
            query.offset = int(number[1]) if number else 0


def _path_of(key: str) -> list[str]:
    scanner = Scanner(key)
    try:
        words = [filter_parser.field_name(scanner)]
        while scanner.take("."):
            words.append(filter_parser.field_name(scanner))
    except ParseFailure as failure:
        raise _failed(f"failed to parse tree path ({key})", failure) from failure
    return words


def _refuse_path(path: list[str]) -> None:
    """Nothing is ever embedded here, so what addresses an embedded resource addresses nothing."""
    if len(path) > 1:
        raise not_embedded(path[0])


def _parse(text: str, read: Callable[[Scanner], Parsed], what: str) -> Parsed:
    try:
        return read(Scanner(text))
    except ParseFailure as failure:
        raise _failed(what, failure) from failure
    except RecursionError:
        raise bad_query(f'"{what}" (line 1, column 1)', "nested too deeply") from None


def _failed(what: str, failure: ParseFailure) -> Exception:
    return bad_query(f'"{what}" (line 1, column {failure.position + 1})', failure.details)


def _unquote(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode(errors="replace")


def _canonical(pairs: list[tuple[str, str | None]]) -> str:
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return "&".join(f"{quote(key, safe=_UNRESERVED)}={quote(value or '', safe=_UNRESERVED)}" for key, value in ordered)
