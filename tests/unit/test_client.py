"""The client: what it takes, what it refuses, and what it calls."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import pytest
import respx

from supabase import AsyncClient, create_async_client
from whatssound import (
    ConfigurationError,
    InvalidInputError,
    NotSignedInError,
    ProtocolError,
    SessionConfig,
    Status,
    WhatsSound,
)

URL = "http://project.test"
KEY = "sb_publishable_very_secret_key"
#: {"alg":"HS256"}.{"sub":"00000000-0000-4000-8000-0000000000aa"}.x
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwYWEifQ.eA"
ANA = "00000000-0000-4000-8000-0000000000aa"
ID = "5e551010-0000-4000-8000-000000000000"
NOW = "2026-11-24T00:00:00+00:00"
SESSION = {"id": ID, "title": "Noche", "dj_id": ANA, "status": "live"}


def rpc(function: str) -> respx.Route:
    return respx.post(f"{URL}/rest/v1/rpc/{function}")


def asked(route: respx.Route) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(route.calls.last.request.content)
    return body


@pytest.mark.parametrize(
    "url",
    [
        "",
        "project.test",
        "ftp://x",
        "http://",
        "https://user:pw@x.test",
        "https://x.test?a=1",
        "https://x.test#a",
        None,
    ],
)
async def test_a_url_that_cannot_work_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WhatsSound(url, KEY)
    assert caught.value.setting == "url"
    assert "pw" not in str(caught.value) or url is None


@pytest.mark.parametrize("key", ["", "  ", "two words", "línea", None])
async def test_a_key_that_cannot_work_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WhatsSound(URL, key)
    assert caught.value.setting == "key"


async def test_the_environment_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_KEY", "SUPABASE_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="SUPABASE_URL"):
        WhatsSound.from_env()
    monkeypatch.setenv("SUPABASE_URL", f"{URL}/")
    with pytest.raises(ConfigurationError, match="SUPABASE_ANON_KEY"):
        WhatsSound.from_env()
    monkeypatch.setenv("SUPABASE_KEY", KEY)
    monkeypatch.setenv("SUPABASE_ACCESS_TOKEN", TOKEN)
    async with WhatsSound.from_env() as sound:
        assert sound.user_id == ANA
        assert repr(sound) == f"<WhatsSound {URL}>"


async def test_a_client_with_its_own_token_does_not_sign_in() -> None:
    async with WhatsSound(URL, KEY, access_token=TOKEN) as sound:
        for call in (sound.sign_in_anonymously(), sound.sign_in("a@x.test", "pw"), sound.sign_out()):
            with pytest.raises(ConfigurationError):
                await call


@pytest.mark.parametrize("username", ["", "   ", "x" * 33, "nul\0"])
async def test_a_name_that_cannot_be_is_refused(username: str) -> None:
    async with WhatsSound(URL, KEY) as sound:
        with pytest.raises(InvalidInputError):
            await sound.sign_in_anonymously(username=username)
        with pytest.raises(InvalidInputError):
            await sound.sign_up("a@x.test", "pw", username=username)


async def test_a_session_has_its_settings_and_is_not_open_yet() -> None:
    config = SessionConfig(private=False)
    async with WhatsSound(URL, KEY, config=config) as sound:
        session = sound.session(UUID(ID))
        assert (session.id, session.config, session.status) == (ID, config, Status.NEW)
        other = SessionConfig(history=5)
        assert sound.session(ID.upper(), config=other).config is other
        with pytest.raises(InvalidInputError):
            sound.session("no uuid")


@respx.mock
async def test_creating_a_session_makes_its_id_here_so_that_it_can_be_repeated() -> None:
    route = rpc("create_session").mock(
        side_effect=[httpx.ReadError("lost"), httpx.Response(200, json={"session": SESSION})]
    )
    async with WhatsSound(URL, KEY, access_token=TOKEN) as sound:
        info = await sound.create_session("Noche", settings={"visibility": "private"})
    assert info.title == "Noche"
    first, second = (json.loads(call.request.content) for call in route.calls)
    assert first == second
    assert UUID(first["p_id"]).version == 4
    assert (first["p_title"], first["p_settings"]) == ("Noche", {"visibility": "private"})


@respx.mock
async def test_creating_a_session_needs_a_user_and_a_title() -> None:
    async with WhatsSound(URL, KEY) as sound:
        with pytest.raises(NotSignedInError):
            await sound.create_session("Noche")
        with pytest.raises(InvalidInputError):
            await sound.create_session("nul\0")
        with pytest.raises(InvalidInputError):
            await WhatsSound(URL, KEY, access_token=TOKEN).create_session("Noche", session_id="no uuid")


@respx.mock
async def test_ending_a_session() -> None:
    route = rpc("end_session").respond(json={"session": {**SESSION, "status": "ended"}})
    async with WhatsSound(URL, KEY, access_token=TOKEN) as sound:
        assert (await sound.end_session(ID)).status == "ended"
    assert asked(route) == {"p_session_id": ID}


@respx.mock
async def test_confirming_a_tip() -> None:
    tip = {
        "id": "79000000-0000-4000-8000-000000000001",
        "session_id": ID,
        "tipper_id": ANA,
        "dj_id": ANA,
        "amount": 500,
        "currency": "EUR",
        "status": "confirmed",
        "created_at": NOW,
    }
    route = rpc("confirm_tip").respond(json={"tip": tip})
    async with WhatsSound(URL, KEY) as sound:
        assert (await sound.confirm_tip(tip["id"], provider_ref="pi_1")).amount == 500  # type: ignore[arg-type]
        assert asked(route) == {"p_tip_id": tip["id"], "p_status": "confirmed", "p_provider_ref": "pi_1"}
        with pytest.raises(InvalidInputError):
            await sound.confirm_tip(ID, status="pending")


@respx.mock
async def test_leaderboards() -> None:
    rpc("dj_leaderboard").respond(json={"entries": [{"rank": 1, "dj_id": ANA, "amount": 900, "currency": "EUR"}]})
    songs = rpc("song_leaderboard").respond(json={"entries": []})
    async with WhatsSound(URL, KEY) as sound:
        (entry,) = await sound.dj_leaderboard("EUR")
        assert (entry.rank, entry.amount) == (1, 900)
        assert await sound.song_leaderboard(ID, limit=3) == ()
        assert asked(songs) == {"p_session_id": ID, "p_limit": 3}
        assert await sound.song_leaderboard() == ()
        rpc("dj_leaderboard").respond(json={"entries": [{"rank": "first"}]})
        with pytest.raises(ProtocolError):
            await sound.dj_leaderboard("EUR")


@respx.mock
async def test_an_app_s_own_client_lends_its_key_and_its_user() -> None:
    app: AsyncClient = await create_async_client(URL, KEY)
    route = rpc("song_leaderboard").respond(json={"entries": []})
    async with WhatsSound.from_supabase(app) as sound:
        await sound.song_leaderboard()
        assert route.calls.last.request.headers["authorization"] == f"Bearer {KEY}"
        assert sound.user_id is None
        with pytest.raises(ConfigurationError):
            await sound.sign_in_anonymously()
    await app.auth.close()


def test_a_client_can_be_made_before_there_is_a_loop() -> None:
    assert WhatsSound(URL, KEY).user_id is None
