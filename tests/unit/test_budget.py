"""What a client spends: counted, estimated, and paced without losing a send or its place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.test_connection import Ear
from whatssound.budget import Counted, Meter, RoomBudget, RoomView
from whatssound.config import ConnectionConfig
from whatssound.connection import Connection
from whatssound.core.budget import CLIENT_SHARE
from whatssound.core.reasons import Reason
from whatssound.errors import ConfigurationError
from whatssound.models import SessionId
from whatssound.ports import JoinSpec, LinkListener
from whatssound.testing import FakeLinks, FakeTokens, LoopClock, run_virtual
from whatssound.testing.fakes import settle

ROOM = SessionId("5e551000-0000-4000-8000-000000000001")
VIEW = RoomView(
    people=100, rate=2.0, feed="frames", chat_path="broadcast", tick_ms=0, events_per_second=500, budget=500.0
)


class Place:
    """A room whose view a test sets."""

    def __init__(self, view: RoomView = VIEW, *, plan: str | None = None) -> None:
        self.view: RoomView | None = view
        self.clock = LoopClock()
        self.meter = Meter(self.clock, plan)
        self.spending = self.meter.open(ROOM, lambda: self.view)

    @property
    def room(self) -> RoomBudget:
        """The room's part of the budget."""
        (room,) = self.meter.budget().rooms
        return room


def test_sends_beyond_the_budget_wait_and_keep_their_order() -> None:
    """100 people: a broadcast counts 100, a client may spend 300 a second, so ten seconds' worth are 30 at once."""

    async def story() -> None:
        place = Place()
        started = place.clock.monotonic()
        at = []
        for _ in range(60):
            await place.spending.pace("broadcast")
            at.append(place.clock.monotonic() - started)
        assert at[:30] == [0.0] * 30
        steps = [later - earlier for earlier, later in pairwise(at[29:])]
        refill = CLIENT_SHARE * 500 * 50 / 60
        assert steps == pytest.approx([100 / refill] * 30, rel=1e-6)
        assert place.room.paced == 30

    run_virtual(story)


def test_only_broadcasts_wait() -> None:
    async def story() -> None:
        place = Place(replace(VIEW, people=100_000))
        started = place.clock.monotonic()
        for event in ("presence", "access_token", "heartbeat"):
            await place.spending.pace(event)
        assert place.clock.monotonic() == started

    run_virtual(story)


def test_without_a_known_plan_nothing_waits() -> None:
    async def story() -> None:
        place = Place(replace(VIEW, events_per_second=None, budget=None))
        started = place.clock.monotonic()
        for _ in range(1_000):
            await place.spending.pace("broadcast")
        assert place.clock.monotonic() == started
        budget = place.meter.budget()
        assert (budget.share, budget.headroom) == (None, None)

    run_virtual(story)


def test_the_pace_follows_the_budget() -> None:
    async def story() -> None:
        place = Place()
        for _ in range(30):
            await place.spending.pace("broadcast")
        place.view = replace(VIEW, budget=50_000.0)
        before = place.clock.monotonic()
        await place.spending.pace("broadcast")
        assert place.clock.monotonic() - before < 0.01

    run_virtual(story)


def test_a_named_plan_overrides_what_the_database_takes_it_for() -> None:
    """The database shares out 100 and gives this room half; of Team's 2,500 that is 1,250."""

    async def story() -> None:
        place = Place(replace(VIEW, events_per_second=100, budget=50.0), plan="team")
        budget = place.meter.budget()
        assert (budget.plan, budget.events_per_second) == ("team", 2_500)
        assert place.room.budget == 1_250
        early = Place(replace(VIEW, events_per_second=None, budget=None), plan="team")
        assert early.room.budget == 2_500

    run_virtual(story)


def test_an_unknown_plan_is_refused() -> None:
    async def story() -> None:
        with pytest.raises(ConfigurationError, match="plan"):
            Place(plan="gold")

    run_virtual(story)


@pytest.mark.parametrize(
    ("view", "estimate"),
    [
        (VIEW, 2 * 101 + 2 * 100),
        (replace(VIEW, chat_path="stored"), 2 * 101),
        (replace(VIEW, chat_path="stored", tick_ms=10_000), 10.1),
        (replace(VIEW, feed="changes"), 2 * 100),
        (replace(VIEW, rate=0.0), 0.0),
    ],
)
def test_a_room_is_estimated_by_its_feed(view: RoomView, estimate: float) -> None:
    async def story() -> None:
        assert Place(view).room.estimate == pytest.approx(estimate, rel=1e-6)

    run_virtual(story)


def test_the_budget_adds_rooms_up_and_says_what_is_left() -> None:
    async def story() -> None:
        place = Place(replace(VIEW, chat_path="stored"))
        place.meter.open(ROOM, lambda: place.view)
        budget = place.meter.budget()
        assert budget.estimate == pytest.approx(404)
        assert budget.share == pytest.approx(404 / 500)
        assert budget.headroom == pytest.approx(96)
        assert "60 s" in budget.then

    run_virtual(story)


def test_what_goes_and_comes_is_counted_for_room_and_client() -> None:
    async def story() -> None:
        place = Place()
        other = place.meter.open(ROOM, lambda: place.view)
        listener: LinkListener = Counted(Ear(), place.spending)
        arrivals: list[Mapping[str, Any]] = [{}, {}]
        for payload in arrivals:
            listener.broadcast("t", "chat", payload)
        listener.row_changed("votes", {})
        listener.presence_state({})
        listener.presence_diff({}, {})
        listener.joined("t")
        listener.ready("t")
        listener.left("t")
        listener.refused("t", "no")
        for event in ("broadcast", "presence", "access_token"):
            place.spending.sent(event)
        other.sent("broadcast")
        other.received()
        budget = place.meter.budget()
        assert [(room.sent, room.received) for room in budget.rooms] == [(2, 5), (1, 1)]
        assert (budget.sent, budget.received) == (3, 6)
        assert budget.received_per_second == pytest.approx(6.0)  # in the first second

    run_virtual(story)


def test_a_counted_listener_passes_everything_on() -> None:
    async def story() -> None:
        ear = Ear()
        listener = Counted(ear, Place().spending)
        listener.joined("t")
        listener.ready("t")
        listener.broadcast("t", "chat", {})
        listener.row_changed("votes", {})
        listener.presence_state({})
        listener.presence_diff({}, {})
        listener.left("t")
        listener.refused("t", "no")
        assert ear.heard == [
            "joined t",
            "ready t",
            "chat",
            "votes",
            "presence_state",
            "presence_diff",
            "left t",
            "refused t",
        ]

    run_virtual(story)


def test_a_closed_session_is_no_longer_in_the_budget_but_what_it_sent_is() -> None:
    async def story() -> None:
        place = Place()
        place.spending.sent("broadcast")
        place.view = None
        await place.spending.pace("broadcast")
        budget = place.meter.budget()
        assert (budget.rooms, budget.sent, budget.events_per_second) == ((), 1, None)
        for _ in range(100):
            place.meter.open(ROOM, lambda: None)
        assert len(vars(place.meter)["_rooms"]) == 1

    run_virtual(story)


def test_a_send_that_waited_goes_by_the_connection_of_that_moment() -> None:
    """The generation that was there when it asked may be gone when it is its turn."""

    async def story() -> None:
        links, turn = FakeLinks(), asyncio.Event()
        asked: list[str] = []

        async def pace(event: str) -> None:
            asked.append(event)
            await turn.wait()

        sent: list[str] = []
        connection = Connection(
            [JoinSpec(topic="session:a", private=True)],
            links,
            FakeTokens(),
            ConnectionConfig(backoff_base=0.1),
            LoopClock(),
            listener=Ear(),
            changed=lambda _: None,
            chance=lambda: 0.0,
            sent=sent.append,
            pace=pace,
        )
        running = asyncio.create_task(connection.run())
        try:
            assert not await connection.push("broadcast", {})
            assert asked == []  # nobody waits for what cannot be sent
            await settle()
            links.made[0].join()
            sending = asyncio.create_task(connection.push("broadcast", {"n": 1}))
            await settle()
            links.made[0].end(Reason.CLOSED)
            await asyncio.sleep(1)
            links.made[1].join()
            turn.set()
            assert await sending
            assert (asked, sent) == (["broadcast"], ["broadcast"])
            assert [event for event, _ in links.made[1].pushed] == ["broadcast"]
            assert links.made[0].pushed == []
        finally:
            running.cancel()
            await asyncio.wait([running])

    run_virtual(story)
