"""The grammar of `select=`, `order=` and `columns=`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeVar

from whatssound.local.rest.errors import not_supported
from whatssound.local.rest.filter_parser import field, field_name, json_path
from whatssound.local.rest.scanner import ParseFailure, Scanner
from whatssound.local.rest.terms import Field, OrderTerm, SelectItem

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
_AGGREGATES: Final = ("sum", "avg", "count", "max", "min")
_CAST_NAME: Final = "letter or digit"
_ITEM_END: Final = ('"->>"', '"->"', '"::"', '"."', '")"', '","', "end of input")


def select_list(scanner: Scanner) -> tuple[SelectItem, ...]:
    """Reads `a,b:c->d::text,amount.sum()`; nothing at all is an empty list.

    Raises:
        ParseFailure: It is no list of columns.
        ApiError: It embeds another resource.
    """
    if scanner.at_end:
        return ()
    items = [_select_item(scanner)]
    scanner.skip_blanks()
    while scanner.take(","):
        items.append(_select_item(scanner))
        scanner.skip_blanks()
    return tuple(items)


def order_list(scanner: Scanner) -> tuple[OrderTerm, ...]:
    """Reads `a.desc,b->c.asc.nullslast`.

    Raises:
        ParseFailure: It is no such list.
    """
    terms = [_order_term(scanner)]
    while scanner.take(","):
        terms.append(_order_term(scanner))
    return tuple(terms)


def name_list(scanner: Scanner) -> tuple[str, ...]:
    """Reads `a,"b c",d`.

    Raises:
        ParseFailure: It is no such list.
    """
    names = [field_name(scanner)]
    scanner.skip_blanks()
    while scanner.take(","):
        scanner.skip_blanks()
        names.append(field_name(scanner))
        scanner.skip_blanks()
    return tuple(names)


def _select_item(scanner: Scanner) -> SelectItem:
    scanner.skip_blanks()
    _refuse_embedding(scanner)
    start = scanner.position
    if scanner.take("*"):
        scanner.skip_blanks()
        if _at_item_end(scanner):
            return SelectItem(Field("*"))
        scanner.position = start
    alias = _attempt(scanner, _alias)
    if scanner.take("count()"):
        cast = scanner.identifier(_CAST_NAME) if scanner.take("::") else None
        if _at_item_end(scanner):
            return SelectItem(Field("*"), alias, None, "count", cast)
        raise scanner.failure(*_ITEM_END)
    column = field(scanner)
    cast = scanner.identifier(_CAST_NAME) if scanner.take("::") else None
    aggregate = _attempt(scanner, _aggregate)
    aggregate_cast = scanner.identifier(_CAST_NAME) if scanner.take("::") else None
    scanner.skip_blanks()
    if not _at_item_end(scanner):
        raise scanner.failure(*_ITEM_END)
    return SelectItem(column, alias, cast, aggregate, aggregate_cast)


def _refuse_embedding(scanner: Scanner) -> None:
    """`room:rooms!inner(title)` and `...rooms(title)` are PostgREST's joins."""
    start = scanner.position
    try:
        if scanner.take("..."):
            name = field_name(scanner)
        else:
            _attempt(scanner, _alias)
            name = field_name(scanner)
        while scanner.take("!"):
            field_name(scanner)
        embeds = scanner.looking_at("(") and name != "count"
    except ParseFailure:
        embeds = False
    scanner.position = start
    if embeds:
        raise not_supported(f"Resource embedding ('{name}' in select)")


def _alias(scanner: Scanner) -> str:
    name = field_name(scanner)
    if scanner.looking_at("::"):
        raise scanner.failure('":"')
    scanner.expect(":")
    return name


def _aggregate(scanner: Scanner) -> str:
    scanner.expect(".")
    for name in _AGGREGATES:
        if scanner.take(name):
            scanner.expect("()")
            return name
    raise scanner.failure("aggregate function")


def _at_item_end(scanner: Scanner) -> bool:
    return scanner.at_end or scanner.peek() in ",)"


def _order_term(scanner: Scanner) -> OrderTerm:
    scanner.skip_blanks()
    relation = _attempt(scanner, _order_relation)
    column = field(scanner) if relation is None else relation[1]
    direction: Literal["asc", "desc"] | None = None
    if scanner.take(".asc"):
        direction = "asc"
    elif scanner.take(".desc"):
        direction = "desc"
    nulls: Literal["first", "last"] | None = None
    if scanner.take(".nullsfirst"):
        nulls = "first"
    elif scanner.take(".nullslast"):
        nulls = "last"
    # Blanks around a term are part of its grammar only once the term itself is complete.
    if not (scanner.at_end or scanner.looking_at(",") or scanner.peek() in " \t"):
        raise _order_failure(scanner, direction, nulls)
    scanner.skip_blanks()
    return OrderTerm(column, direction, nulls, None if relation is None else relation[0])


def _order_failure(scanner: Scanner, direction: str | None, nulls: str | None) -> ParseFailure:
    if not scanner.take("."):
        return scanner.failure(*(() if nulls else ("delimiter (.)",)), '","', "end of input")
    if direction is None:
        return scanner.failure('"asc"', '"desc"', '"nullsfirst"', '"nullslast"')
    return scanner.failure('"nullsfirst"', '"nullslast"')


def _order_relation(scanner: Scanner) -> tuple[str, Field]:
    name = field_name(scanner)
    scanner.expect("(")
    scanner.skip_blanks()
    column = Field(field_name(scanner), json_path(scanner))
    scanner.skip_blanks()
    scanner.expect(")")
    return name, column


def _attempt(scanner: Scanner, read: Callable[[Scanner], Found]) -> Found | None:
    """Reads if it can, else leaves the position where it was."""
    start = scanner.position
    try:
        return read(scanner)
    except ParseFailure:
        scanner.position = start
        return None
