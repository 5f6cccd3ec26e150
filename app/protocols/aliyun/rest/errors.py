"""Errors of Alibaba's HTTP routes: JSON for every outcome."""

from __future__ import annotations

from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.domain.errors import InvalidParameter
from app.protocols.aliyun.errors import status_of_fault
from app.protocols.aliyun.rest.wire import error_body, strict_error_body, task_id_of
from app.protocols.aliyun.wire import Status
from app.protocols.errors import Face
from app.protocols.faults import Fault
from app.protocols.payload import Payload
from app.settings import Settings

PATH = "/stream/v1"
"""Everything below it has this face."""
FLASH = f"{PATH}/FlashRecognizer"
STRICT = "X-NLS-Strict"
"""The header that says which of both shapes is wanted."""
_PARAMETERS: MappingProxyType[str, str | None] = MappingProxyType({"model": "model_id", "file": None})
"""What fields are called here that have another name elsewhere; None: there is no such parameter."""
_TOKEN = "The token is missing or invalid. Send it as the header X-NLS-Token, or in the address as token."  # noqa: S105


def face_of(settings: Settings) -> Face:
    """How faults of these routes are told."""

    def face(fault: Fault, scope: Scope) -> Response:
        status, task_id = status_of_fault(fault), task_id_of(_request_id(scope))
        denied = status is Status.ACCESS_DENIED and fault.status == 401
        told = _TOKEN if denied else fault.message
        if _drawn_strictly(scope, settings):
            body = strict_error_body(task_id, status, told)
        else:
            # funasr-api's clients know this one by its beginning, as the real service's do.
            shown = f"Gateway:{status.name}:{told}" if denied else told
            body = error_body(task_id, status, shown, _PARAMETERS.get(fault.param or "", fault.param))
        return JSONResponse(body.model_dump(), fault.status, {"task_id": task_id})

    return face


def is_strict(scope: Scope, settings: Settings) -> bool:
    """Whether to answer as Alibaba Cloud does. funasr-api never had a FlashRecognizer.

    Raises:
        InvalidParameter: the header says neither yes nor no.
    """
    if scope["path"] == FLASH:
        return True
    header = Payload({STRICT: Headers(scope=scope).get(STRICT, "").strip()})
    return header.flag(STRICT, default=settings.aliyun_strict)


def _drawn_strictly(scope: Scope, settings: Settings) -> bool:
    try:
        return is_strict(scope, settings)
    except InvalidParameter:  # what this answers
        return settings.aliyun_strict


def _request_id(scope: Scope) -> str:
    state: dict[str, object] = scope.get("state", {})
    return str(state.get("request_id", "-"))
