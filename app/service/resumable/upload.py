"""What a resumable upload is, how it is written down beside its bytes, and what can go wrong with it alone."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.domain.errors import Overloaded, UnknownUpload, UploadConflict

_NAMED = re.compile(r"(?:.*/)?(upload_[0-9a-f]{24})/?", re.DOTALL)
_LONGEST_NAME = 2048


class UploadBusy(UploadConflict):
    """Somebody else writes to it, or makes a job of it."""

    code = "upload_locked"


class ChecksumMismatch(UploadConflict):
    """A part is not what its sender says it is; nothing of it was kept."""

    code = "checksum_mismatch"


class TooManyUploads(Overloaded):
    """This caller has as many as it may."""

    code = "too_many_uploads"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as its owner sees it.

    `length` and `offset` are in bytes: how many there will be (None: not said yet), and how many of them have arrived
    and count. `metadata` is the client's own, as it came: keys and base64. Times are in epoch seconds.
    """

    id: str
    length: int | None
    offset: int
    metadata: str
    created: float
    expires: float

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return self.offset == self.length


@dataclass(frozen=True, slots=True)
class Note:
    """What is written down of an upload. `counted` is None where every byte in its file counts; while a part arrives
    whose checksum is not known to be right, it is how many were there before."""

    length: int | None
    metadata: str
    created: float
    counted: int | None = None

    def offset(self, size: int) -> int:
        """How many bytes count of a file of `size`."""
        return size if self.counted is None else min(size, self.counted)


def new_id() -> str:
    """A fresh one that nobody can guess."""
    return f"upload_{secrets.token_hex(12)}"


def id_of(said: str) -> str:
    """The id in what a caller names an upload by: an id, or the Location it was given.

    Raises:
        UnknownUpload: it is neither.
    """
    found = _NAMED.fullmatch(said.strip()) if len(said) <= _LONGEST_NAME else None
    if found is None:
        raise unknown()
    return found[1]


def unknown() -> UnknownUpload:
    """There is none of that name."""
    return UnknownUpload("You have no such upload: it was never begun, was used or removed, or has expired.")


def note_path(path: Path) -> Path:
    """Where that is written down whose bytes lie at `path`."""
    return path.with_name(f"{path.name}.json")


def write_note(path: Path, note: Note) -> None:
    """Write it down so that it is there as a whole or not at all, whatever happens. Blocking.

    Raises:
        OSError: the disk does not take it.
    """
    fields = {"length": note.length, "metadata": note.metadata, "created": note.created, "counted": note.counted}
    target = note_path(path)
    fresh = target.with_suffix(".new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(json.dumps(fields).encode())
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def read_note(path: Path) -> Note:
    """What is written down of the bytes at `path`. Blocking.

    Raises:
        FileNotFoundError: nothing is, or what is there is no note.
        OSError: it cannot be read.
    """
    text = note_path(path).read_text("utf-8")
    try:
        fields = cast("Mapping[str, object]", json.loads(text))
        length, metadata = fields["length"], fields["metadata"]
        created, counted = fields["created"], fields["counted"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileNotFoundError(path.name) from error
    return Note(cast("int | None", length), cast("str", metadata), cast("float", created), cast("int | None", counted))


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` survive a power cut. Blocking."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
