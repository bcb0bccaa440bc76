"""Which rows a request asks for, and how the answer says which it got."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from whatssound.local.rest.errors import bad_range, put_with_limit

if TYPE_CHECKING:
    from whatssound.local.rest.query_string import Query

_HEADER: Final = re.compile(r"([0-9]+)-([0-9]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows from `first` to `last`, both included; without `last`, to the end."""

    first: int = 0
    last: int | None = None

    @property
    def limit(self) -> int | None:
        """How many rows, or None for all."""
        return None if self.last is None else self.last - self.first + 1

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.first == 0 and self.last is None

    @property
    def is_empty(self) -> bool:
        """Whether no row can be in it."""
        return self.last is not None and self.last < self.first

    @property
    def is_limit_zero(self) -> bool:
        """Whether it is `limit=0`, the one empty range that may be asked for."""
        return self.last == -1

    def intersect(self, other: RowRange) -> RowRange:
        """The rows in both."""
        lasts = [last for last in (self.last, other.last) if last is not None]
        return RowRange(max(self.first, other.first), min(lasts) if lasts else None)

    def at_most(self, rows: int | None) -> RowRange:
        """The same, but no more than `rows` rows; `limit=0` stays what it is."""
        if rows is None or self.is_limit_zero:
            return self
        return self.intersect(RowRange(self.first, self.first + rows - 1))


ALL: Final = RowRange()


def requested_range(method: str, header: str | None, query: Query) -> RowRange:
    """Combines the `Range` header (of a GET only) with limit and offset.

    Args:
        method: The HTTP method.
        header: The `Range` header.
        query: The query string.

    Raises:
        ApiError: PGRST103 for a range that holds nothing; PGRST114 for any range in a PUT.
    """
    from_header = _from_header(header) if method == "GET" and header else ALL
    from_query = _from_query(query)
    wanted = RowRange(0, -1) if from_query.is_limit_zero else from_header.intersect(from_query)
    if wanted.is_empty and not from_query.is_limit_zero:
        if from_header.is_empty:
            raise bad_range("The lower boundary must be lower than or equal to the upper boundary in the Range header.")
        raise bad_range("Limit should be greater than or equal to zero.")
    if method == "PUT" and not wanted.is_all:
        raise put_with_limit()
    return wanted


def content_range(first: int, last: int, total: int | None) -> str:
    """The `Content-Range` header.

    Args:
        first: Number of the first row.
        last: Number of the last row; less than `first` for none.
        total: How many rows there are, if known.
    """
    rows = f"{first}-{last}" if total != 0 and first <= last else "*"
    return f"{rows}/{'*' if total is None else total}"


def read_status(first: int, last: int, total: int | None) -> int:
    """The status of a read: all there is, a part of it, or nothing so far out.

    Args:
        first: Number of the first row asked for.
        last: Number of the last row sent.
        total: How many rows there are, if known.
    """
    if total is None:
        return 200
    if first > total:
        return 416
    return 206 if last - first + 1 < total else 200


def _from_header(header: str) -> RowRange:
    match = _HEADER.fullmatch(header)
    if match is None:
        return ALL
    return RowRange(int(match[1]), int(match[2]) if match[2] else None)


def _from_query(query: Query) -> RowRange:
    if not query.has_limit:
        return RowRange(query.offset or 0)
    if query.offset is None:
        return ALL if query.limit is None else RowRange(0, query.limit - 1)
    # A limit that is no number counts as none at all alone, but as zero beside an offset.
    return RowRange(query.offset, query.offset + (query.limit or 0) - 1)
