"""What of the catalog is on this machine, and where."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from app.domain.errors import ModelStoreError, UnknownModel
from app.modelstore.catalog import CATALOG, ModelEntry, Role
from app.modelstore.selection import missing_packages
from app.modelstore.store import ModelStore
from app.service.loading import existing_engines


class Shelf:
    """Models by id and role. Blocking: a file that is looked at for the first time is hashed."""

    def __init__(self, store: ModelStore) -> None:
        self.store = store

    def located(self, model_id: str) -> Path | None:
        """The model's folder, if it is here. One that an operator named counts as here: loading tells what is wrong."""
        try:
            return self.store.locate(model_id)
        except ModelStoreError:
            return Path()

    def of_role(self, role: Role) -> tuple[ModelEntry, Path] | None:
        """The first entry of a role that is on this machine, and its folder."""
        entries = (entry for entry in CATALOG.models if entry.role == role)
        return next(((entry, folder) for entry in entries if (folder := self.located(entry.id))), None)

    def companions(self, roles: Iterable[str]) -> dict[str, Path]:
        """Folders by role: of each role the first model that is here.

        Raises:
            ModelStoreError: a folder that an operator named is not there.
        """
        wanted = frozenset(roles)
        found: dict[str, Path] = {}
        for entry in CATALOG.models:
            if entry.role in wanted and entry.role not in found and (folder := self.store.locate(entry.id)):
                found[entry.role] = folder
        return found


def model_entry(model_id: str) -> ModelEntry:
    """The catalog's entry of a model that was chosen from it."""
    entry = CATALOG.model(model_id)
    assert entry is not None  # noqa: S101
    return entry


def recognizer_entry(name: str) -> ModelEntry:
    """The entry of the recogniser with that id.

    Raises:
        UnknownModel: there is none, it does not recognise speech, or what runs it is not here.
    """
    engines = existing_engines()
    able = [entry.id for entry in CATALOG.models if entry.role == "asr" and entry.engine in engines]
    said = name.strip().lower()
    entry = CATALOG.model(said)
    if entry is not None and said in able:
        if packages := missing_packages(entry):
            raise UnknownModel(f"{said} needs {', '.join(packages)}, which is not installed.", param="model")
        return entry
    problem = "does not exist" if entry is None else "does not recognise speech"
    if entry is not None and entry.role == "asr":
        problem = "has no engine in this version"
    raise UnknownModel(f"The model {name[:100]!r} {problem}. Known: {', '.join(able)}.", param="model")
