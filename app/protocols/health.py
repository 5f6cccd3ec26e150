"""Is it alive, is it ready, and what is it doing: for load balancers, orchestrators and people."""

from __future__ import annotations

import asyncio
import time
from typing import Literal, cast

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.audio.storing import is_low
from app.service.lifecycle import Lifecycle
from app.service.service import SpeechService

router = APIRouter(prefix="/health", tags=["Health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Whether recognition requests can be answered now."""

    status: Literal["ready", "loading", "failed", "draining"]
    reason: str | None = Field(None, description="Why not, where it is not.")


class PassedOver(BaseModel):
    """A better model that is not served, and why."""

    model: str
    reason: str


class ModelMemory(BaseModel):
    """A model that answers, or was to."""

    model: str
    state: Literal["loaded", "loading", "idle", "unloading", "restarting", "failed"] = Field(
        description="idle: not in memory; the next request for it has it loaded. restarting: the process that computes "
        "has died and is started again. failed: it was to be loaded at start."
    )
    reason: str | None = Field(None, description="Why it failed.")


class Health(Ready):
    """The whole picture."""

    version: str
    uptime_seconds: float
    model: str = Field(description="The model this machine was found fit for.")
    model_reason: str
    passed_over: list[PassedOver]
    models: list[str] = Field(description="Models that answer now, the default first.")
    memory: list[ModelMemory] = Field(description="Which of them are in memory; also those that were to be.")
    speakers: bool = Field(description="Whether speakers can be told apart.")
    punctuation: bool = Field(description="Whether text that was recognised without marks gets some.")
    language_model: bool = Field(description="Whether the default model decodes with a language model.")
    threads: int = Field(description="Compute threads of all engines together.")
    active_requests: int
    active_streams: int = Field(description="Live streams that go on.")
    temp_low: bool = Field(description="Whether there is hardly any room left where uploads wait (TEMP_DIR).")
    waiting_pieces: int = Field(description="Pieces of recordings that wait for a recogniser.")


@router.get("/live", summary="Is the process alive?")
async def live() -> Live:
    """200 as long as the event loop turns."""
    return Live()


@router.get("/ready", summary="Can it take requests?", responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """200 once the model is loaded; 503 before, while it is started again, and after what needs an operator."""
    state = state_of(request)
    response.status_code = 200 if state.status == "ready" else 503
    return state


@router.get("", summary="What is it doing?")
async def health(request: Request) -> Health:
    """Always 200: what is served, why, and how busy it is."""
    service = _service(request)
    return Health(
        **state_of(request).model_dump(),
        version=request.app.version,
        uptime_seconds=round(time.monotonic() - request.app.state.started, 1),
        model=service.choice.model_id,
        model_reason=service.choice.reason,
        passed_over=[PassedOver(model=model, reason=reason) for model, reason in service.choice.passed_over],
        models=[model.id for model in service.models()],
        memory=[ModelMemory(model=one.id, state=one.state, reason=one.reason) for one in service.states()],
        speakers=service.tells_speakers,
        punctuation=service.punctuates,
        language_model=service.has_language_model,
        threads=service.settings.threads,
        active_requests=service.active,
        active_streams=service.active_streams,
        temp_low=await asyncio.to_thread(is_low, service.settings.temp_dir),
        waiting_pieces=service.waiting_pieces,
    )


def _service(request: Request) -> SpeechService:
    return request.app.state.service


def state_of(request: Request) -> Ready:
    """Whether recognition requests can be answered now, and why not."""
    service, lifecycle = _service(request), cast("Lifecycle", request.app.state.lifecycle)
    if lifecycle.draining:
        return Ready(status="draining", reason="The server is ending; ask another one.")
    if service.ready:
        default = service.states()[0]
        if default.state == "restarting":
            return Ready(status="loading", reason=f"{default.id} is being started again.")
        return Ready(status="ready", reason=None)
    if service.failure:
        return Ready(status="failed", reason=service.failure.message)
    return Ready(status="loading", reason="The model is still loading.")
