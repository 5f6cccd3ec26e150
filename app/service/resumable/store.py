"""Resumable uploads on disk: a file of bytes each, and a note beside it. Several servers may share the folder."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.domain.errors import EmptyAudio, StorageFull, UnknownUpload, UploadConflict
from app.service.resumable.holding import KNOCK, STOP, WAIT_SECONDS, held, on_disk
from app.service.resumable.upload import (
    Note,
    TooManyUploads,
    Upload,
    id_of,
    new_id,
    note_path,
    read_note,
    unknown,
    write_note,
)
from app.service.resumable.writing import Writing, too_large

MAX_OPEN = 100
_ORPHAN_SECONDS = 3600.0
"""Files that belong to nothing are left alone for so long: somebody may be in the middle of making an upload."""
_RETRY_SECONDS = 60.0
_logger = logging.getLogger(__name__)


class UploadStore:
    """Uploads, each belonging to an `owner` (as KeyRing.owner names keys), to whom all others do not exist.

    An upload goes when it is removed, when a job was made of it, or `retention_seconds` after its last byte. Whoever
    reads or writes raises EngineFailure where the disk cannot be used, StorageFull where it is full.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        retention_seconds: float,
        max_open: int = MAX_OPEN,
        wait_seconds: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder` is made when it is needed. `max_bytes` is of one upload, `max_open` of each owner; `wait_seconds` is
        how long is waited for whoever else is at an upload."""
        self.max_bytes = max_bytes
        self._folder = folder
        self._retention = retention_seconds
        self._max_open = max_open
        self._wait = wait_seconds
        self._clock = clock
        self._making = threading.Lock()

    async def create(self, owner: str, length: int | None, metadata: str = "") -> Upload:
        """A new one of so many bytes (None: it is said later), without any yet.

        Raises:
            UploadTooLarge: more than there may be.
            TooManyUploads: the owner has as many as it may.
            StorageFull: so many bytes do not fit.
        """
        if length is not None and length > self.max_bytes:
            raise too_large(self.max_bytes)
        return await on_disk(lambda: self._create(owner, length, metadata))

    async def find(self, owner: str, said: str) -> Upload:
        """An upload by its id or its Location. Raises UnknownUpload: the owner has none of that name."""
        path = self._path(owner, said)
        return await on_disk(lambda: self._found(path))

    @asynccontextmanager
    async def writing(self, owner: str, said: str) -> AsyncGenerator[Writing]:
        """The upload to add bytes to, which nobody else can do meanwhile. What was added stays, however the block ends.

        Raises:
            UnknownUpload: the owner has none of that name.
            UploadBusy: somebody else is at it.
        """
        path = self._path(owner, said)
        await on_disk(lambda: self._found(path))
        async with held(path, KNOCK, self._wait) as file:
            writing = Writing(file, path, await on_disk(lambda: _noted(path)), self.max_bytes)
            await writing.begin()
            try:
                yield writing
            finally:
                await writing.sync()

    async def remove(self, owner: str, said: str) -> None:
        """Remove it; whoever writes to it is ended.

        Raises:
            UnknownUpload: the owner has none of that name.
            UploadBusy: a job is being made of it.
        """
        path = self._path(owner, said)
        await on_disk(lambda: self._found(path))
        async with held(path, STOP, self._wait):
            await on_disk(lambda: _remove(path))

    @asynccontextmanager
    async def take(self, owner: str, said: str) -> AsyncGenerator[Path]:
        """Where the bytes of a finished upload lie, for whoever makes a job of them, and nobody else meanwhile. If the
        file is moved away from there, the upload is gone after the block; if not, it stays.

        Raises:
            UnknownUpload: the owner has none of that name.
            UploadConflict: it is not finished (or, as UploadBusy, somebody else is at it).
            EmptyAudio: it is, with no bytes.
        """
        try:
            path = self._path(owner, said)
            async with self.writing(owner, said) as writing:
                _check_finished(writing)
                try:
                    yield path
                finally:
                    await on_disk(lambda: _forget_moved(path))
        except (UnknownUpload, UploadConflict) as error:
            error.param = "upload"
            raise

    async def stored(self) -> tuple[int, int]:
        """How many there are, and of how many bytes in all."""
        sizes = await on_disk(self._sizes)
        return len(sizes), sum(sizes)

    async def sweep(self) -> int:
        """Remove what has expired, and files that belong to no upload; returns how many uploads were removed."""
        removed = 0
        for path in await on_disk(self._expired):
            with suppress(UploadConflict):  # somebody is at it: it has not expired any more, or will next time
                removed += await self._sweep(path)
        await on_disk(self._remove_orphans)
        if removed:
            _logger.info("removed %d uploads that nobody went on with", removed)
        return removed

    async def _sweep(self, path: Path) -> int:
        try:
            async with held(path, KNOCK, 0.0):
                if not await on_disk(lambda: self._over(path)):
                    return 0
                await on_disk(lambda: _remove(path))
        except UnknownUpload:  # another server's sweep was first
            return 0
        return 1

    def _create(self, owner: str, length: int | None, metadata: str) -> Upload:
        room = self._room(owner)
        with self._making:
            room.mkdir(mode=0o700, parents=True, exist_ok=True)
            mine = [path for path in _paths_in(room) if not self._over(path)]
            if len(mine) >= self._max_open:
                told = f"You have {len(mine)} uploads, as many as you may: go on with them, or remove some."
                raise TooManyUploads(told, retry_after=_RETRY_SECONDS)
            if shutil.disk_usage(room).free < (length or 0):
                raise StorageFull("There is no room for so many bytes on the server's disk. Try again later.")
            path, now = room / new_id(), self._clock()
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            os.utime(path, (now, now))
            try:
                write_note(path, Note(length, metadata, now))
            except OSError:
                path.unlink(missing_ok=True)
                raise
        return Upload(path.name, length, 0, metadata, now, now + self._retention)

    def _found(self, path: Path) -> Upload:
        try:
            note, stat = _noted(path), path.stat()
        except FileNotFoundError:
            raise unknown() from None
        expires = stat.st_mtime + self._retention
        if expires <= self._clock():
            raise unknown()
        return Upload(path.name, note.length, note.offset(stat.st_size), note.metadata, note.created, expires)

    def _expired(self) -> list[Path]:
        return [path for path in self._paths() if self._over(path)]

    def _sizes(self) -> list[int]:
        sizes: list[int] = []
        for path in self._paths():
            with suppress(FileNotFoundError):  # it goes at this moment
                sizes.append(path.stat().st_size)
        return sizes

    def _over(self, path: Path) -> bool:
        """Whether it has expired, or its bytes are gone."""
        try:
            return path.stat().st_mtime + self._retention <= self._clock()
        except FileNotFoundError:
            return True

    def _room(self, owner: str) -> Path:
        return self._folder / hashlib.sha256(owner.encode()).hexdigest()[:16]

    def _path(self, owner: str, said: str) -> Path:
        return self._room(owner) / id_of(said)

    def _paths(self) -> Iterator[Path]:
        for room in sorted(self._folder.glob("*/")):
            yield from _paths_in(room)

    def _remove_orphans(self) -> None:
        oldest = self._clock() - _ORPHAN_SECONDS
        for file in self._folder.glob("*/upload_*"):
            with suppress(FileNotFoundError):
                path = file.with_name(file.name.partition(".")[0])
                belongs = path.exists() and note_path(path).exists() and file in {path, note_path(path)}
                if not belongs and file.stat().st_mtime < oldest:
                    file.unlink()


def _paths_in(room: Path) -> Iterator[Path]:
    for note in room.glob("upload_*.json"):
        yield note.with_suffix("")


def _noted(path: Path) -> Note:
    try:
        return read_note(path)
    except FileNotFoundError:
        raise unknown() from None


def _check_finished(writing: Writing) -> None:
    if writing.offset != writing.length:
        length = "a number that was not said" if writing.length is None else str(writing.length)
        told = f"The upload is not finished: {writing.offset} of {length} bytes have arrived."
        raise UploadConflict(f"{told} Go on at {writing.offset}.")
    if not writing.length:
        raise EmptyAudio("The upload is empty.", param="upload")


def _remove(path: Path) -> None:
    note_path(path).unlink(missing_ok=True)  # first: without it, nobody finds the rest
    path.unlink(missing_ok=True)


def _forget_moved(path: Path) -> None:
    if not path.exists():
        note_path(path).unlink(missing_ok=True)
