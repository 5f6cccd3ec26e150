"""Which model this machine should serve: the best it can hold that this version has an engine for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from app.domain.errors import UnknownModel
from app.modelstore.catalog import CATALOG, Catalog
from app.modelstore.machine import GIBIBYTE, Machine
from app.settings import Settings

BASE_MODEL = "whisper-base"
"""The one that always starts: small, and to be had without a model hub."""

_WITHOUT_MARKS = frozenset({"paraformer"})
"""Engines that write no marks."""

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


def choose(settings: Settings, machine: Machine, engines: Collection[str], catalog: Catalog = CATALOG) -> Choice:
    """The model to serve. `engines` names the engines this version has (modules under app/engines/).

    A model asked for by name (ASR_MODEL) is never silently replaced.

    Raises:
        UnknownModel: the named model does not exist or has no engine (says what there is), or nothing can be served.
    """
    wanted = settings.asr_model.strip()
    if wanted and wanted.lower() != "auto":
        return _by_name(wanted, engines, catalog)
    ranking, reason = preferences(settings, machine)
    obstacles = {model_id: _obstacle(model_id, engines, catalog) for model_id in ranking}
    able = [model_id for model_id in ranking if obstacles[model_id] is None]
    if not able:
        raise UnknownModel("This version has no engine for any of its models.")
    better = ranking[: ranking.index(able[0])]
    passed_over = tuple((model_id, obstacles[model_id] or "") for model_id in better)
    return Choice(able[0], f"the best available for {reason}", passed_over, alternatives=tuple(able[1:]))


def best_here(choice: Choice, here: Callable[[str], bool], why: str) -> Choice:
    """The best choice that is on this machine, if one is; else the choice as it is.

    `here` says whether a model is, `why` what is said of those that are passed over.
    """
    if any(here(model_id) for model_id in (choice.model_id, *choice.alternatives)):
        while not here(choice.model_id):
            choice = choice.falling_back(why)
    return choice


def wanted(settings: Settings, choice: Choice, catalog: Catalog = CATALOG) -> tuple[str, ...]:
    """Ids of what is served better with, and without where it cannot be had: what tells speakers apart, and what sets
    marks into the text of a model that writes none."""
    chosen = catalog.model(choice.model_id)
    roles: dict[str, bool] = {
        "punctuation": settings.asr_enable_punctuation and chosen is not None and chosen.engine in _WITHOUT_MARKS,
        "speakers": settings.speaker_diarization != "off",
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
    """Model ids from best to last resort, and what about the machine says so."""
    gpu = None if settings.device == "cpu" else machine.largest_gpu
    if gpu is None:
        return ("paraformer-large", BASE_MODEL), "a machine without CUDA" if not machine.gpus else "DEVICE=cpu"
    size = f"{gpu.name} ({gpu.memory / GIBIBYTE:.0f} GiB)"
    if gpu.memory >= LARGE_GPU_BYTES:
        return ("qwen3-asr-1.7b", "qwen3-asr-0.6b", "paraformer-large", BASE_MODEL), size
    return ("qwen3-asr-0.6b", "paraformer-large", BASE_MODEL), size


def _obstacle(model_id: str, engines: Collection[str], catalog: Catalog) -> str | None:
    entry = catalog.model(model_id)
    if entry is None or entry.engine not in engines:
        return "this version has no engine for it yet"
    return None if entry.role == "asr" else "it does not recognise speech"


def _by_name(model_id: str, engines: Collection[str], catalog: Catalog) -> Choice:
    obstacle = _obstacle(model_id, engines, catalog)
    if obstacle is None:
        return Choice(model_id, "asked for by name (ASR_MODEL)", by_name=True)
    available = [entry.id for entry in catalog.models if _obstacle(entry.id, engines, catalog) is None]
    raise UnknownModel(
        f"ASR_MODEL={model_id} cannot be served: {obstacle}. Available: {', '.join(available) or 'none'}, or auto."
    )
