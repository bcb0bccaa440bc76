"""Runs one Postgres server on a data directory of its own and a TCP port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg
from typing_extensions import override

from whatssound.local import cluster
from whatssound.local.errors import (
    DataDirectoryError,
    DataDirectoryInUseError,
    LocalStackError,
    PortInUseError,
    PostgresStartError,
)
from whatssound.local.migrate import apply_platform, keep_message_partitions

PASSWORD = "postgres"  # noqa: S105 - the well-known local one; the server trusts loopback anyway
"""The password in every connection string, the one `supabase start` uses."""

_HOST = "127.0.0.1"
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 20.0
_POLL = 0.02
_ATTEMPTS = 5

# A shell that outlives us holds the server: when our end of its stdin closes, for whatever reason (kill -9 included),
# it stops the server fast. Without it a crashed test run would leave servers behind.
_KEEPER = """
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
trap 'kill -INT $server' INT TERM HUP
{ read -r _ <&3; kill -INT $server; } 2>/dev/null &
waiter=$!
exec 3<&-
wait $server
status=$?
kill $waiter 2>/dev/null
exit $status
"""


class PostgresServer:
    """One Postgres server with Supabase's roles and schemas, on 127.0.0.1.

    A new data directory is a copy of a prepared template, so the second and later ones start in well under a second.
    The directory of a crashed predecessor is taken over; one of a running server is refused.

    Args:
        data_dir: where the cluster lives; made if missing.
        port: TCP port, or None for a free one, which is kept over `restart()`.
        durable: False for throw-away data: no fsync, lost on a power cut, faster.
    """

    def __init__(self, data_dir: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self._wanted_port = port or None
        self._port: int | None = None
        self._durable = durable
        self._keeper: asyncio.subprocess.Process | None = None
        self._lock: int | None = None
        self._pid: int | None = None

    @override
    def __repr__(self) -> str:
        return f"PostgresServer(data_dir={str(self.data_dir)!r}, port={self._port}, running={self.running})"

    @property
    def port(self) -> int:
        """The TCP port; known once the server has started.

        Raises:
            LocalStackError: the server has never been started.
        """
        if self._port is None:
            raise LocalStackError("Postgres has no port before start()")
        return self._port

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None when it is not running."""
        return self._pid if self.running else None

    @property
    def running(self) -> bool:
        """Whether the server process is there."""
        return self._keeper is not None and self._keeper.returncode is None

    def dsn(self, user: str = "postgres", database: str = "postgres") -> str:
        """The connection string for `user`; the same before and after a restart."""
        return f"postgresql://{quote(user)}:{PASSWORD}@{_HOST}:{self.port}/{quote(database)}?sslmode=disable"

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps every stack off the data directory while the block runs.

        Raises:
            DataDirectoryInUseError: a stack is running on it.
        """
        handle = _lock(self.data_dir)
        try:
            yield
        finally:
            os.close(handle)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the server and returns when it takes connections. Does nothing if it runs.

        Raises:
            PostgresMissingError: the Postgres programs are not installed.
            DataDirectoryError: the data directory cannot be used.
            DataDirectoryInUseError: another running stack has it.
            PortInUseError: the port that was asked for is taken.
            PostgresStartError: the server gave up, or was not ready in time.
        """
        if self.running:
            return
        cluster.check_data_dir(self.data_dir)
        self._lock = self._lock or _lock(self.data_dir)
        try:
            if not cluster.is_made(self.data_dir):
                await cluster.make_data_dir(self.data_dir, _prepare)
            await _stop_orphan(self.data_dir)
            await self._run()
            await self._bring_up_to_date()
        except BaseException:
            await self._end(signal.SIGKILL)
            raise

    async def stop(self) -> None:
        """Stops the server: connections are cut, data is kept. Does nothing if it does not run."""
        await self._end(signal.SIGINT)

    async def kill(self) -> None:
        """Kills the server and all its processes at once (SIGKILL), as a crash would; `start()` recovers."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """Stops and starts the server on the same port."""
        await self.stop()
        await self.start()

    async def _bring_up_to_date(self) -> None:
        admin = self.dsn(cluster.SUPERUSER)
        if not cluster.is_current(self.data_dir):
            await apply_platform(admin)
            cluster.mark_current(self.data_dir)
        # The data, or the template it was copied from, may be days old: messages need today's partition.
        await keep_message_partitions(admin)

    async def _run(self) -> None:
        port = self._wanted_port or self._port
        for attempt in range(_ATTEMPTS):
            try:
                await self._launch(port or _free_port())
            except PortInUseError:
                # A free port can be lost between looking and binding; one that was asked for, or that clients already
                # know, is not exchanged.
                if port is not None:
                    raise
            except PostgresStartError as error:
                # Whoever else works below the temporary directory may close the way to ours again; pytest does, when
                # a second run starts.
                if "Permission denied" not in error.log or attempt == _ATTEMPTS - 1:
                    raise
                cluster.check_data_dir(self.data_dir)
            else:
                return
        raise PostgresStartError("no free port")

    async def _launch(self, port: int) -> None:
        log_path = self.data_dir / "server.log"
        user = cluster.os_user()
        with log_path.open("wb") as log:
            cluster_command = [str(cluster.bin_dir() / "postgres"), "-D", str(self.data_dir), *self._settings(port)]
            self._keeper = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", _KEEPER, "keeper", *cluster_command,
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, cwd="/", env=cluster.clean_env(),
                start_new_session=True,  # Ctrl-C in the terminal is for us to act on, in order
                user=user.name if user else None, group=user.gid if user else None,
                extra_groups=[] if user else None,
            )  # fmt: skip
        self._port = port
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await self._ready()
        except TimeoutError:
            await self._kill_processes(signal.SIGKILL)
            raise PostgresStartError(f"not ready after {_START_TIMEOUT:.0f} s", _tail(log_path)) from None
        self._pid = _postmaster_pid(self.data_dir)

    async def _ready(self) -> None:
        keeper = self._keeper
        assert keeper is not None
        dsn = self.dsn(cluster.SUPERUSER)
        while keeper.returncode is None:
            try:
                connection = await asyncpg.connect(dsn, timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(keeper.wait(), _POLL)
                continue
            # Someone else's server may have answered on that port while ours fails to bind it.
            directory = await connection.fetchval("show data_directory")
            await connection.close()
            if Path(directory) == self.data_dir:
                return
        log = _tail(self.data_dir / "server.log")
        self._keeper = None
        if "could not bind" in log or "Address already in use" in log:
            raise PortInUseError(self.port)
        raise PostgresStartError("the server gave up", log)

    def _settings(self, port: int) -> list[str]:
        settings = {
            "listen_addresses": _HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "wal_level": "logical",
            "max_connections": "200",
            "max_wal_senders": "40",
            "max_replication_slots": "40",
            "max_slot_wal_keep_size": "1GB",  # a slot that nobody reads must not fill the disk
            "wal_sender_timeout": "0",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "autovacuum": "on",
            "jit": "off",
            "log_min_messages": "warning",
        }
        if not self._durable:
            # Not synchronous_commit: a WAL sender sends what is flushed, so messages would come late.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    async def _end(self, how: signal.Signals) -> None:
        # Shielded: a cancelled caller must not leave a server behind.
        ending = asyncio.ensure_future(self._kill_processes(how))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _kill_processes(self, how: signal.Signals) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        pid = _postmaster_pid(self.data_dir)
        family = _children(pid) if pid else []
        if how == signal.SIGKILL and pid:
            _signal(pid, signal.SIGKILL)
            for child in family:
                _signal(child, signal.SIGKILL)
        if keeper.stdin is not None:
            keeper.stdin.close()
        try:
            await asyncio.wait_for(keeper.wait(), _STOP_TIMEOUT)
        except TimeoutError:
            for process in (pid, *_children(pid), *family) if pid else ():
                _signal(process, signal.SIGKILL)
            await keeper.wait()
        await _until(lambda: not any(map(_alive, family)))
        self._pid = None


async def _prepare(data_dir: Path) -> None:
    """Brings a bare cluster to the state of the template."""
    server = PostgresServer(data_dir, durable=False)
    try:
        await server._run()
        await apply_platform(server.dsn(cluster.SUPERUSER))
        connection = await asyncpg.connect(server.dsn(cluster.SUPERUSER))
        await connection.execute("checkpoint")
        await connection.close()
    finally:
        await server.stop()
    (data_dir / "server.log").unlink()


def _lock(data_dir: Path) -> int:
    """Takes the directory for this process; the lock goes with the process, however it ends."""
    handle = os.open(data_dir / cluster.LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DataDirectoryInUseError(data_dir) from None
    return handle


async def _stop_orphan(data_dir: Path) -> None:
    """Ends a server whose owner died: we hold the lock, so nobody else does.

    Raises:
        DataDirectoryError: it does not end.
    """
    pid = _postmaster_pid(data_dir)
    if pid is None or not _alive(pid) or not _is_postgres(pid):
        return  # a postmaster.pid without its process is Postgres' own to clean up
    family = [pid, *_children(pid)]
    _signal(pid, signal.SIGINT)
    if not await _until(lambda: not any(map(_alive, family)), 10):
        for process in family:
            _signal(process, signal.SIGKILL)
        if not await _until(lambda: not any(map(_alive, family)), 10):
            raise DataDirectoryError(data_dir, f"a server left behind (process {pid}) does not end")


def _postmaster_pid(data_dir: Path) -> int | None:
    try:
        return int((data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _is_postgres(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline")
    if not command.exists():  # no /proc on macOS: the pid file is the best that is known
        return True
    return b"postgres" in command.read_bytes()


def _children(pid: int) -> list[int]:
    """Ids of the direct children of `pid`; empty where /proc does not tell (they end with their parent anyway)."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold spaces; the parent's id is the second field after it.
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):  # a zombie holds no files and no memory
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return not Path("/proc/self").exists()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def _until(condition: Callable[[], bool], seconds: float = _STOP_TIMEOUT) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path, size: int = 4000) -> str:
    try:
        return log.read_bytes()[-size:].decode(errors="replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
