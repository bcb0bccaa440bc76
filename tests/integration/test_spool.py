"""A client with a spool on the real stack: what one run accepted, the next stores, as the same user."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.integration.lab import FAST, Ear, Lab, People, room
from whatssound import (
    ChatMessage,
    MessageRejectedError,
    MessageWithdrawn,
    ServerError,
    Session,
    SessionConfig,
    SpoolInUseError,
    WhatsSound,
)


def spooling(path: Path) -> SessionConfig:
    return replace(FAST, outbox=replace(FAST.outbox, spool=path / "chat.spool", drain_timeout=0.2))


def said_by_us(text: str, event: ChatMessage) -> bool:
    return event.own and event.message.content == text


def client(lab: Lab, config: SessionConfig) -> WhatsSound:
    return WhatsSound(lab.url, lab.anon_key, config=config)


async def say_during_an_outage(lab: Lab, session: Session, *texts: str) -> None:
    """Accepted, and not stored: the database does not answer until the faults are off again."""
    await lab.switch(lambda stack: stack.faults.answer("/rest/v1/rpc/insert_messages", 503, times=None))
    receipts = [await session.chat.send(text) for text in texts]
    await session.__aexit__(None, None, None)
    for receipt in receipts:
        with pytest.raises(MessageRejectedError, match="spooled"):
            await receipt.stored()
    await lab.switch(lambda stack: stack.faults.clear())


async def stored(lab: Lab, session_id: str) -> list[tuple[str, str]]:
    rows = await lab.rows(
        "select user_id, content from public.messages where session_id = $1 order by seq", uuid.UUID(session_id)
    )
    return [(str(row["user_id"]), row["content"]) for row in rows]


async def test_the_next_run_is_the_same_user_and_sends_first_what_was_left(
    lab: Lab, who: People, tmp_path: Path
) -> None:
    info, [_] = await room(who, "dj")
    config = spooling(tmp_path)
    async with client(lab, config) as sound:
        ana = await sound.sign_in_anonymously("ana")
        session = await sound.session(info.id).__aenter__()
        await say_during_an_outage(lab, session, "uno", "dos")
        (left,) = await sound.spooled()
        assert (left.user_id, left.session_id, left.messages) == (ana, info.id, 2)
    async with client(lab, config) as sound:
        assert await sound.sign_in_anonymously("ana maría") == ana
        opened = sound.session(info.id)
        ear = Ear(opened)
        async with opened as session:
            assert session.state.me is not None
            assert session.state.me.username == "ana maría"
            await (await session.chat.send("tres")).stored()
            for text in ("uno", "dos", "tres"):
                await ear.hears(ChatMessage, partial(said_by_us, text))
        await ear.close()
        assert await sound.spooled() == ()
    assert await stored(lab, info.id) == [(ana, "uno"), (ana, "dos"), (ana, "tres")]


async def test_an_ended_session_takes_what_was_said_before_its_end(lab: Lab, who: People, tmp_path: Path) -> None:
    info, [(dj, _)] = await room(who, "dj")
    config = spooling(tmp_path)
    async with client(lab, config) as sound:
        ana = await sound.sign_in_anonymously("ana")
        session = await sound.session(info.id).__aenter__()
        await say_during_an_outage(lab, session, "adiós")
        await asyncio.wait_for(dj.end_session(info.id), 10)
        report = await sound.flush_spool()
        assert (report.stored, report.rejected, report.waiting) == (1, (), 0)
    assert await stored(lab, info.id) == [(ana, "adiós")]


async def test_who_was_banned_meanwhile_is_told_and_nothing_stays(lab: Lab, who: People, tmp_path: Path) -> None:
    info, [(_, dj)] = await room(who, "dj")
    async with client(lab, spooling(tmp_path)) as sound:
        ana = await sound.sign_in_anonymously("ana")
        session = await sound.session(info.id).__aenter__()
        await say_during_an_outage(lab, session, "nunca")
        await dj.moderation.ban(ana)
        report = await sound.flush_spool()
        assert [error.reason for error in report.rejected] == ["banned"]
        assert await sound.spooled() == ()
    assert await stored(lab, info.id) == []


async def test_who_was_muted_meanwhile_hears_of_it_in_the_session(lab: Lab, who: People, tmp_path: Path) -> None:
    info, [(_, dj)] = await room(who, "dj")
    async with client(lab, spooling(tmp_path)) as sound:
        ana = await sound.sign_in_anonymously("ana")
        session = await sound.session(info.id).__aenter__()
        await say_during_an_outage(lab, session, "nunca")
        await dj.moderation.mute(ana, 600)
        opened = sound.session(info.id)
        ear = Ear(opened)
        async with opened:
            withdrawn = await ear.hears(MessageWithdrawn)
            assert (withdrawn.user_id, withdrawn.reason) == (ana, "muted")
        await ear.close()
        assert await sound.spooled() == ()


async def test_where_the_anonymous_user_has_gone_its_words_are_shown_and_can_be_let_go(
    lab: Lab, who: People, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="whatssound")
    info, [_] = await room(who, "dj")
    config = spooling(tmp_path)
    async with client(lab, config) as sound:
        ana = await sound.sign_in_anonymously("ana")
        session = await sound.session(info.id).__aenter__()
        await say_during_an_outage(lab, session, "perdida")
        spool = await sound._open_spool()
        await spool.keep_sign_in(ana, "no-such-refresh-token")
    async with client(lab, config) as sound:
        other = await sound.sign_in_anonymously("ana")
        assert other != ana
        assert f"the anonymous user {ana} of an earlier run has gone" in caplog.text
        async with sound.session(info.id) as session:
            await (await session.chat.send("hola")).stored()
        assert [(left.user_id, left.messages) for left in await sound.spooled()] == [(ana, 1)]
        assert await sound.discard_spool() == 0
        assert await sound.discard_spool(info.id, user_id=ana) == 1
        kept = await (await sound._open_spool()).kept_sign_in()
        assert kept is not None
        assert kept[1] not in caplog.text + repr(sound)
        await sound.sign_out()
        assert await (await sound._open_spool()).kept_sign_in() is None
    assert await stored(lab, info.id) == [(other, "hola")]


async def test_an_auth_server_that_is_away_does_not_cost_the_user(lab: Lab, tmp_path: Path) -> None:
    config = spooling(tmp_path)
    async with client(lab, config) as sound:
        ana = await sound.sign_in_anonymously("ana")
    async with client(lab, config) as sound:
        await lab.switch(lambda stack: stack.faults.answer("/auth/v1/", 503, times=None))
        with pytest.raises(ServerError, match="503"):
            await sound.sign_in_anonymously("ana")
        await lab.switch(lambda stack: stack.faults.clear())
        assert await sound.sign_in_anonymously("ana") == ana


async def test_two_clients_on_one_spool_are_refused(lab: Lab, who: People, tmp_path: Path) -> None:
    info, [_] = await room(who, "dj")
    config = spooling(tmp_path)
    async with client(lab, config) as first, client(lab, config) as second:
        await first.sign_in_anonymously("ana")
        async with first.session(info.id):
            with pytest.raises(SpoolInUseError, match="a file of its own"):
                await second.sign_in_anonymously("eve")
    async with client(lab, config) as third:
        await third.sign_in_anonymously("ana")
