"""Does to links and stack what a schedule says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from operator import methodcaller

from tests.integration.faults.schedule import Kind, Schedule, Step
from tests.integration.lab import Lab
from whatssound.core.identifiers import session_topic
from whatssound.testing import FaultyLink

#: Seconds that a 429 asks for.
_RETRY_AFTER = 0.3

#: What PostgREST says to a token that it takes no more.
_EXPIRED = {"code": "PGRST303", "message": "JWT expired", "details": None, "hint": None}

#: All parts of a stack, in the order they start.
_PARTS = ("postgres", "rest", "auth", "realtime")

#: Called with the place of a client and the time on the loop's clock at which its link was dropped.
PlainDrop = Callable[[int, float], Awaitable[None]]


class Breaker:
    """Plays schedules.

    Args:
        lab: the stack.
        links: of the clients, in their order; any more are broken with all others, and never alone.
        session_id: whose channel is kicked.
        kill: kills a process of its own and starts it again after so many seconds; None if there is none.
    """

    def __init__(
        self,
        lab: Lab,
        links: Sequence[FaultyLink],
        session_id: str,
        kill: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._lab = lab
        self._links = links
        self._topic = session_topic(session_id)
        self._kill = kill
        # In turn: Realtime does not start while Postgres is away.
        self._restarting = asyncio.Lock()
        # A plain drop is plain only while nothing else breaks.
        self._made_good = asyncio.Event()
        self.healed_at = 0.0

    async def play(self, schedule: Schedule, plain: PlainDrop) -> None:
        """Plays all steps, each at its time, and returns when everything is whole again."""
        began = asyncio.get_running_loop().time()
        if not any(step.plain for step in schedule.steps):
            self._made_good.set()
        try:
            async with asyncio.TaskGroup() as group:
                for step in schedule.steps:
                    group.create_task(self._step(step, began, plain))
        finally:
            for link in self._links:
                link.heal()
                await link.accept()
            await self._lab.switch(lambda stack: stack.faults.clear())
            self.healed_at = asyncio.get_running_loop().time()

    async def _step(self, step: Step, began: float, plain: PlainDrop) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(began + step.at - loop.time())
        if not step.plain:
            await self._made_good.wait()
        links = self._links if step.target is None else (self._links[step.target],)
        match step.kind:
            case Kind.RST | Kind.FIN:
                for link in links:
                    link.reset() if step.kind is Kind.RST else link.fin()
                if step.plain and step.target is not None:
                    await plain(step.target, loop.time())
                    self._made_good.set()
            case Kind.BLACK_HOLE | Kind.DELAY:
                for link in links:
                    link.black_hole() if step.kind is Kind.BLACK_HOLE else link.delay(step.seconds / 2)
                await asyncio.sleep(step.seconds)
                for link in links:
                    link.heal()
            case Kind.PROCESS_KILL:
                if self._kill is not None:
                    await self._kill(step.seconds)
            case Kind.REFUSE:
                for link in links:
                    await link.refuse()
                    link.reset()
                await asyncio.sleep(step.seconds)
                for link in links:
                    await link.accept()
            case _:
                await self._at_the_server(step)

    async def _at_the_server(self, step: Step) -> None:
        lab = self._lab
        match step.kind:
            case Kind.LOST_RESPONSE:
                await lab.switch(lambda stack: stack.faults.lose_response(step.path, times=step.times))
            case Kind.SERVER_ERROR:
                await lab.switch(lambda stack: stack.faults.answer(step.path, step.status, times=step.times))
            case Kind.RATE_LIMIT:
                await lab.switch(
                    lambda stack: stack.faults.answer(
                        step.path, step.status, retry_after=_RETRY_AFTER, times=step.times
                    )
                )
            case Kind.AUTH_OUTAGE:
                rule = await lab.switch(lambda stack: stack.faults.answer(step.path, step.status, times=None))
                await asyncio.sleep(step.seconds)
                await lab.switch(lambda stack: stack.faults.remove(rule))
            case Kind.TOKEN_REFUSED:
                await lab.switch(
                    lambda stack: stack.faults.answer(step.path, step.status, body=_EXPIRED, times=step.times)
                )
            case Kind.FRAMES_LOST:
                await lab.switch(lambda stack: stack.faults.lose_sent(True))
                await asyncio.sleep(step.seconds)
                await lab.switch(lambda stack: stack.faults.lose_sent(False))
            case Kind.KICK:
                await lab.do(lambda stack: stack.faults.kick(self._topic, step.words))
            case Kind.REALTIME_RESTART:
                await self._restart("realtime", step.seconds)
            case Kind.POSTGRES_KILL:
                await self._restart("postgres", step.seconds)
            case Kind.STACK_RESTART:
                await self._restart_all(step.seconds)
            case _:
                raise ValueError(f"not a fault of the server: {step.kind}")

    async def _restart(self, service: str, seconds: float) -> None:
        async with self._restarting:
            await self._lab.do(lambda stack: stack.kill_service(service))
            await asyncio.sleep(seconds)
            await self._lab.do(lambda stack: stack.start_service(service))

    async def _restart_all(self, seconds: float) -> None:
        async with self._restarting:
            for part in reversed(_PARTS):
                await self._lab.do(methodcaller("stop_service", part))
            # The port goes last and comes last, so that clients are refused and not only answered by an error.
            for link in self._links:
                await link.refuse()
                link.reset()
            await asyncio.sleep(seconds)
            for part in _PARTS:
                await self._lab.do(methodcaller("start_service", part))
            for link in self._links:
                await link.accept()
