"""Databases of what callers leave here, one for each kind: made, opened, migrated, and swept of what was deleted.

Each is a file of SQLite's. What several servers on different machines share may be in PostgreSQL instead.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from app.domain.errors import ConfigUnusable, SpeechError
from app.service.in_turn import InTurn

BUSY_SECONDS = 2.0
"""How long a transaction waits for another program's; nothing else of the database goes on meanwhile."""
_MIGRATING = threading.Lock()
"""Alembic keeps what it works on in globals of its modules: of two databases that are migrated at once, on two threads,
one would get the other's tables. So one is after the other, in the whole process."""
_BEGIN = "begin"
"""The execution option that says how a transaction begins."""
_HELD = "is held by another program; try again"
_FULL = "cannot grow: the disk is full"
_REASONS: MappingProxyType[str, str] = MappingProxyType(
    {
        "SQLITE_BUSY": _HELD,
        "SQLITE_LOCKED": _HELD,
        "SQLITE_FULL": _FULL,
        "SQLITE_READONLY": "cannot be written to",
        "SQLITE_NOTADB": "is damaged",
        "SQLITE_CORRUPT": "is damaged",
        "55P03": _HELD,  # lock_not_available
        "57014": "takes too long to answer",  # statement_timeout
        "53100": _FULL,  # disk_full
        "25006": "cannot be written to",  # read_only_sql_transaction
        "42501": "cannot be written to",  # insufficient_privilege
        "08": "cannot be reached",
        "57P": "cannot be reached",  # it ends, has crashed, or starts
    }
)
"""What is said of errors, by the beginnings of SQLite's names for them and of PostgreSQL's (SQLSTATE)."""
_POSTGRESQL: MappingProxyType[str, str | int] = MappingProxyType(
    {
        "connect_timeout": 10,
        "keepalives_idle": 5,  # a server that is gone without a word is noticed
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        "application_name": "speech-server",
    }
)
"""How connections are made, unless the address says otherwise."""
_DRIVERS = frozenset({"sqlite", "postgresql+psycopg"})
_SIZE = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
_MEMORY_BYTES = 1 << 28
"""VACUUM copies everything: in memory, where a file of that would be one more to sweep, but not more than this."""
_SELDOM = 100
"""How many times as long as it took to write a large file afresh nobody else is kept waiting by that again,"""
_SELDOM_SECONDS = 3600.0
"""but not for longer than this."""
_STATEMENT_MS = 30_000
"""How long a statement of PostgreSQL's may take: none here needs a second, and all others wait for it."""
_FORGOTTEN_MS = 15_000
"""After so long PostgreSQL ends the transaction of a client from which nothing more is heard, and so its lock."""

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a database holds: what messages call `one` and `many` of it, and where its `migrations` (alembic's) are.

    `unavailable` is the error that says that the database cannot be used; `full`, where there is one, that its disk is.
    """

    one: str
    many: str
    migrations: str
    unavailable: type[SpeechError]
    full: type[SpeechError] | None = None


def database_url(said: str, setting: str) -> URL:
    """The address of a database as SQLAlchemy writes it, which `setting` (its name is for errors) gives.

    Raises:
        ConfigUnusable: it is none, is of a database that this server cannot use, or what speaks to it is not installed.
    """
    try:
        url = make_url(said)
        dialect = url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        told = f"{setting} is no address of a database such as postgresql+psycopg://user:password@host/name."
        raise ConfigUnusable(told) from None  # the cause may quote a part of the password
    if url.drivername not in _DRIVERS:
        told = f"{setting}: {url.drivername} is not supported, only sqlite:////folder/file and postgresql+psycopg://."
        raise ConfigUnusable(told)
    try:
        dialect.import_dbapi()
    except ImportError as error:
        told = f"{setting}: {url.drivername} needs a package that is missing: pip install -r requirements-postgres.txt."
        raise ConfigUnusable(told) from error
    if url.drivername == "sqlite" and (url.query or url.database in (None, "", ":memory:")):
        raise ConfigUnusable(f"{setting} must name a file of SQLite's, and nothing else: sqlite:////folder/jobs.db.")
    return url


class Database:
    """A database, and the one thread in which every transaction on it runs.

    It is opened at the first transaction, and anew after one that failed; where it cannot be, those that came meanwhile
    are told the same, instead of trying in vain one after the other. Each method raises `unavailable` (or `full`) of
    the holding where it cannot be used. Whatever the database: of transactions that write, one runs at a time, those
    of other programs included, each sees all that was written before, and what is committed is on disk.
    """

    def __init__(self, place: Path | URL, holding: Holding, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """A file that need not exist yet, or an address (`database_url`'s); `busy_seconds` is how long a transaction
        waits for another program's."""
        self._url = URL.create("sqlite", database=str(place)) if isinstance(place, Path) else place
        self._path = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        self._holding = holding
        self._busy_seconds = busy_seconds
        named = holding.many if self._path is None else self._path.stem
        self._thread = InTurn(named)
        self._engine: Engine | None = None  # touched by the thread only, like the next
        self._file: tuple[int, int] | None = None
        self._failed: tuple[float, DBAPIError | OSError] | None = None
        self._afresh_from = 0.0

    async def open(self) -> None:
        """Make or migrate the file now instead of at the first use."""
        await self.read(lambda _: None)

    async def read(self, work: Callable[[Session], _T]) -> _T:
        """What `work` returns, in a transaction that only reads."""
        return await self._thread.run(partial(self._transaction, work, monotonic()))

    async def write(self, work: Callable[[Session], _T], *, sweeps: bool = False, first: bool = False) -> _T:
        """What `work` returns, in a transaction of its own; `sweeps`: nothing of deleted rows is left afterwards.
        `first`: before all that wait and are not."""
        transaction = partial(self._transaction, work, monotonic(), writes=True, sweeps=sweeps)
        return await self._thread.run(transaction, first=first)

    async def sweep(self, most_bytes: int, busy: Callable[[Session], bool]) -> bool:
        """Leave nothing of deleted rows in a file of SQLite's; False: something may be left.

        One that has more than `most_bytes` is written afresh only while it is not `busy`, and seldom, since all others
        wait for that."""
        return await self._thread.run(partial(self._sweep, most_bytes, busy, monotonic()))

    async def close(self) -> None:
        """Close it. Nothing may be asked afterwards."""
        await self._thread.close(self._dispose)

    def _transaction(
        self, work: Callable[[Session], _T], asked: float, *, writes: bool = False, sweeps: bool = False
    ) -> _T:
        """`asked` is when it was, by time.monotonic."""
        try:
            engine = self._opened(asked)
            with Session(_writing(engine) if writes else engine) as session, session.begin():
                result = work(session)
        except (DBAPIError, OSError) as error:
            self._dispose()  # so that the next call finds what was mended
            raise _unavailable(error, self._holding) from error
        if sweeps and self._path is not None:
            sweep(engine, self._holding)
        return result

    def _sweep(self, most_bytes: int, busy: Callable[[Session], bool], asked: float) -> bool:
        if self._path is None:
            return True
        spared = self._transaction(busy, asked) or monotonic() < self._afresh_from
        try:
            began = monotonic()
            swept = sweep(self._opened(asked), self._holding, most_bytes if spared else None)
        except (DBAPIError, OSError) as error:
            self._dispose()
            raise _unavailable(error, self._holding) from error
        if not spared:
            ended = monotonic()
            self._afresh_from = ended + min(_SELDOM * (ended - began), _SELDOM_SECONDS)
        return swept

    def _opened(self, asked: float) -> Engine:
        """The file as it lies there now: SQLite would go on writing to one that was removed or replaced."""
        if self._engine is not None and (self._path is None or self._file == _identity(self._path)):
            return self._engine
        if self._failed is not None and asked <= self._failed[0]:
            raise _unavailable(self._failed[1], self._holding) from self._failed[1]
        self._dispose()
        try:
            self._engine = self._open()
        except (DBAPIError, OSError) as error:
            self._failed = monotonic(), error
            raise
        self._failed = None
        return self._engine

    def _open(self) -> Engine:
        if self._path is None:
            return _open_server(self._url, self._holding, self._busy_seconds)
        engine = _open(self._path, self._holding, self._busy_seconds)
        self._file = _identity(self._path)
        return engine

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def sweep(engine: Engine, holding: Holding, most_bytes: int | None = None) -> bool:
    """Leave nothing of deleted rows in the database's files; where that cannot be done now, the log says so.

    False: something may be left, since it cannot be done, or the file is larger than `most_bytes`.

    SQLite zeroes what it deletes, but not the copies that it leaves behind when it shares rows out among pages anew.
    So everything is written afresh, and the write-ahead log is emptied.
    """
    try:
        with engine.execution_options(**{_BEGIN: ""}).connect() as connection:
            size = connection.exec_driver_sql(_SIZE).scalar_one()
            afresh = most_bytes is None or size <= most_bytes
            if afresh:
                connection.exec_driver_sql(f"PRAGMA temp_store = {'FILE' if size > _MEMORY_BYTES else 'MEMORY'}")
                connection.exec_driver_sql("VACUUM")
            held, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        reason = "another program reads the database" if held else ""
    except DBAPIError as error:
        afresh, reason = False, str(error.orig)
    if reason:
        _logger.warning("traces of a deleted %s are left until the next one is deleted: %s", holding.one, reason)
    return afresh and not reason


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
    return _migrated(engine, holding)


def _open_server(url: URL, holding: Holding, busy_seconds: float) -> Engine:
    """The database of a PostgreSQL server, with the tables of this version. Raises as `_open`."""
    limits = {
        "lock_timeout": round(busy_seconds * 1000),
        "statement_timeout": _STATEMENT_MS,
        "idle_in_transaction_session_timeout": _FORGOTTEN_MS,
        "synchronous_commit": "on",
        "default_transaction_isolation": "read\\ committed",
    }
    own, set_here = url.query.get("options", ""), " ".join(f"-c {name}={value}" for name, value in limits.items())
    asked: dict[str, object] = {name: said for name, said in _POSTGRESQL.items() if name not in url.query}
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,  # the server may have been started anew
        hide_parameters=True,
        connect_args={**asked, "options": f"{own} {set_here}".strip()},
    )
    event.listen(engine, "begin", partial(_begin_in_turn, turn=zlib.crc32(holding.many.encode())))
    return _migrated(engine, holding)


def _migrated(engine: Engine, holding: Holding) -> Engine:
    try:
        with engine.begin() as connection:  # which another program that writes does not keep from reading
            current = _is_current(connection, holding)
        if not current:
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
    reason = _reason(error)
    kind = holding.full if reason == _FULL and holding.full is not None else holding.unavailable
    return kind(f"The database of {holding.many} {reason}. The server's log says more.")


def _reason(error: DBAPIError | OSError) -> str:
    if isinstance(error, OSError):
        return _FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else "cannot be used"
    name = str(getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or "")
    known = next((said for beginning, said in _REASONS.items() if name.startswith(beginning)), None)
    lost = error.connection_invalidated or (not name and not isinstance(error.orig, sqlite3.Error))
    return known or ("cannot be reached" if lost else "cannot be used")


def _prepare(raw: sqlite3.Connection, _entry: ConnectionPoolEntry, *, busy_seconds: float) -> None:
    raw.isolation_level = None  # Python's driver would begin transactions by rules of its own; `_begin` does
    for setting in (
        f"busy_timeout = {round(busy_seconds * 1000)}",
        "journal_mode = WAL",
        "secure_delete = ON",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        raw.execute(f"PRAGMA {setting}")


def _begin_in_turn(connection: Connection, *, turn: int) -> None:
    """As SQLite does: PostgreSQL would have several transactions write at once, and what one reads change meanwhile."""
    writes = bool(connection.get_execution_options().get(_BEGIN))
    snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({turn})" if writes else snapshot)


def _begin(connection: Connection) -> None:
    if statement := connection.get_execution_options().get(_BEGIN, "BEGIN"):
        connection.exec_driver_sql(statement)


def _migrate(connection: Connection, holding: Holding) -> None:
    """Bring the tables up to this version's, inside the transaction that has begun."""
    if not _is_current(connection, holding):  # another program may have done it meanwhile
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        config = _migrations(holding)
        config.attributes["connection"] = connection
        with _MIGRATING:
            command.upgrade(config, "head")


def _is_current(connection: Connection, holding: Holding) -> bool:
    """Whether the tables are this version's. Raises `unavailable` of the holding where they are a newer one's."""
    scripts = ScriptDirectory.from_config(_migrations(holding))
    known = {script.revision for script in scripts.walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if not present <= known:
        raise holding.unavailable(f"The database of {holding.many} was made by a newer version of this server.")
    return present == set(scripts.get_heads())


def _migrations(holding: Holding) -> Config:
    config = Config()
    config.set_main_option("script_location", holding.migrations)
    return config


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever its name; None: there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
