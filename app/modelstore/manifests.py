"""What files are that the catalog only names: as a hub stated them, or as they were found, written down beside the
models, so that every later check has something to compare with."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.modelstore.catalog import CatalogEntry, ModelFile
from app.modelstore.disk import sha256_of, size_of

AS_FOUND = "the record of what was found"
"""Who states what no hub was asked about; see ModelFile.stated_by."""

SHA256 = re.compile(r"[0-9a-f]{64}")
_POINTER = b"version https://git-lfs."
"""What a file begins with that git put in the place of a large one."""


class Manifests:
    """What is known of entries' files, in `folder`, one JSON file each.

    Where the folder cannot be written it is known until the process ends: slower at the next start, never wrong.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unwritten: dict[str, tuple[ModelFile, ...]] = {}

    def read(self, entry: CatalogEntry) -> tuple[ModelFile, ...]:
        """The entry's files; empty where nothing was written down, or something else than the entry names."""
        if entry.id in self._unwritten:
            return self._unwritten[entry.id]
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self.path(entry.id).read_text("utf-8"))
            files = read_files(said, str(said["stated_by"]))
            if fits(entry, files):
                return files
        return ()

    def record(self, entry: CatalogEntry, files: Sequence[ModelFile]) -> None:
        """Write down what the entry's `files` are; all of them are stated by the same."""
        record = {"stated_by": files[0].stated_by, "files": described(files)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False, encoding="utf-8") as stream:
                json.dump(record, stream, indent=1)
            Path(stream.name).chmod(0o644)  # whoever serves the models, under whatever uid, compares with it
            Path(stream.name).replace(self.path(entry.id))
        except OSError:
            self._unwritten[entry.id] = tuple(files)
        else:
            self._unwritten.pop(entry.id, None)

    def path(self, entry_id: str) -> Path:
        """Where the entry's files are written down."""
        return self._folder / f"{entry_id}.json"


def described(files: Sequence[ModelFile]) -> list[dict[str, Any]]:
    """As `read_files` reads it."""
    return [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in files]


def read_files(said: Any, stated_by: str) -> tuple[ModelFile, ...]:
    """The files that {"files": [{"path", "size", "sha256"}]} describes.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    return tuple(ModelFile(str(one["path"]), int(one["size"]), str(one["sha256"]), stated_by) for one in said["files"])


def fits(entry: CatalogEntry, files: Sequence[ModelFile]) -> bool:
    """Whether `files` are those that the entry names: each that must be there once, and no others."""
    names = [file.path for file in files]
    well_formed = all(file.size > 0 and SHA256.fullmatch(file.sha256) for file in files)
    return well_formed and len(names) > 0 and sorted(names) == sorted(names_among(entry, names))


def names_among(entry: CatalogEntry, listed: Iterable[str]) -> tuple[str, ...]:
    """Those of the names `listed` that are the entry's files; empty where one that must be there is not."""
    there = list(listed)
    found: dict[str, None] = {}  # two may be content with the same file
    for wanted in entry.hub_files:
        names = wanted.among(there)
        if not names and not wanted.optional:
            return ()
        found.update(dict.fromkeys(names))
    return tuple(found)


def names_in(entry: CatalogEntry, folder: Path) -> tuple[str, ...]:
    """What the entry's files are called in `folder`; empty where one that must be there is not.

    Raises:
        OSError: one cannot be read.
    """
    paths = [path for wanted in entry.hub_files for name in wanted.names for path in folder.glob(name)]
    return names_among(entry, [path.relative_to(folder).as_posix() for path in paths if _is_content(path)])


def as_found(entry: CatalogEntry, folder: Path) -> tuple[ModelFile, ...]:
    """The entry's files as they lie in `folder`; empty where one that must be there is not. Hashes them: seconds.

    Raises:
        OSError: one cannot be read.
    """
    names = names_in(entry, folder)
    return tuple(ModelFile(name, size_of(folder / name), sha256_of(folder / name), AS_FOUND) for name in names)


def is_as_found(entry: CatalogEntry) -> bool:
    """Whether no hub stated what the entry's files are."""
    return any(file.stated_by == AS_FOUND for file in entry.files)


def _is_content(path: Path) -> bool:
    if size_of(path) <= 0:
        return False
    with path.open("rb") as stream:
        return stream.read(len(_POINTER)) != _POINTER
