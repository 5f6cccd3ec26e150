"""Files on disk: hashing, locking between processes, and placing so that no reader ever sees half a model."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.modelstore.catalog import ModelFile

CHUNK = 1024 * 1024
"""Bytes read at once."""


def sha256_of(path: Path) -> str:
    """The file's sha256 in lower-case hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_intact(path: Path, file: ModelFile) -> bool:
    """Whether `path` holds exactly the catalog's bytes. The size is looked at first: a short file costs no hashing."""
    return size_of(path) == file.size and sha256_of(path) == file.sha256


def size_of(path: Path) -> int:
    """Bytes of a regular file (links followed); -1 when there is none."""
    return path.stat().st_size if path.is_file() else -1


@contextmanager
def exclusive(lock: Path, on_wait: Callable[[], None]) -> Generator[None]:
    """Hold `lock` against other processes and threads; `on_wait` is called once if somebody else holds it.

    The kernel releases it when a process dies, so a killed download never blocks the next one.

    Raises:
        OSError: the folder cannot be written, or its file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield  # closing the file releases the lock


def place(staging: Path, target: Path, files: Sequence[ModelFile]) -> None:
    """Move verified `files` from `staging` to `target` (same file system) and remove `staging`.

    A new folder appears in one rename. A folder that is already there gets file by file what it lacked, each in one
    rename, and keeps whatever else its owner put into it.
    """
    if not target.exists():
        _remove_others(staging, {file.path for file in files})
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.replace(target)
        return
    for file in files:
        source = staging / file.path
        if source.is_file():
            (target / file.path).parent.mkdir(parents=True, exist_ok=True)
            source.replace(target / file.path)
    shutil.rmtree(staging, ignore_errors=True)


def _remove_others(folder: Path, keep: set[str]) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent, name)
            if path.relative_to(folder).as_posix() not in keep:
                path.unlink()
        if parent != str(folder) and not any(Path(parent).iterdir()):
            Path(parent).rmdir()


def human_size(count: float) -> str:
    """Bytes for people: "145 MB". Decimal units, as hubs and disks count."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
