"""The SQLite file that enrolled voices are kept in: made, opened, migrated, and swept of what was deleted.

Everything here blocks, and is called from the store's one thread.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial
from pathlib import Path
from types import MappingProxyType

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from app.domain.errors import VoicesUnavailable

_MIGRATIONS = "app.service.voices:migrations"
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

_logger = logging.getLogger(__name__)


def open_database(path: Path, busy_seconds: float) -> Engine:
    """The database at `path`, made if there is none, with the tables of this version.

    `busy_seconds` is how long a transaction waits for another program's.

    Raises:
        VoicesUnavailable: a newer version of this server made it; it is left as it was.
        DBAPIError, OSError: it cannot be used.
    """
    # Voiceprints identify people: nobody else on the machine may read them, from the first moment on.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,  # errors go to the log; names and voiceprints do not
    )
    event.listen(engine, "connect", partial(_prepare, busy_seconds=busy_seconds))
    event.listen(engine, "begin", _begin)
    try:
        with writing(engine).begin() as connection:
            _migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def writing(engine: Engine) -> Engine:
    """The same database, for transactions that write: they wait for their turn when they begin, not halfway."""
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def sweep(engine: Engine) -> None:
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
        _logger.warning("traces of a deleted voice are left until the next one is deleted: %s", reason)


def unavailable(error: DBAPIError | OSError) -> VoicesUnavailable:
    """What the caller may know of the error."""
    name = str(getattr(error.orig, "sqlite_errorname", "")) if isinstance(error, DBAPIError) else ""
    reason = next((said for beginning, said in _REASONS.items() if name.startswith(beginning)), "cannot be used")
    return VoicesUnavailable(f"The database of enrolled voices {reason}. The server's log says more.")


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


def _migrate(connection: Connection) -> None:
    """Bring the tables up to this version's, inside the transaction that has begun."""
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS)
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = set(MigrationContext.configure(connection).get_current_heads())
    if not present <= known:
        raise VoicesUnavailable("The database of enrolled voices was made by a newer version of this server.")
    command.upgrade(config, "head")
