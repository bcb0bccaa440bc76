"""Realtime as a service: what the recorded scenarios do not reach, faults above all."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from whatssound.local.postgres import PostgresServer
from whatssound.local.realtime import Limits, RealtimeService
from whatssound.local.realtime import socket as realtime_socket
from whatssound.local.tokens import Keyring

KEYRING = Keyring()
ROOM = "realtime:room"
TABLE = """
create table public.votes (id int primary key, song text);
grant select on public.votes to anon;
alter publication supabase_realtime add table public.votes;
"""


class Server:
    def __init__(self, service: RealtimeService, postgres: PostgresServer, port: int) -> None:
        self.service = service
        self.postgres = postgres
        self.url = f"http://127.0.0.1:{port}"

    async def sql(self, text: str) -> None:
        connection = await asyncpg.connect(self.postgres.dsn("supabase_admin"))
        try:
            await connection.execute(text)
        finally:
            await connection.close()


class Client:
    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, *frame: Any) -> None:
        await self.ws.send_str(json.dumps(frame))

    async def frame(self, seconds: float = 10) -> Any:
        async with asyncio.timeout(seconds):
            message = await self.ws.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def event(self, name: str, seconds: float = 10) -> Any:
        async with asyncio.timeout(seconds):
            while (frame := await self.frame(seconds))[3] != name:
                pass
        return frame

    async def join(self, topic: str = ROOM, **config: Any) -> Any:
        await self.send("1", "1", topic, "phx_join", {"config": config})
        reply = await self.frame()
        assert reply[4]["status"] == "ok", reply
        return reply

    async def silence(self, seconds: float = 0.3) -> None:
        with pytest.raises(TimeoutError):
            await self.frame(seconds)

    async def end(self, seconds: float = 10) -> int | None:
        async with asyncio.timeout(seconds):
            while (await self.ws.receive()).type not in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.ERROR,
            }:
                pass
        return self.ws.close_code


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


Connect = Callable[..., Any]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with PostgresServer(tmp_path / "data", durable=False) as postgres:
        service = RealtimeService(postgres.dsn, KEYRING, resubscribe=(0.1, 0.2), sweep=0.5)
        app = web.Application()
        service.mount(app)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await service.start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Server(service, postgres, runner.addresses[0][1])
        await service.stop()
        await runner.cleanup()


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Connect]:
    async with aiohttp.ClientSession() as session:

        async def connect(token: str = KEYRING.anon_key, vsn: str = "2.0.0") -> Client:
            url = f"{server.url}/realtime/v1/websocket?apikey={token}&vsn={vsn}"
            return Client(await session.ws_connect(url, max_msg_size=0))

        yield connect


def subscription() -> dict[str, Any]:
    return {"postgres_changes": [{"event": "*", "schema": "public", "table": "votes"}]}


async def test_a_channel_with_changes_survives_a_restart_of_the_database(server: Server, connect: Connect) -> None:
    await server.sql(TABLE)
    client = await connect()
    await client.join(**subscription())
    assert (await client.event("system"))[4]["message"] == "Subscribed to PostgreSQL"
    await server.sql("checkpoint")
    await server.postgres.kill()
    await server.postgres.start()
    assert (await client.event("system", 30))[4]["message"] == "Subscribed to PostgreSQL"
    await server.sql("insert into public.votes values (1, 'a')")
    assert (await client.event("postgres_changes"))[4]["data"]["record"] == {"id": 1, "song": "a"}
    # Messages of the database arrive again, too, and joins work.
    await server.sql("select realtime.send('{\"a\": 1}', 'e', 'other', false)")
    await client.join("realtime:other")


async def test_a_publication_may_be_made_anew(server: Server, connect: Connect) -> None:
    await server.sql("drop publication supabase_realtime")
    await server.service.stop()
    await server.service.start()
    await server.sql("create publication supabase_realtime;" + TABLE)
    client = await connect()
    await client.join(**subscription())
    assert (await client.event("system"))[4]["message"] == "Subscribed to PostgreSQL"
    await server.sql("insert into public.votes values (1, 'a')")
    assert (await client.event("postgres_changes"))[4]["data"]["type"] == "INSERT"


async def test_a_socket_that_left_its_last_channel_is_killed(connect: Connect) -> None:
    leaver, stayer, silent = [await connect() for _ in range(3)]
    await leaver.join()
    await stayer.join()
    await leaver.send("1", "2", ROOM, "phx_leave", {})
    assert await leaver.end() == 1006
    for client in (stayer, silent):
        await client.send(None, "h", "phoenix", "heartbeat", {})
        assert (await client.frame())[1] == "h"


async def test_no_join_while_the_database_is_away(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_socket, "REFUSAL_SECONDS", 0.1)
    client = await connect()
    await server.postgres.stop()
    async with asyncio.timeout(10):
        while True:
            await client.send("1", "1", ROOM, "phx_join", {"config": {}})
            response = (await client.event("phx_reply"))[4]
            if response["status"] == "error":
                break
    assert "UnableToConnectToProject" in response["response"]["reason"]


async def test_sockets_are_closed_with_a_code_or_without(server: Server, connect: Connect) -> None:
    clients = [await connect() for _ in range(3)]
    await clients[0].join()
    assert await server.service.drop_sockets(4000, "why") == 3
    assert [await client.end() for client in clients] == [4000] * 3
    cut = await connect()
    await cut.join()
    assert await server.service.drop_sockets(None) == 1
    assert await cut.end() == 1006
    assert server.service.usage()["connections"] == 0
    assert server.service.usage()["peak_connections"] == 3


async def test_a_kick_ends_the_channel_and_leaves_the_socket(server: Server, connect: Connect) -> None:
    client = await connect()
    await client.join()
    assert await server.service.kick("room", "Too many messages per second") == 1
    assert (await client.frame())[4] == {
        "message": "Too many messages per second",
        "status": "error",
        "extension": "system",
        "channel": "room",
    }
    assert await client.frame() == ["1", "1", ROOM, "phx_close", {}]
    assert await server.service.kick(ROOM, "again") == 0
    await client.join()
    assert await server.service.kick(ROOM, "again", extension="postgres_changes") == 1
    assert (await client.frame())[4]["extension"] == "postgres_changes"


async def test_a_frozen_server_goes_on_where_it_stopped(server: Server, connect: Connect) -> None:
    speaker, listener = await connect(), await connect()
    await speaker.join(broadcast={"ack": True})
    await listener.join()
    server.service.hooks.frozen = True
    await speaker.send("1", "2", ROOM, "broadcast", {"event": "e", "payload": {}})
    await speaker.silence()
    await listener.silence()
    assert not speaker.ws.closed
    late = asyncio.create_task(connect())
    assert not (await asyncio.wait({late}, timeout=0.2))[0]
    server.service.hooks.frozen = False
    assert not (await late).ws.closed
    assert (await listener.frame())[4]["event"] == "e"
    assert (await speaker.frame())[1] == "2"


async def test_the_ok_of_a_subscription_can_be_left_out(server: Server, connect: Connect) -> None:
    await server.sql(TABLE)
    server.service.hooks.skip_system_ok = True
    client = await connect()
    await client.join(**subscription(), broadcast={"replication_ready": True})
    await client.silence()
    await server.sql("insert into public.votes values (1, 'a')")
    assert (await client.frame())[3] == "postgres_changes"


async def test_what_the_database_sends_can_be_lost_without_a_word(server: Server, connect: Connect) -> None:
    client = await connect()
    await client.join(broadcast={"replication_ready": True})
    await client.event("system")
    topic = ROOM.removeprefix("realtime:")
    server.service.hooks.lose_sent = True
    await server.sql(f"select realtime.send('{{\"number\": 1}}', 'e', '{topic}', false)")
    await client.silence()
    server.service.hooks.lose_sent = False
    await server.sql(f"select realtime.send('{{\"number\": 2}}', 'e', '{topic}', false)")
    assert b'"number": 2' in (await client.ws.receive()).data


async def test_answers_can_be_delayed(server: Server, connect: Connect) -> None:
    client = await connect()
    server.service.hooks.delay = 0.3
    start = time.monotonic()
    await client.send(None, "1", "phoenix", "heartbeat", {})
    await client.frame()
    assert time.monotonic() - start >= 0.3


async def test_a_stopped_service_answers_like_a_gateway_and_starts_again(server: Server, connect: Connect) -> None:
    client = await connect()
    await client.join()
    await server.service.stop()
    assert await client.end() == 1006
    async with aiohttp.ClientSession() as session:
        for path in ("/realtime/v1/websocket", "/realtime/v1/api/broadcast"):
            async with session.get(server.url + path) as response:
                assert response.status == 503
    await server.service.start()
    await (await connect()).join()


async def test_messages_are_counted_as_hosted_supabase_bills_them(server: Server, connect: Connect) -> None:
    speaker, one, two = [await connect() for _ in range(3)]
    for client in (speaker, one, two):
        await client.join(broadcast={"ack": True})
    await speaker.send("1", "2", ROOM, "broadcast", {"event": "e", "payload": {}})
    await speaker.event("phx_reply")
    assert server.service.usage() == {"messages": 3, "connections": 3, "peak_connections": 3, "channels": 3}


async def test_a_client_that_does_not_read_is_cut_off(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_socket, "_BUFFER_BYTES", 500_000)
    server.service.limits = Limits(max_events_per_second=1_000_000)
    speaker = await connect()
    await speaker.join()
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /socket/websocket?apikey={KEYRING.anon_key}&vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    join = json.dumps(["1", "1", ROOM, "phx_join", {"config": {}}]).encode()
    writer.write(b"\x81" + bytes([0x80 | len(join)]) + b"\0\0\0\0" + join)
    async with asyncio.timeout(20):
        # From here on the listener reads nothing.
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        assert b"phx_reply" in await reader.readuntil(b"}}]")
        while server.service.usage()["connections"] == 2:
            await speaker.send("1", "2", ROOM, "broadcast", {"event": "e", "payload": {"d": "x" * 200_000}})
            await asyncio.sleep(0)
    assert (await connect()).ws.close_code is None
    writer.transport.abort()


async def test_the_management_api_is_for_the_service_key(server: Server) -> None:
    url = f"{server.url}/realtime/v1/api/tenants/{server.service.tenant}"
    async with aiohttp.ClientSession() as session:

        async def ask(method: str, path: str, token: str | None, body: Any = None) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
            async with session.request(method, url + path, headers=headers, json=body) as response:
                text = await response.text()
                return response.status, json.loads(text) if text.startswith("{") else text

        for token in (None, "nonsense", KEYRING.anon_key):
            assert await ask("PUT", "", token, {"tenant": {"max_events_per_second": 5}}) == (403, "")
        status, shown = await ask("PUT", "", KEYRING.service_key, {"tenant": {"max_events_per_second": 5}})
        assert (status, shown["data"]["max_events_per_second"]) == (200, 5)
        assert server.service.limits.max_events_per_second == 5
        wrong = await ask("PUT", "", KEYRING.service_key, {"tenant": {"suspend": "maybe"}})
        assert wrong == (422, {"errors": {"suspend": ["is invalid"]}})
        assert (await ask("GET", "/health", KEYRING.service_key))[1]["data"]["healthy"] is True
        assert (await ask("GET", "-by-any-name", KEYRING.service_key))[0] == 200
        assert (await ask("POST", "/nonsense", KEYRING.service_key))[0] == 404
        async with session.get(
            f"{server.url}/api/tenants", headers={"Authorization": f"Bearer {KEYRING.service_key}"}
        ) as response:
            assert len((await response.json())["data"]) == 1
        assert (await ask("DELETE", "", KEYRING.service_key))[0] == 404


async def test_a_browser_may_ask_through_the_gateway(server: Server) -> None:
    headers = {"Origin": "https://a.example", "Access-Control-Request-Headers": "authorization"}
    async with (
        aiohttp.ClientSession() as session,
        session.options(f"{server.url}/realtime/v1/api/broadcast", headers=headers) as response,
    ):
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Headers"] == "authorization"


async def test_a_policy_that_fails_refuses_the_join(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_socket, "REFUSAL_SECONDS", 0.0)
    await server.sql("create policy broken on realtime.messages for select to anon using (1 / 0 = 1)")
    client = await connect()
    await client.send("1", "1", ROOM, "phx_join", {"config": {"private": True}})
    assert (await client.frame())[4]["response"]["reason"].startswith("Unauthorized: You do not have permissions")


async def test_one_users_failing_policy_costs_the_others_nothing(server: Server, connect: Connect) -> None:
    await server.sql(
        TABLE + "alter table public.votes enable row level security; grant select on public.votes to authenticated;"
        "create policy p on public.votes for select to authenticated using"
        " ((select auth.jwt() ->> 'n')::int = 1)"
    )
    clients = []
    for n in ("1", "x", "2"):
        token = KEYRING.sign({"role": "authenticated", "n": n, "exp": int(time.time()) + 60})
        client = await connect(token)
        await client.join(**subscription())
        await client.event("system")
        clients.append(client)
    await server.sql("insert into public.votes values (1, 'a')")
    assert (await clients[0].event("postgres_changes"))[4]["data"]["record"]["id"] == 1
    await clients[1].silence()
    await clients[2].silence(0.05)


async def test_many_bindings_on_a_channel_are_one_frame_a_row(server: Server, connect: Connect) -> None:
    await server.sql(TABLE)
    client = await connect()
    bindings = [{"event": "INSERT", "schema": "public", "table": "votes", "filter": f"id=gte.{n}"} for n in range(3)]
    reply = await client.join(postgres_changes=bindings)
    await client.event("system")
    await server.sql("insert into public.votes values (1, 'a')")
    ids = [binding["id"] for binding in reply[4]["response"]["postgres_changes"]]
    assert sorted((await client.frame())[4]["ids"]) == sorted(ids[:2])
    await client.silence(0.1)


async def test_replication_signs_in_with_a_password(server: Server) -> None:
    from whatssound.local.realtime.replication import ReplicationConnection, ReplicationError

    await server.sql(
        "set password_encryption = 'scram-sha-256'; create role scrammer login replication password 's€cret';"
        "set password_encryption = 'md5'; create role md login replication password 'md pass';"
    )
    access = server.postgres.data_dir / "pg_hba.conf"
    rules = "host all scrammer 127.0.0.1/32 scram-sha-256\nhost all md 127.0.0.1/32 md5\n"
    access.write_text(rules + access.read_text())
    await server.sql("select pg_reload_conf()")
    base = server.postgres.dsn("postgres").split("@", 1)[1]
    for credentials in ("scrammer:s%E2%82%ACcret", "md:md%20pass"):
        connection = await ReplicationConnection.connect(f"postgresql://{credentials}@{base}")
        await connection.query("IDENTIFY_SYSTEM")
        with pytest.raises(ReplicationError, match="syntax error"):
            await connection.query("NONSENSE COMMAND")
        connection.close()
    with pytest.raises(ReplicationError, match="password authentication failed"):
        await ReplicationConnection.connect(f"postgresql://scrammer:wrong@{base}")


async def misbehave(connect: Connect, chance: random.Random, until: float) -> None:
    """One client that does whatever comes to its mind, sense or nonsense."""
    topics = [ROOM, "realtime:room:private", "realtime:public:votes", "realtime:", "nonsense"]
    while time.monotonic() < until:
        client = await connect(vsn=chance.choice(["1.0.0", "2.0.0"]))
        for _ in range(chance.randrange(12)):
            ref = chance.choice([None, "1", "2"])
            topic = chance.choice(topics)
            payload = chance.choice(
                [
                    {"config": {"presence": {"enabled": True, "key": "k"}, "broadcast": {"ack": True, "self": True}}},
                    {"config": subscription()},
                    {"config": {"private": True}},
                    {},
                    None,
                    [1, {"x": "é" * 300}],
                    {"type": "presence", "event": "track", "payload": {"n": chance.random()}},
                    {"event": "e", "payload": {"n": chance.randrange(9)}},
                    {"access_token": chance.choice([KEYRING.anon_key, KEYRING.service_key, "x", None])},
                ]
            )
            event = chance.choice(
                ["phx_join", "phx_join", "phx_leave", "broadcast", "presence", "access_token", "e", 5]
            )
            whole = {"join_ref": ref, "ref": "9", "topic": topic, "event": event, "payload": payload}
            try:
                await client.ws.send_str(json.dumps(whole if chance.random() < 0.5 else list(whole.values())))
                await client.ws.send_bytes(bytes(chance.randrange(8) for _ in range(chance.randrange(20))))
            except (ConnectionError, aiohttp.ClientError):
                break
        if chance.random() < 0.3:
            connection = client.ws._response.connection
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
        else:
            await client.ws.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_left_of_clients_that_misbehave(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(realtime_socket, "REFUSAL_SECONDS", 0.01)
    server.service.limits = Limits(max_events_per_second=10_000, max_joins_per_second=10_000)
    await server.sql(TABLE)
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(misbehave(connect, random.Random(100 * seed + number), time.monotonic() + 2))
    await until(lambda: server.service.usage()["connections"] == 0)
    hub, changes = server.service._hub, server.service._changes
    left = [
        hub.sockets,
        hub.users,
        hub._members,
        hub._presences,
        changes._by_table,
        changes._tables_of,
        changes._timers,
    ]
    assert [what for what in left if what] == []
    # And it still serves.
    client = await connect()
    await client.join(**subscription(), presence={"enabled": True})
    assert (await client.event("presence_state"))[4] == {}
    await server.sql("insert into public.votes values (1, 'a')")
    assert (await client.event("postgres_changes"))[4]["data"]["type"] == "INSERT"
