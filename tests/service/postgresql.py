"""A PostgreSQL server of the tests' own, where this machine has one to start and Python a driver for it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

_NOBODY = 65_534
_DEBIAN = Path("/usr/lib/postgresql")
_QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=50", "log_min_messages=fatal")
"""Nothing here outlives the machine."""


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A server that listens on 127.0.0.1:`port`, and knows a user `speech` with the password `secret`."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://speech:secret@127.0.0.1:{self.port}/{database}?connect_timeout=60"

    def new_database(self, template: str = "template1") -> str:
        """The name of one that is as empty as its template."""
        name = f"jobs_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []

    @contextmanager
    def holding(self, statement: str, database: str) -> Iterator[None]:
        """What a statement locks, for as long as the block."""
        engine = create_engine(self.url(database), poolclass=NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
            yield


def _program(name: str) -> str | None:
    """Where it lies. Debian keeps its programs out of the PATH, so that several versions can be there."""
    return shutil.which(name) or next((str(path) for path in _DEBIAN.glob(f"*/bin/{name}")), None)


def _as_somebody() -> dict[str, int]:
    """PostgreSQL refuses to run as root."""
    return {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """One that is ended with the block. Skips the test where none can be started."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (requirements-postgres.txt)")
    initdb, postgres = _program("initdb"), _program("postgres")
    if not (initdb and postgres):
        pytest.skip("no PostgreSQL is installed")
    with tempfile.TemporaryDirectory() as made, socket.create_server(("127.0.0.1", 0)) as found:
        folder, port = Path(made), found.getsockname()[1]
        found.close()
        (folder / "password").write_text("secret")
        somebody = _as_somebody()
        if somebody:
            os.chown(folder, _NOBODY, _NOBODY)
            os.chown(folder / "password", _NOBODY, _NOBODY)
        how = ["--auth=scram-sha-256", "--username=speech", f"--pwfile={folder}/password", "--no-sync"]
        subprocess.run([initdb, "-D", folder / "data", *how], check=True, capture_output=True, cwd=folder, **somebody)
        options = [part for setting in _QUICK for part in ("-c", setting)]
        command = [postgres, "-D", folder / "data", "-p", str(port), "-k", folder, *options]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, **somebody) as process:
            try:
                yield _answering(PostgreSQL(port, process))
            finally:
                process.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
                process.wait(30)


def _answering(server: PostgreSQL) -> PostgreSQL:
    until = time.monotonic() + 60
    while True:
        try:
            server.run("SELECT 1")
            return server
        except OperationalError:
            assert server.process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server
