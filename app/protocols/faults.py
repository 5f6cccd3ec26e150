"""What went wrong, as every HTTP protocol answers it: the one place that knows which kind of error is which status."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from app.domain.errors import (
    AudioTooLong,
    AuthenticationFailed,
    DeadlineExceeded,
    EndedByOperator,
    EngineFailure,
    IdempotencyConflict,
    JobNotDone,
    JobsUnavailable,
    ModelConflict,
    ModelStoreError,
    ModelUnavailable,
    NotRunning,
    Overloaded,
    PermissionDenied,
    RequestError,
    ServerEnding,
    SpeechError,
    StorageFull,
    UnknownJob,
    UnknownModel,
    UnknownUpload,
    UnknownVocabulary,
    UnknownVoice,
    UploadConflict,
    UploadTooLarge,
    UploadTooSlow,
    VocabulariesUnavailable,
    VocabularyExists,
    VoiceExists,
    VoicesUnavailable,
)

STATUS: MappingProxyType[type[SpeechError], int] = MappingProxyType(
    {
        AuthenticationFailed: 401,
        PermissionDenied: 403,
        UnknownModel: 404,
        UnknownVoice: 404,
        UnknownVocabulary: 404,
        NotRunning: 404,
        UnknownJob: 404,
        UnknownUpload: 404,
        UploadTooSlow: 408,
        ModelConflict: 409,
        VoiceExists: 409,
        VocabularyExists: 409,
        JobNotDone: 409,
        UploadConflict: 409,
        IdempotencyConflict: 422,
        UploadTooLarge: 413,
        AudioTooLong: 413,
        RequestError: 400,
        Overloaded: 429,
        DeadlineExceeded: 504,
        ModelUnavailable: 503,
        ModelStoreError: 503,
        VoicesUnavailable: 503,
        VocabulariesUnavailable: 503,
        JobsUnavailable: 503,
        EndedByOperator: 503,
        ServerEnding: 503,
        StorageFull: 507,
        EngineFailure: 500,
        SpeechError: 500,
    }
)
"""HTTP status by kind of error; a leaf that is not here takes its nearest ancestor's."""

STORAGE_RETRY_SECONDS = 30
"""A disk is full until recordings that wait on it are recognised, or an operator makes room."""
STORE_RETRY_SECONDS = 5
"""What could not be had is worth asking for again soon: an operator may be at it."""
_LONGEST_RETRY = 60
"""The most seconds of a Retry-After that OpenAI's clients wait."""
NOT_FOUND, METHOD_NOT_ALLOWED, INVALID_VALUE = "not_found", "method_not_allowed", "invalid_value"


@dataclass(frozen=True, slots=True)
class Fault:
    """What a caller may know of it. `code` names its kind, as the error tree does; `param` the field at fault."""

    message: str
    status: int
    code: str | None = None
    param: str | None = None


UNFORESEEN = Fault("Something went wrong in the server; its log has the details.", 500, SpeechError.code)


def status_of(error: SpeechError) -> int:
    """The HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def fault_of(error: SpeechError) -> Fault:
    """What to tell of an error."""
    param = error.param if isinstance(error, RequestError) else None
    return Fault(error.message, status_of(error), error.code, param)


def headers_of(error: SpeechError) -> dict[str, str]:
    """What an error's status calls for in the headers."""
    if isinstance(error, AuthenticationFailed):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, Overloaded | ModelUnavailable | ServerEnding):
        after = max(1, math.ceil(error.retry_after))
        # Of more than that they make a second or two, and would come in vain.
        return {"retry-after": str(after), "x-should-retry": "true" if after <= _LONGEST_RETRY else "false"}
    # OpenAI's clients retry a 409 and a 5xx unless told not to; these would only repeat.
    if isinstance(error, DeadlineExceeded | ModelConflict | EndedByOperator | JobNotDone):
        return {"x-should-retry": "false"}
    if isinstance(error, StorageFull):
        return {"retry-after": str(STORAGE_RETRY_SECONDS), "x-should-retry": "true"}
    if isinstance(error, ModelStoreError | JobsUnavailable | VoicesUnavailable | VocabulariesUnavailable):
        return {"retry-after": str(STORE_RETRY_SECONDS), "x-should-retry": "true"}
    return {}
