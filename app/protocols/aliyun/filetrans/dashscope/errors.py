"""Errors as DashScope's clients read them, of a request and of a task."""

from __future__ import annotations

from types import MappingProxyType

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.domain import errors
from app.domain.errors import InvalidParameter
from app.protocols.errors import Face
from app.protocols.faults import METHOD_NOT_ALLOWED, NOT_FOUND, Fault
from app.service.jobs.job import Failure

BASE = "/api/v1"
"""What clients know as the base of all addresses."""
SUBMIT, TASKS = f"{BASE}/services/audio/asr/transcription", f"{BASE}/tasks"
RESULT = f"{BASE}/transcription"
"""Where transcripts are fetched from, by their secret and without a key."""


class NotAsynchronous(InvalidParameter):
    """It wants its text at once."""

    code = "not_asynchronous"


class NotPending(InvalidParameter):
    """It has ended."""

    code = "task_ended"


_CODES: MappingProxyType[str, str] = MappingProxyType(
    {
        errors.AuthenticationFailed.code: "InvalidApiKey",
        errors.UnknownModel.code: "ModelNotFound",
        errors.Overloaded.code: "Throttling.RateQuota",
        errors.TooManyJobs.code: "Throttling.RateQuota",
        errors.QuotaExceeded.code: "Throttling.RateQuota",
        NotAsynchronous.code: "AccessDenied",
        NotPending.code: "UnsupportedOperation",
        METHOD_NOT_ALLOWED: "UnsupportedOperation",
        NOT_FOUND: "NotFound",
        errors.UnknownJob.code: "NotFound",
    }
)
_FAILURES: MappingProxyType[str, str] = MappingProxyType(
    {
        errors.AddressNotFetched.code: "FILE_DOWNLOAD_FAILED",
        errors.EmptyAudio.code: "FILE_CHECK_FAILED",
        errors.NoAudioStream.code: "FILE_CHECK_FAILED",
        errors.UndecodableAudio.code: "FILE_PARSE_FAILED",
        errors.BadAudio.code: "FILE_PARSE_FAILED",
        errors.AudioTooShort.code: "SUCCESS_WITH_NO_VALID_FRAGMENT",
        errors.UploadTooLarge.code: "FILE_TOO_LARGE",
        errors.AudioTooLong.code: "AUDIO_DURATION_TOO_LONG",
    }
)
NO_SPEECH = "SUCCESS_WITH_NO_VALID_FRAGMENT"


def face(fault: Fault, scope: Scope) -> Response:
    """A fault of a request."""
    request_id = str(scope.get("state", {}).get("request_id", ""))
    by_status = "InternalError" if fault.status >= 500 else "InvalidParameter"
    code = _CODES.get(fault.code or "", by_status)
    return JSONResponse({"request_id": request_id, "code": code, "message": fault.message}, fault.status)


def failure_code(failure: Failure) -> str:
    """What it is called that a task failed of."""
    return _FAILURES.get(failure.code, "InternalError")


FACES: MappingProxyType[str, Face] = MappingProxyType({SUBMIT: face, TASKS: face, RESULT: face})
"""By path, for whatever lies at or below it."""
OPEN_PATHS = frozenset({RESULT})
