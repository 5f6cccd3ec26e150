"""Which folder of recordings is a database's: the one with its id in a file. Of another folder, or the bare place where
a disk is to be mounted, it cannot be told what is missing, or left over."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.domain.errors import JobsUnavailable, StorageFull
from app.service.database import Database
from app.service.jobs.tables import FolderRow

MARKER: Final = "database-id"
"""The file in the folder. Whoever moves the recordings moves it, too."""
_MOST_READ: Final = 100
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """The id of a database; `marked`: the folder had it once."""

    id: str
    marked: bool


class OwnFolder:
    """A database's folder of recordings. Belongs to one event loop."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._told = False

    async def check(self) -> None:
        """Make sure that the folder is there and this database's; at the first use it is made so.

        Raises:
            JobsUnavailable: it is not, or cannot be read; the log says what to do about it, once.
            StorageFull: it cannot be marked.
        """
        known = await self._database.read(_known)
        if known is None or not known.marked:
            known = await self._database.write(_named)
        try:
            found = await asyncio.to_thread(self._found, known)
        except OSError as error:
            self._tell(f"JOBS_DIR cannot be used: {error.strerror}")
            if error.errno in _FULL:
                raise StorageFull("The folder of recordings cannot be used: the server's disk is full.") from error
            raise JobsUnavailable("The folder of recordings cannot be used. The server's log says why.") from error
        if found != known.id:
            self._tell(_advice(found, known))
            raise JobsUnavailable("JOBS_DIR is not the folder of these jobs now. The server's log says more.")
        self._told = False
        if not known.marked:
            await self._database.write(_has_mark)

    def _found(self, known: _Known) -> str:
        return _read(self._folder) if known.marked else _marked(self._folder, known.id)

    def _tell(self, what: str) -> None:
        if not self._told:
            _logger.error("%s", what)
        self._told = True


def _advice(found: str, known: _Known) -> str:
    if not found:
        return (
            f"JOBS_DIR is not the folder of these jobs: there is no {MARKER} in it. Is its disk mounted? If its "
            f"recordings are lost for good, make that file with {known.id} in it: their jobs will fail."
        )
    told = f"JOBS_DIR is the folder of another database's jobs: {MARKER} in it names another than {known.id}."
    return told if known.marked else f"{told} If there is no other any more, remove that file."


# --- in a transaction -------------------------------------------------------------------------------------------------


def _known(session: Session) -> _Known | None:
    found = session.execute(select(FolderRow.id, FolderRow.marked)).first()
    return None if found is None else _Known(found[0], found[1])


def _named(session: Session) -> _Known:
    """As `_known`, with a new id where there is none: before the folder has it, so that a server that is killed between
    the two does not find an id that nobody knows."""
    if (known := _known(session)) is not None:  # another server may have done it meanwhile
        return known
    new = _Known(secrets.token_hex(16), marked=False)
    session.execute(insert(FolderRow).values(id=new.id, marked=False))
    return new


def _has_mark(session: Session) -> None:
    session.execute(update(FolderRow).values(marked=True))


# --- on the disk ------------------------------------------------------------------------------------------------------


def _read(folder: Path) -> str:
    """The id in a folder; "" where there is none."""
    try:
        with (folder / MARKER).open("rb") as file:
            return file.read(_MOST_READ).decode("ascii", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _marked(folder: Path, own: str) -> str:
    """The id in a folder, which is `own` if there was none; safe from loss of power."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if found := _read(folder):
        return found
    part = folder / f"{MARKER}.{secrets.token_hex(4)}"
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"{own}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / MARKER)
    finally:
        part.unlink(missing_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return _read(folder)
