"""From an HTTP request to the transaction that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from whatssound.local.rest import calls, errors, responses, statements, writes
from whatssound.local.rest.media import negotiate
from whatssound.local.rest.payload import Payload, read_payload
from whatssound.local.rest.prefer import parse_preferences
from whatssound.local.rest.query_string import parse_query
from whatssound.local.rest.ranges import requested_range
from whatssound.local.rest.schema import RoleSettings
from whatssound.local.rest.statements import Ask
from whatssound.local.rest.terms import Compare
from whatssound.local.rest.transactions import RequestContext, Result, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from whatssound.local.rest.callers import Caller
    from whatssound.local.rest.query_string import Query
    from whatssound.local.rest.responses import Answer
    from whatssound.local.rest.schema import Function, SchemaCache, Table
    from whatssound.local.rest.settings import RestSettings
    from whatssound.local.rest.statements import Statement

_READS: Final = frozenset({"GET", "HEAD"})
_WRITES: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came.

    Args:
        request: The HTTP request.
        path: Its path below the root of the REST interface, percent-encoded.
        query_string: What stands after the question mark.
        body: Its body.
        caller: Who sends it.
    """

    request: web.Request
    path: str
    query_string: str
    body: bytes
    caller: Caller

    def context(self) -> RequestContext:
        """What functions and policies can ask about it."""
        sent = ((name.lower(), _readable(value)) for name, value in self.request.headers.items())
        return RequestContext(
            method=self.request.method,
            path=self.path,
            headers={name: value for name, value in sent if name != "cookie"},
            cookies={name: _readable(value) for name, value in self.request.cookies.items()},
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A transaction, and how its result is answered.

    Args:
        transaction: What to run.
        answer: Makes the response of the result.
        profile: The schema, if it was negotiated.
    """

    transaction: Transaction
    answer: Callable[[Result], Answer]
    profile: str | None


class Planner:
    """Understands requests against one state of the schema.

    Args:
        cache: What the database holds.
        settings: The service's settings.
    """

    def __init__(self, cache: SchemaCache, settings: RestSettings) -> None:
        self._cache = cache
        self._settings = settings

    def plan(self, incoming: Incoming) -> Job | web.Response:
        """Understands a request.

        Args:
            incoming: The request.

        Returns:
            What to run, or the response if nothing has to run.

        Raises:
            ApiError: It cannot be understood, or is not allowed.
        """
        method = incoming.request.method
        resource = [unquote(piece) for piece in incoming.path.lstrip("/").split("/")]
        is_function = len(resource) == 2 and resource[0] == "rpc"
        if resource == [""]:
            raise errors.no_openapi() if method in _READS else errors.bad_method(method)
        if len(resource) != 1 and not is_function:
            raise errors.bad_path()
        schema, profile = self._schema(incoming)
        self._check_method(method, is_function=is_function)
        takes_arguments = is_function and method in _READS
        query = parse_query(incoming.query_string, takes_arguments=takes_arguments)
        rows = requested_range(method, incoming.request.headers.get("Range"), query)
        payload = None
        if method in {"POST", "PATCH", "PUT"}:
            kind = incoming.request.headers.get("Content-Type")
            payload = read_payload(incoming.body, kind, query, takes_columns=method != "PUT", calls=is_function)
        if method == "OPTIONS":
            return self._options(schema, resource[-1], is_function=is_function)
        prefer = parse_preferences(
            incoming.request.headers.getall("Prefer", []), tx_override=self._settings.tx_override
        )
        accept = incoming.request.headers.get("Accept")
        if is_function:
            planned = self._call(schema, resource[1], query, payload)
        else:
            planned = self._table(method, schema, resource[0], query, payload)
        if not self._settings.aggregates and any(item.aggregate for item in query.select):
            raise errors.no_aggregates()
        if prefer.strict and prefer.unknown:
            raise errors.bad_preferences(prefer.unknown)
        max_rows = self._settings.max_rows if method in _READS or is_function else None
        ask = Ask(query, prefer, negotiate(accept), rows, max_rows, method == "HEAD")
        job = planned(ask)
        return Job(self._complete(job.transaction, incoming, ask, schema), job.answer, profile)

    def _schema(self, incoming: Incoming) -> tuple[str, str | None]:
        exposed = self._settings.schemas
        writes_it = incoming.request.method in _WRITES
        wanted = incoming.request.headers.get("Content-Profile" if writes_it else "Accept-Profile")
        if wanted is None:
            return exposed[0], exposed[0] if len(exposed) > 1 else None
        if wanted not in exposed:
            raise errors.bad_schema(wanted, exposed)
        return wanted, wanted

    def _check_method(self, method: str, *, is_function: bool) -> None:
        if method == "OPTIONS" or method in _READS or method == "POST":
            return
        if is_function:
            raise errors.bad_rpc_method(method)
        if method not in _WRITES:
            raise errors.bad_method(method)

    def _options(self, schema: str, name: str, *, is_function: bool) -> web.Response:
        if not is_function:
            return responses.options_response(responses.allowed_methods(self._cache.table(schema, name)))
        function = self._cache.function(schema, name, (), whole=False, raw_type=None)
        return responses.options_response("OPTIONS,POST" if function.volatile else "OPTIONS,GET,HEAD,POST")

    def _table(
        self, method: str, schema: str, name: str, query: Query, payload: Payload | None
    ) -> Callable[[Ask], _Draft]:
        table = self._cache.table(schema, name)
        if method in _READS:
            return lambda ask: self._read(table, ask)
        if method == "DELETE":
            return lambda ask: _Draft(
                _Work(writes.delete(table, ask), check=_affected_check(ask)),
                lambda result: responses.change_answer(ask, result, updates=False),
            )
        assert payload is not None
        if method == "PUT":
            _check_put(table, query)
        for key in payload.keys:
            if key not in table.columns:
                raise errors.no_column(table.name, key)
        if method == "POST":
            return lambda ask: _Draft(
                _Work(writes.insert(table, payload, ask, put=False), check=_singular_check(ask)),
                lambda result: responses.insert_answer(table, ask, result),
            )
        if method == "PUT":
            return lambda ask: _Draft(
                _Work(writes.insert(table, payload, ask, put=True), check=_check_put_result),
                lambda result: responses.put_answer(ask, result),
            )
        return lambda ask: _Draft(
            _Work(writes.update(table, payload, ask), check=_affected_check(ask)),
            lambda result: responses.change_answer(ask, result, updates=True),
        )

    def _read(self, table: Table, ask: Ask) -> _Draft:
        explain = None
        if ask.prefer.count in {"planned", "estimated"}:
            explain = statements.explain_count(table, ask.query)
        work = _Work(statements.read(table, ask), explain, read_only=True, check=_singular_check(ask))
        return _Draft(work, lambda result: responses.read_answer(table, ask, result, _read_total(ask, result)))

    def _call(self, schema: str, name: str, query: Query, payload: Payload | None) -> Callable[[Ask], _Draft]:
        posted = payload is not None
        keys = payload.keys if payload is not None else {key for key, _ in query.arguments}
        raw_type = payload.raw_type if payload is not None else None
        # A form is arguments like a query string; any other body may be one argument as a whole.
        whole = payload is not None and payload.arguments is None
        function = self._cache.function(schema, name, keys, whole=whole, raw_type=raw_type)

        def draft(ask: Ask) -> _Draft:
            if ask.prefer.strict and ask.prefer.max_affected is not None and not function.returns_set:
                raise errors.max_affected_of_single()
            work = _Work(
                calls.call(function, self._returned_table(function), payload, ask),
                read_only=not posted or not function.volatile,
                isolation=function.isolation,
                check=_affected_check(ask),
            )
            return _Draft(work, lambda result: responses.call_answer(function, ask, result))

        return draft

    def _returned_table(self, function: Function) -> Table | None:
        known = function.returns_composite and (function.schema, function.return_name) in self._cache.tables
        return self._cache.table(function.schema, function.return_name) if known else None

    def _complete(self, work: _Work, incoming: Incoming, ask: Ask, schema: str) -> Transaction:
        prefer = ask.prefer
        rollback = prefer.tx == "rollback" or (self._settings.tx_rollback and prefer.tx != "commit")
        return Transaction(
            caller=incoming.caller,
            role=self._cache.roles.get(incoming.caller.role, RoleSettings()),
            context=incoming.context(),
            search_path=(schema, *self._settings.extra_search_path),
            statement=work.statement,
            read_only=work.read_only,
            explain=work.explain,
            isolation=work.isolation,
            timezone=prefer.timezone,
            rollback=rollback,
            check=work.check,
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """The part of a transaction that depends on the resource."""

    statement: Statement
    explain: Statement | None = None
    read_only: bool = False
    isolation: str | None = None
    check: Callable[[Result], None] | None = None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A job before the request's own part is added."""

    transaction: _Work
    answer: Callable[[Result], Answer]


def _readable(value: str) -> str:
    """A header without the bytes that are no UTF-8, which aiohttp keeps as lone surrogates."""
    return value.encode(errors="surrogateescape").decode(errors="replace")


def _check_put(table: Table, query: Query) -> None:
    whole_key = set(query.filter_keys) == set(table.key) and table.key and not query.logic
    plain = all(
        not one.negated
        and isinstance(one.operation, Compare)
        and one.operation.operator == "="
        and one.operation.quantifier is None
        for one in query.filters
    )
    if not whole_key or not plain:
        raise errors.bad_put_filters()


def _check_put_result(result: Result) -> None:
    if result.page != 1:
        raise errors.put_of_another_row()


def _singular_check(ask: Ask) -> Callable[[Result], None]:
    def check(result: Result) -> None:
        if ask.rendering.single and result.page != 1:
            raise errors.not_singular(result.page)

    return check


def _affected_check(ask: Ask) -> Callable[[Result], None]:
    singular = _singular_check(ask)

    def check(result: Result) -> None:
        singular(result)
        most = ask.prefer.max_affected
        if ask.prefer.strict and most is not None and result.page > most:
            raise errors.too_many_affected(result.page)

    return check


def _read_total(ask: Ask, result: Result) -> int | None:
    """The number of rows as the request wanted it found."""
    if ask.prefer.count == "planned":
        return result.planned
    if ask.prefer.count == "estimated" and ask.max_rows is not None and (result.total or 0) > ask.max_rows:
        return max(result.total or 0, result.planned or 0)
    return result.total
