"""Runs the stack of `whatssound dev`, tells where it is, and ends it in order."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from whatssound.local import cluster
from whatssound.local.errors import DataDirectoryError, LocalStackError
from whatssound.local.postgres import PostgresServer
from whatssound.local.stack import DEFAULT, LocalStack

_MARK = "# written by `whatssound dev`; removed when it ends"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(arguments: argparse.Namespace) -> int:
    """Runs `whatssound dev` until it is told to end.

    Args:
        arguments: as parsed by `whatssound.cli.dev`.

    Returns:
        The exit code.
    """
    try:
        if arguments.supabase_cli:
            return _show_supabase_cli(arguments.env_file)
        asyncio.run(_serve(arguments))
    except LocalStackError as error:
        print(f"whatssound dev: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.set)
    env_file: Path | None = arguments.env_file
    if env_file is not None:
        _clear_env(env_file)
    data_dir = _data_dir(arguments)
    if arguments.reset and data_dir is not None:
        await asyncio.to_thread(_reset, data_dir)
    stack = _stack(arguments, data_dir)
    starting = asyncio.create_task(stack.start(), name="dev: start")
    asking = asyncio.create_task(asked.wait(), name="dev: asked to end")
    try:
        await asyncio.wait({starting, asking}, return_when=asyncio.FIRST_COMPLETED)
        if asked.is_set():
            return
        await starting
        if env_file is not None:
            _write_env(env_file, stack.env())
        _announce(stack, data_dir, env_file, time.monotonic() - started)
        await asking
        print("\nStopping …", flush=True)
        print(stack.usage().describe(arguments.plan or "pro"), flush=True)
    finally:
        for task in (starting, asking):
            task.cancel()
        await asyncio.gather(starting, asking, return_exceptions=True)
        await stack.stop()
        if env_file is not None:
            _clear_env(env_file)


def _stack(arguments: argparse.Namespace, data_dir: Path | None) -> LocalStack:
    migrations = {"product": DEFAULT, "none": None}.get(str(arguments.migrations), arguments.migrations)
    return LocalStack(
        port=arguments.port,
        host=arguments.host,
        data_dir=data_dir,
        migrations=migrations,
        seed=not arguments.no_seed,
        sql_files=arguments.sql,
        jwt_algorithm=arguments.jwt_algorithm,
        jwt_expiry=arguments.jwt_expiry,
        plan=arguments.plan,
        limits=dict(arguments.limit),
        database_url=arguments.database_url,
        postgrest_bin=arguments.postgrest_bin,
        realtime_url=arguments.realtime_url,
        seed_faults=arguments.fault_seed,
    )


def _data_dir(arguments: argparse.Namespace) -> Path | None:
    if arguments.database_url is not None:
        return None
    if arguments.data_dir is not None:
        return Path(arguments.data_dir).absolute()
    if not arguments.port:
        return None
    here = Path.cwd() / ".whatssound" / str(arguments.port)
    user = cluster.os_user()
    if user is None or cluster.reachable(here.parent.parent / "x", user):
        return here
    # Root's private directories are closed to the account that Postgres runs as.
    project = hashlib.sha256(str(here).encode()).hexdigest()[:12]
    return Path("/var/lib/whatssound") / project


def _reset(data_dir: Path) -> None:
    """Removes a kept database, and nothing else.

    Raises:
        DataDirectoryError: it is in use, or no database.
    """
    if not data_dir.exists():
        return
    if not (data_dir / "PG_VERSION").exists() and any(data_dir.iterdir()):
        raise DataDirectoryError(data_dir, "it is no Postgres data directory, so --reset does not remove it")
    with PostgresServer(data_dir).claimed():
        shutil.rmtree(data_dir)


def _announce(stack: LocalStack, data_dir: Path | None, env_file: Path | None, seconds: float) -> None:
    print(f"whatssound dev: ready in {seconds:.1f} s at {stack.url}\n")
    print("\n".join(_env_lines(stack.env())))
    print()
    print(f"data      {data_dir or 'thrown away at the end'}")
    if env_file is not None:
        print(f"env file  {env_file}")
    print("Ctrl-C ends it.", flush=True)


def _env_lines(env: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in env.items()]


def _write_env(path: Path, env: dict[str, str]) -> None:
    """Writes the file in one step: whoever sees it sees all of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join([_MARK, *_env_lines(env)]) + "\n")
        Path(name).replace(path)
    except OSError as error:
        raise LocalStackError(f"cannot write {path}: {error.strerror}") from error


def _clear_env(path: Path) -> None:
    """Removes what an earlier run left, so that waiting for the file means something; never a file of another's.

    Raises:
        LocalStackError: the file there was not written by `whatssound dev`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise LocalStackError(f"cannot use {path} as --env-file: {error}") from error
    if text.strip() and not text.startswith(_MARK):
        raise LocalStackError(f"{path} was not written by `whatssound dev`: name another --env-file, or move it away")
    path.unlink()


def _show_supabase_cli(env_file: Path | None) -> int:
    program = shutil.which("supabase")
    if program is None:
        raise LocalStackError("the Supabase CLI is not on the PATH")
    found = subprocess.run(  # noqa: S603 - the program was looked up by its name
        [program, "status", "--output", "env"], capture_output=True, text=True, check=False, timeout=60
    )
    if found.returncode:
        raise LocalStackError(f"`supabase status` says: {found.stderr.strip()}; is `supabase start` running?")
    values = dict(line.split("=", 1) for line in found.stdout.splitlines() if "=" in line)
    values = {name: value.strip('"') for name, value in values.items()}
    names = {
        "SUPABASE_URL": "API_URL",
        "SUPABASE_ANON_KEY": "ANON_KEY",
        "SUPABASE_SERVICE_ROLE_KEY": "SERVICE_ROLE_KEY",
        "SUPABASE_JWT_SECRET": "JWT_SECRET",
        "SUPABASE_DB_URL": "DB_URL",
    }
    env = {ours: values[theirs] for ours, theirs in names.items() if theirs in values}
    if missing := [ours for ours in names if ours not in env]:
        raise LocalStackError(f"`supabase status` does not tell {', '.join(missing)}")
    print("\n".join(_env_lines(env)))
    if env_file is not None:
        _clear_env(env_file)
        _write_env(env_file, env)
    return 0
