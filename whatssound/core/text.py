"""What a text must be before it is sent: the same rules the database has, so that a refusal comes at once."""

from __future__ import annotations

from ..errors import EmptyMessageError, InvalidInputError, InvalidTextError, MessageTooLongError


def storable(text: str, argument: str = "text") -> str:
    """Returns the text if Postgres and UTF-8 can hold it.

    Raises:
        InvalidInputError: it is no string.
        InvalidTextError: it holds NUL (Postgres cannot store U+0000) or a lone surrogate (not encodable as UTF-8).
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInputError(argument, f"must be a string, not {type(text).__name__}")
    if (at := text.find("\0")) >= 0:
        raise InvalidTextError(argument, "NUL (U+0000)", at)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidTextError(argument, "a lone surrogate", error.start) from None
    return text


def chat_text(text: str, limit: int) -> str:
    """Returns a chat text that the database will take.

    Args:
        text: what the user wrote; it is not trimmed.
        limit: most characters (Unicode code points, as Postgres' ``char_length`` counts).

    Raises:
        InvalidTextError: see `storable`.
        EmptyMessageError: nothing but white space.
        MessageTooLongError: more than ``limit`` characters.
    """
    storable(text)
    if not text.strip():
        raise EmptyMessageError
    if len(text) > limit:
        raise MessageTooLongError(len(text), limit)
    return text
