"""Errors in OpenAI's envelope."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.domain.errors import Overloaded, QuotaExceeded, SpeechError
from app.protocols.faults import UNFORESEEN, Fault, fault_of, headers_of, status_of
from app.protocols.openai.wire import ErrorBody, ErrorDetail


def face(fault: Fault, _scope: Scope) -> Response:
    """The answer to a fault."""
    return JSONResponse(_body(fault).model_dump(), fault.status)


def envelope(error: SpeechError) -> ErrorBody:
    """The error as OpenAI's SDKs read it."""
    return _body(fault_of(error))


def internal_envelope() -> ErrorBody:
    """What a caller may know of an error nobody foresaw."""
    return _body(UNFORESEEN)


def error_response(error: SpeechError) -> Response:
    """The whole answer to an error, with what its status calls for in the headers."""
    return JSONResponse(envelope(error).model_dump(), status_of(error), headers_of(error))


def _body(fault: Fault) -> ErrorBody:
    status = fault.status
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    code = Overloaded.code if fault.code == QuotaExceeded.code else fault.code  # OpenAI has one for both
    return ErrorBody(error=ErrorDetail(message=fault.message, type=kind, param=fault.param, code=code))
