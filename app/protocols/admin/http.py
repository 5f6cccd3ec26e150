"""For who runs the server: what it is doing, and ending what should not go on. Wants a key of ADMIN_KEYS, which
service/auth.py has checked before anything comes here."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, Request

from app.protocols.admin.wire import (
    AdminBody,
    Disk,
    EndedBody,
    Phase,
    ProcessesBody,
    Queue,
    jobs_body,
    key_bodies,
    running_body,
    usage_body,
)
from app.protocols.callers import Key
from app.protocols.health import ModelMemory, state_of
from app.protocols.openai.wire import ErrorBody
from app.service.auth import ADMIN_PATH
from app.service.lifecycle import Lifecycle
from app.service.metrics.jobs import jobs_standing
from app.service.metrics.processes import read_processes
from app.service.metrics.states import free_bytes
from app.service.quotas import Amounts
from app.service.service import SpeechService

_WRONG: dict[str, Any] = {"description": "No admin key, or a wrong one.", "model": ErrorBody}
_NONE: dict[str, Any] = {"description": "The server has no admin keys (ADMIN_KEYS).", "model": ErrorBody}
_NOTHING: dict[str, Any] = {"description": "Nothing runs under this id.", "model": ErrorBody}

router = APIRouter(prefix=ADMIN_PATH, tags=["Administration"])
_logger = logging.getLogger(__name__)


@router.get("", summary="What is the server doing?", responses={401: _WRONG, 403: _NONE})
async def admin(request: Request, _key: Key) -> AdminBody:
    """What runs, what waits, what is in memory, and what there is room for. Wants a key of ADMIN_KEYS."""
    service: SpeechService = request.app.state.service
    running, phase, why = service.running.entries, *_phase(request)
    processes, disks = await asyncio.to_thread(_machine, service)
    jobs = await jobs_standing(service)
    return AdminBody(
        version=request.app.version,
        uptime_seconds=round(time.monotonic() - request.app.state.started, 1),
        phase=phase,
        reason=why,
        running=[running_body(one) for one in running],
        queue=Queue(
            pieces_waiting=service.waiting_pieces,
            oldest_piece_seconds=round(service.oldest_piece, 3),
            backlog_seconds=round(service.backlog, 3),
        ),
        jobs=jobs_body(jobs),
        models=[ModelMemory(model=one.id, state=one.state, reason=one.reason) for one in service.states()],
        keys=key_bodies(running),
        usage=[usage_body(one) for one in service.quotas.usage() if one.limits != Amounts()],
        processes=processes,
        disks=disks,
    )


@router.delete("/running/{id}", summary="End what runs", responses={401: _WRONG, 403: _NONE, 404: _NOTHING})
async def end(request: Request, id: str, _key: Key) -> EndedBody:
    """End the recording or live stream of a request. Its client is told, in its protocol, that an operator ended it. A
    job is ended by its own id, and fails. Wants a key of ADMIN_KEYS."""
    service: SpeechService = request.app.state.service
    ended = service.running.end(id)
    _logger.info("ended by an operator: %s", id)
    return EndedBody(id=id, ended=ended)


def _phase(request: Request) -> tuple[Phase, str | None]:
    lifecycle: Lifecycle = request.app.state.lifecycle
    state = state_of(request)
    phase = lifecycle.phase.name.lower() if lifecycle.draining else state.status
    return cast("Phase", phase), state.reason


def _machine(service: SpeechService) -> tuple[list[ProcessesBody], list[Disk]]:
    """What the system says; blocking."""
    settings = service.settings
    temp = settings.temp_dir or Path(tempfile.gettempdir())
    processes = [
        ProcessesBody(role=role, count=count, resident_bytes=resident)
        for role, (resident, count) in read_processes().items()
        if count
    ]
    disks = [
        Disk(folder="temp", free_bytes=free_bytes(temp)),
        Disk(folder="data", free_bytes=free_bytes(settings.data_dir)),
    ]
    if settings.jobs_dir is not None:
        disks.append(Disk(folder="jobs", free_bytes=free_bytes(settings.jobs_dir)))
    return processes, disks
