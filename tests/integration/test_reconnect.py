"""What a lost connection looks like to the app: it comes back by itself, and nothing was lost or doubled."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from tests.integration.lab import FAST, Ear, Lab, People, eventually, people, room, same_as_database
from whatssound import (
    ChatMessage,
    EventStream,
    PresenceJoined,
    PresenceLeft,
    QueueChanged,
    Session,
    SessionEndedError,
    StateResynced,
    Status,
    StatusChanged,
    TipSent,
    TransportError,
    VoteCast,
    WhatsSound,
)
from whatssound.local import LocalStack
from whatssound.testing import FaultyLink, StackThread


@dataclass
class Scene:
    """A DJ with a good connection, and Ana whose connection goes through a link that breaks."""

    info_id: str
    dj: Session
    dj_sound: WhatsSound
    ana: Session
    ana_sound: WhatsSound
    link: FaultyLink
    ear: Ear


@asynccontextmanager
async def scene(lab: Lab, who: People) -> AsyncIterator[Scene]:
    async with FaultyLink(lab.url) as link, people(lab) as guests:
        dj_sound = await who.join("dj")
        info = await dj_sound.create_session("Noche")
        dj = await who.open(dj_sound, info.id)
        ana_sound = await guests.join("ana", url=link.url)
        ana = await guests.open(ana_sound, info.id)
        await eventually(lambda: len(ana.presence.members) == 2 == len(dj.presence.members), "both are seen")
        ear = Ear(ana)
        yield Scene(info.id, dj, dj_sound, ana, ana_sound, link, ear)
        await ear.close()


async def _back(ear: Ear, after: int = 0) -> StatusChanged:
    """Waits until the session is live again after losing the connection, and answers why it was lost."""
    lost = await ear.hears(
        StatusChanged, lambda event: event.status is Status.RECONNECTING and ear.heard.index(event) >= after
    )
    await ear.hears(
        StatusChanged, lambda event: event.status is Status.LIVE and ear.heard.index(event) > ear.heard.index(lost)
    )
    return lost


@pytest.mark.parametrize("how", ["reset", "fin"])
async def test_a_dropped_socket_comes_back_with_all_that_was_missed(lab: Lab, who: People, how: str) -> None:
    async with scene(lab, who) as at:
        song = (await at.dj.queue.add(title="uno")).item
        assert song is not None
        await at.ear.hears(QueueChanged)
        await at.link.refuse()
        getattr(at.link, how)()
        lost = await at.ear.hears(StatusChanged, lambda event: event.status is Status.RECONNECTING)
        assert (lost.reason, lost.attempt) == ("closed", 1)
        assert lost.retry_in is not None
        # All of this happens while nobody can reach Ana.
        said = await at.dj.chat.send("¿me oyes?")
        await said.stored()
        await at.dj.votes.cast(song.song_id, 1)
        await at.dj.queue.advance()
        service = await who.service()
        tip = await at.dj.tips.send(500)
        await service.confirm_tip(tip.tip.id)
        await at.link.accept()
        await _back(at.ear)
        # Most of it is fetched; what the database commits around the join may come live, and then only there.
        chat = await at.ear.hears(ChatMessage, lambda event: event.message.id == said.id)
        vote = await at.ear.hears(VoteCast)
        started = await at.ear.hears(QueueChanged, lambda event: event.action == "started")
        sent = await at.ear.hears(TipSent)
        for event in (chat, vote, started, sent):
            assert event.recovered, event
        assert chat.message.confirmed
        await at.ear.hears(StateResynced, lambda event: not event.fresh)
        for kind in (ChatMessage, VoteCast, TipSent):
            assert len(at.ear.all(kind)) == 1
        await same_as_database(at.ana_sound, at.ana)
        assert at.ana.stats().reconnects >= 1
        # What comes now is live again.
        await at.dj.votes.cast(song.song_id, -1)
        live = await at.ear.hears(VoteCast, lambda event: event.value == -1)
        assert not live.recovered
        # Presence: tracked again, and the survivor never seen as gone.
        await eventually(lambda: at.ana_sound.user_id in at.dj.presence.members, "Ana is seen again")
        assert not [event for event in at.ear.all(PresenceLeft) if event.member.user_id == at.dj_sound.user_id]
        assert not [event for event in at.ear.all(PresenceJoined) if event.member.user_id == at.dj_sound.user_id]


async def test_a_drop_of_every_socket_shows_nobody_as_gone(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        dj_ear = Ear(at.dj)
        await lab.switch(lambda stack: stack.faults.drop_sockets(1012))
        lost = await _back(at.ear)
        assert lost.reason == "server_restart"
        await _back(dj_ear)
        await eventually(lambda: len(at.ana.presence.members) == 2 == len(at.dj.presence.members), "both again")
        for ear, other in ((at.ear, at.dj_sound), (dj_ear, at.ana_sound)):
            assert not [event for event in ear.all(PresenceLeft) if event.member.user_id == other.user_id]
        await dj_ear.close()


async def test_a_black_hole_is_noticed_within_two_heartbeats(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        interval = FAST.connection.heartbeat_interval
        began = time.monotonic()
        at.link.black_hole()
        lost = await at.ear.hears(StatusChanged, lambda event: event.status is Status.RECONNECTING)
        took = time.monotonic() - began
        assert lost.reason == "silent"
        assert took <= 2 * interval + 0.5
        at.link.heal()
        await _back(at.ear)
        await same_as_database(at.ana_sound, at.ana)


async def test_a_slow_line_is_no_broken_line(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        at.link.delay(0.15)
        song = (await at.ana.queue.add(title="lejos")).item
        assert song is not None
        receipt = await at.ana.chat.send("desde lejos")
        assert (await receipt.stored()).status == "stored"
        await at.ana.votes.cast(song.song_id, 1)
        await at.ear.hears(VoteCast)
        await same_as_database(at.ana_sound, at.ana)
        stats = at.ana.stats()
        assert (stats.reconnects, stats.rpc_retries, stats.retried) == (0, 0, 0)
        at.link.delay(0)


async def test_an_outage_with_sends_loses_and_doubles_nothing(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        dj_ear = Ear(at.dj)
        before = [await at.ana.chat.send(f"before {number}") for number in range(5)]
        await at.link.refuse()
        at.link.reset()
        await at.ear.hears(StatusChanged, lambda event: event.status is Status.RECONNECTING)
        during = []
        for number in range(20):
            during.append(await at.ana.chat.send(f"during {number}"))
            await at.dj.chat.send(f"meanwhile {number}")
            await asyncio.sleep(0.1)
        assert at.ana.stats().waiting >= 20
        await at.link.accept()
        await _back(at.ear)
        for receipt in (*before, *during):
            async with asyncio.timeout(15):
                assert (await receipt.stored()).status in ("stored", "duplicate")
        rows = await lab.rows(
            "select content from public.messages where session_id = $1 and user_id = $2 order by seq",
            uuid.UUID(at.info_id),
            uuid.UUID(at.ana_sound.user_id or ""),
        )
        assert [row["content"] for row in rows] == [receipt.message.content for receipt in (*before, *during)]
        await same_as_database(at.ana_sound, at.ana)
        await same_as_database(at.dj_sound, at.dj)
        for ear in (at.ear, dj_ear):
            ids = [event.message.id for event in ear.all(ChatMessage)]
            assert len(ids) == len(set(ids)) == 45
        await dj_ear.close()


async def test_realtime_restarts(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        await lab.do(lambda stack: stack.stop_service("realtime"))
        try:
            await at.ear.hears(StatusChanged, lambda event: event.status is Status.RECONNECTING and event.attempt >= 2)
            # Commands and chat do not need the channel.
            await (await at.ana.chat.send("over HTTP")).stored()
        finally:
            await lab.do(lambda stack: stack.start_service("realtime"))
        await _back(at.ear)
        await same_as_database(at.ana_sound, at.ana)
        await same_as_database(at.dj_sound, at.dj)
        assert [message.content for message in at.dj.state.messages] == ["over HTTP"]


async def test_the_database_restarts(fresh_stack: LocalStack) -> None:
    async with WhatsSound(fresh_stack.url, fresh_stack.anon_key, config=FAST) as sound:
        await sound.sign_in_anonymously("dj")
        info = await sound.create_session("Noche")
        async with sound.session(info.id) as session:
            await (await session.chat.send("before")).stored()
            await fresh_stack.kill_service("postgres")
            waiting = await session.chat.send("during")
            await fresh_stack.start_service("postgres")
            async with asyncio.timeout(20):
                await waiting.stored()
            song = (await session.queue.add(title="después")).item
            assert song is not None
            ear = Ear(session)
            await session.votes.cast(song.song_id, 1)
            await ear.hears(VoteCast)
            await same_as_database(sound, session)
            assert [message.content for message in session.state.messages] == ["before", "during"]
            await ear.close()


async def test_a_kick_for_too_many_messages_waits_its_time(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        began = time.monotonic()
        kicked = await lab.do(lambda stack: stack.faults.kick(f"session:{at.info_id}", "Too many messages per second"))
        assert kicked == 2
        lost = await _back(at.ear)
        assert lost.reason == "rate_limited"
        assert lost.detail == "Too many messages per second"
        assert lost.retry_in is not None
        floor = FAST.connection.rate_limit_floor
        assert lost.retry_in >= floor
        assert time.monotonic() - began >= floor
        await same_as_database(at.ana_sound, at.ana)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, "closed"),
        (1001, "closed"),
        (None, "closed"),  # 1006: no close frame at all
        (1009, "too_large"),
        (1011, "crashed"),
        (1012, "server_restart"),
    ],
)
async def test_close_codes(lab: Lab, who: People, code: int | None, reason: str) -> None:
    _, [(sound, dj)] = await room(who, "dj")
    ear = Ear(dj)
    assert await lab.switch(lambda stack: stack.faults.drop_sockets(code)) == 1
    assert (await _back(ear)).reason == reason
    await same_as_database(sound, dj)
    await ear.close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "token"), (403, "unauthorized"), (404, "not_found"), (429, "rate_limited"), (500, "unreachable")],
)
async def test_a_handshake_that_is_refused(lab: Lab, who: People, status: int, reason: str) -> None:
    _, [(sound, dj)] = await room(who, "dj")
    ear = Ear(dj)
    await lab.switch(lambda stack: stack.faults.answer("/realtime/v1/websocket", status, times=1))
    await lab.switch(lambda stack: stack.faults.drop_sockets(None))
    refused = await ear.hears(StatusChanged, lambda event: event.attempt == 2)
    assert refused.reason == reason
    assert str(status) in (refused.detail or "")
    await _back(ear)
    await same_as_database(sound, dj)
    await ear.close()


async def test_a_session_that_ends_during_an_outage(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        await at.link.refuse()
        at.link.reset()
        await at.dj_sound.end_session(at.info_id)
        await at.link.accept()
        # Nobody may join an ended session: instead of trying for ever, the session says how it is.
        failed = await at.ear.hears(StatusChanged, lambda event: event.status is Status.FAILED)
        assert failed.reason == "session_lost"
        assert at.ana.state.session.status == "ended"
        with pytest.raises(SessionEndedError):
            await at.ana.chat.send("too late")
        with pytest.raises(SessionEndedError):
            await at.ear.close()


async def test_without_the_word_that_changes_flow_it_goes_live_all_the_same(lab: Lab, who: People) -> None:
    config = replace(FAST, connection=replace(FAST.connection, ready_timeout=0.5))
    await lab.switch(lambda stack: stack.faults.skip_system_ok(True))
    dj = await who.join("dj", config=config)
    info = await dj.create_session("Noche")
    session = await who.open(dj, info.id)
    ear = Ear(session)
    song = (await session.queue.add(title="uno")).item
    assert song is not None
    await session.votes.cast(song.song_id, 1)
    await ear.hears(VoteCast)
    await same_as_database(dj, session)
    await ear.close()


async def test_a_frozen_server_is_left_and_found_again(lab: Lab, who: People) -> None:
    async with scene(lab, who) as at:
        await lab.switch(lambda stack: stack.faults.freeze_sockets())
        lost = await at.ear.hears(StatusChanged, lambda event: event.status is Status.RECONNECTING)
        assert lost.reason == "silent"
        await lab.switch(lambda stack: stack.faults.thaw())
        await _back(at.ear)
        await same_as_database(at.ana_sound, at.ana)


async def test_it_gives_up_only_when_told_to(lab: Lab, who: People) -> None:
    config = replace(FAST, connection=replace(FAST.connection, max_attempts=2, backoff_base=0.01))
    dj_sound = await who.join("dj")
    info = await dj_sound.create_session("Noche")
    async with FaultyLink(lab.url) as link, WhatsSound(link.url, lab.anon_key, config=config) as ana:
        await ana.sign_in_anonymously("ana")
        async with ana.session(info.id) as session:
            stream = session.events()
            await link.refuse()
            link.reset()
            with pytest.raises(Exception, match="cannot reach"):
                await _read_all(stream)
            assert session.status is Status.FAILED
            await link.accept()
            # The room goes on over HTTP.
            assert (await (await session.chat.send("still here")).stored()).status == "stored"


async def _read_all(stream: EventStream) -> None:
    async with asyncio.timeout(15):
        async for _ in stream:
            pass


@pytest.fixture(scope="module")
def short_lived_tokens() -> Iterator[StackThread]:
    with StackThread(jwt_expiry=3) as thread:
        yield thread


async def test_a_session_outlives_its_tokens(short_lived_tokens: StackThread) -> None:
    lab = Lab(short_lived_tokens)
    async with people(lab) as who:
        sound = await who.join("dj")
        info = await sound.create_session("Larga")
        session = await who.open(sound, info.id)
        guest = await who.join("ana")
        listening = await who.open(guest, info.id)
        ear, guest_ear = Ear(session), Ear(listening)
        tokens = {await sound._tokens.token()}
        loop = asyncio.get_running_loop()
        ends = loop.time() + 10.0  # three lives of a token, and a bit
        number = 0
        while loop.time() < ends:
            receipt = await session.chat.send(f"{number}")
            async with asyncio.timeout(5):
                await receipt.stored()
            tokens.add(await sound._tokens.token())
            number += 1
            await asyncio.sleep(0.5)
        assert len(tokens) >= 4
        for listener in (ear, guest_ear):
            assert not [event for event in listener.all(StatusChanged) if event.status is Status.RECONNECTING]
        # Broadcasts still go both ways; the log could not have brought this before it is stored.
        said = await session.chat.send("aún aquí")
        heard = await guest_ear.hears(ChatMessage, lambda event: event.message.id == said.id)
        assert not heard.recovered
        song = (await session.queue.add(title="otra más")).item
        assert song is not None
        await session.votes.cast(song.song_id, 1)
        await guest_ear.hears(VoteCast)
        for client, room in ((sound, session), (guest, listening)):
            await same_as_database(client, room)
        await ear.close()
        await guest_ear.close()


async def test_a_token_that_ends_unseen_is_replaced(short_lived_tokens: StackThread) -> None:
    """The machine slept through the end of its token: the server closed, and refuses it."""
    lab = Lab(short_lived_tokens)
    async with people(lab) as who:
        config = replace(FAST, retry=replace(FAST.retry, deadline=1.5, request_timeout=0.5))
        sound = await who.join("dj", config=config)
        info = await sound.create_session("Siesta")
        session = await who.open(sound, info.id)
        ear = Ear(session)
        await lab.switch(lambda stack: stack.faults.freeze("/auth/v1/token"))
        await ear.hears(StatusChanged, lambda event: event.status is Status.RECONNECTING)
        # Who asks for something meanwhile is told in time, and what was said waits.
        began = time.monotonic()
        with pytest.raises(TransportError):
            await session.tips.send(5)
        assert time.monotonic() - began < 3
        said = await session.chat.send("asleep")
        await lab.switch(lambda stack: stack.faults.clear())
        await said.stored()
        await ear.hears(StateResynced)
        await eventually(lambda: session.status is Status.LIVE)
        await (await session.chat.send("awake")).stored()
        await ear.close()
