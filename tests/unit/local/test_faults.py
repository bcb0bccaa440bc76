"""Faults, applied to a gateway with a small service behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from whatssound.local.billing import Usage
from whatssound.local.calls import RpcCalls
from whatssound.local.errors import LocalStackError
from whatssound.local.faults import Faults
from whatssound.local.gateway import Gateway
from whatssound.local.tokens import Keyring

KEYS = Keyring()


class Counter:
    """A service that counts what reaches it, and echoes on a socket."""

    def __init__(self) -> None:
        self.served = 0
        self.closed: list[int | None] = []
        self.reading = asyncio.Event()
        self.gone = asyncio.Event()

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    def mount(self, app: web.Application) -> None:
        async def count(_: web.Request) -> web.Response:
            self.served += 1
            return web.json_response({"served": self.served})

        async def echo(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            self.closed.append(socket.close_code)
            return socket

        async def read(request: web.Request) -> web.Response:
            self.reading.set()
            try:
                await request.read()
            finally:
                self.gone.set()
            return web.Response()

        app.router.add_post("/rest/v1/read", read)
        app.router.add_route("*", "/rest/v1/{path:.*}", count)
        app.router.add_get("/realtime/v1/websocket", echo)
        app.router.add_post("/_local/anything", count)


class Bench:
    def __init__(self) -> None:
        self.faults = Faults(seed=1)
        self.service = Counter()
        self.gateway = Gateway(
            "127.0.0.1",
            0,
            keyring=KEYS,
            faults=self.faults,
            calls=RpcCalls(),
            services=[self.service],
            status=lambda: {"status": "ok"},
        )
        self.http = aiohttp.ClientSession()

    async def get(self, path: str = "/rest/v1/x", **headers: str) -> tuple[int, Any]:
        async with self.http.get(self.gateway.url + path, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.gateway.open()
    yield made
    await made.http.close()
    made.faults.clear()
    await made.gateway.close()


async def test_without_faults_requests_pass(bench: Bench) -> None:
    assert await bench.get() == (200, {"served": 1})
    assert await bench.get("/") == (200, {"status": "ok"})


async def test_an_error_is_answered_as_often_as_said_and_does_no_work(bench: Bench) -> None:
    rule = bench.faults.answer("/rest/v1/", 503, times=2)
    assert [(await bench.get())[0] for _ in range(3)] == [503, 503, 200]
    assert (rule.hits, bench.service.served, bench.faults.rules) == (2, 1, ())


async def test_an_error_may_say_when_to_come_again(bench: Bench) -> None:
    bench.faults.answer("/rest/v1/x", 429, retry_after=2.5, body={"code": "slow"})
    async with bench.http.get(bench.gateway.url + "/rest/v1/x") as answer:
        assert (answer.status, answer.headers["Retry-After"], await answer.json()) == (429, "2.5", {"code": "slow"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_only_the_path_named_is_hit(bench: Bench) -> None:
    bench.faults.answer("/rest/v1/rpc/", 500, times=None)
    assert (await bench.get("/rest/v1/x"))[0] == 200
    assert (await bench.get("/rest/v1/rpc/f"))[0] == 500


async def test_chance_repeats_with_its_seed(bench: Bench) -> None:
    bench.faults.answer("/", 500, times=None, probability=0.5)
    first = [(await bench.get())[0] for _ in range(20)]
    bench.faults.reseed(1)
    assert [(await bench.get())[0] for _ in range(20)] == first
    assert {200, 500} == set(first)


async def test_a_lost_response_has_done_its_work(bench: Bench) -> None:
    bench.faults.lose_response("/rest/v1/x")
    with pytest.raises(aiohttp.ClientError):
        async with bench.http.post(bench.gateway.url + "/rest/v1/x"):
            pass
    assert bench.service.served == 1
    assert await bench.get() == (200, {"served": 2})


async def test_a_delay_holds_a_request_up(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    bench.faults.delay("/", 0.2, jitter=0.1, times=1)
    started = loop.time()
    await bench.get()
    assert loop.time() - started >= 0.2


async def test_a_freeze_lasts_until_the_thaw(bench: Bench) -> None:
    bench.faults.freeze("/rest")
    held = asyncio.create_task(bench.get())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(held), 0.1)
    assert bench.service.served == 0
    assert (await bench.get("/"))[0] == 200
    bench.faults.thaw()
    assert await held == (200, {"served": 1})


async def test_the_way_out_is_never_faulty(bench: Bench) -> None:
    bench.faults.answer("/", 503, times=None)
    async with bench.http.post(bench.gateway.url + "/_local/anything") as answer:
        assert answer.status == 200


async def test_sockets_are_closed_with_the_code_asked_for(bench: Bench) -> None:
    url = bench.gateway.url + "/realtime/v1/websocket"
    async with bench.http.ws_connect(url) as one, bench.http.ws_connect(url) as two:
        await one.send_str("hello")
        assert await one.receive_str() == "hello"
        assert (bench.faults.sockets, bench.faults.peak_sockets) == (2, 2)
        assert bench.faults.drop_sockets(1012, "Restarting") == 2
        message = await one.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1012, "Restarting")
        assert (await two.receive()).data == 1012


async def test_sockets_are_cut_without_a_word(bench: Bench) -> None:
    async with bench.http.ws_connect(bench.gateway.url + "/realtime/v1/websocket") as socket:
        assert bench.faults.drop_sockets(None) == 1
        assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        assert socket.close_code == 1006


@pytest.mark.parametrize(
    "call",
    [
        lambda faults: faults.answer("rest", 500),
        lambda faults: faults.answer("/", 200),
        lambda faults: faults.answer("/", 500, probability=1.5),
        lambda faults: faults.answer("/", 500, times=0),
        lambda faults: faults.delay("/", -1),
        lambda faults: faults.drop_sockets(99),
        lambda faults: faults.drop_sockets(1012, "x" * 124),
        lambda faults: faults.freeze_sockets(),
        lambda faults: faults.skip_system_ok(),
        lambda faults: faults.lose_sent(),
    ],
)
def test_faults_that_make_no_sense_are_refused(call: Any) -> None:
    with pytest.raises(LocalStackError):
        call(Faults())


async def test_a_client_that_hangs_up_in_its_own_request_is_no_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(b"POST /rest/v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    async with asyncio.timeout(10):
        await bench.service.reading.wait()
        writer.transport.abort()
        await bench.service.gone.wait()
    assert await bench.get() == (200, {"served": 1})
    assert not caplog.records
    del reader


async def test_a_wrong_key_is_told_from_a_missing_one(bench: Bench) -> None:
    status, body = await bench.get(apikey="wrong")
    assert (status, body["message"]) == (401, "Invalid API key")
    assert (await bench.get(apikey=KEYS.anon_key))[0] == 200
    assert (await bench.get(apikey=KEYS.sign({"role": "authenticated", "exp": 1})))[0] == 200
    assert (await bench.get())[0] == 200


async def test_browsers_are_let_in(bench: Bench) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,x-client-info",
    }
    async with bench.http.options(bench.gateway.url + "/rest/v1/x", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Headers"] == "apikey,x-client-info"
    async with bench.http.get(bench.gateway.url + "/rest/v1/x", headers={"Origin": "http://a"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]
    # Realtime answers for itself: the recorded server sends none where it wants none.
    async with bench.http.get(bench.gateway.url + "/realtime/v1/nowhere") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with bench.http.get(bench.gateway.url + "/nowhere") as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, "*")


@pytest.mark.parametrize(
    ("usage", "plan", "cents"),
    [
        (Usage(5_000_000, 0, 500), "pro", 0),
        (Usage(5_000_001, 0, 501), "pro", 1250),
        (Usage(54_100_000, 0, 0), "pro", 12500),
        (Usage(2_000_000, 0, 200), "free", 0),
        (Usage(2_000_001, 0, 0), "free", None),
        (Usage(0, 0, 201), "free", None),
    ],
)
def test_the_bill_counts_whole_packages(usage: Usage, plan: str, cents: int | None) -> None:
    assert usage.cost_cents(plan) == cents
    text = usage.describe(plan)
    assert f"{usage.messages:,}" in text
    assert ("beyond" in text) == bool(cents)
    assert ("more than free allows" in text) == (cents is None)
