"""Errors as OddASR's HTTP clients read them: a shape for each family of its routes."""

from __future__ import annotations

from types import MappingProxyType

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.protocols.errors import Face
from app.protocols.faults import Fault

OK = "ok"
"""What stands where an error would be told."""


def face(fault: Fault, _scope: Scope) -> Response:
    """Of recognition: one text."""
    return JSONResponse({"error": fault.message}, fault.status)


def list_face(fault: Fault, _scope: Scope) -> Response:
    """Of word lists by unique_id: clients look at `error_code`, which is 0 where all is well."""
    return JSONResponse({"error_code": fault.status, "error_desc": fault.message, "data": {}}, fault.status)


def task_face(fault: Fault, _scope: Scope) -> Response:
    """Of transcription in the background."""
    body = {"error_code": fault.status, "error_desc": fault.message, "data": {"task_id": ""}}
    return JSONResponse(body, fault.status)


def platform_face(fault: Fault, scope: Scope) -> Response:
    """Of Alibaba Cloud's self-learning platform, whose own errors nobody has written down."""
    request_id = str(scope.get("state", {}).get("request_id", ""))
    body = {"request_id": request_id, "error_code": fault.status, "error_message": fault.message}
    return JSONResponse(body, fault.status)


FACES: MappingProxyType[str, Face] = MappingProxyType(
    {
        "/v1/asr": face,
        "/v1/asr/task": task_face,
        "/v1/asr/hotwords": list_face,
        "/v1/asr/sensitivewords": list_face,
        "/api/v1/asr": platform_face,
        "/api/v2/asr": platform_face,
        "/api/v3/file": face,
        "/update_transmit": face,
        "/login": face,
    }
)
"""By path, for whatever lies at or below it."""
