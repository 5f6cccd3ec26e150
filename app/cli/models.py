"""`start.py models ...`: list, download, verify, export, pack, unpack; and getting models ready before serving."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.cli.tables import print_table
from app.domain.errors import DownloadFailed, ModelStoreError, UnknownModel
from app.modelstore.catalog import CatalogEntry, ModelEntry
from app.modelstore.disk import human_size
from app.modelstore.machine import read_machine
from app.modelstore.progress import console_progress
from app.modelstore.selection import Choice, best_here, choose, missing_packages, needed, wanted
from app.modelstore.store import OWN_FOLDER, Located, ModelStore
from app.service.loading import existing_engines
from app.settings import Settings


def add_parser(commands: Any) -> None:
    """Add `models` and its own commands to argparse's `commands`."""
    parser = commands.add_parser("models", help="list, download, verify, export, pack or unpack models")
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

    action = actions.add_parser(
        "export", help="a FunASR checkpoint (Paraformer, CT punctuation) to ONNX: fp32, int8, fp16"
    )
    action.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the folder with model.pt and config.yaml")
    action.add_argument("out", type=Path, metavar="OUT", help="the folder to write; point ASR_MODEL_DIR_<ID> to it")
    action.add_argument(
        "--quantize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether to write the int8 graph too, which a CPU is served with (the default)",
    )
    action.add_argument(
        "--fp16", action="store_true", help="write the fp16 graph too, which a GPU is served with (Paraformer only)"
    )
    action.set_defaults(run=export_model)

    action = actions.add_parser("pack", help="write models into one tar for a machine without network")
    action.add_argument("out", type=Path, metavar="OUT", help="the tar to write")
    action.add_argument("ids", nargs="*", metavar="ID", help="models to pack (all that are here, when none is named)")
    action.set_defaults(run=pack_models)

    action = actions.add_parser("unpack", help="verify a tar made by pack and place its models")
    action.add_argument("file", type=Path, metavar="FILE", help="the tar to read")
    action.set_defaults(run=unpack_models)

    action = actions.add_parser("memory", help="what Qwen3-ASR takes of a GPU, and how many pieces at once that allows")
    action.add_argument(
        "gib", nargs="*", type=_gib, metavar="GIB", help="cards to reckon with (this machine's, or else usual sizes)"
    )
    action.set_defaults(run=show_memory)


def chosen(settings: Settings) -> Choice:
    """The model this machine would serve. Errors as `choose`."""
    return choose(settings, read_machine(), existing_engines())


def prepare(settings: Settings, *, absent: str = "it will be fetched while serving") -> Choice:
    """Make sure that there is something to serve with; says what it is on standard error.

    Of an automatic choice, a model that is here already is not kept waiting by mirrors: the server fetches better ones.
    `absent` is what is said of these.

    Raises:
        UnknownModel: ASR_MODEL names one that cannot be served.
        ModelStoreError: a model that was asked for by name cannot be had, or none of this machine's.
    """
    store = ModelStore(settings)
    choice = first = chosen(settings)
    later = "HF_HUB_OFFLINE is set" if settings.hf_hub_offline else absent
    why = f"it is not on this machine ({later})"
    best = best_here(choice, lambda model_id: store.locate(model_id) is not None, why)
    while choice.model_id != best.model_id:
        choice = _passing_over(choice, why)
    with store.fetching(console_progress()) as ensure:
        here = all(store.locate(model_id) for model_id in needed(choice))
        choice = _with_recognizer(choice, ensure)
        for model_id in needed(choice):
            ensure(model_id)
        print(f"model: {choice.model_id} ({choice.reason})", file=sys.stderr)
        for model_id, why in first.passed_over:  # the others were told when it happened
            print(f"  passed over {model_id}: {why}", file=sys.stderr)
        for model_id in _absent(store, wanted(settings, choice)):
            if here:
                print(f"warning: serving without {model_id}: it is not on this machine ({later})", file=sys.stderr)
            else:
                _try(ensure, model_id)
    return choice


def _with_recognizer(choice: Choice, ensure: Callable[[str], Path]) -> Choice:
    """The choice whose model can be had: the first one, or else the first of its alternatives.

    Raises:
        ModelStoreError: none can; of the last one.
    """
    while True:
        try:
            ensure(choice.model_id)
        except DownloadFailed as error:
            if not choice.alternatives:
                raise
            choice = _passing_over(choice, one_line(error))
        else:
            return choice


def _passing_over(choice: Choice, why: str) -> Choice:
    """The next choice, said loudly."""
    print(f"warning: {choice.model_id} is not served, {choice.alternatives[0]} is: {why}", file=sys.stderr)
    return choice.falling_back(why)


def _absent(store: ModelStore, model_ids: tuple[str, ...]) -> list[str]:
    """Those of `model_ids` in whose place there is nothing here, not even another model of that role."""
    models = store.catalog.models
    wished = [entry for entry in models if entry.id in model_ids]
    return [
        entry.id for entry in wished if not any(store.locate(other.id) for other in models if other.role == entry.role)
    ]


def _try(ensure: Callable[[str], Path], model_id: str) -> None:
    try:
        ensure(model_id)
    except DownloadFailed as error:
        print(f"warning: serving without {model_id}: {one_line(error)}", file=sys.stderr)


def one_line(error: DownloadFailed) -> str:
    """The message without its list's line breaks."""
    first, *reasons = error.message.splitlines()
    return f"{first} {'; '.join(reason.removeprefix('  - ') for reason in reasons)}".rstrip()


def list_models(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the catalog as a table with each entry's state."""
    store = ModelStore(settings)
    rows = [("ID", "ROLE", "SIZE", "LICENCE", "ON THIS MACHINE", "TITLE")]
    for entry in (*store.catalog.models, *store.catalog.recordings):
        role = entry.role if isinstance(entry, ModelEntry) else "recording"
        known = store.entry(entry.id)
        size = human_size(known.size) if known.files else "?"
        rows.append((entry.id, role, size, entry.licence, state(store, entry), entry.title))
    print_table(rows)
    return 0


def state(store: ModelStore, entry: CatalogEntry) -> str:
    """Where the entry is, in a few words, and whether what runs it is missing."""
    try:
        found = store.find(entry.id)
    except ModelStoreError as error:
        return error.message
    where = located(found) if found else "no"
    lacks = missing_packages(entry) if isinstance(entry, ModelEntry) else ()
    return f"{where}; {' and '.join(lacks)} not installed" if lacks else where


def located(found: Located) -> str:
    """Whose folder it is, and whether anybody stated what should be in it."""
    return f"{found.origin}, as found" if found.as_found else found.origin


def download(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fetch models and print their folders."""
    store = ModelStore(settings)
    if arguments.all and arguments.ids:
        raise UnknownModel("Name models, or say --all; not both.")
    ids: list[str] = [entry.id for entry in store.catalog.models] if arguments.all else arguments.ids
    for model_id in ids:
        store.find(model_id)  # a misspelt second name is told before the first is fetched
    with store.fetching(console_progress()) as ensure:
        if not ids:
            choice = _with_recognizer(chosen(settings), ensure)
            ids = [*needed(choice), *wanted(settings, choice)]
        for model_id in ids:
            print(f"{model_id}: {ensure(model_id)}")
    return 0


def verify(settings: Settings, arguments: argparse.Namespace) -> int:
    """Hash models and print what was found."""
    store = ModelStore(settings)
    everything = [entry.id for entry in (*store.catalog.models, *store.catalog.recordings)]
    here = [entry_id for entry_id in everything if store.target(entry_id).is_dir() or store.find(entry_id)]
    for model_id in arguments.ids or here:
        found = store.verify(model_id)
        print(f"{model_id}: {_verdict(found)}  {found.path}")
    if not arguments.ids and not here:
        print("no models on this machine yet: python start.py models download")
    return 0


def _verdict(found: Located) -> str:
    if found.origin == OWN_FOLDER:
        return "not checked (own folder)"
    return "OK (unchanged since it was found; no hub was asked)" if found.as_found else "OK"


def export_model(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a checkpoint's graphs. Needs torch and FunASR, which serving does not."""
    from app.modelstore.exporting import export  # noqa: PLC0415 - as below

    written = export(
        arguments.checkpoint, arguments.out, quantize=arguments.quantize, fp16=arguments.fp16, progress=print
    )
    for path in written:
        print(path)
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


def show_memory(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what Qwen3-ASR takes of GPUs."""
    from app.cli.memory import table  # noqa: PLC0415 - engines import numpy: for this command only

    print_table(table(settings, arguments.gib))
    return 0


def _gib(said: str) -> float:
    size = float(said)
    if not 0 < size < 10_000:
        raise argparse.ArgumentTypeError("a card has more than 0 GiB")
    return size
