"""A whole Supabase on one port, with nothing but Python: for development, tests and demos."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from typing_extensions import override

from whatssound.local import assets, cluster
from whatssound.local.billing import Usage, measure
from whatssound.local.calls import RpcCalls
from whatssound.local.control import Control
from whatssound.local.database import Database, ExistingDatabase, OwnDatabase
from whatssound.local.errors import LocalStackError
from whatssound.local.faults import Faults
from whatssound.local.gateway import PUBLISHABLE_KEY, SECRET_KEY, Gateway
from whatssound.local.migrate import apply_migrations, apply_seed, apply_sql_once, tell_plan
from whatssound.local.ports import Service
from whatssound.local.services import ServiceSettings, build_services
from whatssound.local.tokens import WELL_KNOWN_SECRET, Keyring

if TYPE_CHECKING:
    from whatssound.client import WhatsSound

DEFAULT = Path("supabase/migrations")
"""Stands for the product's own migrations, wherever they are installed."""


class LocalStack:
    """Postgres, REST, Auth and Realtime behind one URL, as `supabase start` gives them, without Docker.

    Args:
        port: TCP port, 0 for a free one.
        host: address to listen on.
        data_dir: keeps the data; None for a directory that goes with the stack.
        migrations: directory of migrations to apply, or None for none; by default the product's own.
        seed: whether the `seed.sql` beside the migrations follows them on a new database.
        sql_files: SQL files to run once on a database, as superuser, after migrations and seed.
        jwt_secret: signs tokens; by default the well-known local one.
        jwt_algorithm: how users' tokens are signed.
        jwt_expiry: seconds that a user's token is valid.
        plan: hosted plan (`free`, `pro`, `team`) whose Realtime limits apply; None for limits out of the way.
        limits: single Realtime limits by name, on top of the plan's.
        database_url: an existing Postgres (15 to 18) to use, by a superuser's connection string.
        postgrest_bin: a real PostgREST to run instead of ours.
        realtime_url: a real Realtime to pass sockets on to instead of ours.
        seed_faults: seed of what the faults leave to chance.

    Raises:
        LocalStackError: the arguments cannot go together; on entering, whatever keeps the stack from starting.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        data_dir: Path | str | None = None,
        migrations: Path | str | None = DEFAULT,
        seed: bool = True,
        sql_files: Sequence[Path | str] = (),
        jwt_secret: str = WELL_KNOWN_SECRET,
        jwt_algorithm: Literal["HS256", "ES256"] = "HS256",
        jwt_expiry: int = 3600,
        plan: str | None = None,
        limits: Mapping[str, object] | None = None,
        database_url: str | None = None,
        postgrest_bin: Path | str | None = None,
        realtime_url: str | None = None,
        seed_faults: int = 0,
    ) -> None:
        if database_url is not None and data_dir is not None:
            raise LocalStackError("a database URL and a data directory exclude each other")
        self._wanted_port = port
        self._host = host
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._database_url = database_url
        self._migrations = None if migrations is None else Path(migrations)
        if migrations == DEFAULT:
            self._migrations = assets.migrations_dir()
        self._seed = seed
        self._sql_files = [Path(file) for file in sql_files]
        self._keyring = Keyring(jwt_secret, algorithm=jwt_algorithm)
        self._settings = ServiceSettings(
            plan=plan,
            limits=limits or {},
            jwt_expiry=jwt_expiry,
            postgrest_bin=None if postgrest_bin is None else Path(postgrest_bin),
            realtime_url=realtime_url,
        )
        self._services: dict[str, Service] = {}
        try:
            self._services = build_services(self.dsn, self._keyring, self._settings)
        except ValueError as error:
            raise LocalStackError(str(error)) from error
        self.faults = Faults(seed_faults)
        self.calls = RpcCalls()
        self._database: Database | None = None
        self._gateway: Gateway | None = None
        self._running: set[str] = set()
        self._changing = asyncio.Lock()

    # ------------------------------------------------------------------------------------------------- what it is

    @override
    def __repr__(self) -> str:
        return f"LocalStack(url={self.url if self._gateway else None!r}, running={sorted(self._running)})"

    @property
    def url(self) -> str:
        """Where clients connect (`SUPABASE_URL`).

        Raises:
            LocalStackError: the stack has not started.
        """
        return self._open_gateway().url

    @property
    def port(self) -> int:
        """The TCP port clients connect to."""
        return self._open_gateway().port

    @property
    def anon_key(self) -> str:
        """The public key (`SUPABASE_ANON_KEY`); the well-known local one unless a secret was given."""
        return self._keyring.anon_key

    @property
    def service_key(self) -> str:
        """The secret key that bypasses every policy (`SUPABASE_SERVICE_ROLE_KEY`)."""
        return self._keyring.service_key

    @property
    def publishable_key(self) -> str:
        """The new kind of public key (`SUPABASE_PUBLISHABLE_KEY`); as good as `anon_key`."""
        return PUBLISHABLE_KEY

    @property
    def secret_key(self) -> str:
        """The new kind of secret key (`SUPABASE_SECRET_KEY`); as good as `service_key`."""
        return SECRET_KEY

    @property
    def jwt_secret(self) -> str:
        """What HS256 tokens are signed with (`SUPABASE_JWT_SECRET`)."""
        return self._keyring.secret

    @property
    def keyring(self) -> Keyring:
        """Signs tokens that this stack accepts."""
        return self._keyring

    @property
    def db_url(self) -> str:
        """Connection string of the role `postgres`, which is no superuser (`SUPABASE_DB_URL`)."""
        return self.dsn("postgres")

    def dsn(self, role: str = "postgres") -> str:
        """The database's connection string for a role; `supabase_admin` is the superuser.

        Raises:
            LocalStackError: the stack has not started.
        """
        if self._database is None:
            raise LocalStackError("the stack has not started: use `async with LocalStack() as stack`")
        return self._database.dsn(role)

    def env(self) -> dict[str, str]:
        """Everything a client needs, under the names that Supabase's own tools use."""
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_ANON_KEY": self.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_key,
            "SUPABASE_PUBLISHABLE_KEY": self.publishable_key,
            "SUPABASE_SECRET_KEY": self.secret_key,
            "SUPABASE_JWT_SECRET": self.jwt_secret,
            "SUPABASE_DB_URL": self.db_url,
        }

    def client(self) -> WhatsSound:
        """A client of this stack, not signed in yet."""
        from whatssound.client import WhatsSound  # noqa: PLC0415 - the stack itself never needs the client side

        return WhatsSound(self.url, self.anon_key)

    def status(self) -> dict[str, Any]:
        """Which services run, for `/` and the control API."""
        names = ("postgres", *self._services)
        return {
            "name": "whatssound local stack",
            "status": "ok" if self._running.issuperset(names) else "degraded",
            "services": {name: "running" if name in self._running else "stopped" for name in names},
        }

    def usage(self) -> Usage:
        """What hosted Supabase would have counted so far."""
        return measure(self._services["realtime"], self.faults)

    # --------------------------------------------------------------------------------------------------- its life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts everything and returns when clients are served. Does nothing if it runs.

        Raises:
            LocalStackError: something is in the way; the message says what, and nothing is left running.
        """
        if self._gateway is not None:
            return
        self.faults.attach(self._services["realtime"])
        try:
            # The port first: it is the likeliest obstacle, and the cheapest to find.
            self._gateway = Gateway(
                self._host,
                self._wanted_port,
                keyring=self._keyring,
                faults=self.faults,
                calls=self.calls,
                services=[Control(self, self._keyring), *self._services.values()],
                status=self.status,
            )
            self._database = (
                OwnDatabase(self._data_dir) if self._database_url is None else ExistingDatabase(self._database_url)
            )
            await self._database.start()
            self._running.add("postgres")
            await self._prepare(self._database)
            async with asyncio.TaskGroup() as group:
                for name in self._services:
                    group.create_task(self.start_service(name))
            await self._gateway.open()
        except BaseExceptionGroup as group:
            await self.stop()
            raise group.exceptions[0] from group
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops everything; sockets and connections are cut, and throw-away data is removed. Does nothing twice."""
        # Shielded: a cancelled caller, such as an interrupted program, must leave nothing running either.
        stopping = asyncio.ensure_future(self._stop())
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            await stopping
            raise

    async def _stop(self) -> None:
        async with self._changing:
            gateway, self._gateway = self._gateway, None
            database = self._database
            self.faults.clear()
            endings: list[Callable[[], Awaitable[None]]] = [
                *(self._services[name].stop for name in reversed(self._services)),
                *([gateway.close] if gateway is not None else []),
                *([database.dispose] if database is not None else []),
            ]
            failures: list[Exception] = []
            for ending in endings:
                try:
                    await ending()
                except Exception as error:  # noqa: BLE001 - raised below, once everything else has ended too
                    failures.append(error)
            self._running.clear()
            self._database = None
            if failures:
                raise ExceptionGroup("the stack ended, but not without errors", failures)

    async def _prepare(self, database: Database) -> None:
        owner, admin = database.dsn("postgres"), database.dsn(cluster.SUPERUSER)
        await apply_migrations(owner, self._migrations)
        if self._seed and self._migrations is not None:
            seed = self._migrations.parent / "seed.sql"
            if seed.is_file():
                await apply_seed(owner, seed)
        for file in self._sql_files:
            await apply_sql_once(admin, file)
        if (events := self._settings.planned_events()) is not None:
            # Rooms take their tick from what the database knows of the plan, so it must know what Realtime enforces.
            await tell_plan(admin, events)

    def _open_gateway(self) -> Gateway:
        if self._gateway is None:
            raise LocalStackError("the stack has not started: use `async with LocalStack() as stack`")
        return self._gateway

    # ------------------------------------------------------------------------------------------------ one service

    async def start_service(self, name: str) -> None:
        """Starts one service: `postgres`, `rest`, `auth` or `realtime`. Does nothing if it runs.

        Raises:
            LocalStackError: there is no such service, or it does not start.
        """
        if name == "postgres":
            await self._own_database().start()
        else:
            await self._service(name).start()
        self._running.add(name)

    async def stop_service(self, name: str) -> None:
        """Stops one service; the others stay and meet the outage as they would on hosted.

        Raises:
            LocalStackError: there is no such service, or it is not the stack's to stop.
        """
        await (self._own_database().stop() if name == "postgres" else self._service(name).stop())
        self._running.discard(name)

    async def restart_service(self, name: str) -> None:
        """Stops and starts one service, on the same port.

        Raises:
            LocalStackError: there is no such service, or it is not the stack's to stop.
        """
        await self.stop_service(name)
        await self.start_service(name)

    async def kill_service(self, name: str) -> None:
        """Ends one service as a crash would: Postgres by SIGKILL; the others have no other end than `stop_service`.

        Raises:
            LocalStackError: there is no such service, or it is not the stack's to stop.
        """
        if name != "postgres":
            await self.stop_service(name)
            return
        await self._own_database().kill()
        self._running.discard(name)

    def _service(self, name: str) -> Service:
        try:
            return self._services[name]
        except KeyError:
            known = ", ".join(("postgres", *self._services))
            raise LocalStackError(f"there is no service {name!r}; there are {known}") from None

    def _own_database(self) -> Database:
        if self._database is None:
            raise LocalStackError("the stack has not started")
        return self._database
