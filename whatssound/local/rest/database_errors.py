"""What Postgres raised, as the REST interface tells it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from whatssound.local.rest import errors
from whatssound.local.rest.errors import ApiError

if TYPE_CHECKING:
    import asyncpg

_BY_STATE: Final = {
    "23503": 409, "23505": 409, "25006": 405, "42883": 404, "42P01": 404, "42P17": 500, "53400": 500,
    "57P01": 503, "P0001": 400,
}  # fmt: skip
"""Single SQLSTATEs; they win over their class."""

_BY_CLASS: Final = {
    "08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "2D": 500, "38": 500, "39": 500, "3B": 500,
    "40": 500, "53": 503, "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500, "P0": 500, "XX": 500,
}  # fmt: skip
"""Classes of SQLSTATEs; what is in neither table is the client's fault: 400."""

_RAISE_MESSAGE_HINT: Final = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'."
)
_RAISE_DETAIL_HINT: Final = (
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'."
)


def from_postgres(error: asyncpg.PostgresError, *, anonymous: bool) -> ApiError:
    """Translates an error of the database.

    Args:
        error: What asyncpg raised.
        anonymous: Whether the request ran as the anonymous role, for which "not allowed" means "sign in first".
    """
    state = str(error.sqlstate)
    message = str(error.args[0]) if error.args else ""
    details: str | None = getattr(error, "detail", None)
    hint: str | None = getattr(error, "hint", None)
    if state == "PGRST":
        return _raised_response(message, details)
    status = status_of(state, message, anonymous=anonymous)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    # PTnnn sets the reason phrase too: it is the message, as far as a status line can hold it.
    reason = "".join(filter(str.isprintable, message)) if state.startswith("PT") else None
    return ApiError(status, state, message, details, hint, headers, reason)


def status_of(state: str, message: str, *, anonymous: bool) -> int:
    """The HTTP status for a SQLSTATE.

    Args:
        state: Five characters.
        message: The error's text, which decides in a few cases.
        anonymous: Whether the request ran as the anonymous role.
    """
    if state.startswith("PT"):
        return int(state[2:]) if state[2:].isdigit() else 500
    if state == "42501":
        return 401 if anonymous else 403
    if state == "21000":
        return 400 if message.endswith("requires a WHERE clause") else 500
    if state == "22023":
        return 401 if message.startswith("role") and message.endswith("does not exist") else 400
    if state == "42883" and message.startswith("function xmlagg("):
        return 406
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], 400)


def _raised_response(message: str, detail: str | None) -> ApiError:
    """A function can shape the whole response by `raise sqlstate 'PGRST'` with JSON in message and detail."""
    said = _json_object(message, ("code", "message"))
    if said is None:
        return errors.bad_raise(f"Invalid JSON value for MESSAGE: '{message}'", _RAISE_MESSAGE_HINT)
    if detail is None:
        return errors.bad_raise("DETAIL is missing in the RAISE statement", _RAISE_DETAIL_HINT)
    shape = _json_object(detail, ("status", "headers"))
    if shape is None or not isinstance(shape["status"], int) or not isinstance(shape["headers"], dict):
        return errors.bad_raise(f"Invalid JSON value for DETAIL: '{detail}'", _RAISE_DETAIL_HINT)
    headers = {str(name): str(value) for name, value in shape["headers"].items()}
    return ApiError(
        shape["status"], said["code"], said["message"], said.get("details"), said.get("hint"), headers,
        shape.get("status_text"),
    )  # fmt: skip


def _json_object(text: str, required: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or any(name not in value for name in required):
        return None
    return value
