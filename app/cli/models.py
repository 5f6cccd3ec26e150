"""`start.py models ...`: list, download, verify, pack and unpack; and getting the models ready before serving."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from app.domain.errors import DownloadFailed, ModelStoreError, UnknownModel
from app.modelstore.catalog import CatalogEntry, ModelEntry
from app.modelstore.disk import human_size
from app.modelstore.machine import read_machine
from app.modelstore.progress import console_progress
from app.modelstore.selection import Choice, choose, needed, wanted
from app.modelstore.store import OWN_FOLDER, ModelStore
from app.service.loading import existing_engines
from app.settings import Settings


def add_parser(commands: Any) -> None:
    """Add `models` and its own commands to argparse's `commands`."""
    parser = commands.add_parser("models", help="list, download, verify, pack or unpack models")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    action = actions.add_parser("list", help="all models, and where each is on this machine")
    action.set_defaults(run=list_models)

    action = actions.add_parser("download", help="fetch models (those this machine would serve, when none is named)")
    action.add_argument("ids", nargs="*", metavar="ID", help="models to fetch")
    action.add_argument("--all", action="store_true", help="every model of the catalog")
    action.set_defaults(run=download)

    action = actions.add_parser("verify", help="hash every file anew (of all models here, when none is named)")
    action.add_argument("ids", nargs="*", metavar="ID", help="models to verify")
    action.set_defaults(run=verify)

    action = actions.add_parser("pack", help="write models into one tar for a machine without network")
    action.add_argument("out", type=Path, metavar="OUT", help="the tar to write")
    action.add_argument("ids", nargs="*", metavar="ID", help="models to pack (all that are here, when none is named)")
    action.set_defaults(run=pack_models)

    action = actions.add_parser("unpack", help="verify a tar made by pack and place its models")
    action.add_argument("file", type=Path, metavar="FILE", help="the tar to read")
    action.set_defaults(run=unpack_models)


def chosen(settings: Settings) -> Choice:
    """The model this machine would serve. Errors as `choose`."""
    return choose(settings, read_machine(), existing_engines())


def prepare(settings: Settings) -> Choice:
    """Make sure that everything is there to serve the chosen model; says which it is on standard error.

    Raises:
        UnknownModel: ASR_MODEL names one that cannot be served.
        ModelStoreError: a model cannot be had.
    """
    choice = chosen(settings)
    print(f"model: {choice.model_id} ({choice.reason})", file=sys.stderr)
    for model_id, why in choice.passed_over:
        print(f"  passed over {model_id}: {why}", file=sys.stderr)
    store = ModelStore(settings)
    store.ensure_all(needed(choice), console_progress())
    try:
        store.ensure_all(wanted(settings), console_progress())
    except DownloadFailed as error:  # the rest can be served without
        print(f"warning: speakers will not be told apart: {error.message}", file=sys.stderr)
    return choice


def list_models(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the catalog as a table with each entry's state."""
    store = ModelStore(settings)
    rows = [("ID", "ROLE", "SIZE", "LICENCE", "ON THIS MACHINE", "TITLE")]
    for entry in (*store.catalog.models, *store.catalog.recordings):
        role = entry.role if isinstance(entry, ModelEntry) else "recording"
        rows.append((entry.id, role, human_size(entry.size), entry.licence, state(store, entry), entry.title))
    print_table(rows)
    return 0


def state(store: ModelStore, entry: CatalogEntry) -> str:
    """Where the entry is, in a few words."""
    try:
        found = store.find(entry.id)
    except ModelStoreError as error:
        return error.message
    return found.origin if found else "no"


def download(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fetch models and print their folders."""
    store = ModelStore(settings)
    if arguments.all and arguments.ids:
        raise UnknownModel("Name models, or say --all; not both.")
    ids: list[str] = arguments.ids or [*needed(chosen(settings)), *wanted(settings)]
    if arguments.all:
        ids = [entry.id for entry in store.catalog.models]
    for model_id in ids:
        store.find(model_id)  # a misspelt second name is told before the first is fetched
    for model_id, folder in store.ensure_all(ids, console_progress()).items():
        print(f"{model_id}: {folder}")
    return 0


def verify(settings: Settings, arguments: argparse.Namespace) -> int:
    """Hash models and print what was found."""
    store = ModelStore(settings)
    everything = [entry.id for entry in (*store.catalog.models, *store.catalog.recordings)]
    here = [entry_id for entry_id in everything if store.target(entry_id).is_dir() or store.find(entry_id)]
    for model_id in arguments.ids or here:
        located = store.verify(model_id)
        print(f"{model_id}: {'not checked (own folder)' if located.origin == OWN_FOLDER else 'OK'}  {located.path}")
    if not arguments.ids and not here:
        print("no models on this machine yet: python start.py models download")
    return 0


def pack_models(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a tar of models."""
    from app.modelstore.packing import pack  # noqa: PLC0415 - tarfile is for this command only

    ids = pack(ModelStore(settings), arguments.ids, arguments.out, console_progress())
    print(f"{arguments.out}: {', '.join(ids)} ({human_size(arguments.out.stat().st_size)})")
    print(f"on the other machine: python start.py models unpack {arguments.out.name}")
    return 0


def unpack_models(settings: Settings, arguments: argparse.Namespace) -> int:
    """Place the models of a tar."""
    from app.modelstore.packing import unpack  # noqa: PLC0415 - as above

    ids = unpack(ModelStore(settings), arguments.file, console_progress())
    print(f"{settings.models_dir}: {', '.join(ids)}")
    return 0


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell; the last one as it comes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
