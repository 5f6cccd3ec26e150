"""A recording on disk while its request goes on: what is written there as it arrives, from wherever it comes."""

from __future__ import annotations

import errno
import fcntl
import logging
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from app.domain.errors import EngineFailure, Overloaded, SpeechError, StorageFull

NOT_STORED = "The recording could not be stored."
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
LOW_BYTES = 1 << 30
"""An hour of decoded sound is a tenth of it; an upload may be twice as large."""
_RETRY_SECONDS = 5.0
_logger = logging.getLogger(__name__)


def not_stored(error: OSError, told: str = NOT_STORED, *, setting: str = "TEMP_DIR") -> SpeechError:
    """What a caller may know of a disk that does not take something; the log has the operator's part of it, by the
    setting that names its folder."""
    if error.errno in _NO_DESCRIPTORS:
        return no_descriptors()
    _logger.error("%s takes nothing: %s", setting, error.strerror)
    if error.errno in _FULL:
        return StorageFull(f"{told.removesuffix('.')}: the server's disk is full. Try again later.")
    if error.errno in _FORBIDDEN:
        return EngineFailure(f"{told.removesuffix('.')}: the server may not write to its disk.")
    return EngineFailure(told)


def no_descriptors() -> Overloaded:
    """More files are open than the system allows."""
    _logger.warning("too many files are open (ulimit -n)")
    return Overloaded("The server has as many files open as it may. Try again shortly.", retry_after=_RETRY_SECONDS)


def not_started(error: OSError, told: str) -> SpeechError:
    """What a caller may know of a process that could not be started."""
    return no_descriptors() if error.errno in _NO_DESCRIPTORS else EngineFailure(told)


def is_low(folder: Path | None) -> bool:
    """Whether hardly anything more fits into `folder` (the system's temporary one when None), or nobody can tell."""
    try:
        return shutil.disk_usage(folder or tempfile.gettempdir()).free < LOW_BYTES
    except OSError:
        return True


def make_room(folder: Path | None, told: str = NOT_STORED, *, setting: str = "TEMP_DIR") -> IO[bytes]:
    """A file in `folder` (the system's temporary one when None) that only this user may read; `leave_room` removes it.
    `told` is what errors say, `setting` the one that names the folder, for the log.

    Raises:
        EngineFailure: the disk does not take it (StorageFull: it is full).
        Overloaded: too many files are open.
    """
    try:
        return _held(NamedTemporaryFile(dir=folder, prefix="upload-"))
    except OSError as error:
        raise not_stored(error, told, setting=setting) from error


def _held(room: IO[bytes]) -> IO[bytes]:
    """The file with a mark that somebody has it, as long as it is open."""
    with suppress(OSError):  # a disk without locks: there its age alone says whether it was left behind
        fcntl.flock(room, fcntl.LOCK_SH)
    return room


def leave_room(room: IO[bytes]) -> None:
    """Close and remove it, whatever the disk says: as a context manager, it would stay where the disk is full."""
    with suppress(OSError):  # a full disk says so once more
        room.close()


@contextmanager
def room_for_recording(folder: Path | None, told: str = NOT_STORED) -> Generator[IO[bytes], None, None]:
    """Both, for as long as the block. Raises as `make_room`."""
    room = make_room(folder, told)
    try:
        yield room
    finally:
        leave_room(room)
