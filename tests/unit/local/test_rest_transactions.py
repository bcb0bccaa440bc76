"""Whatever way the database dies in the middle of a transaction, the client is told that the connection was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest

from whatssound.local.rest.callers import Caller
from whatssound.local.rest.errors import ApiError
from whatssound.local.rest.schema import RoleSettings
from whatssound.local.rest.statements import Statement
from whatssound.local.rest.transactions import RequestContext, Transaction, run


class _Dying:
    """A pool with one connection, which breaks at its first use."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[_Dying]:
        yield self

    async def execute(self, _text: str) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("peer"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_database_that_dies_is_a_lost_connection(error: Exception) -> None:
    transaction = Transaction(
        caller=Caller("anon", "{}"),
        role=RoleSettings(),
        context=RequestContext(method="GET", path="/", headers={}, cookies={}),
        search_path=("public",),
        statement=Statement("select 1", ()),
        read_only=True,
    )
    with pytest.raises(ApiError) as raised:
        await run(cast("Any", _Dying(error)), transaction, anonymous=True)
    assert raised.value.status == 503
