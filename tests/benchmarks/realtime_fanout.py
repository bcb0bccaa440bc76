"""How fast the local Realtime fans out: one room, many sockets, a few broadcasts a second.

Run it by hand: `python tests/benchmarks/realtime_fanout.py --sockets 1000 --rate 2 --seconds 20`.
The listeners live in a process of their own and do as little as possible, so that the server is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from whatssound.local.postgres import PostgresServer
from whatssound.local.realtime import Limits, RealtimeService
from whatssound.local.tokens import Keyring

TOPIC = "realtime:session:bench"


async def _connect(port: int, key: str, vsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    secret = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        (
            f"GET /realtime/v1/websocket?apikey={key}&vsn={vsn} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {secret}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head:
        raise ConnectionError(head.decode())
    return reader, writer


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    return await reader.readexactly(size)


def _masked(text: bytes) -> bytes:
    # A mask of zeros is a mask: the server has nothing to undo, and neither have we to do.
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + text


async def _listen(port: int, key: str, delays: list[float]) -> None:
    reader, writer = await _connect(port, key, "1.0.0")
    join = {"topic": TOPIC, "event": "phx_join", "payload": {"config": {}}, "ref": "1", "join_ref": "1"}
    writer.write(_masked(json.dumps(join).encode()))
    while True:
        frame = await _frame(reader)
        now = time.time()
        if b'"broadcast"' in frame and b'"at":' in frame:
            at = frame.index(b'"at":') + 5
            delays.append(now - float(frame[at : frame.index(b"}", at)].split(b",")[0]))


async def _crowd(port: int, key: str, sockets: int, signals: tuple[Any, Any, Any]) -> None:
    ready, stop, results = signals
    delays: list[float] = []
    listeners = []
    for number in range(sockets):
        listeners.append(asyncio.create_task(_listen(port, key, delays)))
        if number % 50 == 49:
            await asyncio.sleep(0.05)
    await asyncio.sleep(2)
    ready.set()
    await asyncio.to_thread(stop.wait)
    for listener in listeners:
        listener.cancel()
    broken = [x for x in await asyncio.gather(*listeners, return_exceptions=True) if not isinstance(x, BaseException)]
    results.put((delays, len(broken)))


def _run_crowd(*arguments: Any) -> None:
    asyncio.run(_crowd(*arguments))


async def measure(sockets: int, rate: float, seconds: float, size: int) -> dict[str, float]:
    """Runs the benchmark and answers delays in milliseconds.

    Args:
        sockets: Listeners in the room.
        rate: Broadcasts a second.
        seconds: How long.
        size: Bytes of text in a message.
    """
    keyring = Keyring()
    wide = Limits(max_events_per_second=10**9, max_concurrent_users=10**6, max_joins_per_second=10**6)
    with tempfile.TemporaryDirectory() as directory:
        async with PostgresServer(Path(directory) / "data", durable=False) as postgres:
            service = RealtimeService(postgres.dsn, keyring, limits=wide)
            app = web.Application()
            service.mount(app)
            runner = web.AppRunner(app, shutdown_timeout=0.5)
            await runner.setup()
            await service.start()
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
            port = runner.addresses[0][1]
            context = multiprocessing.get_context("spawn")
            ready, stop, results = context.Event(), context.Event(), context.Queue()
            crowd = context.Process(target=_run_crowd, args=(port, keyring.anon_key, sockets, (ready, stop, results)))
            crowd.start()
            try:
                await asyncio.to_thread(ready.wait, 60)
                _, writer = await _connect(port, keyring.anon_key, "1.0.0")
                join = {"topic": TOPIC, "event": "phx_join", "payload": {"config": {}}, "ref": "1", "join_ref": "1"}
                writer.write(_masked(json.dumps(join).encode()))
                await asyncio.sleep(0.5)
                before = time.process_time()
                sent = int(rate * seconds)
                for number in range(sent):
                    text = "x" * size
                    payload = {"event": "chat", "payload": {"text": text, "at": time.time()}, "type": "broadcast"}
                    push = {"topic": TOPIC, "event": "broadcast", "payload": payload, "ref": str(number)}
                    writer.write(_masked(json.dumps(push).encode()))
                    await asyncio.sleep(1 / rate)
                await asyncio.sleep(1)
                busy = time.process_time() - before
                stop.set()
                delays, broken = await asyncio.to_thread(results.get, True, 30)
            finally:
                stop.set()
                crowd.join(10)
                await service.stop()
                await runner.cleanup()
    delays = sorted(1000 * delay for delay in delays)
    cuts = statistics.quantiles(delays, n=100)
    return {
        "delivered": len(delays),
        "expected": sent * sockets,
        "broken": broken,
        "p50": cuts[49],
        "p95": cuts[94],
        "p99": cuts[98],
        "max": delays[-1],
        "server_cpu_ms_per_broadcast": 1000 * busy / sent,
    }


def main() -> int:
    """Prints the result; the exit code says whether p95 is within the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--goal-ms", type=float, default=150.0)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3 * options.sockets)), hard))
    result = asyncio.run(measure(options.sockets, options.rate, options.seconds, options.size))
    for name, value in result.items():
        sys.stdout.write(f"{name:>28} {value:,.1f}\n")
    return 0 if result["p95"] <= options.goal_ms and result["delivered"] == result["expected"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
