"""What only tus has: a version in every request and answer, and statuses of its own for some errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from types import MappingProxyType
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from app.domain.errors import InvalidParameter, RequestError, SpeechError, UploadTooSlow
from app.protocols.errors import request_id
from app.protocols.faults import Fault
from app.protocols.openai import errors as openai_errors
from app.service.resumable.upload import ChecksumMismatch, UploadBusy

VERSION = "1.0.0"
_logger = logging.getLogger(__name__)


class UnsupportedVersion(RequestError):  # noqa: N818 - a leaf of the tree
    """It speaks another version of the protocol, or does not say which."""

    code = "unsupported_tus_version"


class NotAPart(InvalidParameter):
    """A body that does not say that it is a part of an upload."""

    code = "unsupported_media_type"


OWN_STATUS: MappingProxyType[type[SpeechError], int] = MappingProxyType(
    {UnsupportedVersion: 412, NotAPart: 415, UploadBusy: 423, ChecksumMismatch: 460, UploadTooSlow: 409}
)
"""What the protocol wants them to be; all else has the status that it has everywhere. A client whose line stalled would
give up at 408; at 409 it asks how much has arrived, and goes on."""


class TusRoute(APIRoute):
    """A route whose answers all carry the version, and whose errors have tus's statuses."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["tus-resumable"] = VERSION
            await send(message)

        await super().handle(scope, receive, send_marked)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()

        async def answer_or_refuse(request: Request) -> Response:
            try:
                return await answer(request)
            except SpeechError as error:
                if (status := OWN_STATUS.get(type(error))) is None:
                    raise
                _logger.info("request %s: %s: %s", request_id(request), error.code, error.message)
                version = {"tus-version": VERSION} if isinstance(error, UnsupportedVersion) else None
                return JSONResponse(openai_errors.envelope(error).model_dump(), status, version)

        return answer_or_refuse


def face(fault: Fault, scope: Scope) -> Response:
    """The answer to a fault, in OpenAI's envelope and with the version: also where no route has seen the request."""
    response = openai_errors.face(fault, scope)
    response.headers["tus-resumable"] = VERSION
    return response


def check_version(request: Request) -> None:
    """See that the client means this protocol. Raises UnsupportedVersion."""
    if request.headers.get("tus-resumable") != VERSION:
        told = f"Send Tus-Resumable: {VERSION}, the version of the tus protocol that is spoken here."
        raise UnsupportedVersion(told, param="Tus-Resumable")
