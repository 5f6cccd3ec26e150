"""The one place that knows which error is which status of Alibaba Cloud's."""

from __future__ import annotations

from types import MappingProxyType

from app.domain import errors
from app.domain.errors import InvalidParameter, PermissionDenied, SpeechError
from app.protocols.aliyun.wire import Status, TaskFailure
from app.protocols.faults import METHOD_NOT_ALLOWED, NOT_FOUND, Fault


class UnsupportedFormat(InvalidParameter):
    """A format that nobody knows, or that no recording comes in."""

    code = "unsupported_format"


class UnsupportedSampleRate(InvalidParameter):
    """A rate that nobody sends."""

    code = "unsupported_sample_rate"


class UnknownAppkey(PermissionDenied):
    """APPKEY is set, and this is not it."""

    code = "appkey_not_found"


_STATUSES: MappingProxyType[type[SpeechError], Status] = MappingProxyType(
    {
        errors.AuthenticationFailed: Status.ACCESS_DENIED,
        errors.PermissionDenied: Status.ACCESS_DENIED,
        UnknownAppkey: Status.APPKEY_NOT_EXIST,
        errors.InvalidParameter: Status.PARAMETER_INVALID,
        UnsupportedFormat: Status.UNSUPPORTED_FORMAT,
        UnsupportedSampleRate: Status.UNSUPPORTED_SAMPLE_RATE,
        errors.UnsupportedFeature: Status.PARAMETER_INVALID,
        errors.UnknownModel: Status.PARAMETER_INVALID,
        errors.UnknownVocabulary: Status.PARAMETER_INVALID,
        errors.UnknownVoice: Status.PARAMETER_INVALID,
        errors.EmptyAudio: Status.NO_VALID_AUDIO,
        errors.AudioTooShort: Status.NO_VALID_AUDIO,
        errors.NoAudioStream: Status.NO_AUDIO_STREAM,
        errors.UndecodableAudio: Status.DECODE_ERROR,
        errors.BadAudio: Status.DECODE_ERROR,
        errors.AddressNotFetched: Status.FILE_DOWNLOAD_FAILED,
        errors.UploadTooLarge: Status.MESSAGE_INVALID,
        errors.UploadTooSlow: Status.GET_CLIENT_DATA_TIMEOUT,
        errors.AudioTooLong: Status.TOO_LONG_SPEECH,
        errors.AudioQuotaTooSmall: Status.TOO_LONG_SPEECH,
        errors.RequestError: Status.CLIENT_ERROR,
        errors.Overloaded: Status.TOO_MANY_REQUESTS,
        errors.QuotaExceeded: Status.TOO_MANY_REQUESTS,
        errors.SpeechError: Status.SERVER_ERROR,
    }
)
"""By the nearest class there is, upwards in the tree."""
_BY_CODE: MappingProxyType[str, Status] = MappingProxyType(
    {
        **{kind.code: status for kind, status in _STATUSES.items()},
        NOT_FOUND: Status.NAMESPACE_NOT_FOUND,
        METHOD_NOT_ALLOWED: Status.CLIENT_ERROR,
    }
)


def failure_of(error: SpeechError) -> TaskFailure:
    """The error as a client is told it."""
    status = next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)
    return TaskFailure(status, error.message)


def status_of_fault(fault: Fault) -> Status:
    """The status of what went wrong with an HTTP request."""
    by_class = Status.SERVER_ERROR if fault.status >= 500 else Status.CLIENT_ERROR
    return _BY_CODE.get(fault.code or "", by_class)
