"""What a run is to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...config import FeedChoice
from ...errors import ConfigurationError

#: Chat that one speaker sends a second; a user may send 20 in the long run, and a batch of two is still a batch.
_A_SPEAKER_SAYS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of one run.

    Attributes:
        listeners: how many listen.
        messages_per_second: chat, all speakers together.
        seconds: how long they speak.
        votes_per_second: votes, all speakers together.
        tips_per_second: tips that are paid at once.
        feed: how events reach the listeners.
        one_account: whether all listen as the same user.
        patience: seconds after the last word in which everything is to arrive.
    """

    listeners: int = 20
    messages_per_second: float = 2.0
    seconds: float = 30.0
    votes_per_second: float = 0.5
    tips_per_second: float = 0.0
    feed: FeedChoice = "auto"
    one_account: bool = False
    patience: float = 30.0

    def __post_init__(self) -> None:
        for name in ("listeners", "messages_per_second", "seconds", "patience"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigurationError(name, "must be greater than 0")
        for name in ("votes_per_second", "tips_per_second"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(name, "must not be negative")

    @property
    def speakers(self) -> int:
        """How many speak: as few as the limits for one user allow."""
        return max(1, math.ceil(self.messages_per_second / _A_SPEAKER_SAYS))

    @property
    def accounts(self) -> int:
        """How many users are signed in."""
        return self.speakers + (0 if self.one_account else self.listeners)
