"""Runs one statement as PostgREST does: in a transaction of its own, as the caller's role, with the request at hand."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import orjson

from whatssound.local.rest.database_errors import from_postgres
from whatssound.local.rest.errors import lost_connection
from whatssound.local.rest.sql import quote_ident, quote_literal
from whatssound.local.rest.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whatssound.local.rest.callers import Caller
    from whatssound.local.rest.pool import ConnectionPool
    from whatssound.local.rest.schema import RoleSettings

_LEVELS: Final = frozenset({"read uncommitted", "read committed", "repeatable read", "serializable"})
# The internal error is what asyncpg says when the server dies between a statement and its answer.
_DEAD: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What functions and policies can ask about the request.

    Args:
        method: Its method.
        path: Its path, below the root of the REST interface.
        headers: Its headers, with lower-case names, without cookies.
        cookies: Its cookies.
    """

    method: str
    path: str
    headers: dict[str, str]
    cookies: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction.

    Args:
        caller: Whose role it runs as.
        role: Settings that role brings along.
        context: The request.
        search_path: Schemas in which unqualified names are looked for.
        statement: The statement.
        explain: A statement that asks the planner for the number of rows.
        read_only: Whether it must not write.
        isolation: The isolation level of the function it calls, if that sets one.
        timezone: The time zone it runs in.
        rollback: Whether it is undone at the end.
        check: Looks at the result before the end; raises to undo everything.
    """

    caller: Caller
    role: RoleSettings
    context: RequestContext
    search_path: tuple[str, ...]
    statement: Statement
    read_only: bool
    explain: Statement | None = None
    isolation: str | None = None
    timezone: str | None = None
    rollback: bool = False
    check: Callable[[Result], None] | None = None

    def opening(self) -> str:
        """Begins the transaction and makes every setting, in one message."""
        level = self.isolation or self.role.isolation or "read committed"
        mode = "read only" if self.read_only else "read write"
        level = level if level in _LEVELS else "read committed"
        settings = ", ".join(f"set_config({quote_literal(name)}, {quote_literal(value)}, true)"
                             for name, value in self._settings())  # fmt: skip
        return f"begin isolation level {level} {mode}; select {settings}"

    def _settings(self) -> Iterable[tuple[str, str]]:
        yield "search_path", ", ".join(map(quote_ident, self.search_path))
        # Before the role, which may not be allowed to change them.
        yield from self.role.values.items()
        yield "role", self.caller.role
        yield "request.jwt.claims", self.caller.claims
        yield "request.method", self.context.method
        yield "request.path", self.context.path
        yield "request.headers", orjson.dumps(self.context.headers).decode()
        yield "request.cookies", orjson.dumps(self.context.cookies).decode()
        if self.timezone is not None:
            yield "timezone", self.timezone


@dataclass(frozen=True, slots=True)
class Result:
    """The one row that a statement gives.

    Args:
        total: How many rows there are, if that was asked.
        page: How many rows the response holds.
        body: The response body.
        headers: `response.headers` as a function left it.
        status: `response.status` as a function left it.
        inserted: How many rows an upsert inserted.
        location: The key of the row that was inserted.
        planned: How many rows the planner expects.
    """

    total: int | None
    page: int
    body: str
    headers: str | None
    status: str | None
    inserted: int | None = None
    location: list[str] = field(default_factory=list)
    planned: int | None = None


async def run(pool: ConnectionPool, transaction: Transaction, *, anonymous: bool) -> Result:
    """Runs a transaction to its end.

    Args:
        pool: Where to get a connection.
        transaction: What to run.
        anonymous: Whether the caller's role is the anonymous one.

    Raises:
        ApiError: What the database, or the transaction's own check, had against it.
    """
    async with pool.connection() as connection:
        try:
            return await _run_on(connection, transaction)
        except _DEAD as error:
            raise lost_connection(str(error) or None) from error
        except asyncpg.PostgresError as error:
            await _undo(connection)
            raise from_postgres(error, anonymous=anonymous) from error
        except Exception:
            await _undo(connection)
            raise


async def _run_on(connection: asyncpg.Connection, transaction: Transaction) -> Result:
    await connection.execute(transaction.opening())
    statement = transaction.statement
    (row,) = await connection.fetch(statement.text, *statement.args)
    explained = transaction.explain
    planned = None if explained is None else await _planned(connection, explained)
    result = _result(row, planned)
    if transaction.check is not None:
        transaction.check(result)
    if transaction.rollback:
        # What would fail at the commit must fail here too.
        await connection.execute("set constraints all immediate; rollback")
    else:
        await connection.execute("commit")
    return result


def _result(row: Any, planned: int | None) -> Result:
    inserted, location = (row["inserted"], row["location"] or []) if len(row) > 5 else (None, [])
    return Result(
        row["total"], row["page"], row["body"], row["response_headers"], row["response_status"], inserted, location,
        planned,
    )  # fmt: skip


async def _planned(connection: asyncpg.Connection, statement: Statement) -> int | None:
    plan = orjson.loads(await connection.fetchval(statement.text, *statement.args))
    rows = plan[0]["Plan"]["Plan Rows"]
    return rows if isinstance(rows, int) else None


async def _undo(connection: asyncpg.Connection) -> None:
    if not connection.is_closed() and connection.is_in_transaction():
        # A connection that cannot even roll back is thrown away by the pool.
        with suppress(asyncpg.PostgresError, *_DEAD):
            await connection.execute("rollback")
