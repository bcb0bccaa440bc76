"""Identifiers: UUIDv7 for messages, plain UUIDs elsewhere, and the names of Realtime topics."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from ..errors import InvalidInputError

_RAND_BITS = 74
_RAND_MASK = (1 << _RAND_BITS) - 1
_LONGEST_HOLD_MS = 60_000


def as_uuid(value: str | UUID, argument: str) -> str:
    """Returns the canonical lower-case form of a UUID.

    Raises:
        InvalidInputError: ``value`` is no UUID.
    """
    if isinstance(value, UUID):
        return str(value)
    try:
        return str(UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise InvalidInputError(argument, f"must be a UUID, not {value!r}") from None


class Uuid7Source:
    """Makes UUIDv7 identifiers that grow, also within one millisecond and when the clock steps back a little.

    RFC 9562 §5.7 (layout) and §6.2 method 2 (the random part is counted up when the millisecond has not advanced).
    A step back of more than a minute (a wrong clock was put right) is followed instead: the database refuses ids that
    lie two minutes ahead of it, and holding on to them would silence the user for as long as the clock was wrong.

    Args:
        random_bits: called with a number of bits, returns that many random ones as an int
            (`random.SystemRandom.getrandbits`).
    """

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self._random_bits = random_bits
        self._last_ms = -1
        self._last_rand = 0

    def make(self, unix_ms: int) -> str:
        """Makes the next identifier for a time in milliseconds since 1970 (UTC)."""
        if unix_ms > self._last_ms or unix_ms < self._last_ms - _LONGEST_HOLD_MS:
            self._last_ms = unix_ms
            # The top bit is left free, so that counting up within a millisecond has room.
            self._last_rand = self._random_bits(_RAND_BITS - 1)
        else:
            self._last_rand += 1 + self._random_bits(16)
            if self._last_rand > _RAND_MASK:
                self._last_ms += 1
                self._last_rand = self._random_bits(_RAND_BITS - 1)
        rand_a, rand_b = self._last_rand >> 62, self._last_rand & ((1 << 62) - 1)
        number = (self._last_ms << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b
        return str(UUID(int=number))


def uuid7_unix_ms(value: str) -> int:
    """Returns the milliseconds since 1970 in a UUIDv7.

    Raises:
        InvalidInputError: it is no UUID of version 7.
    """
    parsed = UUID(as_uuid(value, "id"))
    if parsed.version != 7:
        raise InvalidInputError("id", f"must be a UUIDv7, not version {parsed.version}")
    return parsed.int >> 80


def session_topic(session_id: str) -> str:
    """Returns the topic that members may write: chat, typing, presence, changes."""
    return f"session:{session_id}"


def frames_topic(session_id: str) -> str:
    """Returns the topic that members may read and only the database writes: frames."""
    return f"session:{session_id}:frames"
