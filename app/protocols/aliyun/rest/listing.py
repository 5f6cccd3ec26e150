"""What answers at funasr-api's Alibaba routes, and how it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.modelstore.catalog import CATALOG, HuggingFaceMirror, ModelScopeMirror
from app.service.residents import ServedModel
from app.service.service import SpeechService

Mode = Literal["all"]
"""funasr-api could be set to recordings or live speech only; here every model hears both."""


class WeightsBody(BaseModel):
    """Where a model's weights come from, and that they are here."""

    path: str
    exists: bool = True


class AliyunModelBody(BaseModel):
    """A model that answers."""

    id: str
    name: str
    engine: str
    description: str
    languages: list[str]
    default: bool
    loaded: bool = Field(description="Whether it is in memory; otherwise the next request has it loaded.")
    supports_realtime: bool = True
    offline_model: WeightsBody | None
    realtime_model: WeightsBody | None
    asr_model_mode: Mode = "all"


class ModelsBody(BaseModel):
    """The models that answer, the default first."""

    models: list[AliyunModelBody]
    total: int
    loaded_count: int
    asr_model_mode: Mode = "all"


class HealthBody(BaseModel):
    """Whether recordings are recognised now."""

    model_config = ConfigDict(protected_namespaces=())  # funasr-api's name for a field begins like pydantic's own

    status: Literal["healthy", "unhealthy", "error"]
    version: str
    message: str
    model_loaded: bool
    device: str = Field(description="What DEVICE means on this machine: cpu, or a card.")
    loaded_models: list[str]
    memory_usage: None = Field(
        default=None, description="Not known: engines reckon with a card's memory by themselves."
    )
    asr_model_mode: Mode = "all"


def models_body(service: SpeechService) -> ModelsBody:
    """The models that answer. None while the first is loading."""
    loaded = {state.id for state in service.states() if state.state == "loaded"}
    models = [
        _model(model, default=not place, loaded=model.id in loaded) for place, model in enumerate(service.models())
    ]
    return ModelsBody(models=models, total=len(models), loaded_count=sum(model.loaded for model in models))


def health_body(service: SpeechService, version: str) -> HealthBody:
    """How it is. Nothing is loaded for it."""
    loaded = [state.id for state in service.states() if state.state == "loaded"] if service.ready else []
    if service.ready:
        status, message = "healthy", f"Recordings are recognised by {service.models()[0].id}."
    elif service.failure is not None:
        status, message = "error", service.failure.message
    else:
        status, message = "unhealthy", "The model is still loading."
    return HealthBody(
        status=status,
        version=version,
        message=message,
        model_loaded=bool(loaded),
        device=service.device,
        loaded_models=loaded,
    )


def _model(model: ServedModel, *, default: bool, loaded: bool) -> AliyunModelBody:
    entry = CATALOG.model(model.id)
    hubs = (
        [mirror.repo for mirror in entry.mirrors if isinstance(mirror, ModelScopeMirror | HuggingFaceMirror)]
        if entry
        else []
    )
    weights = WeightsBody(path=hubs[0]) if hubs else None
    return AliyunModelBody(
        id=model.id,
        name=entry.title if entry else model.id,
        engine=entry.engine if entry else "unknown",
        description=model.description,
        languages=sorted(model.capabilities.languages),
        default=default,
        loaded=loaded,
        offline_model=weights,
        realtime_model=weights,
    )
