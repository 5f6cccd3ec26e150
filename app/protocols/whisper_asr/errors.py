"""Errors as whisper-asr-webservice has them, which are FastAPI's own."""

from __future__ import annotations

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.protocols.faults import Fault

FILE = "audio_file"
"""The part that is the recording."""
OTHER_FILE = "file"
"""The same at funasr-server's /asr."""


def face(fault: Fault, scope: Scope) -> Response:
    """The answer to a fault: what is wrong with a field as FastAPI's validation says it, all others as a sentence."""
    if fault.status != 400 or fault.param is None:
        return JSONResponse({"detail": fault.message}, fault.status)
    in_body = fault.param in {FILE, OTHER_FILE} or fault.param not in QueryParams(scope["query_string"])
    place = ["body" if in_body else "query", fault.param]
    return JSONResponse({"detail": [{"type": fault.code, "loc": place, "msg": fault.message}]}, 422)
