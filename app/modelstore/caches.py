"""Models that other programs already downloaded, used in place; and a memory of what was already hashed."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.modelstore.catalog import CatalogEntry, HuggingFaceMirror, ModelFile, ModelScopeMirror
from app.modelstore.disk import sha256_of, size_of
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """A folder that may hold a model, and whose cache it is in."""

    path: Path
    origin: str


def cache_folders(entry: CatalogEntry, settings: Settings) -> Iterator[CacheFolder]:
    """Existing cache folders that could hold `entry`, likeliest first. Their content is not looked at."""
    for mirror in entry.mirrors:
        if isinstance(mirror, ModelScopeMirror):
            for path in _modelscope_folders(mirror, settings.modelscope_path):
                yield CacheFolder(path, "ModelScope cache")
        elif isinstance(mirror, HuggingFaceMirror):
            for path in _huggingface_folders(mirror, settings.hf_home):
                yield CacheFolder(path, "Hugging Face cache")


def _modelscope_folders(mirror: ModelScopeMirror, root: Path) -> Iterator[Path]:
    """ModelScope's client writes dots in names as ___ and keeps models in hub/, hub/models/ or models/, by its age."""
    roots = [root, root / "models", root / "hub" / "models", root / "hub"]
    if root.name == "models":
        roots.append(root.parent)
    organisation, _, name = mirror.repo.partition("/")
    for base in roots:
        for spelling in dict.fromkeys((name, name.replace(".", "___"))):
            folder = base / organisation / spelling / mirror.prefix
            if folder.is_dir():
                yield folder


def _huggingface_folders(mirror: HuggingFaceMirror, root: Path) -> Iterator[Path]:
    """The snapshot that the wanted revision points to, then the others from newest to oldest."""
    for base in (root / "hub", root):
        repository = base / ("models--" + mirror.repo.replace("/", "--"))
        snapshots = [path for path in repository.glob("snapshots/*") if path.is_dir()]
        reference = repository / "refs" / mirror.revision
        wanted = reference.read_text("ascii").strip() if reference.is_file() else mirror.revision
        yield from sorted(snapshots, key=lambda path: (path.name != wanted, -path.stat().st_mtime))


class Ledger:
    """Remembers, in `folder`, which files were hashed and found right, by size and modification time.

    A second start then reads a few hundred bytes instead of hashing 145 MB. Where the folder cannot be written, files
    are hashed every time: slower, never wrong.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def broken(self, folder: Path, files: Sequence[ModelFile]) -> list[ModelFile]:
        """Those of `files` that `folder` lacks or holds other bytes of. Hashes only what it does not remember."""
        absent = [file for file in files if size_of(folder / file.path) != file.size]
        present = [file for file in files if file not in absent]
        known = self._read(folder)
        fresh = [file for file in present if known.get(file.path) != _fingerprint(folder, file)]
        wrong = [file for file in fresh if sha256_of(folder / file.path) != file.sha256]
        right = [file for file in present if file not in wrong]
        if fresh and right:
            self.remember(folder, right)
        return [file for file in files if file in absent or file in wrong]

    def remember(self, folder: Path, files: Sequence[ModelFile]) -> None:
        """Note that `files` in `folder` have just been verified."""
        record = {"folder": str(folder.resolve()), "files": {file.path: _fingerprint(folder, file) for file in files}}
        with suppress(OSError):  # a read-only models folder: see the class
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False, encoding="utf-8") as stream:
                json.dump(record, stream)
            Path(stream.name).chmod(0o644)  # another uid need not hash them again
            Path(stream.name).replace(self._path(folder))

    def forget(self, folder: Path) -> None:
        """Hash everything in `folder` again next time."""
        with suppress(OSError):
            self._path(folder).unlink(missing_ok=True)

    def _path(self, folder: Path) -> Path:
        return self._folder / (hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16] + ".json")

    def _read(self, folder: Path) -> dict[str, Any]:
        try:
            files = json.loads(self._path(folder).read_text("utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return files if isinstance(files, dict) else {}


def _fingerprint(folder: Path, file: ModelFile) -> list[int | str]:
    """What must be unchanged for a hash to be believed. The catalog's hash is part of it: a new catalog asks anew."""
    status = (folder / file.path).stat()
    return [status.st_size, status.st_mtime_ns, file.sha256]
