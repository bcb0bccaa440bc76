"""What cannot work is refused with a typed error that says what to do, soon, and with nothing lost."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.integration.lab import FAST, Lab, People, eventually, room
from whatssound import (
    AuthenticationError,
    ConfigurationError,
    EmptyMessageError,
    InvalidInputError,
    InvalidKeyError,
    InvalidTextError,
    MessageRejectedError,
    MessageTooLongError,
    NotSignedInError,
    OutcomeUnknownError,
    RefusedError,
    SessionClosedError,
    SessionEndedError,
    SessionNotFoundError,
    SessionSettings,
    TokenExpiredError,
    TransportError,
    UnreachableError,
    WhatsSound,
    WhatsSoundError,
)
from whatssound.config import SessionConfig

#: Seconds in which every refusal must have come, whatever is wrong.
SOON = 8.0

QUICK = replace(
    FAST,
    retry=replace(FAST.retry, attempts=2, deadline=2.0, request_timeout=0.7),
    connection=replace(FAST.connection, open_timeout=1.5, join_timeout=1.5),
)


@contextmanager
def soon() -> Iterator[None]:
    """Fails if what is inside takes long."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


# --- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000"])
async def test_empty_and_blank_text_is_refused_before_sending(who: People, text: str) -> None:
    _, [(_, dj)] = await room(who, "dj")
    with pytest.raises(EmptyMessageError, match="visible"):
        await dj.chat.send(text)
    assert dj.stats().sent == 0


@pytest.mark.parametrize(("text", "what"), [("a\0b", "NUL"), ("a\ud83d", "surrogate"), ("\udc00", "surrogate")])
async def test_text_that_cannot_be_stored_is_refused_before_sending(who: People, text: str, what: str) -> None:
    _, [(_, dj)] = await room(who, "dj")
    for call in (
        dj.chat.send(text),
        dj.queue.add(title=text),
        dj.queue.add(title="ok", artist=text),
        dj.tips.send(5, note=text),
    ):
        with pytest.raises(InvalidTextError, match=what) as caught:
            await call
        assert caught.value.position == text.index("\0" if what == "NUL" else text[-1])


async def test_limit_of_length_is_the_same_everywhere(lab: Lab, who: People) -> None:
    dj = await who.join("dj")
    info = await dj.create_session("Corto", settings={"max_message_length": 40})
    session = await who.open(dj, info.id)
    # Characters and not bytes or UTF-16 units count, on both sides.
    receipt = await session.chat.send("🎧" * 40)
    assert (await receipt.stored()).status == "stored"
    with pytest.raises(MessageTooLongError, match="40") as caught:
        await session.chat.send("🎧" * 41)
    assert (caught.value.length, caught.value.limit) == (41, 40)
    answer = await dj._gateway.command(
        "insert_messages",
        {"p_session_id": info.id, "p_messages": [{"id": _uuid7(), "content": "🎧" * 41}]},
    )
    assert answer["results"][0]["reason"] == "too_long"
    by_default = await lab.rows(
        "select (settings ->> 'max_message_length')::int from public.sessions where id = $1",
        uuid.UUID((await dj.create_session("Normal")).id),
    )
    assert SessionConfig().max_message_length == SessionSettings().max_message_length == by_default[0][0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "empty"), ("  ", "empty"), ("\\n", "empty"), ("x" * 501, "too_long")],
)
async def test_the_database_refuses_what_a_client_should_not_have_sent(
    lab: Lab, who: People, content: str, reason: str
) -> None:
    info, [(dj, _)] = await room(who, "dj")
    body = (
        f'{{"p_session_id": "{info.id}", "p_messages": ['
        f'{{"id": "{_uuid7()}", "content": "{content}"}}, {{"id": "{_uuid7()}", "content": "good"}}]}}'
    )
    answer = await _raw_rpc(lab, dj, "insert_messages", body)
    assert [row["status"] for row in answer["results"]] == ["rejected", "stored"]
    assert answer["results"][0]["reason"] == reason


@pytest.mark.parametrize("content", ["a\\u0000b", "a\\ud800"])
async def test_a_body_that_is_no_text_is_refused_whole(lab: Lab, who: People, content: str) -> None:
    info, [(dj, _)] = await room(who, "dj")
    body = f'{{"p_session_id": "{info.id}", "p_messages": [{{"id": "{_uuid7()}", "content": "{content}"}}]}}'
    assert (await _raw_post(lab, dj, "insert_messages", body)).status_code == 400
    assert await lab.count("select count(*) from public.messages where session_id = $1", uuid.UUID(info.id)) == 0


async def test_arguments_are_checked(who: People) -> None:
    _, [(dj, session)] = await room(who, "dj")
    song = str(uuid.uuid4())
    for call in (
        session.votes.cast(song, 2),
        session.votes.cast("no uuid", 1),
        session.tips.send(0),
        session.tips.send(-5),
        session.tips.send(5, currency="euro"),
        session.queue.add(title=" "),
        session.queue.add(title="x", duration=0),
        session.queue.move(song),
        session.moderation.mute(song, 0),
        session.moderation.set_slow_mode(-1),
        session.chat.history(page=0).__anext__(),
        dj.confirm_tip(song, status="lost"),
        dj.create_session("a\0"),
    ):
        with pytest.raises(InvalidInputError):
            await call
    with pytest.raises(InvalidInputError):
        dj.session("no uuid")


# --- sessions ------------------------------------------------------------------------------------------


async def test_an_unknown_session(who: People) -> None:
    ana = await who.join("ana")
    with soon(), pytest.raises(SessionNotFoundError, match="check the id"):
        async with ana.session(uuid.uuid4()):
            pass


async def test_an_unknown_session_without_a_user(lab: Lab) -> None:
    async with WhatsSound(lab.url, lab.anon_key, config=FAST) as nobody:
        with soon(), pytest.raises(SessionNotFoundError):
            async with nobody.session(uuid.uuid4()):
                pass


async def test_a_private_session_answers_like_an_unknown_one(who: People) -> None:
    dj, ana = await who.join("dj"), await who.join("ana")
    info = await dj.create_session("Cerrado", settings={"visibility": "private"})
    with soon(), pytest.raises(SessionNotFoundError):
        async with ana.session(info.id):
            pass


async def test_an_ended_session_can_be_read_but_not_written(lab: Lab, who: People) -> None:
    info, [(dj, session)] = await room(who, "dj")
    receipt = await session.chat.send("in time")
    await receipt.stored()
    await dj.end_session(info.id)
    ana = await who.join("ana")
    with soon(), pytest.raises(SessionEndedError, match="ended"):
        async with ana.session(info.id):
            pass
    await eventually(lambda: session.state.session.status == "ended")
    assert [message.content async for message in session.chat.history()] == ["in time"]
    for call in (session.chat.send("late"), session.tips.send(5), session.queue.add(title="x")):
        with pytest.raises(SessionEndedError, match="can still be read"):
            await call
    # A client that has not heard of the end yet sends all the same: its receipt must say so.
    answer = await dj._gateway.command(
        "insert_messages", {"p_session_id": info.id, "p_messages": [{"id": _uuid7(10_000), "content": "late"}]}
    )
    assert answer["results"][0]["reason"] == "session_ended"


async def test_a_receipt_settles_when_the_session_ends_under_way(lab: Lab, who: People) -> None:
    info, [(dj, session), (_, ana)] = await room(who, "dj", "ana")
    await lab.switch(lambda stack: stack.faults.answer("/rest/v1/rpc/insert_messages", 503, times=2))
    await dj.end_session(info.id)
    try:
        receipt = await ana.chat.send("on the way")
    except SessionEndedError:
        return
    with soon(), pytest.raises(MessageRejectedError) as caught:
        await receipt.stored()
    assert caught.value.reason == "session_ended"
    assert session.stats().waiting == 0


# --- who we are ------------------------------------------------------------------------------------------


async def test_not_signed_in(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    async with WhatsSound(lab.url, lab.anon_key, config=FAST) as nobody:
        with pytest.raises(NotSignedInError, match="sign_in"):
            await nobody.create_session("Nadie")
        with soon(), pytest.raises(NotSignedInError, match="sign_in"):
            async with nobody.session(info.id):
                pass
    # The public channel of an app of today is open to everybody, and still nobody has no name to speak under.
    async with (
        WhatsSound(lab.url, lab.anon_key, config=replace(FAST, private=False)) as nobody,
        nobody.session(info.id) as session,
    ):
        with pytest.raises(NotSignedInError, match="sign_in"):
            await session.chat.send("who am I?")
        with pytest.raises(NotSignedInError):
            await session.votes.cast(str(uuid.uuid4()), 1)


async def test_signed_out_while_in_the_room(who: People) -> None:
    info, [(dj, session)] = await room(who, "dj")
    await dj.sign_out()
    with pytest.raises(NotSignedInError, match="sign_in"):
        await session.chat.send("still me?")
    with pytest.raises(NotSignedInError):
        await session.queue.add(title="x")
    with pytest.raises(NotSignedInError):
        await dj.create_session("otra")
    assert info.dj_id


async def test_a_wrong_key(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    wrong = "sb_publishable_this_is_not_the_key"
    async with WhatsSound(lab.url, wrong, config=FAST) as sound:
        with soon(), pytest.raises(InvalidKeyError, match="key"):
            await sound.sign_in_anonymously()
        with soon(), pytest.raises(InvalidKeyError):
            await sound.dj_leaderboard("EUR")
        with soon(), pytest.raises(AuthenticationError, match="key"):
            async with sound.session(info.id):
                pass
    for key in ("", "  ", "two words", "clé"):
        with pytest.raises(ConfigurationError):
            WhatsSound(lab.url, key)


async def test_wrong_credentials(lab: Lab) -> None:
    async with WhatsSound(lab.url, lab.anon_key, config=FAST) as sound:
        with soon(), pytest.raises(AuthenticationError, match="do not match"):
            await sound.sign_in("nobody@example.com", "wrong password")


def _token(lab: Lab, **claims: Any) -> str:
    now = int(time.time())
    return lab.keyring.sign(
        {"sub": str(uuid.uuid4()), "role": "authenticated", "aud": "authenticated", "exp": now + 600, **claims}
    )


async def test_an_expired_token(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    expired = _token(lab, exp=int(time.time()) - 60)
    async with WhatsSound(lab.url, lab.anon_key, access_token=expired, config=FAST) as sound:
        with soon(), pytest.raises(TokenExpiredError, match="fresh"):
            await sound.create_session("tarde")
        with soon(), pytest.raises(TokenExpiredError, match="fresh"):
            async with sound.session(info.id):
                pass


async def test_a_function_that_gives_expired_tokens(lab: Lab, who: People) -> None:
    info, _ = await room(who, "dj")
    async with WhatsSound(
        lab.url, lab.anon_key, access_token=lambda: _token(lab, exp=int(time.time()) - 60), config=FAST
    ) as sound:
        with soon(), pytest.raises(TokenExpiredError):
            async with sound.session(info.id):
                pass


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "", "two words", "ñ.ñ.ñ"])
async def test_a_token_that_is_none(lab: Lab, who: People, token: str) -> None:
    info, _ = await room(who, "dj")
    if not token or " " in token or not token.isascii():
        with pytest.raises(ConfigurationError, match="access_token"):
            WhatsSound(lab.url, lab.anon_key, access_token=token)
        return
    async with WhatsSound(lab.url, lab.anon_key, access_token=token, config=FAST) as sound:
        with soon(), pytest.raises(AuthenticationError):
            await sound.create_session("nada")
        with soon(), pytest.raises(AuthenticationError):
            async with sound.session(info.id):
                pass


async def test_a_token_of_another_project(lab: Lab, who: People) -> None:
    from whatssound.local.tokens import Keyring

    info, _ = await room(who, "dj")
    foreign = Keyring("another-secret-that-is-long-enough-to-sign-with")
    token = foreign.sign({"sub": str(uuid.uuid4()), "role": "authenticated", "exp": int(time.time()) + 600})
    async with WhatsSound(lab.url, lab.anon_key, access_token=token, config=FAST) as sound:
        with soon(), pytest.raises(AuthenticationError):
            async with sound.session(info.id):
                pass


# --- where the project is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["127.0.0.1:54321", "localhost", "ftp://a.b", "http://", "", "//a.b", "http://u:p@a.b"])
def test_a_url_that_cannot_be_one(url: str) -> None:
    with pytest.raises(ConfigurationError, match="url"):
        WhatsSound(url, "key")


def _closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


async def _tries(sound: WhatsSound) -> list[BaseException]:
    """What sign-in, a command, a read and an opening raise."""
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: sound.sign_in_anonymously("ana"),
        lambda: sound.end_session(uuid.uuid4()),
        lambda: sound.dj_leaderboard("EUR"),
        lambda: _open(sound),
    ]
    raised: list[BaseException] = []
    for call in calls:
        with soon(), pytest.raises(WhatsSoundError) as caught:
            await call()
        raised.append(caught.value)
    return raised


async def _open(sound: WhatsSound) -> None:
    async with sound.session(uuid.uuid4()):
        raise AssertionError("this cannot have opened")


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
async def test_an_unreachable_url(host: str) -> None:
    async with WhatsSound(f"http://{host}:{_closed_port()}", "some-key", config=QUICK) as sound:
        for error in await _tries(sound):
            assert isinstance(error, UnreachableError), repr(error)
            assert "check the URL" in str(error)


@asynccontextmanager
async def _stranger(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _page(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Please accept our terms</html>", content_type="text/html")


async def _list(_: web.Request) -> web.StreamResponse:
    return web.json_response([1, 2, 3])


async def _object(_: web.Request) -> web.StreamResponse:
    return web.json_response({"hello": "world"})


async def _nothing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def _not_found(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404, text="404 page not found")


async def _broken(_: web.Request) -> web.StreamResponse:
    return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")


async def _elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:1/login")


@pytest.mark.parametrize("handler", [_page, _list, _object, _nothing, _not_found, _broken, _elsewhere])
async def test_a_server_that_is_no_supabase(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
    async with _stranger(handler) as url, WhatsSound(url, "some-key", config=QUICK) as sound:
        for error in await _tries(sound):
            assert isinstance(error, WhatsSoundError)
            assert len(str(error)) > 20, "says nothing"


async def test_a_server_that_never_answers() -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with _stranger(silent) as url, WhatsSound(url, "some-key", config=QUICK) as sound:
        with soon(), pytest.raises((TransportError, OutcomeUnknownError)):
            await sound.end_session(uuid.uuid4())
        with soon(), pytest.raises(TransportError):
            await sound.dj_leaderboard("EUR")
        with soon(), pytest.raises(TransportError):
            await _open(sound)


# --- after the end ------------------------------------------------------------------------------------------


async def test_a_closed_session_says_so(who: People) -> None:
    info, _ = await room(who, "dj")
    ana = await who.join("ana")
    session = ana.session(info.id)
    with pytest.raises(SessionClosedError, match="async with"):
        await session.chat.send("too early")
    async with session:
        receipt = await session.chat.send("in time")
    assert receipt.is_stored
    for call in (session.chat.send("late"), session.votes.cast(str(uuid.uuid4()), 1), session.tips.send(5)):
        with pytest.raises(SessionClosedError):
            await call
    with pytest.raises(SessionClosedError):
        async with session:
            pass


async def test_what_the_user_raises_inside_comes_out_as_it_was(who: People) -> None:
    info, _ = await room(who, "dj")
    ana = await who.join("ana")
    with pytest.raises(KeyError, match="mine"):
        async with ana.session(info.id):
            raise KeyError("mine")
    with pytest.raises(RefusedError):
        async with ana.session(info.id) as session:
            await session.queue.advance()


def _uuid7(ahead_ms: int = 0) -> str:
    stamp = (time.time_ns() // 1_000_000 + ahead_ms) << 80
    return str(uuid.UUID(int=stamp | (7 << 76) | (2 << 62) | (uuid.uuid4().int & ((1 << 62) - 1))))


async def _raw_rpc(lab: Lab, sound: WhatsSound, function: str, body: str) -> dict[str, Any]:
    """A call whose body no well-behaved client would make."""
    answer = await _raw_post(lab, sound, function, body)
    assert answer.status_code == 200, answer.text
    parsed = answer.json()
    assert isinstance(parsed, dict)
    return parsed


async def _raw_post(lab: Lab, sound: WhatsSound, function: str, body: str) -> httpx.Response:
    return await sound._http.post(
        f"{lab.url}/rest/v1/rpc/{function}",
        content=body.encode(),
        headers={
            "apikey": lab.anon_key,
            "Authorization": f"Bearer {await sound._tokens.token()}",
            "Content-Type": "application/json",
        },
    )
