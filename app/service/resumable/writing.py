"""An upload while bytes are added to it. They count from the moment they are in its file, so that a broken connection,
or a killed server, loses none; those of a part with a checksum count together, once it is known to be right."""

from __future__ import annotations

import os
from dataclasses import replace
from io import FileIO
from pathlib import Path

from app.domain.errors import UploadConflict, UploadTooLarge
from app.service.resumable.holding import KNOCK, STOP, on_disk, wanted
from app.service.resumable.upload import Note, UploadBusy, unknown, write_note


class Writing:
    """One upload, held by whoever has this. `offset` is how many bytes count, and where the next one goes."""

    def __init__(self, file: FileIO, path: Path, note: Note, max_bytes: int) -> None:
        self._file = file
        self._path = path
        self._note = note
        self._max_bytes = max_bytes
        self._size = 0
        self._written = False

    @property
    def offset(self) -> int:
        """Bytes that count."""
        return self._note.offset(self._size)

    @property
    def length(self) -> int | None:
        """Bytes that there will be; None where nobody has said."""
        return self._note.length

    async def begin(self) -> None:
        """Look at what is there, and drop what a killed server had not compared with its checksum.

        Raises:
            EngineFailure: it cannot be read, or dropped.
        """
        self._size = await on_disk(lambda: os.fstat(self._file.fileno()).st_size)
        if self._note.counted is not None:
            await self.drop()

    def check(self, offset: int, announced: int | None, length: int | None = None) -> None:
        """See whether a part of `announced` bytes (None: nobody knows) that begins at `offset` goes on with it.
        `length` is what the part says of the whole, if it does; `set_length` has it hold.

        Raises:
            UploadConflict: it begins elsewhere, or what it says of the whole cannot be.
            UploadTooLarge: it is longer than what is left, or the whole than may be.
        """
        if offset != self.offset:
            told = f"{self.offset} bytes of this upload have arrived, and this part begins at {offset}"
            raise UploadConflict(f"{told}: go on from there.", param="Upload-Offset")
        if length is not None:
            self._check_length(length)
        if announced is not None:
            self._check_end(announced, length)

    async def set_length(self, length: int) -> None:
        """Say how long it is, if that was left open.

        Raises:
            UploadConflict: something else was said before, or more is there.
            UploadTooLarge: it is more than may be.
            StorageFull: the disk is full.
        """
        self._check_length(length)
        if self._note.length is None:
            await self._keep(replace(self._note, length=length))

    async def begin_checked(self) -> None:
        """Bytes do not count from here until `keep`. Raises StorageFull: the disk is full."""
        await self._keep(replace(self._note, counted=self._size))

    async def append(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            UploadTooLarge: they are more than there is to come; none was added.
            StorageFull: the disk is full; `offset` says how many were added.
            EngineFailure: it does not take them for another reason.
            UnknownUpload: its owner removes it.
        """
        self._check_end(len(data))
        if not await on_disk(lambda: self._append(data)):
            raise unknown()

    async def give_way(self) -> None:
        """To be asked when nothing has come for QUIET_SECONDS. Raises UploadBusy: another connection wants to go on."""
        if await on_disk(lambda: wanted(self._path, KNOCK) or wanted(self._path, STOP)):
            raise UploadBusy("Another connection goes on with this upload.")

    async def keep(self) -> None:
        """All that was added counts. Raises StorageFull: the disk is full."""
        if self._note.counted is not None:
            await self.sync()  # nothing counts as right that a power cut could take away
            await self._keep(replace(self._note, counted=None))

    async def drop(self) -> None:
        """Nothing counts that was added since `begin_checked`.

        Raises:
            StorageFull: the disk is full; it does not count, yet is there until the next time.
        """
        counted = self.offset
        await on_disk(lambda: self._file.truncate(counted))
        self._size = counted
        await self._keep(replace(self._note, counted=None))

    async def sync(self) -> None:
        """Have it survive a power cut. Raises StorageFull and EngineFailure: the disk has not taken it."""
        if self._written:
            await on_disk(lambda: os.fsync(self._file.fileno()))
            self._written = False

    async def _keep(self, note: Note) -> None:
        await on_disk(lambda: write_note(self._path, note))
        self._note = note

    def _check_length(self, length: int) -> None:
        if self._note.length not in {None, length} or length < self.offset:
            raise UploadConflict("Upload-Length is not what was said, or what has arrived.", param="Upload-Length")
        if length > self._max_bytes:
            raise too_large(self._max_bytes)

    def _check_end(self, more: int, length: int | None = None) -> None:
        length = self._note.length if length is None else length
        if length is None:
            if self._size + more > self._max_bytes:
                raise too_large(self._max_bytes)
        elif self._size + more > length:
            told = f"Upload-Length is {length} bytes, and there are more of them."
            raise UploadTooLarge(told, param="Upload-Length")

    def _append(self, data: bytes) -> bool:
        if wanted(self._path, STOP):
            return False
        left = memoryview(data)
        while left:
            added = self._file.write(left) or 0
            self._written = True
            self._size += added
            left = left[added:]
        return True


def too_large(max_bytes: int) -> UploadTooLarge:
    """What is told of an upload that is larger than any may be."""
    told = f"The upload is larger than this server takes ({max_bytes} bytes, MAX_JOB_AUDIO_SIZE)."
    return UploadTooLarge(told, param="Upload-Length")
