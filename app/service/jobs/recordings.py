"""Where a job's recording lies; one at an address is fetched there first, once."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from app.audio.storing import not_stored
from app.domain.errors import EngineFailure, JobsUnavailable, UploadTooLarge
from app.service.jobs.job import Job
from app.service.jobs.store import JobStore

_PARAM = "audio_address"
_logger = logging.getLogger(__name__)


class Fetching(Protocol):
    """Who fetches recordings; a Fetcher."""

    async def fetch(self, said: str, room: IO[bytes], *, param: str, key: str = "") -> None:
        """Write the recording at an address into `room`."""
        ...


class Recordings:
    """Of the jobs in a store."""

    def __init__(self, store: JobStore, fetcher: Fetching, max_bytes: int) -> None:
        """`max_bytes` is what the fetcher takes."""
        self._store = store
        self._fetcher = fetcher
        self._max_bytes = max_bytes

    async def check(self) -> None:
        """Make sure that the folder is there, and the one of these jobs.

        Raises:
            JobsUnavailable: it is not.
        """
        await self._store.check_folder()

    async def have(self, job: Job) -> Path:
        """Where the recording lies, after it was fetched where it is to be.

        Raises:
            AddressNotFetched, UploadTooLarge, EmptyAudio: it cannot be had from its address, or must not.
            Overloaded: the disk is nearly full, or too many names are being looked up.
            EngineFailure: the disk does not take it (StorageFull: it is full), or does not have it.
            JobsUnavailable: nobody can tell now whether it has it.
        """
        path = await self._store.recording(job.id)
        try:
            there = await asyncio.to_thread(path.is_file)
        except OSError as error:
            _logger.error("JOBS_DIR cannot be read: %s", error.strerror)
            raise JobsUnavailable("The disk with the job's recording cannot be read now (JOBS_DIR).") from error
        if there:
            return path
        if job.request.address is None:
            raise EngineFailure("The job's recording cannot be found on this server's disk (JOBS_DIR).")
        await self._fetch(job.request.address, path, job.owner)
        return path

    async def _fetch(self, address: str, path: Path, owner: str) -> None:
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            room = await asyncio.to_thread(_private, part)
        except OSError as error:
            raise not_stored(error, setting="JOBS_DIR") from error
        try:
            await self._fetcher.fetch(address, room, param=_PARAM, key=owner)
            await asyncio.to_thread(_into_place, room, path)
        except UploadTooLarge as error:
            told = f"The recording is larger than this server takes ({self._max_bytes} bytes, MAX_JOB_AUDIO_SIZE)."
            raise UploadTooLarge(told, param=_PARAM) from error
        except OSError as error:
            raise not_stored(error, setting="JOBS_DIR") from error
        finally:
            await asyncio.shield(asyncio.to_thread(_removed, room))


def _private(path: Path) -> IO[bytes]:
    """A new file that only this user may read, in a folder of which the same holds."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _into_place(room: IO[bytes], path: Path) -> None:
    """So that it survives whatever happens to the machine."""
    room.flush()
    os.fsync(room.fileno())
    Path(room.name).rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _removed(room: IO[bytes]) -> None:
    """Close it, and remove it where it is not in its place."""
    with suppress(OSError):  # a full disk says so once more
        room.close()
    with suppress(OSError):
        Path(room.name).unlink(missing_ok=True)
