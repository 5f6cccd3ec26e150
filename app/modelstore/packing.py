"""Models in one tar, for machines without network: verified when packed, and again before anything is placed."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from app.domain.errors import ModelStoreError, VerificationFailed
from app.modelstore.catalog import CatalogEntry, ModelFile
from app.modelstore.disk import CHUNK, is_intact
from app.modelstore.manifests import as_found, described, fits, read_files
from app.modelstore.progress import Progress, SilentProgress
from app.modelstore.store import OWN_FOLDER, ModelStore, hinted

MANIFEST = "manifest.json"
FORMAT = "speech-server-models/1"
MANIFEST_LIMIT = 1024 * 1024
_STATED_BY = "the tar it came in"


def pack(store: ModelStore, entry_ids: Sequence[str], out: Path, progress: Progress | None = None) -> list[str]:
    """Write the models to the tar `out` (replaced only when complete); none named means every one on this machine.

    Returns the packed ids.

    Raises:
        VerificationFailed: a file is not the catalog's.
        ModelStoreError: there is nothing to pack, a model is not here, or `out` cannot be written.
    """
    report = progress or SilentProgress()
    entries: list[CatalogEntry] = []
    folders: dict[str, Path] = {}
    for entry_id in _chosen(store, entry_ids):
        located = store.verify(entry_id)
        entry = store.entry(entry_id)
        entries.append(_of_own_folder(entry, located.path) if located.origin == OWN_FOLDER else entry)
        folders[entry_id] = located.path
    try:
        with tempfile.NamedTemporaryFile(dir=out.absolute().parent, prefix=f".{out.name}-", delete=False) as stream:
            unfinished = Path(stream.name)
            try:
                _write(stream, entries, folders, report)
                unfinished.chmod(0o644)
                unfinished.replace(out)
            finally:
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise ModelStoreError(f"{out} cannot be written: {error.strerror or error}.") from error
    return [entry.id for entry in entries]


def _of_own_folder(entry: CatalogEntry, folder: Path) -> CatalogEntry:
    """The entry as it lies in a folder that an operator named. Files that nobody stated are what they are there."""
    files = entry.files or as_found(entry, folder)
    if not files or not all(is_intact(folder / file.path, file) for file in files):
        raise VerificationFailed(f"{entry.id}: the folder set for it holds other files than the catalog's; not packed.")
    return replace(entry, files=files)


def _chosen(store: ModelStore, entry_ids: Sequence[str]) -> list[str]:
    if entry_ids:
        return [store.catalog.entry(entry_id).id for entry_id in dict.fromkeys(entry_ids)]
    here = [entry.id for entry in (*store.catalog.models, *store.catalog.recordings) if store.find(entry.id)]
    if not here:
        raise hinted(
            ModelStoreError("There is no model on this machine to pack."), "fetch them: python start.py models download"
        )
    return here


def _write(stream: IO[bytes], entries: Sequence[CatalogEntry], folders: dict[str, Path], progress: Progress) -> None:
    manifest = json.dumps({"format": FORMAT, "entries": [_described(entry) for entry in entries]}, indent=1).encode()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        header = tarfile.TarInfo(MANIFEST)
        header.size = len(manifest)
        archive.addfile(header, io.BytesIO(manifest))
        for entry in entries:
            progress.note(f"packing {entry.id}")
            for file in entry.files:
                header = tarfile.TarInfo(f"{entry.id}/{file.path}")
                header.size = file.size  # nothing of this machine (owner, times) goes along: equal models, equal tars
                with (folders[entry.id] / file.path).open("rb") as source:
                    archive.addfile(header, source)


def _described(entry: CatalogEntry) -> dict[str, Any]:
    return {"id": entry.id, "files": described(entry.files)}


def unpack(store: ModelStore, source: Path, progress: Progress | None = None) -> list[str]:
    """Place the models of a tar that `pack` made into the models folder. Nothing is placed unless all of it verifies.

    Returns the ids.

    Raises:
        VerificationFailed: it is not such a tar, was tampered with, or belongs to a version with another catalog.
        ModelStoreError: it cannot be read, or the models folder cannot be written.
    """
    models_dir = store.settings.models_dir
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with (
            tarfile.open(source, "r:") as archive,
            tempfile.TemporaryDirectory(dir=models_dir, prefix=".unpack-") as work,
        ):
            entries = _read_manifest(store, archive)
            _extract(archive, entries, Path(work))
            for entry in entries:
                _place(store, entry, Path(work, entry.id), progress or SilentProgress())
            return [entry.id for entry in entries]
    except (tarfile.TarError, EOFError) as error:
        raise VerificationFailed(f"{source.name} is not a tar of models, or is broken ({error}).") from error
    except OSError as error:
        raise ModelStoreError(f"{source.name} cannot be unpacked: {error.strerror or error}.") from error


def _read_manifest(store: ModelStore, archive: tarfile.TarFile) -> list[CatalogEntry]:
    """The entries a tar says it holds; they must be this version's, down to the hashes."""
    member = archive.next()
    if member is None or member.name != MANIFEST or not member.isreg() or member.size > MANIFEST_LIMIT:
        raise VerificationFailed(f"It does not begin with a {MANIFEST}: not made by `start.py models pack`.")
    stream = archive.extractfile(member)
    try:
        manifest: Any = json.loads(stream.read()) if stream else None
        described: list[dict[str, Any]] = manifest["entries"] if manifest["format"] == FORMAT else []
        ids = [str(item["id"]) for item in described]
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(f"Its {MANIFEST} cannot be read.") from error
    if not ids:
        raise VerificationFailed(f"Its {MANIFEST} has another format than {FORMAT}, or is empty.")
    return [_agreed(store.entry(entry_id), item) for entry_id, item in zip(ids, described, strict=True)]


def _agreed(entry: CatalogEntry, item: dict[str, Any]) -> CatalogEntry:
    """The entry whose files the tar describes. Files that the catalog only names are what the tar says they are."""
    if entry.hub_files:
        try:
            files = read_files(item, _STATED_BY)
        except (KeyError, TypeError, ValueError) as error:
            raise VerificationFailed(f"Its {MANIFEST} cannot be read.") from error
        if fits(entry, files):
            return replace(entry, files=files)
    elif item == _described(entry):
        return entry
    raise VerificationFailed(f"{entry.id}: the tar was made for other files than this version's catalog names.")


def _extract(archive: tarfile.TarFile, entries: Sequence[CatalogEntry], work: Path) -> None:
    """Unpack exactly the files the catalog names.

    No name from the tar ever becomes a path: a member is looked up among the expected ones and written to the
    catalog's place for it.
    """
    expected: dict[str, ModelFile] = {f"{entry.id}/{file.path}": file for entry in entries for file in entry.files}
    while (member := archive.next()) is not None:
        if _could_leave(member):
            raise VerificationFailed(f"The tar holds {member.name!r}, which could leave the folder: refused.")
        file = expected.pop(member.name, None)
        stream = archive.extractfile(member) if file and member.isreg() and member.size == file.size else None
        if file is None or stream is None:
            raise VerificationFailed(f"The tar holds {member.name!r}, which its manifest does not describe: refused.")
        _copy(stream, work / member.name)  # member.name equals a name made of catalog text
        if not is_intact(work / member.name, file):
            raise VerificationFailed(f"{member.name} holds other bytes than the catalog's (sha256 differs): refused.")
    if expected:
        raise VerificationFailed(f"The tar lacks {', '.join(expected)}.")


def _could_leave(member: tarfile.TarInfo) -> bool:
    """Whether a careless reader would write elsewhere. (`tarfile.data_filter` is not in Debian 12's Python 3.11.2.)"""
    return ".." in PurePosixPath(member.name).parts or not (member.isreg() or member.isdir())


def _copy(stream: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(stream, out, CHUNK)


def _place(store: ModelStore, entry: CatalogEntry, unpacked: Path, progress: Progress) -> None:
    with store.writing(entry, progress):
        if entry.hub_files:
            store.manifests.record(entry, entry.files)
        store.adopt(entry, unpacked)
        progress.note(f"{entry.id}: placed")
