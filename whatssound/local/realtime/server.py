"""The parts of a running server, as channels and sockets need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tokens import Keyring
    from .changes import Changes
    from .database import Database
    from .feed import Feed
    from .hub import Hub
    from .nursery import Nursery


@dataclass(slots=True)
class Server:
    """What belongs together.

    Attributes:
        hub: Topics, quotas and counts.
        keyring: The keys of the stack.
        database: Questions to the database.
        nursery: Where tasks live.
        feed: The stream of what the database commits.
        changes: Who wants which changes.
    """

    hub: Hub
    keyring: Keyring
    database: Database
    nursery: Nursery
    feed: Feed
    changes: Changes
