"""The proxy that breaks on demand does break, and only as it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from whatssound.testing.faults import FaultyLink


@pytest.fixture
async def link() -> AsyncIterator[FaultyLink]:
    """A link to a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, FaultyLink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as link:
        yield link


class Peer:
    """A client of the echo."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, link: FaultyLink) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", int(link.url.rsplit(":", 1)[1])))

    async def say(self, word: bytes, *, within: float = 5.0) -> bytes:
        self.writer.write(word)
        async with asyncio.timeout(within):
            return await self.reader.readexactly(len(word))

    def close(self) -> None:
        self.writer.transport.abort()


async def test_bytes_pass_both_ways_and_the_end_too(link: FaultyLink) -> None:
    peer = await Peer.connect(link)
    big = b"x" * 1_000_000
    assert await peer.say(big) == big
    assert link.connections == 1
    peer.writer.write_eof()
    assert await peer.reader.read() == b""
    peer.close()


async def test_reset_breaks_the_connection(link: FaultyLink) -> None:
    peer = await Peer.connect(link)
    await peer.say(b"a")
    assert link.reset() == 1
    with pytest.raises(ConnectionResetError):
        await peer.reader.read()
    peer.close()
    again = await Peer.connect(link)
    assert await again.say(b"b") == b"b"
    again.close()


async def test_fin_ends_the_connection_politely(link: FaultyLink) -> None:
    peer = await Peer.connect(link)
    await peer.say(b"a")
    assert link.fin() == 1
    assert await peer.reader.read() == b""
    peer.close()


async def test_a_black_hole_swallows_nothing_for_good(link: FaultyLink) -> None:
    peer = await Peer.connect(link)
    await peer.say(b"a")
    link.black_hole()
    with pytest.raises(TimeoutError):
        await peer.say(b"b", within=0.1)
    link.heal()
    async with asyncio.timeout(5):
        assert await peer.reader.readexactly(1) == b"b"
    peer.close()


async def test_new_connections_hang_in_a_black_hole(link: FaultyLink) -> None:
    link.black_hole()
    peer = await Peer.connect(link)
    with pytest.raises(TimeoutError):
        await peer.say(b"a", within=0.1)
    assert link.connections == 0
    peer.close()


async def test_delay_holds_up_and_keeps_order(link: FaultyLink) -> None:
    peer = await Peer.connect(link)
    link.delay(0.1)
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert await peer.say(b"abc") == b"abc"
    assert loop.time() - before >= 0.2
    link.delay(0)
    assert await peer.say(b"d") == b"d"
    peer.close()
    with pytest.raises(ValueError, match="negative"):
        link.delay(-1)


async def test_refuse_and_accept_again_on_the_same_port(link: FaultyLink) -> None:
    peer = await Peer.connect(link)
    await peer.say(b"a")
    url = link.url
    await link.refuse()
    await link.refuse()
    with pytest.raises(ConnectionRefusedError):
        await Peer.connect(link)
    assert await peer.say(b"open ones go on") == b"open ones go on"
    await link.accept()
    other = await Peer.connect(link)
    assert await other.say(b"b") == b"b"
    assert link.url == url
    peer.close()
    other.close()


async def test_a_server_that_is_not_there_resets() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with FaultyLink(f"http://127.0.0.1:{port}") as link:
        peer = await Peer.connect(link)
        with pytest.raises(ConnectionError):
            await peer.reader.read()
        peer.close()


async def test_closing_leaves_nothing(link: FaultyLink) -> None:
    peers = [await Peer.connect(link) for _ in range(3)]
    for peer in peers:
        await peer.say(b"a")
    link.black_hole()
    await link.close()
    await link.close()
    assert link.connections == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "faulty-link"]
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("target", ["127.0.0.1:54321", "http://", "gopher://somewhere"])
def test_a_target_needs_host_and_port(target: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        FaultyLink(target)


@pytest.mark.parametrize("how", ["reset", "fin"])
async def test_a_connection_in_the_making_ends_with_all_others(link: FaultyLink, how: str) -> None:
    link.black_hole()
    peer = await Peer.connect(link)
    async with asyncio.timeout(5):
        while not link.accepted:  # noqa: ASYNC110 - the link counts, and tells nobody
            await asyncio.sleep(0.01)
    assert getattr(link, how)() == 0
    link.heal()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await peer.say(b"still here?")
    peer.close()
    # Who comes after that is served.
    other = await Peer.connect(link)
    assert await other.say(b"hello") == b"hello"
    other.close()
