"""Tips for the DJ: exactly once, in minor units."""

from __future__ import annotations

import re

from .core.identifiers import as_uuid
from .core.text import storable
from .errors import InvalidInputError
from .gateway import make_key
from .models import TipReceipt
from .room import Room, parse

_CURRENCY = re.compile(r"[A-Z]{3}")


class Tips:
    """`Session.tips`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def send(
        self, amount: int, *, currency: str = "EUR", note: str | None = None, key: str | None = None
    ) -> TipReceipt:
        """Tips the DJ. The tip is ``pending`` until the payment is confirmed; only then does everybody hear of it.

        Args:
            amount: in minor units of the currency: 500 is five euros, or five hundred yen.
            currency: ISO-4217 code.
            note: a word for the DJ.
            key: the idempotency key of an earlier call whose outcome is unknown: the first call's receipt comes back.

        Raises:
            InvalidInputError: an amount that is no positive integer, or no currency code.
            TipError: over the session's limit.
            IdempotencyMismatchError: the key was used with other values.
            OutcomeUnknownError: see there; call again with its key.
            RefusedError: session ended, banned, rate limited …
        """
        self._room.user_id()
        if not isinstance(amount, int) or isinstance(amount, bool) or amount <= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError("amount", f"must be a positive integer of minor units, not {amount!r}")
        if not _CURRENCY.fullmatch(currency):
            raise InvalidInputError("currency", f"must be an ISO-4217 code such as EUR, not {currency!r}")
        if note is not None:
            storable(note, "note")
        key = as_uuid(key, "key") if key is not None else make_key()
        answer = await self._room.command(
            "send_tip", {"p_amount": amount, "p_currency": currency, "p_note": note}, key=key
        )
        return parse(TipReceipt, "send_tip", {**answer, "key": key})
