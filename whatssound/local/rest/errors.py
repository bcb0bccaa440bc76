"""The errors of the REST interface: PostgREST's codes, texts, statuses and headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False)
class ApiError(Exception):
    """A refusal, ready to be sent.

    Args:
        status: HTTP status.
        code: `PGRSTnnn` or a SQLSTATE.
        message: What happened.
        details: Facts about it.
        hint: What could help.
        headers: Further response headers.
        reason: The HTTP reason phrase, where it is not the status' own.
    """

    status: int
    code: str
    message: str
    details: str | None = None
    hint: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None

    def __post_init__(self) -> None:
        super().__init__(f"{self.code}: {self.message}")

    def body(self) -> bytes:
        """The JSON of the response body."""
        return orjson.dumps({"code": self.code, "message": self.message, "details": self.details, "hint": self.hint})


def bad_query(message: str, details: str) -> ApiError:
    """PGRST100: a query parameter could not be parsed."""
    return ApiError(400, "PGRST100", message, details)


def bad_rpc_method(method: str) -> ApiError:
    """PGRST101: a method that functions do not have."""
    return ApiError(405, "PGRST101", f"Cannot use the {method} method on RPC")


def bad_body(message: str) -> ApiError:
    """PGRST102: the request body is not what it must be."""
    return ApiError(400, "PGRST102", message)


def bad_range(details: str) -> ApiError:
    """PGRST103: rows were asked for that are not there."""
    return ApiError(416, "PGRST103", "Requested range not satisfiable", details)


def bad_put_filters() -> ApiError:
    """PGRST105: a PUT whose filters do not name one row by its primary key."""
    return ApiError(405, "PGRST105", "Filters must include all and only primary key columns with 'eq' operators")


def bad_schema(schema: str, exposed: Sequence[str]) -> ApiError:
    """PGRST106: a schema that is not exposed."""
    hint = f"Only the following schemas are exposed: {', '.join(exposed)}"
    return ApiError(406, "PGRST106", f"Invalid schema: {schema}", None, hint)


def bad_media_type(accepted: Sequence[str]) -> ApiError:
    """PGRST107: none of the accepted media types can be produced."""
    return ApiError(406, "PGRST107", f"None of these media types are available: {', '.join(accepted)}")


def not_embedded(resource: str) -> ApiError:
    """PGRST108: a filter or order on a resource that the request does not embed."""
    hint = f"Verify that '{resource}' is included in the 'select' query parameter."
    return ApiError(400, "PGRST108", f"'{resource}' is not an embedded resource in this request", None, hint)


def bad_guc_headers() -> ApiError:
    """PGRST111: `response.headers` was set to something else than headers."""
    text = "response.headers guc must be a JSON array composed of objects with a single key and a string value"
    return ApiError(500, "PGRST111", text)


def bad_guc_status() -> ApiError:
    """PGRST112: `response.status` was set to something else than a status."""
    return ApiError(500, "PGRST112", "response.status guc must be a valid status code")


def put_with_limit() -> ApiError:
    """PGRST114: a PUT with limit or offset."""
    return ApiError(400, "PGRST114", "limit/offset querystring parameters are not allowed for PUT")


def put_of_another_row() -> ApiError:
    """PGRST115: a PUT whose body is not the row that its filters name."""
    return ApiError(400, "PGRST115", "Payload values do not match URL in primary key column(s)")


def not_singular(rows: int) -> ApiError:
    """PGRST116: one object was asked for, and there is none or there are several."""
    text = "Cannot coerce the result to a single JSON object"
    return ApiError(406, "PGRST116", text, f"The result contains {rows} rows")


def bad_method(method: str) -> ApiError:
    """PGRST117: a method that no resource has."""
    return ApiError(405, "PGRST117", f"Unsupported HTTP method: {method}")


def bad_raise(details: str, hint: str) -> ApiError:
    """PGRST121: `raise sqlstate 'PGRST'` with something else than JSON."""
    text = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    return ApiError(500, "PGRST121", text, details, hint)


def bad_preferences(preferences: Sequence[str]) -> ApiError:
    """PGRST122: unknown preferences although the request asks for strict handling."""
    details = f"Invalid preferences: {', '.join(preferences)}"
    return ApiError(400, "PGRST122", "Invalid preferences given with handling=strict", details)


def no_aggregates() -> ApiError:
    """PGRST123: an aggregate where they are not enabled."""
    return ApiError(400, "PGRST123", "Use of aggregate functions is not allowed")


def too_many_affected(rows: int) -> ApiError:
    """PGRST124: more rows than `max-affected` would have changed."""
    text = "Query result exceeds max-affected preference constraint"
    return ApiError(400, "PGRST124", text, f"The query affects {rows} rows")


def bad_path() -> ApiError:
    """PGRST125: a path that names no resource."""
    return ApiError(404, "PGRST125", "Invalid path specified in request URL")


def no_openapi() -> ApiError:
    """PGRST126: the root, which would describe the schema as OpenAPI."""
    details = "The OpenAPI description is not part of the local stack's REST interface."
    return ApiError(404, "PGRST126", "Root endpoint metadata is disabled", details)


def not_supported(what: str) -> ApiError:
    """PGRST127: something that PostgREST does and the local stack does not."""
    details = f"{what} is not supported by the local stack's REST interface; run a real PostgREST for it."
    return ApiError(400, "PGRST127", "Feature not implemented", details)


def max_affected_of_single() -> ApiError:
    """PGRST128: `max-affected` for a function that returns one value."""
    text = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
    return ApiError(400, "PGRST128", text)


def no_column(table: str, column: str) -> ApiError:
    """PGRST204: a payload with a column that the table does not have."""
    return ApiError(400, "PGRST204", f"Could not find the '{column}' column of '{table}' in the schema cache")


def no_table(schema: str, table: str, hint: str | None) -> ApiError:
    """PGRST205: no such table or view."""
    return ApiError(404, "PGRST205", f"Could not find the table '{schema}.{table}' in the schema cache", None, hint)


def ambiguous_function(candidates: str) -> ApiError:
    """PGRST203: several overloaded functions fit the arguments."""
    hint = "Try renaming the parameters or the function itself in the database so function overloading can be resolved"
    text = f"Could not choose the best candidate function between: {candidates}"
    return ApiError(300, "PGRST203", text, None, hint)


def no_connection(details: str | None) -> ApiError:
    """PGRST000: the database takes no connection."""
    return ApiError(503, "PGRST000", "Database connection error.", details)


def lost_connection(details: str | None) -> ApiError:
    """PGRST001: the connection broke during the request."""
    return ApiError(503, "PGRST001", "Database client error. Retrying the connection.", details)


def no_schema_cache() -> ApiError:
    """PGRST002: the database could not be read since the start."""
    return ApiError(503, "PGRST002", "Could not query the database for the schema cache. Retrying.")


def no_free_connection() -> ApiError:
    """PGRST003: every connection stayed busy."""
    return ApiError(504, "PGRST003", "Timed out acquiring connection from connection pool.")


def bad_token(message: str, details: str | None = None) -> ApiError:
    """PGRST301: the bearer token is not one, or not signed by this stack."""
    return ApiError(401, "PGRST301", message, details, headers=_invalid_token(message))


def token_required() -> ApiError:
    """PGRST302: no token although anonymous access is off."""
    return ApiError(401, "PGRST302", "Anonymous access is disabled", headers={"WWW-Authenticate": "Bearer"})


def bad_claims(message: str) -> ApiError:
    """PGRST303: the claims of a token do not allow its use, now or ever."""
    return ApiError(401, "PGRST303", message, headers=_invalid_token(message))


def _invalid_token(message: str) -> dict[str, str]:
    quoted = orjson.dumps(message).decode()
    return {"WWW-Authenticate": f'Bearer error="invalid_token", error_description={quoted}'}
