"""The grammar of conditions: `not.eq.5`, `in.(1,2)`, `or=(a.eq.1,not.and(b.is.null,c.gt.2))`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from whatssound.local.rest.scanner import ParseFailure, Scanner
from whatssound.local.rest.terms import (
    Compare,
    Condition,
    DistinctFrom,
    Field,
    Filter,
    In,
    Is,
    JsonStep,
    Logic,
    Operation,
    TextSearch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SIMPLE: Final = {
    "neq": "<>", "cs": "@>", "cd": "<@", "ov": "&&", "sl": "<<", "sr": ">>", "nxr": "&<", "nxl": "&>", "adj": "-|-",
}  # fmt: skip
_QUANTIFIABLE: Final = {
    "eq": "=", "gte": ">=", "gt": ">", "lte": "<=", "lt": "<", "like": "like", "ilike": "ilike", "match": "~",
    "imatch": "~*",
}  # fmt: skip
_SEARCHES: Final = {
    "fts": "to_tsquery", "plfts": "plainto_tsquery", "phfts": "phraseto_tsquery", "wfts": "websearch_to_tsquery",
}  # fmt: skip
_IS_KEYWORDS: Final = {
    "null": "NULL", "not_null": "NOT NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN",
}  # fmt: skip

OPERATOR_NAME: Final = "operator (eq, gt, ...)"
FIELD_NAME: Final = "field name (* or [a..z0..9_$])"
_KEY_NAME: Final = "any non reserved character different from: .,>()"
_DELIMITER: Final = "delimiter (.)"


def field_name(scanner: Scanner) -> str:
    """Reads a column name: quoted, or words joined by dashes."""
    if scanner.looking_at('"'):
        return scanner.quoted()
    return _dashed(scanner, lambda: scanner.identifier(FIELD_NAME))


def json_path(scanner: Scanner) -> tuple[JsonStep, ...]:
    """Reads `->a->>b->0`, or nothing."""
    steps: list[JsonStep] = []
    while scanner.looking_at("->"):
        as_text = scanner.take("->>")
        if not as_text:
            scanner.take("->")
        index = _json_index(scanner)
        steps.append(JsonStep(index, as_text, True) if index else JsonStep(_json_key(scanner), as_text, False))
    return tuple(steps)


def field(scanner: Scanner) -> Field:
    """Reads a column with its path, and blanks around it."""
    scanner.skip_blanks()
    name = field_name(scanner)
    path = json_path(scanner)
    scanner.skip_blanks()
    return Field(name, path)


def operation(scanner: Scanner, read_value: Callable[[Scanner], str]) -> tuple[bool, Operation]:
    """Reads `not.eq.5`.

    Args:
        scanner: Where to read.
        read_value: How far a value goes: to the end in a parameter of its own, to the next comma in a list.

    Returns:
        Whether it is negated, and what it says.

    Raises:
        ParseFailure: It is no operation.
    """
    start = scanner.position
    negated = scanner.take("not.")
    if scanner.take("in."):
        return negated, In(_list_value(scanner))
    if scanner.take("is."):
        return negated, Is(_is_keyword(scanner))
    if scanner.take("isdistinct."):
        return negated, DistinctFrom(read_value(scanner))
    found = _text_search(scanner, read_value) or _comparison(scanner, read_value)
    if found is not None:
        return negated, found
    if negated:
        raise scanner.failure(OPERATOR_NAME)
    scanner.position = start
    raise scanner.failure('"not"', OPERATOR_NAME)


def whole_value(scanner: Scanner) -> str:
    """Reads everything that is left: the value of a filter in a parameter of its own."""
    return scanner.take_while()


def logic_tree(scanner: Scanner) -> Condition:
    """Reads `and(a.eq.1,or(b.eq.2,c.eq.3))` or a single `a.eq.1`."""
    start = scanner.position
    try:
        return _logic_filter(scanner)
    except ParseFailure as failure:
        scanner.position = start
        try:
            return _logic_expression(scanner)
        except ParseFailure as other:
            # Whoever got further knows better what is wrong.
            raise (other if other.position >= failure.position else failure) from None


def _logic_filter(scanner: Scanner) -> Filter:
    column = field(scanner)
    scanner.expect(".", _DELIMITER)
    negated, found = operation(scanner, _listed_value)
    return Filter(column, found, negated)


def _logic_expression(scanner: Scanner) -> Logic:
    negated = scanner.take("not.")
    operator: Literal["and", "or"]
    if scanner.take("and"):
        operator = "and"
    elif scanner.take("or"):
        operator = "or"
    elif negated:
        raise scanner.failure("logic operator (and, or)")
    else:
        raise scanner.failure(FIELD_NAME, "negation operator (not)", "logic operator (and, or)")
    scanner.skip_blanks()
    scanner.expect("(")
    scanner.skip_blanks()
    operands = [logic_tree(scanner)]
    scanner.skip_blanks()
    while scanner.take(","):
        scanner.skip_blanks()
        operands.append(logic_tree(scanner))
        scanner.skip_blanks()
    scanner.expect(")")
    scanner.skip_blanks()
    return Logic(operator, tuple(operands), negated)


def _listed_value(scanner: Scanner) -> str:
    """A value inside and/or: quoted, an array in braces, or up to the next comma or parenthesis."""
    quoted = _quoted_element(scanner)
    if quoted is not None:
        return quoted
    if scanner.looking_at("{"):
        start = scanner.position
        scanner.take("{")
        scanner.take_while(stop="{}")
        if scanner.take("}"):
            return scanner.text[start : scanner.position]
        scanner.position = start
    return scanner.take_while(stop=",)")


def _list_value(scanner: Scanner) -> tuple[str, ...]:
    scanner.skip_blanks()
    scanner.expect("(")
    scanner.skip_blanks()
    values = [_list_element(scanner)]
    while scanner.take(","):
        values.append(_list_element(scanner))
    scanner.skip_blanks()
    scanner.expect(")", '")"')
    scanner.skip_blanks()
    return tuple(values)


def _list_element(scanner: Scanner) -> str:
    quoted = _quoted_element(scanner)
    return scanner.take_while(stop=",)") if quoted is None else quoted


def _quoted_element(scanner: Scanner) -> str | None:
    """A quoted text that is a whole element; `"a"b` is no such thing and is taken as it stands."""
    if not scanner.looking_at('"'):
        return None
    start = scanner.position
    try:
        value = scanner.quoted()
    except ParseFailure:
        scanner.position = start
        return None
    if scanner.at_end or scanner.peek() in ",)":
        return value
    scanner.position = start
    return None


def _is_keyword(scanner: Scanner) -> str:
    rest = scanner.text[scanner.position :].lower()
    for word, sql in _IS_KEYWORDS.items():
        if rest.startswith(word):
            scanner.position += len(word)
            return sql
    raise scanner.failure("isVal: (null, not_null, true, false, unknown)")


def _text_search(scanner: Scanner, read_value: Callable[[Scanner], str]) -> TextSearch | None:
    start = scanner.position
    for name, function in _SEARCHES.items():
        if not scanner.take(name):
            continue
        language = _parenthesised(scanner)
        if scanner.take("."):
            return TextSearch(function, language, read_value(scanner))
        scanner.position = start
    return None


def _parenthesised(scanner: Scanner) -> str | None:
    start = scanner.position
    if not scanner.take("("):
        return None
    try:
        word = scanner.identifier("language")
    except ParseFailure:
        scanner.position = start
        return None
    if scanner.take(")"):
        return word
    scanner.position = start
    return None


def _comparison(scanner: Scanner, read_value: Callable[[Scanner], str]) -> Compare | None:
    start = scanner.position
    for name, sql in _SIMPLE.items():
        if scanner.take(name):
            if scanner.take("."):
                return Compare(sql, read_value(scanner))
            scanner.position = start
    for name, sql in _QUANTIFIABLE.items():
        if scanner.take(name):
            quantifier: Literal["any", "all"] | None = None
            if scanner.take("(any)"):
                quantifier = "any"
            elif scanner.take("(all)"):
                quantifier = "all"
            if scanner.take("."):
                return Compare(sql, read_value(scanner), quantifier)
            scanner.position = start
    return None


def _json_index(scanner: Scanner) -> str | None:
    """A number that ends where a step ends; `78xy` is a key."""
    start = scanner.position
    sign = "-" if scanner.take("-") else "+"
    digits = scanner.take_while(frozenset("0123456789"))
    if digits and (scanner.at_end or any(map(scanner.looking_at, ("->", "::", ".", ",")))):
        return sign + digits
    scanner.position = start
    return None


def _json_key(scanner: Scanner) -> str:
    if scanner.looking_at('"'):
        return scanner.quoted()

    def word() -> str:
        found = scanner.take_while(stop="(-:.,>)")
        if not found:
            raise scanner.failure(_KEY_NAME)
        return found.strip()

    return _dashed(scanner, word)


def _dashed(scanner: Scanner, word: Callable[[], str]) -> str:
    words = [word()]
    while scanner.looking_at("-") and not scanner.looking_at("->"):
        scanner.take("-")
        words.append(word())
    return "-".join(words)
