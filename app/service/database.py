"""SQLite files of what callers leave here, one for each kind: made, opened, migrated, and swept of what was deleted."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from app.domain.errors import SpeechError

BUSY_SECONDS = 2.0
"""How long a transaction waits for another program's; nothing else of the database goes on meanwhile."""
_BEGIN = "sqlite_begin"
"""The execution option that says how a transaction begins."""
_REASONS: MappingProxyType[str, str] = MappingProxyType(
    {
        "SQLITE_BUSY": "is held by another program; try again",
        "SQLITE_LOCKED": "is held by another program; try again",
        "SQLITE_FULL": "cannot grow: the disk is full",
        "SQLITE_READONLY": "cannot be written to",
        "SQLITE_NOTADB": "is damaged",
        "SQLITE_CORRUPT": "is damaged",
    }
)
"""What is said of SQLite's errors, by the beginnings of their names."""

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a database holds: what messages call `one` and `many` of it, and where its `migrations` (alembic's) are.

    `unavailable` is the error that says that the database cannot be used.
    """

    one: str
    many: str
    migrations: str
    unavailable: type[SpeechError]


class Database:
    """A file, and the one thread in which every transaction on it runs.

    The file is opened at the first transaction, and anew after one that failed. Each method raises `unavailable` of the
    holding where it cannot be used.
    """

    def __init__(self, path: Path, holding: Holding, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """`path` need not exist yet; `busy_seconds` is how long a transaction waits for another program's."""
        self._path = path
        self._holding = holding
        self._busy_seconds = busy_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.stem)
        self._engine: Engine | None = None  # touched by the thread only, like the next
        self._file: tuple[int, int] | None = None

    async def open(self) -> None:
        """Make or migrate the file now instead of at the first use."""
        await self.read(lambda _: None)

    async def read(self, work: Callable[[Session], _T]) -> _T:
        """What `work` returns, in a transaction that only reads."""
        return await self._run(work, writes=False, sweeps=False)

    async def write(self, work: Callable[[Session], _T], *, sweeps: bool = False) -> _T:
        """What `work` returns, in a transaction of its own; `sweeps`: nothing of deleted rows is left afterwards."""
        return await self._run(work, writes=True, sweeps=sweeps)

    async def close(self) -> None:
        """Close the file. Nothing may be asked afterwards."""
        self._thread.submit(self._dispose)
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, work: Callable[[Session], _T], *, writes: bool, sweeps: bool) -> _T:
        loop = asyncio.get_running_loop()
        named = copy_context().run  # what it logs says for whom
        return await loop.run_in_executor(
            self._thread, named, partial(self._transaction, work, writes=writes, sweeps=sweeps)
        )

    def _transaction(self, work: Callable[[Session], _T], *, writes: bool, sweeps: bool) -> _T:
        try:
            engine = self._opened()
            with Session(_writing(engine) if writes else engine) as session, session.begin():
                result = work(session)
        except (DBAPIError, OSError) as error:
            self._dispose()  # so that the next call finds what was mended
            raise _unavailable(error, self._holding) from error
        if sweeps:
            sweep(engine, self._holding)
        return result

    def _opened(self) -> Engine:
        """The file as it lies there now: SQLite would go on writing to one that was removed or replaced."""
        if self._engine is None or self._file != _identity(self._path):
            self._dispose()
            self._engine = _open(self._path, self._holding, self._busy_seconds)
            self._file = _identity(self._path)
        return self._engine

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def sweep(engine: Engine, holding: Holding) -> None:
    """Leave nothing of deleted rows in the database's files; where that cannot be done now, the log says so.

    SQLite zeroes what it deletes, but not the copies that it leaves behind when it shares rows out among pages anew.
    So everything is written afresh, and the write-ahead log is emptied.
    """
    try:
        with engine.execution_options(**{_BEGIN: ""}).connect() as connection:
            connection.exec_driver_sql("VACUUM")
            held, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        reason = "another program reads the database" if held else ""
    except DBAPIError as error:
        reason = str(error.orig)
    if reason:
        _logger.warning("traces of a deleted %s are left until the next one is deleted: %s", holding.one, reason)


def _open(path: Path, holding: Holding, busy_seconds: float) -> Engine:
    """The database at `path`, made if there is none, with the tables of this version.

    Raises:
        SpeechError: `unavailable` of the holding: a newer version of this server made it; it is left as it was.
        DBAPIError, OSError: it cannot be used.
    """
    # What is kept may identify people: nobody else on the machine may read it, from the first moment on.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,  # errors go to the log; what is kept does not
    )
    event.listen(engine, "connect", partial(_prepare, busy_seconds=busy_seconds))
    event.listen(engine, "begin", _begin)
    try:
        with _writing(engine).begin() as connection:
            _migrate(connection, holding)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _writing(engine: Engine) -> Engine:
    """The same database, for transactions that write: they wait for their turn when they begin, not halfway."""
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def _unavailable(error: DBAPIError | OSError, holding: Holding) -> SpeechError:
    """What the caller may know of the error."""
    name = str(getattr(error.orig, "sqlite_errorname", "")) if isinstance(error, DBAPIError) else ""
    reason = next((said for beginning, said in _REASONS.items() if name.startswith(beginning)), "cannot be used")
    return holding.unavailable(f"The database of {holding.many} {reason}. The server's log says more.")


def _prepare(raw: sqlite3.Connection, _entry: ConnectionPoolEntry, *, busy_seconds: float) -> None:
    raw.isolation_level = None  # Python's driver would begin transactions by rules of its own; `_begin` does
    for setting in (
        f"busy_timeout = {round(busy_seconds * 1000)}",
        "journal_mode = WAL",
        "secure_delete = ON",
        "foreign_keys = ON",
        "temp_store = MEMORY",  # VACUUM makes a copy of everything, and a file of it would be one more to sweep
    ):
        raw.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    if statement := connection.get_execution_options().get(_BEGIN, "BEGIN"):
        connection.exec_driver_sql(statement)


def _migrate(connection: Connection, holding: Holding) -> None:
    """Bring the tables up to this version's, inside the transaction that has begun."""
    config = Config()
    config.set_main_option("script_location", holding.migrations)
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if not present <= known:
        raise holding.unavailable(f"The database of {holding.many} was made by a newer version of this server.")
    command.upgrade(config, "head")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever its name; None: there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
