"""Errors of the gateway before Alibaba's file transcription: what concerns the call itself, not a task."""

from __future__ import annotations

from types import MappingProxyType

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.domain import errors
from app.domain.errors import InvalidParameter
from app.protocols.aliyun.filetrans.dashscope import errors as dashscope
from app.protocols.aliyun.filetrans.wire import request_id_of
from app.protocols.errors import Face
from app.protocols.faults import METHOD_NOT_ALLOWED, NOT_FOUND, Fault

ROOT, PATH = "/", "/filetrans"
"""Where clients call it that know a host only, and where it is for those that can be told a path."""


class MissingParameter(InvalidParameter):
    """A parameter that there must be, named by `param`."""

    code = "parameter_missing"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is mandatory for this action.", param=name)


class UnknownAction(InvalidParameter):
    """Nothing is called that here."""

    code = "action_not_found"


class InvalidVersion(InvalidParameter):
    """An interface of another date."""

    code = "version_not_found"


class WrongMethod(InvalidParameter):
    """What changes something is no GET."""

    code = "method_not_supported"


_CODES: MappingProxyType[str, str] = MappingProxyType(
    {
        errors.AuthenticationFailed.code: "InvalidAccessKeyId.NotFound",
        UnknownAction.code: "InvalidAction.NotFound",
        NOT_FOUND: "InvalidAction.NotFound",
        InvalidVersion.code: "InvalidVersion",
        WrongMethod.code: "UnsupportedHTTPMethod",
        METHOD_NOT_ALLOWED: "UnsupportedHTTPMethod",
        errors.Overloaded.code: "Throttling.User",
        errors.TooManyJobs.code: "Throttling.User",
        errors.QuotaExceeded.code: "Throttling.User",
    }
)
"""What POP calls them; SDKs read `Code`, and try again what is Throttling or ServiceUnavailable."""
_UNAVAILABLE = frozenset({503, 507})


def code_of(fault: Fault) -> str:
    """What POP calls a fault."""
    if fault.code == MissingParameter.code:
        return f"Missing{fault.param}"
    if (code := _CODES.get(fault.code or "")) is not None:
        return code
    if fault.status in _UNAVAILABLE:
        return "ServiceUnavailable"
    return "InternalError" if fault.status >= 500 else "InvalidParameter"


def face(fault: Fault, scope: Scope) -> Response:
    """A fault as Alibaba Cloud's gateway (POP, in RPC style) tells it."""
    body = {"RequestId": request_id_of(scope), "Code": code_of(fault), "Message": fault.message}
    return JSONResponse(body, fault.status)


FACES: MappingProxyType[str, Face] = MappingProxyType({ROOT: face, PATH: face, **dashscope.FACES})
"""By path. At `/` there is also the page, which has no errors."""
OPEN_PATHS = frozenset({PATH}) | dashscope.OPEN_PATHS
"""Where the key may be in the body and is looked at by the routes themselves, or where a secret takes its place."""
