"""Every error of the application answered in the shape of the protocol whose path was asked, whoever noticed it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Scope

from app.domain.errors import SpeechError
from app.protocols.faults import (
    INVALID_VALUE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNFORESEEN,
    Fault,
    fault_of,
    headers_of,
    status_of,
)
from app.service import logs
from app.service.routes import route_of

Face: TypeAlias = Callable[[Fault, Scope], Response]
"""How a protocol draws a fault of a request."""

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it; the access log does (nginx's number for a client that left)."""
_logger = logging.getLogger(__name__)


class Faces:
    """Which protocol's shape an error has, by the path of its request."""

    def __init__(self, default: Face, others: Mapping[str, Face] | None = None) -> None:
        """`others` are faces of whatever lies at or below their paths; of several, the longest path decides."""
        self._default = default
        self._others = sorted((others or {}).items(), key=lambda item: len(item[0]), reverse=True)

    def install(self, app: FastAPI) -> None:
        """Answer every error of `app`, unknown paths and unforeseen failures included."""
        app.add_exception_handler(SpeechError, self._on_speech_error)
        app.add_exception_handler(HTTPException, self._on_http_exception)
        app.add_exception_handler(RequestValidationError, self._on_validation_error)
        app.add_exception_handler(ClientDisconnect, _on_disconnect)
        app.add_exception_handler(Exception, self._on_exception)

    def refusal(self, error: SpeechError, scope: Scope) -> Response:
        """The answer of the middleware that refuses a request before any route sees it."""
        _logger.info("refused %s: %s", route_of(scope), error.code)
        return self._drawn(fault_of(error), scope, headers_of(error))

    def _drawn(self, fault: Fault, scope: Scope, headers: Mapping[str, str]) -> Response:
        path = str(scope["path"])
        face = next((face for at, face in self._others if path == at or path.startswith(f"{at}/")), self._default)
        response = face(fault, scope)
        response.headers.update(headers)
        return response

    async def _on_speech_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, SpeechError)  # noqa: S101  (registered for this class only)
        ours = status_of(error) >= 500
        said = "(what was said carries a name)" if error.private else error.message
        # A caller's own fault has its cause in what was sent: nothing that an operator could mend.
        cause = error.__cause__ if ours else None
        level = logging.WARNING if ours else logging.INFO
        _logger.log(level, "request %s: %s: %s", request_id(request), error.code, said, exc_info=cause)
        return self._drawn(fault_of(error), request.scope, headers_of(error))

    async def _on_http_exception(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        status = error.status_code
        fault = Fault(str(error.detail), status)
        if status == 404:
            told = f"There is nothing at this path ({request.method} {request.url.path[:200]})."
            fault = Fault(told, status, NOT_FOUND)
        elif status == 405:
            fault = Fault(f"This path does not take {request.method}.", status, METHOD_NOT_ALLOWED)
        return self._drawn(fault, request.scope, error.headers or {})

    async def _on_validation_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        first = error.errors()[0] if error.errors() else {}
        # The place without its leading "query" or "body"; never the value, which may be anything.
        place = ".".join(str(part) for part in tuple(first.get("loc", ()))[1:])
        fault = Fault(str(first.get("msg", "bad request")), 400, INVALID_VALUE, place or None)
        return self._drawn(fault, request.scope, {})

    async def _on_exception(self, request: Request, error: Exception) -> Response:
        with logs.named(request_id(request)):  # the handler runs outside the middleware that names requests
            _logger.error("request %s failed", request_id(request), exc_info=error)
        # The header is set here for the same reason.
        headers = {"x-request-id": request_id(request), "x-should-retry": "false"}
        return self._drawn(UNFORESEEN, request.scope, headers)


def request_id(request: Request) -> str:
    """The id this request's answer and log lines carry; "-" where no middleware gave one."""
    return str(getattr(request.state, "request_id", "-"))


async def _on_disconnect(request: Request, _error: Exception) -> Response:
    _logger.info("request %s: the client left", request_id(request))
    return Response(status_code=CLIENT_CLOSED_REQUEST)
