from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from whatssound.cli.demo import person as module
from whatssound.cli.demo.ledger import Ballot, Ledger, QueueFact, Words
from whatssound.cli.demo.meter import Meter
from whatssound.cli.demo.person import Person, surely
from whatssound.cli.demo.script import Act, Advance, Move, Remove, Say, Tip, Type, Vote
from whatssound.errors import MessageRejectedError, OutcomeUnknownError, UnreachableError, refusal


class Room:
    """A session that answers as it is told; `raises` comes first, one an answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.raises: list[Exception] = []
        self.outcomes: dict[str, asyncio.Future[None]] = {}
        self.state = SimpleNamespace(queue=(), now_playing=SimpleNamespace(song_id="s1"))
        self.chat = self.votes = self.tips = self.queue = self.typing = self

    async def _answer(self, *call: Any) -> None:
        self.calls.append(call)
        if self.raises:
            raise self.raises.pop(0)

    async def start(self) -> None:
        await self._answer("typing")

    async def cast(self, song_id: str, value: int, *, key: str | None) -> Any:
        await self._answer("cast", song_id, value, key)
        return SimpleNamespace(song_id=song_id, value=value, changed=len(self.calls) % 2 == 1, seq=7)

    async def retract(self, song_id: str, *, key: str | None) -> Any:
        await self._answer("retract", song_id, key)
        return SimpleNamespace(song_id=song_id, value=0, changed=True, seq=8)

    async def advance(self, *, skipped: bool, key: str | None) -> Any:
        await self._answer("advance", skipped, key)
        item = SimpleNamespace(seq=4, id="i2", action="started")
        return SimpleNamespace(item=item, previous=SimpleNamespace(seq=3, id="i1", action="finished"))

    async def send(self, what: Any, **details: Any) -> Any:
        await self._answer("send", what)
        if isinstance(what, int):
            return SimpleNamespace(key="k1", tip=SimpleNamespace(id="t1", currency=details["currency"]))
        outcome = self.outcomes.setdefault(what, asyncio.get_running_loop().create_future())

        async def stored() -> None:
            await asyncio.shield(outcome)

        return SimpleNamespace(id=f"id-{what}", message=SimpleNamespace(content=what), stored=stored)


class Scene:
    """A person in a room."""

    def __init__(self) -> None:
        self.room, self.ledger = Room(), Ledger()
        self.payments: asyncio.Queue[Any] = asyncio.Queue()
        self.person = Person(0, "ana", ledger=self.ledger, meter=Meter(1, lambda: 0.0), payments=self.payments)
        self.person.user_id = "ana"
        self.person._session = self.room  # type: ignore[assignment]

    async def play(self, *acts: Act) -> None:
        await self.person.perform(acts, asyncio.get_running_loop().time())


def unknown() -> OutcomeUnknownError:
    return OutcomeUnknownError("cast_vote", "k0", 6)


async def test_a_command_of_unknown_outcome_is_given_again_with_its_key() -> None:
    keys: list[str | None] = []

    async def call(key: str | None) -> str:
        keys.append(key)
        if len(keys) < 3:
            raise unknown()
        return "done"

    assert await surely(call) == "done"
    assert keys == [None, "k0", "k0"]


async def test_giving_a_command_again_has_an_end() -> None:
    times = 0

    async def call(_: str | None) -> None:
        nonlocal times
        times += 1
        raise unknown()

    with pytest.raises(OutcomeUnknownError):
        await surely(call)
    assert times == 4


async def test_votes_are_written_down_with_their_event_if_they_changed_something() -> None:
    scene = Scene()
    await scene.play(Vote(0, 0, 0.5, 1), Vote(0, 0, 0.5, -1), Vote(0, 0, 0.5, 0))
    assert scene.ledger.ballots == [
        Ballot("ana", "s1", 1, 7),
        Ballot("ana", "s1", -1, None),
        Ballot("ana", "s1", 0, 8),
    ]


async def test_a_vote_nobody_knows_of_is_in_doubt() -> None:
    scene = Scene()
    scene.room.raises = [unknown() for _ in range(4)]
    await scene.play(Vote(0, 0, 0.5, 1))
    assert scene.ledger.ballots == []
    assert scene.ledger.doubtful_ballots == {("ana", "s1")}
    assert scene.ledger.refusals == {"unknown outcome": 1}


async def test_tips_and_queue_commands_nobody_knows_of_are_in_doubt() -> None:
    scene = Scene()
    scene.room.raises = [unknown() for _ in range(8)]
    await scene.play(Tip(0, 0, 500, None), Advance(0, 0, skipped=True))
    assert scene.ledger.doubtful_payments == {"ana"}
    assert scene.ledger.doubtful_queue == 1


async def test_a_tip_goes_to_be_confirmed() -> None:
    scene = Scene()
    await scene.play(Tip(0, 0, 500, "gracias"))
    assert scene.payments.get_nowait().id == "t1"
    assert not scene.ledger.payments["t1"].confirmed


async def test_to_play_the_next_song_is_two_changes() -> None:
    scene = Scene()
    await scene.play(Advance(0, 0, skipped=False))
    assert scene.ledger.queue == {QueueFact(3, "i1", "finished"), QueueFact(4, "i2", "started")}
    assert scene.ledger.queue_commands == {"advance": 1}


async def test_what_cannot_be_done_in_this_room_is_left_out() -> None:
    scene = Scene()
    scene.room.state = SimpleNamespace(queue=(), now_playing=None)
    await scene.play(Vote(0, 0, 0.5, 1), Move(0, 0, 0.1, 0.2), Remove(0, 0, 0.5))
    assert scene.room.calls == []


async def test_refusals_and_failures_are_counted_and_the_show_goes_on() -> None:
    scene = Scene()
    scene.room.raises = [refusal("queue_conflict"), UnreachableError("http://there", "no route")]
    await scene.play(Advance(0, 0, skipped=False), Type(0, 0), Type(0, 0))
    assert scene.ledger.refusals == {"queue_conflict": 1, "UnreachableError": 1}
    assert scene.room.calls[-1] == ("typing",)


async def test_every_message_ends_stored_refused_or_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    await scene.play(Say(0, 0, "stored"), Say(0, 0, "refused"), Say(0, 0, "open"))
    scene.room.outcomes["stored"].set_result(None)
    scene.room.outcomes["refused"].set_exception(MessageRejectedError("id-refused", "muted"))
    monkeypatch.setattr(module, "_SETTLING", 0.05)
    await scene.person.settle()
    assert scene.ledger.words == {"id-stored": Words("id-stored", "ana", "stored")}
    assert scene.ledger.doubtful_words == {"id-open"}
    assert scene.ledger.refusals == {"muted": 1}
