"""An app that has its own supabase client, or its own tokens."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from supabase import AsyncClient, create_async_client
from tests.integration.lab import FAST, Ear, Lab, People, eventually, same_as_database
from whatssound import ChatMessage, ConfigurationError, MessageReceipt, NotSignedInError, Session, VoteCast, WhatsSound


@pytest.fixture
async def app(lab: Lab) -> AsyncIterator[AsyncClient]:
    client = await create_async_client(lab.url, lab.anon_key)
    yield client
    await client.auth.close()


async def test_the_apps_own_sign_in_is_used(lab: Lab, who: People, app: AsyncClient) -> None:
    dj = await who.join("dj")
    info = await dj.create_session("Noche")
    room = await who.open(dj, info.id)
    ear = Ear(room)
    async with WhatsSound.from_supabase(app, config=FAST) as sound:
        with pytest.raises(NotSignedInError):
            await sound.create_session("Nadie")
        signed_in = await app.auth.sign_in_anonymously({"options": {"data": {"username": "app"}}})
        assert signed_in.user is not None
        with pytest.raises(ConfigurationError, match="own token"):
            await sound.sign_in_anonymously()
        async with sound.session(info.id) as session:
            assert sound.user_id == signed_in.user.id
            receipt = await session.chat.send("desde la app")
            assert (await receipt.stored()).status == "stored"
            heard = await ear.hears(ChatMessage)
            assert (heard.message.user_id, heard.username) == (signed_in.user.id, "app")
            song = (await session.queue.add(title="uno")).item
            assert song is not None
            await session.votes.cast(song.song_id, 1)
            await ear.hears(VoteCast)
            await same_as_database(sound, session)

            await app.auth.sign_out()
            with pytest.raises(NotSignedInError):
                await session.votes.cast(song.song_id, -1)
            with pytest.raises(NotSignedInError):
                await session.tips.send(5)
            # What was said in the moment between is not lost: it waits for its author.
            waiting = await _say(session, "¿sigo aquí?")
            assert waiting is None or not waiting.is_settled
    if waiting is not None:
        assert waiting.is_settled
    await ear.close()


async def _say(session: Session, text: str) -> MessageReceipt | None:
    try:
        return await session.chat.send(text)
    except NotSignedInError:
        return None


def _token(lab: Lab, user: str, seconds: int = 600, **claims: object) -> str:
    now = int(time.time())
    return lab.keyring.sign(
        {"sub": user, "role": "authenticated", "aud": "authenticated", "iat": now, "exp": now + seconds, **claims}
    )


async def _user(lab: Lab) -> str:
    """A user as Auth knows them, for tokens made elsewhere."""
    async with WhatsSound(lab.url, lab.anon_key) as sound:
        return await sound.sign_in_anonymously()


async def test_a_token_as_text(lab: Lab) -> None:
    user = await _user(lab)
    token = _token(lab, user, user_metadata={"username": "con token"})
    async with WhatsSound(lab.url, lab.anon_key, access_token=token, config=FAST) as sound:
        assert sound.user_id == user
        info = await sound.create_session("Noche")
        assert info.dj_id == user
        async with sound.session(info.id) as session:
            assert session.state.me is not None
            assert session.state.me.username == "con token"
            assert (await (await session.chat.send("hola")).stored()).status == "stored"
        with pytest.raises(ConfigurationError):
            await sound.sign_out()


async def test_a_token_from_a_function(lab: Lab) -> None:
    # Both kinds at once: each takes as long as its first token lives.
    async with asyncio.TaskGroup() as group:
        for kind in ("sync", "async"):
            group.create_task(_outlives_its_first_token(lab, kind))


async def _outlives_its_first_token(lab: Lab, kind: str) -> None:
    user = await _user(lab)
    asked = 0

    def make() -> str:
        nonlocal asked
        asked += 1
        return _token(lab, user, seconds=3)

    async def make_async() -> str:
        await asyncio.sleep(0)
        return make()

    given = make if kind == "sync" else make_async
    async with WhatsSound(lab.url, lab.anon_key, access_token=given, config=FAST) as sound:
        info = await sound.create_session("Noche")
        assert info.dj_id == user == sound.user_id
        async with sound.session(info.id) as session:
            ear = Ear(session)
            before = asked
            began = time.monotonic()
            # The channel gets each next token, so it outlives the first.
            await eventually(lambda: asked > before and time.monotonic() - began > 3.5)
            song = (await session.queue.add(title="uno")).item
            assert song is not None
            await session.votes.cast(song.song_id, 1)
            await ear.hears(VoteCast)
            assert session.stats().reconnects == 0
            await ear.close()


async def test_the_service_key_reads_but_does_not_speak(lab: Lab, who: People) -> None:
    dj = await who.join("dj")
    info = await dj.create_session("Noche")
    room = await who.open(dj, info.id)
    service = await who.service()
    async with service.session(info.id) as session:
        ear = Ear(session)
        await room.chat.send("hola")
        await ear.hears(ChatMessage)
        with pytest.raises(NotSignedInError):
            await session.chat.send("nobody")
        with pytest.raises(NotSignedInError):
            await session.votes.cast(str(uuid.uuid4()), 1)
        assert session.state.me is None
        assert len(room.presence.members) == 1
        await ear.close()
