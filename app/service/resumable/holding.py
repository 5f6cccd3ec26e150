"""Who may write to an upload: one at a time, among all servers that share the disk.

A client whose network changed comes back while its old connection still seems to be there, and must not wait until that
is given up. So who wants to go on knocks, and whoever holds the upload lets go of it if nothing comes any more (tusd
lets go always, and so takes an upload from a client that is still sending).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from app.audio.storing import not_stored
from app.service.resumable.upload import UploadBusy, unknown

QUIET_SECONDS = 1.0
"""A connection of which nothing comes for so long is taken for dead, if another one knocks."""
WAIT_SECONDS = 4.0
"""How long is waited for whoever holds an upload; it looks who knocks every QUIET_SECONDS."""
NOT_STORED = "The upload could not be stored."
_PAUSE_SECONDS = 0.05
KNOCK, STOP = ".knock", ".stop"
"""Files beside an upload's: somebody wants it if it is idle; somebody wants it now, to remove it."""
_T = TypeVar("_T")


@asynccontextmanager
async def held(path: Path, mark: str, wait: float) -> AsyncGenerator[FileIO]:
    """The file at `path` to append to, which nobody else has meanwhile. `mark` says how it is asked for.

    Raises:
        UploadBusy: it is still held by somebody else after `wait` seconds.
        UnknownUpload: it is not there, or was removed meanwhile.
        EngineFailure: it cannot be opened.
    """
    file = await on_disk(lambda: _open(path))
    try:
        await _lock(file, path, mark, wait)
        yield file
    finally:
        await on_disk(file.close)


def wanted(path: Path, mark: str) -> bool:
    """Whether somebody else wants what lies at `path`. Blocking."""
    return marked(path, mark).exists()


def marked(path: Path, mark: str) -> Path:
    """Where it is marked that what lies at `path` is wanted."""
    return path.with_name(f"{path.name}{mark}")


async def on_disk(step: Callable[[], _T]) -> _T:
    """What `step` returns, run in a thread. It is waited for even when that is cancelled: a file must not be closed,
    nor let go, while it is written to.

    Raises:
        StorageFull: the disk is full.
        EngineFailure: it fails otherwise.
    """
    task = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
    except OSError as error:
        raise not_stored(error, NOT_STORED, setting="JOBS_DIR") from error


def _open(path: Path) -> FileIO:
    try:  # never made here: a name in a request must not make files
        return FileIO(os.open(path, os.O_WRONLY | os.O_APPEND), "ab")
    except FileNotFoundError:
        raise unknown() from None


async def _lock(file: FileIO, path: Path, mark: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    try:
        while not await on_disk(lambda: _locked(file)):
            if time.monotonic() >= deadline:
                raise UploadBusy("Another request is at this upload. Ask for its offset, and go on from there.")
            await on_disk(lambda: _touch(marked(path, mark)))
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        # All of them: one that a killed server left would end whoever is slow. Who still waits marks it again.
        await on_disk(lambda: _forget(path))
    if not await on_disk(lambda: _is_at(file, path)):
        raise unknown()


def _locked(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: FileIO, path: Path) -> bool:
    """Whether it is there still: while it was waited for, it may have been removed, or moved into a job."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _touch(mark: Path) -> None:
    with suppress(OSError):  # a full disk: the other one is waited for, but does not hear of it
        mark.touch(0o600)


def _forget(path: Path) -> None:
    for mark in (KNOCK, STOP):
        with suppress(OSError):
            marked(path, mark).unlink(missing_ok=True)
