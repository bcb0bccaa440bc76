"""What becomes of a chat message: the receipt that sending returns."""

from __future__ import annotations

import asyncio

from .errors import MessageRejectedError
from .models import Message, StoredRow


class MessageReceipt:
    """What `Chat.send` returns: the message, and when it is stored.

    Attributes:
        message: what was sent; ``message.id`` was made here.
    """

    # Tens of thousands wait in a long outage.
    __slots__ = ("__weakref__", "_outcome", "message", "spooled", "tries")

    def __init__(self, message: Message, *, spooled: bool = False, tries: int = 0) -> None:
        self.message = message
        #: Whether an earlier run had accepted it, so that nobody here waits for this receipt.
        self.spooled = spooled
        #: How often it has got a server error while other messages were answered.
        self.tries = tries
        self._outcome: asyncio.Future[StoredRow] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<MessageReceipt {self.message.id} {'stored' if self.is_stored else 'pending'}>"

    @property
    def id(self) -> str:
        """The message's id."""
        return self.message.id

    @property
    def is_stored(self) -> bool:
        """Whether the database has it."""
        return self._outcome.done() and not self._outcome.cancelled() and self._outcome.exception() is None

    @property
    def is_settled(self) -> bool:
        """Whether the outcome is known: stored or rejected."""
        return self._outcome.done()

    async def stored(self) -> StoredRow:
        """Waits until the database has it.

        Raises:
            MessageRejectedError: it was refused; ``reason`` says why.
        """
        return await asyncio.shield(self._outcome)

    def settle(self, outcome: StoredRow | MessageRejectedError) -> None:
        """Sets the outcome, once."""
        if self._outcome.done():
            return
        if isinstance(outcome, StoredRow):
            self._outcome.set_result(outcome)
        else:
            self._outcome.set_exception(outcome)
            # A receipt that nobody asks again is no defect: the rejection is an event, too.
            self._outcome.exception()
