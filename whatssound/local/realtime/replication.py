"""A minimal client of Postgres' streaming replication protocol: asyncpg does not speak it.

Only what one logical slot needs: authentication, simple queries, and the copy stream of the log.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import ssl
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PROTOCOL: Final = 196_608
_SSL_REQUEST: Final = 80_877_103
_TIMEOUT: Final = 10.0
_STATUS_EVERY: Final = 5.0
_EPOCH_2000_US: Final = 946_684_800_000_000


class ReplicationError(Exception):
    """Postgres refused something; the text is its message."""


class _Target(NamedTuple):
    host: str
    port: int
    user: str
    password: str
    database: str
    tls: bool


def _parse(dsn: str) -> _Target:
    parts = urlsplit(dsn)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    host = options.get("host") or parts.hostname or "127.0.0.1"
    return _Target(
        host=host,
        port=int(options.get("port") or parts.port or 5432),
        user=unquote(parts.username or options.get("user") or "postgres"),
        password=unquote(parts.password or options.get("password") or ""),
        database=unquote(parts.path.lstrip("/")) or "postgres",
        tls=options.get("sslmode", "prefer") in {"require", "verify-ca", "verify-full"},
    )


class ReplicationConnection:
    """A connection to a walsender.

    Args:
        reader: The stream from Postgres.
        writer: The stream to Postgres.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = 0
        self._told = 0.0

    @classmethod
    async def connect(cls, dsn: str) -> Self:
        """Connects and signs in.

        Args:
            dsn: The connection string; the user needs the right to replicate.

        Raises:
            ReplicationError: Postgres refuses.
            OSError: It cannot be reached.
        """
        target = _parse(dsn)
        async with asyncio.timeout(_TIMEOUT):
            if target.host.startswith("/"):
                reader, writer = await asyncio.open_unix_connection(f"{target.host}/.s.PGSQL.{target.port}")
            else:
                reader, writer = await asyncio.open_connection(target.host, target.port)
            connection = cls(reader, writer)
            try:
                if target.tls:
                    await connection._start_tls(target.host)
                await connection._sign_in(target)
            except BaseException:
                connection.close()
                raise
        return connection

    def close(self) -> None:
        """Drops the connection; a temporary slot ends with it."""
        with contextlib.suppress(RuntimeError):
            self._writer.transport.abort()

    async def query(self, sql: str) -> None:
        """Runs a command.

        Args:
            sql: The command.

        Raises:
            ReplicationError: It fails.
        """
        self._send(b"Q", sql.encode() + b"\0")
        failure: ReplicationError | None = None
        async with asyncio.timeout(_TIMEOUT * 3):
            while True:
                kind, body = await self._message()
                if kind == b"E":
                    failure = _error(body)
                elif kind == b"Z":
                    break
        if failure is not None:
            raise failure

    async def stream(self, slot: str, publications: tuple[str, ...]) -> AsyncIterator[bytes]:
        """Yields the messages of the log from now on.

        Args:
            slot: The name of a logical slot of plugin `pgoutput`.
            publications: What to hear of.

        Raises:
            ReplicationError: Postgres ends the stream.
        """
        names = ",".join(f'"{name}"' for name in publications)
        options = f"proto_version '1', publication_names '{names}'"
        self._send(b"Q", f'START_REPLICATION SLOT "{slot}" LOGICAL 0/0 ({options})'.encode() + b"\0")
        while True:
            kind, body = await self._message()
            if kind == b"E":
                raise _error(body)
            if kind == b"d":
                data = self._on_copy_data(body)
                if data is not None:
                    yield data
            elif kind in {b"c", b"Z"}:
                raise ReplicationError("the stream has ended")

    def _on_copy_data(self, body: bytes) -> bytes | None:
        if body[:1] == b"w":
            # No reply asked for, but the server must learn now and then that its log can be recycled.
            self._received = max(self._received, int.from_bytes(body[1:9], "big"))
            if time.monotonic() - self._told > _STATUS_EVERY:
                self._tell_status()
            return body[25:]
        if body[:1] == b"k":
            self._received = max(self._received, int.from_bytes(body[1:9], "big"))
            if body[17:18] == b"\x01" or time.monotonic() - self._told > _STATUS_EVERY:
                self._tell_status()
        return None

    def _tell_status(self) -> None:
        self._told = time.monotonic()
        # Exactly what was received: a server that shuts down waits until it hears its own position.
        position = self._received.to_bytes(8, "big")
        now = int(time.time() * 1_000_000) - _EPOCH_2000_US
        self._send(b"d", b"r" + position * 3 + now.to_bytes(8, "big") + b"\0")

    async def _start_tls(self, host: str) -> None:
        self._writer.write((8).to_bytes(4, "big") + _SSL_REQUEST.to_bytes(4, "big"))
        if await self._reader.readexactly(1) != b"S":
            raise ReplicationError("the server does not speak TLS")
        context = ssl.create_default_context()
        # As libpq's sslmode=require does: the traffic is hidden, the certificate is not checked.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await self._writer.start_tls(context, server_hostname=host)

    async def _sign_in(self, target: _Target) -> None:
        settings = {"user": target.user, "database": target.database, "replication": "database"}
        settings |= {"client_encoding": "UTF8", "application_name": "realtime_replication_connection"}
        pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in settings.items()) + b"\0"
        self._writer.write((len(pairs) + 8).to_bytes(4, "big") + _PROTOCOL.to_bytes(4, "big") + pairs)
        while True:
            kind, body = await self._message()
            if kind == b"E":
                raise _error(body)
            if kind == b"R":
                await self._authenticate(body, target)
            elif kind == b"Z":
                return

    async def _authenticate(self, body: bytes, target: _Target) -> None:
        method = int.from_bytes(body[:4], "big")
        if method == 3:
            self._send(b"p", target.password.encode() + b"\0")
        elif method == 5:
            # Postgres' own scheme; the choice of hash is not ours.
            inner = hashlib.md5((target.password + target.user).encode()).hexdigest().encode()  # noqa: S324
            outer = hashlib.md5(inner + body[4:8]).hexdigest()  # noqa: S324
            self._send(b"p", f"md5{outer}\0".encode())
        elif method == 10:
            await self._scram(target.password)
        elif method not in {0, 12}:
            raise ReplicationError(f"authentication method {method} is not supported")

    async def _scram(self, password: str) -> None:
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        start = f"n,,{first}".encode()
        self._send(b"p", b"SCRAM-SHA-256\0" + len(start).to_bytes(4, "big") + start)
        kind, body = await self._message()
        if kind == b"E":
            raise _error(body)
        challenge = body[4:].decode()
        facts = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(facts["s"]), int(facts["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        last = f"c=biws,r={facts['r']}"
        signature = hmac.digest(hashlib.sha256(client_key).digest(), f"{first},{challenge},{last}".encode(), "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._send(b"p", f"{last},p={base64.b64encode(proof).decode()}".encode())

    def _send(self, kind: bytes, body: bytes) -> None:
        self._writer.write(kind + (len(body) + 4).to_bytes(4, "big") + body)

    async def _message(self) -> tuple[bytes, bytes]:
        try:
            head = await self._reader.readexactly(5)
            return head[:1], await self._reader.readexactly(int.from_bytes(head[1:], "big") - 4)
        except asyncio.IncompleteReadError as error:
            raise ReplicationError("the connection has ended") from error


def _error(body: bytes) -> ReplicationError:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return ReplicationError(fields.get(b"M", "unknown error"))
