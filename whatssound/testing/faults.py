"""A TCP proxy that breaks on demand: what a bad network does to a client, at the moment a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65_536
_LINGER_ZERO = struct.pack("ii", 1, 0)
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class FaultyLink:
    """Stands between a client and a server, passes bytes on, and breaks when told.

    Give the client `url` instead of the server's. All methods act at once on every connection and are safe to repeat.
    Use it as an async context manager, in the event loop of the client.

    Example:
        async with FaultyLink(stack.url) as link, WhatsSound(link.url, key) as sound:
            ...
            link.reset()          # as a NAT that has forgotten the connection
            link.black_hole()     # as a train in a tunnel
            link.heal()

    Args:
        target: URL of the server; only its host and port are used.

    Raises:
        ValueError: the URL has no host, or no port that could be guessed.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        if not parts.hostname or port is None:
            raise ValueError(f"a target looks like http://127.0.0.1:54321, not {target!r}")
        self._scheme = parts.scheme
        self._target = (parts.hostname, port)
        self._port = 0
        self._listening: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._delay = 0.0
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends = 0
        self.accepted = 0

    @property
    def url(self) -> str:
        """Where clients connect; it stays the same through every fault."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._pairs)

    async def __aenter__(self) -> Self:
        await self._listen(_bound(0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Resets what is open, frees the port, and returns when nothing is left."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- faults -------------------------------------------------------------------------------------------------------

    def reset(self) -> int:
        """Ends every connection by RST, to both sides; answers how many there were."""
        self._ends += 1
        pairs = tuple(self._pairs)
        for pair in pairs:
            pair.reset()
        return len(pairs)

    def fin(self) -> int:
        """Ends every connection by FIN, to both sides, without a word of the protocol above; answers how many."""
        self._ends += 1
        pairs = tuple(self._pairs)
        for pair in pairs:
            pair.fin()
        return len(pairs)

    def black_hole(self) -> None:
        """Passes nothing on in either direction until `heal`, while all connections stay open.

        New connections are accepted and hang, too. What was sent meanwhile arrives after `heal`, as TCP repeats it.
        """
        self._passing.clear()

    def heal(self) -> None:
        """Ends a black hole and a delay."""
        self._delay = 0.0
        self._passing.set()

    def delay(self, seconds: float) -> None:
        """Holds up everything by so many seconds in each direction, in order; 0 ends it.

        Raises:
            ValueError: a negative number.
        """
        if not seconds >= 0:
            raise ValueError(f"a delay is not negative: {seconds}")
        self._delay = seconds

    async def refuse(self) -> None:
        """Refuses new connections (ECONNREFUSED) until `accept`; open ones go on. The port stays ours."""
        if self._listening is None:
            return
        self._listening.close()
        self._listening = None
        # Bound but not listening: the port answers with a refusal and nobody else can have it.
        self._placeholder = _bound(self._port)

    async def accept(self) -> None:
        """Takes new connections again."""
        if self._placeholder is not None:
            held, self._placeholder = self._placeholder, None
            await self._listen(held)

    # --- passing on ---------------------------------------------------------------------------------------------------

    async def _listen(self, bound: socket.socket) -> None:
        self._listening = await asyncio.start_server(self._connected, sock=bound)
        self._port = bound.getsockname()[1]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        serving = self._serve(reader, writer, self._ends)
        task = asyncio.get_running_loop().create_task(serving, name="faulty-link")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: int) -> None:
        try:
            await self._passing.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        pair = _Pair(writer, far_writer)
        if ends != self._ends:
            # All were ended while this one was being made: it must not live through what follows.
            pair.reset()
            return
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far_writer))
                group.create_task(self._pass_on(far_reader, writer))
        finally:
            self._pairs.discard(pair)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(held, writer))
            data = b"-"
            while data:
                # Whichever way a side ended, the other side sees an end; an empty chunk stands for it.
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = await reader.read(_CHUNK)
                await held.put((asyncio.get_running_loop().time() + self._delay, data))

    async def _deliver(self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        broken = False
        while True:
            due, data = await held.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            await self._passing.wait()
            if not data:
                if not broken and writer.can_write_eof() and not writer.is_closing():
                    with contextlib.suppress(OSError):  # the other side is gone as well
                        writer.write_eof()
                return
            if broken:
                continue
            try:
                writer.write(data)
                await writer.drain()
            except ConnectionError:
                broken = True  # read on, so that the other direction's end is seen


class _Pair:
    """The two sockets of one connection."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._both = (near, far)

    def reset(self) -> None:
        """RST on both."""
        for writer in self._both:
            _reset(writer)

    def fin(self) -> None:
        """FIN on both."""
        for writer in self._both:
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() != -1:
        # Closing a socket that lingers for zero seconds sends RST instead of FIN.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", port))
    return bound
