"""Which model this machine should serve: the best it can hold that this version has an engine for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.domain.errors import UnknownModel
from app.modelstore.catalog import CATALOG, Catalog
from app.modelstore.machine import GIBIBYTE, Machine
from app.settings import Settings

BASE_MODEL = "whisper-base"
"""The one that always starts: small, and to be had without a model hub."""

LARGE_GPU_BYTES = 31 * GIBIBYTE
"""What a card sold as 32 GB reports at least: 32,607 or 32,510 MiB, never the full 32,768."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The model to serve, why, and which better ones were passed over (id, why)."""

    model_id: str
    reason: str
    passed_over: tuple[tuple[str, str], ...] = ()
    by_name: bool = False


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
    passed_over: list[tuple[str, str]] = []
    for model_id in ranking:
        obstacle = _obstacle(model_id, engines, catalog)
        if obstacle is None:
            return Choice(model_id, f"the best available for {reason}", tuple(passed_over))
        passed_over.append((model_id, obstacle))
    raise UnknownModel("This version has no engine for any of its models.")


def wanted(settings: Settings, catalog: Catalog = CATALOG) -> tuple[str, ...]:
    """Ids of what is served better with, and without where it cannot be had: what tells speakers apart."""
    if settings.speaker_diarization == "off":
        return ()
    return tuple(entry.id for entry in catalog.models if entry.role == "speakers")


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
