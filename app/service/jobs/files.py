"""Recordings of jobs on disk: one file a job, which is there before its job is, and gone when it has ended."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Final

from app.domain.errors import JobsUnavailable, StorageFull, UnknownJob

ORPHAN_SECONDS = 3600.0
"""A file without a job may be of one that is being submitted or fetched: only older ones are taken for left behind."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_LINKS: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
)
"""What disks say between which, or on which, a file cannot have two names."""
_ID: Final = re.compile(r"job_[0-9a-f]{24}")
_OURS: Final = re.compile(r"(job_[0-9a-f]{24})(\..+)?")
"""A recording, or what is to become one (fetched, or copied)."""
_COPY: Final = 1 << 20
_INCOMING: Final = "incoming"
_ARRIVED: Final = (f"{_INCOMING}/*", "uploads/*/upload_*")
_logger = logging.getLogger(__name__)


def incoming(folder: Path) -> Path:
    """Where recordings arrive in forms that are to be kept in `folder`: on the same disk, so that they are moved, not
    copied. It is made if it is not there; only this user may read what is in it. Blocking.

    Raises:
        JobsUnavailable: it cannot be made (StorageFull: the disk is full).
    """
    arriving = folder / _INCOMING
    with _told("The folder of recordings cannot be made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        arriving.mkdir(mode=0o700, exist_ok=True)
    return arriving


class Recordings:
    """The folder. All methods block; what they raise is JobsUnavailable, or StorageFull where the disk is full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, job_id: str) -> Path:
        """Where a job's recording lies, or is to lie; the folder is made if it is not there.

        Raises:
            UnknownJob: it cannot be the id of one.
        """
        if not _ID.fullmatch(job_id):
            raise UnknownJob("There is no job with this id.")
        with _told("The folder of recordings cannot be made"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder / job_id

    def take(self, source: Path, job_id: str) -> None:
        """Have a recording lie here, too, safe from loss of power; the source stays until `release`d.

        It is the same file where it lies on the same disk, a copy where it does not.
        """
        target = self.path(job_id)
        try:
            with _told("The recording could not be stored"):
                self._link_or_copy(source, target)
                _sync(self.folder)
        except BaseException:
            self.discard(job_id)
            raise

    def release(self, source: Path) -> None:
        """Have it lie only here."""
        with suppress(FileNotFoundError), _told("An uploaded recording could not be removed"):
            source.unlink()

    def remove(self, job_id: str) -> None:
        """Remove a job's recording, and what was to become it."""
        with _told("A recording could not be removed"):
            gone = [file for file, of in self._files() if of == job_id]
            for file in gone:
                file.unlink(missing_ok=True)
            if gone:
                _sync(self.folder)

    def discard(self, job_id: str) -> None:
        """The same, where nobody can be told that it failed: the log is, and the next sweep tries again."""
        with suppress(JobsUnavailable, StorageFull):
            self.remove(job_id)

    def keep_only_here(self, job_ids: Collection[str]) -> None:
        """Have the recordings of these jobs, which are, lie nowhere else: who was killed before `release` left them in
        the folder that they arrived in, too, from where another job could be made of them."""
        with _told("A recording that was handed over could not be removed"):
            twice = {(file.st_dev, file.st_ino) for file in map(self._stat, job_ids) if file and file.st_nlink > 1}
            for arrived in chain(*map(self.folder.glob, _ARRIVED)) if twice else ():
                with suppress(FileNotFoundError):
                    found = arrived.stat()
                    if (found.st_dev, found.st_ino) in twice:
                        arrived.unlink()

    def _stat(self, job_id: str) -> os.stat_result | None:
        try:
            return (self.folder / job_id).stat()
        except FileNotFoundError:
            return None

    def found(self) -> dict[str, float]:
        """The jobs that files here say they belong to, and when the newest of each was put here (epoch seconds)."""
        newest: dict[str, float] = {}
        with _told("The folder of recordings cannot be read"):
            for file, of in self._files():
                newest[of] = max(_put_here(file), newest.get(of, 0.0))
        return newest

    def _files(self) -> Iterator[tuple[Path, str]]:
        with suppress(FileNotFoundError):
            for file in self.folder.iterdir():
                if (named := _OURS.fullmatch(file.name)) and not file.is_dir():
                    yield file, named[1]

    def _link_or_copy(self, source: Path, target: Path) -> None:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _copy(source, target)
            return
        target.chmod(0o600)
        _sync(target)


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with source.open("rb") as read, os.fdopen(descriptor, "wb") as written:
        shutil.copyfileobj(read, written, _COPY)
        written.flush()
        os.fsync(written.fileno())
    part.replace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_here(file: Path) -> float:
    """When, in epoch seconds: what was linked here keeps the time at which it was written, but not the other."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return float("inf")
    return max(found.st_mtime, found.st_ctime)


@contextmanager
def _told(what: str) -> Generator[None]:
    """What a caller may know of a disk that does not do something; the log has the operator's part of it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        _logger.error("%s: %s", what, error.strerror)
        if error.errno in _FULL:
            raise StorageFull(f"{what}: the server's disk is full. Try again later.") from error
        why = "the server may not write there" if error.errno in _FORBIDDEN else "the server's log says why"
        raise JobsUnavailable(f"{what}: {why}.") from error
