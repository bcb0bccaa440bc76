"""When the event log is asked: after each join, when something stays away, and now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .attendance import Attendance
from .catchup import CatchUp
from .config import SessionConfig
from .core.overdue import Overdue
from .delivery import Delivery
from .errors import SessionNotFoundError, WhatsSoundError
from .events import StateResynced
from .mode_switch import ModeSwitch
from .ports import Clock

_HELD_LIMIT = 10_000

#: Seconds that an event may take beyond its tick before the log is asked for it.
_PATIENCE = 0.5

#: The longest time over which the members of a large room spread the same question, in seconds.
_SPREAD = 1.0

#: After a lost connection the members of a room ask so many a second, all together: they may all have lost theirs at
#: once, and the database is to bear it. A room that is so large that this takes too long asks faster.
_A_SECOND = 40
_LONGEST_TURN = 60.0

_NEVER = float("inf")


class Resync:
    """Keeps what has been delivered in step with the log.

    What arrives while the log is being asked after a join is held, so that what was missed comes first. By Postgres
    Changes the log is asked every few seconds, as nothing tells of a gap; frames tell, so it is asked only then.

    Args:
        catch_up: asks the log.
        delivery: what has been delivered.
        attendance: what expires by itself.
        switch: which feed is on.
        config: intervals.
        clock: time.
        chance: draws a uniform random number in [0, 1).
        released: called when what was held may go on, after the log has been asked.
        synced: called when the state equals the database's again.
        lost: called when the session may not be read any more; `run` then ends.
    """

    def __init__(
        self,
        *,
        catch_up: CatchUp,
        delivery: Delivery,
        attendance: Attendance,
        switch: ModeSwitch,
        config: SessionConfig,
        clock: Clock,
        chance: Callable[[], float],
        released: Callable[[], None],
        synced: Callable[[], None],
        lost: Callable[[WhatsSoundError], None],
    ) -> None:
        self._catch_up = catch_up
        self._delivery = delivery
        self._attendance = attendance
        self._switch = switch
        self._config = config
        self._clock = clock
        self._chance = chance
        self._released = released
        self._synced = synced
        self._lost = lost
        self._overdue = Overdue()
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._held: list[Callable[[], None]] | None = []
        self._wanted_at: float | None = None
        self._ready_by: float | None = None
        self._next_look = 0.0
        self._silent_at = self._ask_by = _NEVER
        self._fresh = False
        self._was_in_step = False
        self.is_in_step = False

    # --- what there is to know

    def joined(self) -> None:
        """The topic of the events is joined; they flow a little later, or the server never says so."""
        self.is_in_step = False
        self._ready_by = self._clock.monotonic() + self._config.connection.ready_timeout
        self.wake()

    def want(self) -> None:
        """From now on events flow; what was committed before may be missing, so the log is asked, every time."""
        self._ready_by = None
        self._wanted_at = self._clock.monotonic() + (self._turn() if self._was_in_step else self.spread())
        # From here on, and not only once the look begins: what arrives now is newer than what was missed.
        self._held = [] if self._held is None else self._held
        self.wake()

    def told(self) -> None:
        """Some answer or frame said how far the log goes."""
        now = self._clock.monotonic()
        self._silent_at = now + self._config.silence_timeout * (0.75 + 0.5 * self._chance())
        sequencer = self._delivery.sequencer
        patience = self._switch.mode.tick_ms / 1000 + _PATIENCE * (1 + self._chance()) + self.spread()
        self._overdue.update(known=sequencer.known, watermark=sequencer.watermark, due=now + patience)
        if self._overdue.at is not None:
            self.wake()

    def continues(self, from_seq: int) -> None:
        """A frame came that starts at ``from_seq``: if nothing is missing before it, the log need not be asked."""
        waits = self._wanted_at is not None and self._catch_up.is_loaded and not self._looking.locked()
        if waits and from_seq <= self._delivery.sequencer.watermark + 1:
            self._wanted_at = None
            self._release()
            self._in_step(fetched=0)

    def hurry(self) -> None:
        """Something is missing that does not come by itself: asks at once, or in a large room within a second."""
        due = self._clock.monotonic() + self.spread()
        self._overdue.hurry(known=self._delivery.sequencer.known, due=due)
        self.wake()

    def ask(self) -> None:
        """Only the database can say what is so: asks as soon as by `hurry`, though nothing is known to be missing."""
        self._next_look = self._ask_by = min(self._ask_by, self._clock.monotonic() + self.spread())
        self.wake()

    def wake(self) -> None:
        """Something may be due sooner than it was."""
        self._wake.set()

    def when_ready(self, deliver: Callable[[], None]) -> None:
        """Delivers now, or after the resync under way, so that what was missed comes first."""
        if self._held is None:
            deliver()
        elif len(self._held) < _HELD_LIMIT:
            self._held.append(deliver)
        else:
            self._wanted_at = self._clock.monotonic()

    def spread(self) -> float:
        """Seconds to wait before a question that everybody in the room may be about to ask; none in a small room."""
        mode = self._switch.mode
        if mode.tick_ms == 0 and mode.room == "small":
            return 0.0
        return min(mode.tick_ms / 1000 or _SPREAD, _SPREAD) * self._chance()

    def _turn(self) -> float:
        people = self._switch.people
        if people <= _A_SECOND:
            return self.spread()
        return min(people / _A_SECOND, _LONGEST_TURN) * self._chance()

    # --- asking

    async def open(self) -> None:
        """Loads the state before anything is joined.

        Raises:
            WhatsSoundError: it cannot be had.
        """
        async with self._looking:
            await self._catch_up.load()
        self._fresh = True

    async def refresh(self) -> None:
        """Looks at the log now: somebody has just been told that what they see is old."""
        if not self._catch_up.is_loaded:
            return
        try:
            async with self._looking:
                await self._catch_up.fetch()
            self._asked()
        except WhatsSoundError as error:
            self._delivery.report(error)

    async def run(self) -> None:
        """Asks when it is time, and expires what is stale; until cancelled or `lost`."""
        self._next_look = self._clock.monotonic() + self._interval()
        while True:
            await self._pause()
            now = self._clock.monotonic()
            self._attendance.expire(now)
            if self._ready_by is not None and now >= self._ready_by:
                self.want()
            resync = self._wanted_at is not None and now >= self._wanted_at
            if not resync and now < self._look_at():
                self._tidy(now)
                continue
            if resync:
                self._wanted_at = None
            try:
                await self._look(resync)
            except SessionNotFoundError as error:
                # Forbidden answers like unknown; neither comes right by asking again every few seconds.
                self._lost(error)
                return
            except WhatsSoundError as error:
                self._delivery.report(error)
                self._try_again(resync)

    def _try_again(self, resync: bool) -> None:
        now = self._clock.monotonic()
        self._next_look = self._silent_at = now + min(1.0, self._interval())
        self._ask_by = _NEVER
        self._overdue.asked()
        if self._delivery.sequencer.is_behind:
            self._overdue.hurry(known=self._delivery.sequencer.known, due=self._next_look)
        if resync:
            again = now + 0.5 + self._chance()
            self._wanted_at = again if self._wanted_at is None else max(again, self._wanted_at)

    def _interval(self) -> float:
        # Jittered, so that listeners who came at the same moment do not ask at the same moment for ever.
        return self._config.reconcile_interval * (0.75 + 0.5 * self._chance())

    def _look_at(self) -> float:
        if not self._catch_up.is_loaded or self._wanted_at is not None:
            return _NEVER  # the log will be asked in any case, when it is our turn
        if self._switch.mode.feed == "changes":
            return self._next_look
        return min(self._silent_at, self._ask_by, _NEVER if self._overdue.at is None else self._overdue.at)

    def _tidy(self, now: float) -> None:
        if now < self._next_look:
            return
        self._next_look = now + self._interval()
        if self._switch.mode.feed == "frames" and not self._delivery.sequencer.is_behind:
            self._expire_claims()

    def _expire_claims(self) -> None:
        self._delivery.expire_claims(self._clock.monotonic() - self._config.claim_timeout)

    async def _pause(self) -> None:
        times = (self._next_look, self._look_at(), self._ready_by, self._wanted_at, self._attendance.next_at())
        seconds = min(at for at in times if at is not None) - self._clock.monotonic()
        if seconds <= 0:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self, resync: bool) -> None:
        if resync:
            self._held = [] if self._held is None else self._held
        fetched = 0
        try:
            async with self._looking:
                if self._catch_up.is_loaded:
                    fetched, fresh = await self._catch_up.fetch()
                else:
                    await self._catch_up.load()
                    fresh = True
            self._fresh = self._fresh or fresh
            self._asked()
        finally:
            self._release()
        self._expire_claims()
        if resync:
            self._in_step(fetched)

    def _in_step(self, fetched: int) -> None:
        self._delivery.publish(
            StateResynced(seq=self._delivery.sequencer.watermark, fetched=fetched, fresh=self._fresh)
        )
        self._fresh = False
        self._was_in_step = self.is_in_step = True
        self._synced()

    def _asked(self) -> None:
        self._overdue.asked()
        self._ask_by = _NEVER
        self._next_look = self._clock.monotonic() + self._interval()
        self._released()
        self.told()

    def _release(self) -> None:
        if not self._catch_up.is_loaded or self._wanted_at is not None:
            return
        held, self._held = self._held, None
        for deliver in held or ():
            deliver()
