"""The stack as a whole: what it serves, how it starts and ends, and what it does when a part is missing."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from json import loads as json_of
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from yarl import URL

from whatssound.local import LocalStack, LocalStackError
from whatssound.local.database import OwnDatabase
from whatssound.local.errors import DataDirectoryInUseError, MigrationError, PortInUseError, PostgresStartError
from whatssound.local.postgres import PostgresServer


async def call(stack: LocalStack, method: str, path: str, *, key: str | None = None, json: Any = None) -> Any:
    headers = {"apikey": key or stack.anon_key}
    if path.startswith("/_local"):
        headers["apikey"] = key or stack.service_key
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, stack.url + path, headers=headers, json=json) as answer,
    ):
        is_json = answer.content_type == "application/json"
        return answer.status, await (answer.json() if is_json else answer.text())


async def sql(dsn: str, text: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(text)
    finally:
        await connection.close()


def bare(**options: Any) -> LocalStack:
    return LocalStack(migrations=None, **options)


def closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_everything_is_served_on_one_port(fresh_stack: LocalStack) -> None:
    assert (await call(fresh_stack, "GET", "/"))[1]["status"] == "ok"
    status, user = await call(fresh_stack, "POST", "/auth/v1/signup", json={})
    assert (status, user["user"]["is_anonymous"]) == (200, True)
    status, _ = await call(fresh_stack, "POST", "/rest/v1/rpc/song_leaderboard", json={})
    assert status in {200, 401, 403}
    url = f"{fresh_stack.url}/realtime/v1/websocket?apikey={fresh_stack.anon_key}&vsn=1.0.0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as connected:
        await connected.send_json({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"})
        assert (await connected.receive_json())["payload"]["status"] == "ok"
        assert fresh_stack.usage().connections == 1
    assert fresh_stack.usage().peak_connections == 1


async def test_the_well_known_keys_and_the_environment(fresh_stack: LocalStack) -> None:
    assert fresh_stack.env() == {
        "SUPABASE_URL": fresh_stack.url,
        "SUPABASE_ANON_KEY": fresh_stack.anon_key,
        "SUPABASE_SERVICE_ROLE_KEY": fresh_stack.service_key,
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH",
        "SUPABASE_SECRET_KEY": "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz",
        "SUPABASE_JWT_SECRET": "super-secret-jwt-token-with-at-least-32-characters-long",
        "SUPABASE_DB_URL": fresh_stack.db_url,
    }
    assert await sql(fresh_stack.db_url, "select current_user::text") == "postgres"
    for secret in (fresh_stack.service_key, fresh_stack.jwt_secret):
        assert secret not in repr(fresh_stack)


async def test_the_new_keys_are_as_good_as_the_old(fresh_stack: LocalStack) -> None:
    public, secret = fresh_stack.publishable_key, fresh_stack.secret_key
    songs = "/rest/v1/songs?limit=1"
    assert await call(fresh_stack, "GET", songs, key=public) == await call(fresh_stack, "GET", songs)
    assert (await call(fresh_stack, "GET", songs, key=secret))[0] == 200
    assert (await call(fresh_stack, "GET", "/auth/v1/admin/users", key=public))[0] in {401, 403}
    assert (await call(fresh_stack, "GET", "/auth/v1/admin/users", key=secret))[0] == 200
    assert (await call(fresh_stack, "GET", "/rest/v1/songs", key="sb_publishable_other"))[0] == 401
    url = f"{fresh_stack.url}/realtime/v1/websocket?apikey={public}&vsn=1.0.0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as connected:
        await connected.send_json({"topic": "realtime:t", "event": "phx_join", "payload": {"config": {}}, "ref": "1"})
        assert (await connected.receive_json())["payload"]["status"] == "ok"
        assert fresh_stack.faults.sockets == 1


async def test_migrations_have_been_applied_as_the_projects_own_role(fresh_stack: LocalStack) -> None:
    owner = "select tableowner from pg_tables where schemaname = 'public' and tablename = 'votes'"
    assert await sql(fresh_stack.db_url, owner) == "postgres"


async def test_data_outlives_a_stack_with_a_directory(tmp_path: Path) -> None:
    async with LocalStack(data_dir=tmp_path / "data") as first:
        await sql(first.db_url, "create table public.kept as select 7 as n")
    async with LocalStack(data_dir=tmp_path / "data") as second:
        assert await sql(second.db_url, "select n from public.kept") == 7


async def test_throw_away_data_is_thrown_away() -> None:
    async with bare() as stack:
        data = await sql(stack.dsn("supabase_admin"), "show data_directory")
        assert os.path.isdir(data)  # noqa: PTH112, ASYNC240
    assert not os.path.exists(os.path.dirname(data))  # noqa: PTH110, PTH120, ASYNC240


def test_what_a_killed_stack_left_is_removed_by_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("old", "running", "young"):
        (tmp_path / f"whatssound-stack-{name}" / "postgres").mkdir(parents=True)
    for name in ("old", "running"):
        os.utime(tmp_path / f"whatssound-stack-{name}", (0, 0))
    (tmp_path / "whatssound-other").mkdir()
    with PostgresServer(tmp_path / "whatssound-stack-running" / "postgres").claimed():
        OwnDatabase(None)
        left = {entry.name for entry in tmp_path.iterdir()}
    assert {"whatssound-stack-running", "whatssound-stack-young", "whatssound-other"} < left
    assert "whatssound-stack-old" not in left


async def test_any_migrations_seed_and_sql(tmp_path: Path) -> None:
    migrations = tmp_path / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "1_a.sql").write_text("create table public.a (n int);")
    (tmp_path / "supabase" / "seed.sql").write_text("insert into public.a values (1);")
    (tmp_path / "more.sql").write_text("insert into public.a values (2);")
    options: dict[str, Any] = {
        "migrations": migrations,
        "sql_files": [tmp_path / "more.sql"],
        "data_dir": tmp_path / "d",
    }
    for _ in range(2):
        async with LocalStack(**options) as stack:
            assert await sql(stack.db_url, "select string_agg(n::text, ' ' order by n) from public.a") == "1 2"


async def test_a_failing_migration_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "1_bad.sql").write_text("selec 1")
    stack = LocalStack(migrations=tmp_path)
    with pytest.raises(MigrationError, match="1_bad"):
        await stack.start()
    with pytest.raises(LocalStackError, match="not started"):
        _ = stack.url


async def test_a_taken_port_is_named() -> None:
    async with bare() as first:
        with pytest.raises(PortInUseError, match=str(first.port)):
            await bare(port=first.port).start()


async def test_several_stacks_run_at_once_but_not_on_one_directory(tmp_path: Path) -> None:
    async with bare(data_dir=tmp_path / "data") as one, bare() as two:
        assert one.url != two.url
        assert {(await call(one, "GET", "/"))[0], (await call(two, "GET", "/"))[0]} == {200}
        with pytest.raises(DataDirectoryInUseError):
            await bare(data_dir=tmp_path / "data").start()


async def test_stopping_twice_and_starting_again() -> None:
    stack = bare()
    await stack.stop()
    await stack.start()
    port = stack.port
    await stack.start()
    assert stack.port == port
    await stack.stop()
    await stack.stop()
    assert closed(port)


async def test_a_cancelled_stack_leaves_nothing_behind() -> None:
    ready: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def live() -> None:
        async with bare() as stack:
            ready.set_result((stack.port, stack.db_url))
            await asyncio.Event().wait()

    task = asyncio.create_task(live())
    port, dsn = await ready
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed(port)
    with pytest.raises(ConnectionError):
        await asyncpg.connect(dsn)


async def test_a_service_that_is_stopped_is_missed_and_comes_back(fresh_stack: LocalStack) -> None:
    for name, path in (("rest", "/rest/v1/songs"), ("auth", "/auth/v1/health"), ("realtime", "/realtime/v1/websocket")):
        await fresh_stack.stop_service(name)
        assert (await call(fresh_stack, "GET", path))[0] == 503
        assert fresh_stack.status()["services"][name] == "stopped"
        await fresh_stack.restart_service(name)
        assert (await call(fresh_stack, "GET", path))[0] != 503
    assert fresh_stack.status()["status"] == "ok"


async def test_postgres_goes_and_comes_back_under_the_services(fresh_stack: LocalStack) -> None:
    await fresh_stack.kill_service("postgres")
    assert (await call(fresh_stack, "POST", "/auth/v1/signup", json={}))[0] >= 500
    await fresh_stack.start_service("postgres")
    async with asyncio.timeout(30):
        while (await call(fresh_stack, "POST", "/auth/v1/signup", json={}))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_an_unknown_service_is_refused(fresh_stack: LocalStack) -> None:
    with pytest.raises(LocalStackError, match="rest"):
        await fresh_stack.stop_service("storage")


async def test_the_control_api_asks_for_the_service_key(fresh_stack: LocalStack) -> None:
    for method, path in (
        ("GET", "/_local/status"),
        ("POST", "/_local/faults/clear"),
        ("POST", "/_local/services/rest/stop"),
    ):
        assert (await call(fresh_stack, method, path, key=fresh_stack.anon_key))[0] == 401


async def test_calls_of_functions_are_counted_by_second(fresh_stack: LocalStack) -> None:
    before = time.time()
    for _ in range(3):
        await call(fresh_stack, "POST", "/rest/v1/rpc/song_leaderboard", json={})
    await call(fresh_stack, "POST", "/rest/v1/rpc/no_such_function", json={})
    await call(fresh_stack, "GET", "/rest/v1/songs")
    shown = (await call(fresh_stack, "GET", "/_local/status"))[1]["rpc"]
    assert shown["total"] == fresh_stack.calls.total == {"song_leaderboard": 3, "no_such_function": 1}
    assert sum(calls["song_leaderboard"] for _, calls in shown["seconds"] if "song_leaderboard" in calls) == 3
    assert all(int(before) <= second <= time.time() for second, _ in shown["seconds"])


async def test_the_control_api_does_what_the_methods_do(fresh_stack: LocalStack) -> None:
    status, answer = await call(
        fresh_stack, "POST", "/_local/faults/answer", json={"path": "/rest/v1/", "status": 500, "times": 1}
    )
    assert (status, answer["result"]["status"]) == (200, 500)
    assert (await call(fresh_stack, "GET", "/_local/status"))[1]["faults"][0]["path"] == "/rest/v1/"
    assert (await call(fresh_stack, "GET", "/rest/v1/songs"))[0] == 500
    assert (await call(fresh_stack, "POST", "/_local/faults/freeze", json={"path": "/auth"}))[0] == 200
    assert (await call(fresh_stack, "POST", "/_local/faults/clear"))[0] == 200
    assert fresh_stack.faults.rules == ()
    assert (await call(fresh_stack, "POST", "/_local/sockets/skip_system_ok", json={"on": True}))[0] == 200
    assert (await call(fresh_stack, "POST", "/_local/sockets/lose_sent", json={"on": True}))[0] == 200
    assert (await call(fresh_stack, "POST", "/_local/sockets/drop", json={"code": 1012}))[1] == {"result": 0}
    assert (await call(fresh_stack, "POST", "/_local/channels/kick", json={"topic": "t", "message": "m"}))[0] == 200
    assert (await call(fresh_stack, "POST", "/_local/services/rest/restart"))[1]["status"] == "ok"


async def test_the_control_api_names_what_is_wrong(fresh_stack: LocalStack) -> None:
    assert (await call(fresh_stack, "POST", "/_local/faults/answer", json={"pth": "/"}))[0] == 400
    assert (await call(fresh_stack, "POST", "/_local/faults/answer", json=[1]))[0] == 400
    assert (await call(fresh_stack, "POST", "/_local/faults/answer", json={"path": "x"}))[0] == 409
    assert (await call(fresh_stack, "POST", "/_local/faults/nonsense"))[0] == 404
    assert (await call(fresh_stack, "POST", "/_local/services/storage/stop"))[0] == 409


async def test_a_channel_is_kicked_and_a_subscription_left_in_doubt(fresh_stack: LocalStack) -> None:
    url = f"{fresh_stack.url}/realtime/v1/websocket?apikey={fresh_stack.anon_key}&vsn=1.0.0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as connected:
        await connected.send_json({"topic": "realtime:t", "event": "phx_join", "payload": {"config": {}}, "ref": "1"})
        assert (await connected.receive_json())["payload"]["status"] == "ok"
        assert await fresh_stack.faults.kick("t", "Too many messages per second") == 1
        seen = [await connected.receive_json(), await connected.receive_json()]
    system = next(frame for frame in seen if frame["event"] == "system")
    assert (system["payload"]["status"], system["payload"]["message"]) == ("error", "Too many messages per second")
    assert seen[-1]["event"] == "phx_close"


async def test_a_lost_response_leaves_its_work_in_the_database(fresh_stack: LocalStack) -> None:
    fresh_stack.faults.lose_response("/auth/v1/signup")
    with pytest.raises(aiohttp.ClientError):
        await call(fresh_stack, "POST", "/auth/v1/signup", json={"data": {"username": "ana"}})
    count = "select count(*) from auth.users where raw_user_meta_data ->> 'username' = 'ana'"
    assert await sql(fresh_stack.dsn("supabase_admin"), count) == 1


async def test_frozen_sockets_hang_until_the_thaw(fresh_stack: LocalStack) -> None:
    url = f"{fresh_stack.url}/realtime/v1/websocket?apikey={fresh_stack.anon_key}&vsn=1.0.0"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as connected:
        beat = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"}
        await connected.send_json(beat)
        await connected.receive_json()
        fresh_stack.faults.freeze_sockets()
        await connected.send_json(beat)
        with pytest.raises(TimeoutError):
            await connected.receive_json(timeout=0.3)
        fresh_stack.faults.thaw()
        assert (await connected.receive_json(timeout=10))["payload"]["status"] == "ok"


@pytest.mark.parametrize(
    ("asked", "events"),
    [
        ({"plan": "team"}, 2_500),
        ({"plan": "team", "limits": {"max_events_per_second": 70}}, 70),
        ({"limits": {"max_joins_per_second": 5}}, None),
        ({}, None),
    ],
)
async def test_the_database_plans_with_the_limit_that_realtime_enforces(
    asked: dict[str, Any], events: int | None
) -> None:
    async with LocalStack(**asked) as stack:
        admin = stack.dsn("supabase_admin")
        default = await sql(
            admin,
            "select column_default::integer from information_schema.columns "
            "where (table_schema, table_name, column_name) = ('whatssound', 'project', 'events_per_second')",
        )
        assert await sql(admin, "select events_per_second from whatssound.project") == (events or default)


async def test_a_database_without_the_products_migrations_is_told_no_plan() -> None:
    async with LocalStack(migrations=None, plan="pro") as stack:
        assert await sql(stack.db_url, "select to_regnamespace('whatssound') is null")


async def test_an_existing_database_is_used_and_left_running(tmp_path: Path) -> None:
    async with PostgresServer(tmp_path / "data", durable=False) as server:
        url = server.dsn("supabase_admin")
        async with LocalStack(database_url=url) as stack:
            assert (await call(stack, "POST", "/auth/v1/signup", json={}))[0] == 200
            with pytest.raises(LocalStackError, match="not stopped"):
                await stack.stop_service("postgres")
        assert await sql(url, "select count(*) from auth.users") >= 1


async def test_an_existing_database_that_will_not_do_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="looks like"):
        await LocalStack(database_url="mysql://x/y").start()
    with pytest.raises(PostgresStartError, match="cannot connect"):
        await LocalStack(database_url="postgresql://u:secret@127.0.0.1:1/d").start()
    async with PostgresServer(tmp_path / "data", durable=False) as server:
        with pytest.raises(LocalStackError, match="no superuser"):
            await LocalStack(database_url=server.dsn("postgres")).start()


def test_arguments_that_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="exclude"):
        LocalStack(database_url="postgresql://h/d", data_dir=tmp_path)
    with pytest.raises(LocalStackError, match="unknown plan"):
        LocalStack(plan="gold")
    with pytest.raises(LocalStackError, match="unknown limits"):
        LocalStack(limits={"max_jons": 1})
    with pytest.raises(LocalStackError, match="Realtime URL"):
        LocalStack(realtime_url="localhost:4000")


async def test_a_real_realtime_elsewhere_is_passed_on_to(fresh_stack: LocalStack) -> None:
    async with bare(realtime_url=fresh_stack.url) as stack:
        url = f"{stack.url}/realtime/v1/websocket?apikey={stack.anon_key}&vsn=1.0.0"
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as connected:
            await connected.send_json(
                {"topic": "realtime:t", "event": "phx_join", "payload": {"config": {}}, "ref": "1"}
            )
            assert (await connected.receive_json())["payload"]["status"] == "ok"
            assert fresh_stack.usage().connections == stack.usage().connections == 1
            with pytest.raises(LocalStackError, match="own Realtime"):
                await stack.faults.kick("t", "m")
            assert fresh_stack.faults.drop_sockets(4001, "why") == 1
            message = await connected.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4001)
        await stack.stop_service("realtime")
        assert (await call(stack, "GET", "/realtime/v1/websocket"))[0] == 503


FAKE_POSTGREST = f"""#!{sys.executable}
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        settings = {{name: value for name, value in os.environ.items() if name.startswith("PGRST_")}}
        told = {{"path": self.path, "bearer": self.headers["Authorization"], "sent": sent, "settings": settings}}
        body = json.dumps(told).encode()
        self.send_response(201)
        self.send_header("Content-Range", "0-0/1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(os.environ["PGRST_SERVER_PORT"])), Handler).serve_forever()
"""


async def test_a_real_postgrest_is_run_with_supabases_settings(tmp_path: Path) -> None:
    binary = tmp_path / "postgrest"
    binary.write_text(FAKE_POSTGREST)
    binary.chmod(0o755)
    async with bare(postgrest_bin=binary) as stack:
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                URL(f"{stack.url}/rest/v1/songs?select=id,a%2Cb&id=eq.1", encoded=True),
                headers={"apikey": stack.anon_key, "Authorization": "Bearer t"},
                json={"n": 1},
            ) as answer,
        ):
            told = await answer.json()
            assert (answer.status, answer.headers["Content-Range"]) == (201, "0-0/1")
        assert (told["path"], told["bearer"]) == ("/songs?select=id,a%2Cb&id=eq.1", "Bearer t")
        assert json_of(told["sent"]) == {"n": 1}
        settings = told["settings"]
        assert settings["PGRST_DB_URI"] == stack.dsn("authenticator")
        assert settings["PGRST_JWT_SECRET"] == stack.jwt_secret
        assert (settings["PGRST_DB_ANON_ROLE"], settings["PGRST_DB_EXTRA_SEARCH_PATH"]) == ("anon", "public,extensions")
        port = int(settings["PGRST_SERVER_PORT"])
        await stack.stop_service("rest")
        assert closed(port)
        assert (await call(stack, "GET", "/rest/v1/songs"))[0] == 503
        await stack.start_service("rest")
        assert (await call(stack, "GET", "/rest/v1/songs"))[0] == 201


async def test_a_postgrest_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="cannot run"):
        await bare(postgrest_bin=tmp_path / "postgrest").start()
    with pytest.raises(LocalStackError, match="is it a PostgREST"):
        await bare(postgrest_bin="/bin/true").start()
