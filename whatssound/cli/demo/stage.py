"""Puts the room together, lets the script play, and waits until everybody has seen everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from ...client import WhatsSound
from ...config import SessionConfig
from ...errors import WhatsSoundError
from ...models import Tip
from . import words
from .backstage import open_backstage
from .ledger import Ledger
from .meter import Meter
from .options import Options, Target
from .person import Person
from .readback import read_rows
from .report import RACES, Report, Witnessed, make_report
from .screen import Figures, Screen, take_screen
from .script import STAFF_ACTS, Act, Say, Type, read_trace, write_script

#: Sign-ins and joins under way at once.
_AT_THE_DOOR = 10
_FIRST_SONGS = 6
_SEEING = 60.0
_WEBHOOK_CALLS = 3

NAMES = (
    "ana", "Łukasz", "さくら", "Omar", "Ίρις", "Дмитрий", "지우", "नेहा", "Zoë", "Tunde",
    "李雷", "Noa", "ليلى", "Björn", "Chioma", "Mateo", "Ngọc", "Sinéad", "Ayşe", "Jürgen",
)  # fmt: skip


@asynccontextmanager
async def find_target(options: Options) -> AsyncIterator[Target]:
    """Gives the project to play in: the one named, or a local stack that ends with the block."""
    if options.target is not None:
        yield options.target
        return
    async with open_backstage() as target:
        yield target


class Stage:
    """One run of the demo.

    Args:
        options: its settings.
        target: where it plays.
        acts: the script.
    """

    def __init__(self, options: Options, target: Target, acts: list[Act]) -> None:
        loop = asyncio.get_running_loop()
        self.phase = "opening the doors"
        self._options = options
        self._target = target
        self._acts = acts
        self._ledger = Ledger()
        self._meter = Meter(options.listeners + 2, loop.time)
        self._payments: asyncio.Queue[Tip] = asyncio.Queue(maxsize=1000)
        self._people = [self._person(number, name) for number, name in enumerate(_names(options.listeners))]
        self._door = asyncio.Semaphore(_AT_THE_DOOR)
        # Everybody and the director meet three times: all are in, all have spoken, all may go.
        self._meeting = asyncio.Barrier(len(self._people) + 1)
        self._session_id: asyncio.Future[str] = loop.create_future()
        self._invited = asyncio.Event()
        self._started_at = 0.0
        self._config = SessionConfig(reader_events=20_000)

    def _person(self, number: int, name: str) -> Person:
        return Person(number, name, ledger=self._ledger, meter=self._meter, payments=self._payments)

    @property
    def _dj(self) -> Person:
        return self._people[0]

    @property
    def _moderator(self) -> Person:
        return self._people[1]

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether there is a room to show."""
        return self._dj.stats() is not None

    def screen(self) -> Screen:
        """The room at this moment, as the DJ sees it."""
        return take_screen(self._dj.session.state, self.phase, self._figures())

    def _figures(self) -> Figures:
        stats = [found for person in self._people if (found := person.stats()) is not None]
        now = asyncio.get_running_loop().time()
        return Figures(
            elapsed=now - self._started_at if self._started_at else 0.0,
            seconds=self._options.seconds,
            sent=self._meter.sent,
            stored=sum(one.stored for one in stats),
            batches=sum(one.batches for one in stats),
            rate=self._meter.rate(),
            latency=self._meter.recent(),
            votes=len(self._ledger.ballots),
            reconnects=sum(one.reconnects for one in stats),
        )

    # --- the run ------------------------------------------------------------------------------------------------------

    async def play(self, last_look: Callable[[], None]) -> Report:
        """Plays the script and returns the summary.

        Args:
            last_look: called when all is said and seen, while the room is still open.

        Raises:
            ExceptionGroup: somebody could not sign in or join.
        """
        async with asyncio.TaskGroup() as group:
            cashier = group.create_task(self._confirm_tips(), name="demo-payments")
            for person in self._people:
                group.create_task(self._attend(person), name=f"demo-{person.name}")
            witnessed = await self._direct()
            last_look()
            await self._meeting.wait()
            cashier.cancel()
        self.phase = "checking the database"
        rows = await read_rows(self._target.db_url, self._session_id.result())
        return make_report(witnessed, self._ledger, rows)

    async def _direct(self) -> Witnessed:
        await self._meeting.wait()
        await self._dj.session.moderation.set_role(self._moderator.user_id, "moderator")
        self.phase = "live"
        self._started_at = asyncio.get_running_loop().time()
        self._invited.set()
        await self._meeting.wait()
        seconds = asyncio.get_running_loop().time() - self._started_at
        self.phase = "waiting until everybody has seen everything"
        await self._payments.join()
        await self._meter.all_seen(self._ledger.words, within=_SEEING)
        self.phase = "all is said"
        return self._witness(seconds)

    def _witness(self, seconds: float) -> Witnessed:
        stats = [person.session.stats() for person in self._people]
        races = sum(count for code, count in self._ledger.refusals.items() if code in RACES)
        return Witnessed(
            people=len(self._people),
            sent=self._meter.sent,
            seen_least=min(self._meter.seen_by(self._ledger.words)),
            repeats=self._meter.repeats,
            withdrawn=sum(person.withdrawn for person in self._people),
            latency=self._meter.overall(),
            rpc_retries=sum(one.rpc_retries for one in stats),
            rpc_errors=max(0, sum(one.rpc_errors for one in stats) - races),
            reconnects=sum(one.reconnects for one in stats),
            seconds=seconds,
        )

    async def _attend(self, person: Person) -> None:
        async with AsyncExitStack() as stack:
            async with self._door:
                await person.sign_in(stack, self._target.url, self._target.anon_key)
                if person is self._dj:
                    info = await person.sound.create_session("Noche de tránsito", settings={})
                    self._session_id.set_result(info.id)
            session_id = await asyncio.shield(self._session_id)
            async with self._door:
                await person.join(stack, session_id, self._config)
            if person is self._dj:
                await self._prepare()
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(person.watch())
                await self._meeting.wait()
                await self._invited.wait()
                await self._act(person)
                await person.settle()
                await self._meeting.wait()
                await self._meeting.wait()
                watching.cancel()

    async def _prepare(self) -> None:
        for title, artist, duration in words.SONGS[:_FIRST_SONGS]:
            receipt = await self._dj.session.queue.add(title, artist=artist, duration=duration)
            self._dj.answered("add", receipt)
        self._dj.answered("advance", await self._dj.session.queue.advance())

    async def _act(self, person: Person) -> None:
        chat, commands = self._part_of(person)
        async with asyncio.TaskGroup() as group:
            group.create_task(person.perform(chat, self._started_at))
            group.create_task(person.perform(commands, self._started_at))

    def _part_of(self, person: Person) -> tuple[list[Act], list[Act]]:
        # Listeners are numbered after DJ and moderator; both of these have the staff's acts only.
        staff = person.number < 2
        who = person.number if staff else person.number - 2
        mine = [act for act in self._acts if act.who == who and isinstance(act, STAFF_ACTS) == staff]
        return (
            [act for act in mine if isinstance(act, Say | Type)],
            [act for act in mine if not isinstance(act, Say | Type)],
        )

    # --- payments -----------------------------------------------------------------------------------------------------

    async def _confirm_tips(self) -> None:
        """Confirms each tip with the service key, as the webhook of a payment provider does."""
        async with WhatsSound(self._target.url, self._target.service_key) as bank:
            while True:
                tip = await self._payments.get()
                if await self._confirm(bank, tip):
                    self._ledger.payments[tip.id] = replace(self._ledger.payments[tip.id], confirmed=True)
                self._payments.task_done()

    async def _confirm(self, bank: WhatsSound, tip: Tip) -> bool:
        # A provider calls its webhook again until it is answered; confirming twice is the same as once.
        for _ in range(_WEBHOOK_CALLS):
            try:
                await bank.confirm_tip(tip.id, provider_ref=f"demo-{tip.id}")
            except WhatsSoundError as error:
                self._ledger.refusals[type(error).__name__] += 1
                if not error.retryable:
                    break
            else:
                return True
        self._ledger.doubtful_payments.add(tip.tipper_id)
        return False


def _names(listeners: int) -> list[str]:
    rounds = [NAMES[place % len(NAMES)] + (str(place // len(NAMES) + 1) if place >= len(NAMES) else "")
              for place in range(listeners)]  # fmt: skip
    return ["DJ Quinta", "Mod Vera", *rounds]


def write_acts(options: Options) -> list[Act]:
    """Makes the script of a run from the recorded chat."""
    from ...local.assets import trace_path  # noqa: PLC0415 - an optional extra

    trace = read_trace(trace_path(), until=options.seconds * options.speed)
    return write_script(
        trace, listeners=options.listeners, seconds=options.seconds, speed=options.speed, seed=options.seed
    )
