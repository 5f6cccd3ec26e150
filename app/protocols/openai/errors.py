"""From the error tree to OpenAI's envelope: the one place that knows which leaf is which status."""

from __future__ import annotations

import logging
import math
from types import MappingProxyType

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from app.domain.errors import (
    AudioTooLong,
    AuthenticationFailed,
    DeadlineExceeded,
    EngineFailure,
    ModelConflict,
    ModelStoreError,
    ModelUnavailable,
    Overloaded,
    PermissionDenied,
    RequestError,
    SpeechError,
    UnknownModel,
    UnknownVocabulary,
    UnknownVoice,
    UploadTooLarge,
    UploadTooSlow,
    VocabulariesUnavailable,
    VocabularyExists,
    VoiceExists,
    VoicesUnavailable,
)
from app.protocols.openai.wire import ErrorBody, ErrorDetail

STATUS: MappingProxyType[type[SpeechError], int] = MappingProxyType(
    {
        AuthenticationFailed: 401,
        PermissionDenied: 403,
        UnknownModel: 404,
        UnknownVoice: 404,
        UnknownVocabulary: 404,
        UploadTooSlow: 408,
        ModelConflict: 409,
        VoiceExists: 409,
        VocabularyExists: 409,
        UploadTooLarge: 413,
        AudioTooLong: 413,
        RequestError: 400,
        Overloaded: 429,
        DeadlineExceeded: 504,
        ModelUnavailable: 503,
        ModelStoreError: 503,
        VoicesUnavailable: 503,
        VocabulariesUnavailable: 503,
        EngineFailure: 500,
        SpeechError: 500,
    }
)
"""HTTP status by kind of error; a leaf that is not here takes its nearest ancestor's."""

STORE_RETRY_SECONDS = 5
"""What could not be had is worth asking for again soon: an operator may be at it."""
CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it; the access log does (nginx's number for a client that left)."""

_HTTP_CODES: MappingProxyType[int, str] = MappingProxyType({404: "not_found", 405: "method_not_allowed"})
_logger = logging.getLogger(__name__)


def status_of(error: SpeechError) -> int:
    """The HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def envelope(error: SpeechError) -> ErrorBody:
    """The error as OpenAI's SDKs read it."""
    param = error.param if isinstance(error, RequestError) else None
    return _body(error.message, status_of(error), param=param, code=error.code)


def internal_envelope() -> ErrorBody:
    """What a caller may know of an error nobody foresaw."""
    return _body("Something went wrong in the server; its log has the details.", 500, code=SpeechError.code)


def error_response(error: SpeechError) -> Response:
    """The whole answer to an error, with what its status calls for in the headers."""
    return _json(envelope(error), status_of(error), _headers(error))


def refusal(error: SpeechError, path: str) -> Response:
    """The answer of the middleware that refuses a request before any route sees it, whatever its `path`."""
    _logger.info("refused %r: %s", path[:200], error.code)
    return error_response(error)


def install(app: FastAPI) -> None:
    """Answer every error of `app` in OpenAI's envelope, unknown paths and unforeseen failures included."""
    app.add_exception_handler(SpeechError, _on_speech_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_exception)


def request_id(request: Request) -> str:
    """The id this request's answer and log lines carry; "-" where no middleware gave one."""
    return str(getattr(request.state, "request_id", "-"))


async def _on_speech_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SpeechError)  # noqa: S101  (registered for this class only)
    level = logging.WARNING if status_of(error) >= 500 else logging.INFO
    said = "(what was said carries a name)" if error.private else error.message
    _logger.log(level, "request %s: %s: %s", request_id(request), error.code, said, exc_info=error.__cause__)
    return error_response(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = error.status_code
    message = str(error.detail)
    if status == 404:
        message = f"There is nothing at this path ({request.method} {request.url.path[:200]})."
    elif status == 405:
        message = f"This path does not take {request.method}."
    return _json(_body(message, status, code=_HTTP_CODES.get(status)), status, dict(error.headers or {}))


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0] if error.errors() else {}
    # The place without its leading "query" or "body"; never the value, which may be anything.
    place = ".".join(str(part) for part in tuple(first.get("loc", ()))[1:])
    return _json(_body(str(first.get("msg", "bad request")), 400, param=place or None, code="invalid_value"), 400, {})


async def _on_disconnect(request: Request, _error: Exception) -> Response:
    _logger.info("request %s: the client left", request_id(request))
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_exception(request: Request, error: Exception) -> Response:
    _logger.error("request %s failed", request_id(request), exc_info=error)
    # The handler runs outside the middleware that names requests, so the header is set here.
    headers = {"x-request-id": request_id(request), "x-should-retry": "false"}
    return _json(internal_envelope(), 500, headers)


def _headers(error: SpeechError) -> dict[str, str]:
    if isinstance(error, AuthenticationFailed):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, Overloaded | ModelUnavailable):
        return {"retry-after": str(max(1, math.ceil(error.retry_after))), "x-should-retry": "true"}
    # OpenAI's clients retry a 409 and a 5xx unless told not to; these would only repeat.
    if isinstance(error, DeadlineExceeded | ModelConflict):
        return {"x-should-retry": "false"}
    if isinstance(error, ModelStoreError):
        return {"retry-after": str(STORE_RETRY_SECONDS), "x-should-retry": "true"}
    return {}


def _body(message: str, status: int, *, param: str | None = None, code: str | None = None) -> ErrorBody:
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return ErrorBody(error=ErrorDetail(message=message, type=kind, param=param, code=code))


def _json(body: ErrorBody, status: int, headers: dict[str, str]) -> Response:
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)
