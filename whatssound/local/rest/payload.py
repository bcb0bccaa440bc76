"""The body of a writing request, and which columns or arguments it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from whatssound.local.rest import media
from whatssound.local.rest.errors import bad_body, not_supported
from whatssound.local.rest.query_string import parse_pairs

if TYPE_CHECKING:
    from whatssound.local.rest.query_string import Query

_RAW: Final = {"text/plain": "text", "text/xml": "xml", "application/octet-stream": "bytea"}
"""Content types that go to a function as they are, with the type of its single unnamed argument."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A request body.

    Args:
        text: What goes to the database; JSON unless `raw_type` is set.
        keys: Columns or arguments that it names, in order.
        arguments: The pairs of a form body.
        raw_type: The type of the single argument that the whole body is.
        raw: The body as bytes, for that case.
    """

    text: str
    keys: tuple[str, ...]
    arguments: list[tuple[str, str]] | None = None
    raw_type: str | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def is_object(self) -> bool:
        """Whether the JSON is one object rather than an array."""
        return self.text.lstrip(" \t\n\r").startswith("{")


def read_payload(body: bytes, content_type: str | None, query: Query, *, takes_columns: bool, calls: bool) -> Payload:
    """Reads a body.

    Args:
        body: The bytes sent.
        content_type: The `Content-Type` header.
        query: The query string, whose `columns=` may name the columns.
        takes_columns: Whether `columns=` counts for this kind of request.
        calls: Whether the body is for a function.

    Raises:
        ApiError: PGRST102 or PGRST127.
    """
    kind = media.JSON if content_type is None else media.media_type(content_type)
    if kind == media.JSON:
        return _json(body, query.columns if takes_columns else None, calls=calls)
    if kind == media.FORM:
        pairs = [(key, value or "") for key, value in parse_pairs(body.decode(errors="replace"))]
        keys = tuple(sorted({key for key, _ in pairs}))
        return Payload(orjson.dumps(dict(pairs)).decode(), keys, arguments=pairs)
    if kind in _RAW and calls:
        return Payload("", (), raw_type=_RAW[kind], raw=body)
    if kind == "text/csv":
        raise not_supported("A CSV body")
    raise bad_body(f"Content-Type not acceptable: {kind}")


def _json(body: bytes, columns: tuple[str, ...] | None, *, calls: bool) -> Payload:
    if columns is not None:
        # The database reads it; only the names of its columns matter here.
        return Payload(body.decode(errors="replace"), tuple(sorted(set(columns))))
    if not body and calls:
        body = b"{}"
    try:
        value = orjson.loads(body)
        text = body.decode()
    except ValueError:
        raise bad_body("Empty or invalid json") from None
    if isinstance(value, dict):
        return Payload(text, tuple(sorted(value)))
    if not isinstance(value, list) or not value:
        return Payload("[]", ())
    return Payload(text, _common_keys(value))


def _common_keys(rows: list[Any]) -> tuple[str, ...]:
    if not isinstance(rows[0], dict):
        raise bad_body("All object keys must match")
    keys = rows[0].keys()
    if any(not isinstance(row, dict) or row.keys() != keys for row in rows):
        raise bad_body("All object keys must match")
    return tuple(sorted(keys))
