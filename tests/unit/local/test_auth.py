"""Supabase Auth's answers from the local service: tokens and their rotation, refusals, limits, the service key."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import asyncpg
import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from whatssound.local.auth import AuthService, AuthSettings
from whatssound.local.postgres import PostgresServer
from whatssound.local.tokens import Keyring

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_SHAPE = {"X-Supabase-Api-Version": "2024-01-01"}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Auth:
    """One Auth service with its client."""

    def __init__(self, server: PostgresServer, keyring: Keyring, clock: Clock, settings: AuthSettings) -> None:
        self.keyring = keyring
        self.clock = clock
        self.service = AuthService(server.dsn, keyring, settings=settings, now=clock)
        app = web.Application()
        self.service.mount(app)
        self.client = TestClient(TestServer(app))

    async def __aenter__(self) -> Self:
        await self.service.start()
        await self.client.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.service.stop()

    async def send(
        self, method: str, path: str, body: Any = None, token: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        named = dict(headers or {})
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        async with self.client.request(method, f"/auth/v1{path}", json=body, headers=named) as response:
            return response.status, await response.json() if response.content_length else None

    async def sign_up(self, email: str | None = None) -> dict[str, Any]:
        body = {"email": email, "password": "secret-1"} if email else {"data": {"username": "ana"}}
        status, answer = await self.send("POST", "/signup", body)
        assert status == 200, answer
        return dict(answer)

    async def refresh(self, token: str) -> tuple[int, Any]:
        return await self.send("POST", "/token?grant_type=refresh_token", {"refresh_token": token})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(own_dir: Path) -> AsyncIterator[PostgresServer]:
    async with PostgresServer(own_dir / "auth", durable=False) as running:
        yield running


def serve(server: PostgresServer, keyring: Keyring | None = None, **settings: Any) -> Auth:
    clock = Clock()
    return Auth(server, keyring or Keyring(now=clock), clock, AuthSettings(**settings))


def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


async def test_the_claims_of_an_anonymous_user(server: PostgresServer) -> None:
    async with serve(server, token_seconds=7, issuer="http://local/auth/v1") as auth:
        answer = await auth.sign_up()
        user = answer["user"]
        claims = auth.keyring.verify(answer["access_token"])
        issued = int(auth.clock.now)
        amr = claims.pop("amr")
        assert [entry["method"] for entry in amr] == ["anonymous"]
        assert str(uuid.UUID(claims["session_id"])) == claims.pop("session_id")
        assert claims == {
            "iss": "http://local/auth/v1", "sub": user["id"], "aud": "authenticated", "exp": issued + 7, "iat": issued,
            "email": "", "phone": "", "app_metadata": {}, "user_metadata": {"username": "ana"},
            "role": "authenticated", "aal": "aal1", "is_anonymous": True,
        }  # fmt: skip
        assert (answer["token_type"], answer["expires_in"], answer["expires_at"]) == ("bearer", 7, issued + 7)
        assert user["identities"] == []
        assert user["is_anonymous"] is True


async def test_an_email_user_has_an_identity(server: PostgresServer) -> None:
    async with serve(server) as auth:
        address = email()
        answer = await auth.sign_up(address.upper())
        user = answer["user"]
        assert user["email"] == address
        assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
        assert user["user_metadata"] == {"email_verified": True}
        (identity,) = user["identities"]
        assert identity["id"] == identity["user_id"] == user["id"]
        assert identity["identity_data"]["email"] == address
        assert (await auth.send("GET", "/user", token=answer["access_token"]))[1]["id"] == user["id"]


async def test_refresh_tokens_rotate(server: PostgresServer) -> None:
    async with serve(server) as auth:
        first = (await auth.sign_up())["refresh_token"]
        status, second = await auth.refresh(first)
        assert status == 200
        assert second["refresh_token"] != first
        # The answer got lost: the same successor is given again, however late.
        auth.clock.now += 3600
        assert (await auth.refresh(first))[1]["refresh_token"] == second["refresh_token"]


async def test_a_token_used_again_ends_its_family(server: PostgresServer) -> None:
    async with serve(server, reuse_seconds=10) as auth:
        first = (await auth.sign_up())["refresh_token"]
        second = (await auth.refresh(first))[1]["refresh_token"]
        third = (await auth.refresh(second))[1]["refresh_token"]
        auth.clock.now += 9
        status, within = await auth.refresh(first)
        assert status == 200
        assert within["refresh_token"] not in {first, second, third}
        auth.clock.now += 20
        status, answer = await auth.refresh(second)
        assert (status, answer["error_code"]) == (400, "refresh_token_already_used")
        assert answer["msg"] == "Invalid Refresh Token: Already Used"
        assert (await auth.refresh(within["refresh_token"]))[0] == 200  # used at once after: within the interval
        auth.clock.now += 20
        assert (await auth.refresh(third))[1]["error_code"] == "refresh_token_already_used"


async def test_refusals_have_two_shapes(server: PostgresServer) -> None:
    async with serve(server) as auth:
        wrong = {"email": email(), "password": "nope-nope"}
        path = "/token?grant_type=password"
        old = {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"}
        assert await auth.send("POST", path, wrong) == (400, old)
        new = {"code": "invalid_credentials", "message": "Invalid login credentials"}
        assert await auth.send("POST", path, wrong, headers=NEW_SHAPE) == (400, new)
        async with auth.client.post(f"/auth/v1{path}", json=wrong, headers=NEW_SHAPE) as response:
            assert response.headers["X-Supabase-Api-Version"] == "2024-01-01"
            assert response.headers["X-Sb-Error-Code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/signup", {"email": "a@b.co"}, 400, "validation_failed"),
        ("/signup", {"email": "no address", "password": "secret-1"}, 400, "validation_failed"),
        ("/signup", {"email": "a@b.co", "password": "x" * 80}, 400, "validation_failed"),
        ("/signup", {"phone": "1", "password": "secret-1"}, 400, "phone_provider_disabled"),
        ("/signup", {"email": 5}, 400, "validation_failed"),
        ("/signup", {"data": []}, 400, "bad_json"),
        ("/signup", [], 400, "bad_json"),
        ("/token", {}, 400, "invalid_credentials"),
        ("/token?grant_type=pkce", {}, 400, "invalid_credentials"),
        ("/token?grant_type=password", {"password": "x"}, 400, "validation_failed"),
        ("/token?grant_type=password", {"phone": "1", "password": "x"}, 422, "phone_provider_disabled"),
        ("/token?grant_type=refresh_token", {"refresh_token": "nope"}, 400, "refresh_token_not_found"),
        ("/otp", {"email": "a@b.co"}, 404, "feature_disabled"),
        ("/recover", {"email": "a@b.co"}, 404, "feature_disabled"),
        ("/admin/users", {"email": "a@b.co"}, 401, "no_authorization"),
        ("/logout", None, 401, "no_authorization"),
    ],
)  # fmt: skip
async def test_refusals(server: PostgresServer, path: str, body: Any, status: int, code: str) -> None:
    async with serve(server) as auth:
        answered, answer = await auth.send("POST", path, body)
        assert (answered, answer["error_code"]) == (status, code)


async def test_a_missing_refresh_token_is_an_oauth_error(server: PostgresServer) -> None:
    async with serve(server) as auth:
        status, answer = await auth.refresh("")
        assert (status, answer) == (
            400,
            {"error": "invalid_request", "error_description": "refresh_token required"},
        )


async def test_weak_passwords_say_why(server: PostgresServer) -> None:
    async with serve(server) as auth:
        status, answer = await auth.send("POST", "/signup", {"email": email(), "password": "abc"})
        assert (status, answer["error_code"], answer["weak_password"]) == (
            422,
            "weak_password",
            {"reasons": ["length"]},
        )


async def test_expired_and_strange_tokens(server: PostgresServer) -> None:
    async with serve(server, token_seconds=5) as auth:
        token = (await auth.sign_up())["access_token"]
        auth.clock.now += 6
        status, answer = await auth.send("GET", "/user", token=token)
        assert (status, answer["error_code"]) == (403, "bad_jwt")
        assert answer["msg"].endswith("token has invalid claims: token is expired")
        for strange, code in (
            ("garbage", "bad_jwt"),
            (Keyring("z" * 40).sign({"sub": str(uuid.uuid4())}), "bad_jwt"),
            (auth.keyring.anon_key, "bad_jwt"),
            (auth.keyring.sign({"sub": "someone"}), "bad_jwt"),
            (auth.keyring.sign({"sub": str(uuid.uuid4())}), "user_not_found"),
        ):
            assert (await auth.send("GET", "/user", token=strange))[1]["error_code"] == code


@pytest.mark.parametrize(
    ("scope", "left"), [("local", {"second"}), ("others", {"first"}), ("global", set()), ("", set())]
)
async def test_sign_out_scopes(server: PostgresServer, scope: str, left: set[str]) -> None:
    async with serve(server) as auth:
        address = email()
        first = await auth.sign_up(address)
        body = {"email": address, "password": "secret-1"}
        second = (await auth.send("POST", "/token?grant_type=password", body))[1]
        assert (await auth.send("POST", f"/logout?scope={scope}", token=first["access_token"]))[0] == 204
        grants = {"first": first, "second": second}
        alive = {name for name, grant in grants.items() if (await auth.refresh(grant["refresh_token"]))[0] == 200}
        assert alive == left
        if "first" not in left:
            status, answer = await auth.send("GET", "/user", token=first["access_token"])
            assert (status, answer["error_code"]) == (403, "session_not_found")


async def test_an_unknown_scope_is_refused(server: PostgresServer) -> None:
    async with serve(server) as auth:
        token = (await auth.sign_up())["access_token"]
        assert (await auth.send("POST", "/logout?scope=all", token=token))[1]["error_code"] == "validation_failed"


async def test_changes_of_a_user(server: PostgresServer) -> None:
    async with serve(server) as auth:
        answer = await auth.sign_up()
        token, address = answer["access_token"], email()
        status, refused = await auth.send("PUT", "/user", {"password": "secret-1"}, token)
        assert (status, refused["error_code"]) == (422, "validation_failed")
        assert (await auth.send("PUT", "/user", {"app_metadata": {"a": 1}}, token))[1]["error_code"] == "not_admin"
        changes = {"email": address, "password": "secret-9", "data": {"username": None, "city": "Lima"}}
        status, user = await auth.send("PUT", "/user", changes, token)
        assert status == 200
        assert (user["email"], user["is_anonymous"]) == (address, False)
        assert user["user_metadata"] == {"city": "Lima", "email_verified": True}
        assert (await auth.send("PUT", "/user", {"password": "secret-9"}, token))[1]["error_code"] == "same_password"
        body = {"email": address, "password": "secret-9"}
        assert (await auth.send("POST", "/token?grant_type=password", body))[0] == 200
        other = await auth.sign_up()
        taken = await auth.send("PUT", "/user", {"email": address}, other["access_token"])
        assert (taken[0], taken[1]["error_code"]) == (422, "email_exists")


async def test_unconfirmed_users_cannot_sign_in(server: PostgresServer) -> None:
    async with serve(server, autoconfirm=False) as auth:
        address = email()
        body = {"email": address, "password": "secret-1"}
        user = await auth.sign_up(address)
        assert "access_token" not in user
        status, answer = await auth.send("POST", "/token?grant_type=password", body)
        assert (status, answer["error_code"]) == (400, "email_not_confirmed")
        path = f"/admin/users/{user['id']}"
        assert (await auth.send("PUT", path, {"email_confirm": True}, auth.keyring.service_key))[0] == 200
        assert (await auth.send("POST", "/token?grant_type=password", body))[0] == 200


async def test_what_can_be_switched_off(server: PostgresServer) -> None:
    async with serve(server, anonymous=False) as auth:
        status, answer = await auth.send("POST", "/signup", {})
        assert (status, answer["error_code"]) == (422, "anonymous_provider_disabled")
        assert (await auth.send("GET", "/settings"))[1]["external"]["anonymous_users"] is False
    async with serve(server, signup=False) as auth:
        status, answer = await auth.send("POST", "/signup", {})
        assert (status, answer["error_code"]) == (422, "signup_disabled")


async def test_anonymous_sign_ins_can_be_limited(server: PostgresServer) -> None:
    async with serve(server, anonymous_per_hour=2) as auth:
        await auth.sign_up()
        await auth.sign_up()
        status, answer = await auth.send("POST", "/signup", {})
        assert (status, answer["error_code"]) == (429, "over_request_rate_limit")
        await auth.sign_up(email())
        auth.clock.now += 1800
        await auth.sign_up()


async def test_es256_tokens_can_be_checked_with_the_published_key(server: PostgresServer) -> None:
    async with serve(server, Keyring(algorithm="ES256", now=Clock())) as auth:
        token = (await auth.sign_up())["access_token"]
        status, keys = await auth.send("GET", "/.well-known/jwks.json")
        assert status == 200
        (key,) = keys["keys"]
        assert jwt.get_unverified_header(token)["kid"] == key["kid"]
        options: Any = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, jwt.PyJWK(key), audience="authenticated", options=options)
        assert claims["is_anonymous"] is True
        assert (await auth.send("GET", "/user", token=token))[0] == 200


async def test_health_and_settings(server: PostgresServer) -> None:
    async with serve(server) as auth:
        assert (await auth.send("GET", "/health"))[1]["name"] == "GoTrue"
        status, settings = await auth.send("GET", "/settings")
        assert (status, settings["mailer_autoconfirm"], settings["external"]["email"]) == (200, True, True)


async def test_the_service_key(server: PostgresServer) -> None:
    async with serve(server) as auth:
        service, address = auth.keyring.service_key, email()
        status, answer = await auth.send("POST", "/admin/users", {"email": address}, auth.keyring.anon_key)
        assert (status, answer["error_code"]) == (403, "not_admin")
        body = {"email": address, "password": "secret-1", "email_confirm": True, "user_metadata": {"a": 1}}
        status, user = await auth.send("POST", "/admin/users", body, service)
        assert (status, user["user_metadata"]) == (200, {"a": 1, "email_verified": True})
        assert (await auth.send("POST", "/admin/users", body, service))[1]["error_code"] == "email_exists"
        assert (await auth.send("POST", "/admin/users", {}, service))[1]["error_code"] == "validation_failed"
        path = f"/admin/users/{user['id']}"
        changed = (await auth.send("PUT", path, {"app_metadata": {"plan": "pro"}, "role": "vip"}, service))[1]
        assert (changed["app_metadata"]["plan"], changed["role"]) == ("pro", "vip")
        assert (await auth.send("PUT", path, {"ban_duration": "soon"}, service))[1]["error_code"] == "validation_failed"
        assert "banned_until" in (await auth.send("PUT", path, {"ban_duration": "24h"}, service))[1]
        assert "banned_until" not in (await auth.send("PUT", path, {"ban_duration": "none"}, service))[1]
        async with auth.client.get(
            "/auth/v1/admin/users?per_page=1&page=1", headers={"Authorization": f"Bearer {service}"}
        ) as response:
            page = await response.json()
            total = int(response.headers["X-Total-Count"])
            link = response.headers["Link"].split(", ")[-1]
        assert link == f'</admin/users?page={total}&per_page=1>; rel="last"'
        assert (len(page["users"]), page["aud"]) == (1, "authenticated")
        assert total >= 1
        assert (await auth.send("DELETE", path, {"should_soft_delete": True}, service)) == (200, {})
        assert (await auth.send("GET", path, token=service))[0] == 404
        assert (await auth.send("GET", "/admin/users/nobody", token=service))[0] == 404


async def test_a_trigger_of_the_project_can_refuse(server: PostgresServer) -> None:
    owner = await asyncpg.connect(server.dsn("supabase_admin"))
    await owner.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$; "
        "create trigger refuse before insert on auth.users for each row execute function refuse()"
    )
    try:
        async with serve(server) as auth:
            status, answer = await auth.send("POST", "/signup", {})
            assert (status, answer["msg"]) == (500, "Database error creating anonymous user")
            status, answer = await auth.send("POST", "/signup", {"email": email(), "password": "secret-1"})
            assert (status, answer["msg"]) == (500, "Database error saving new user")
    finally:
        await owner.execute("drop trigger refuse on auth.users; drop function refuse()")
        await owner.close()


async def test_a_stopped_service_and_a_lost_database(own_dir: Path) -> None:
    async with PostgresServer(own_dir / "lost", durable=False) as own, serve(own) as auth:
        await auth.sign_up()
        await own.kill()
        status, answer = await auth.send("POST", "/signup", {})
        assert (status, answer["error_code"]) == (500, "unexpected_failure")
        await own.start()
        await auth.sign_up()
        await auth.service.stop()
        assert await auth.send("POST", "/signup", {}) == (503, {"message": "name resolution failed"})
        await auth.service.start()
        await auth.sign_up()
