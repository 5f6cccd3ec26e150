"""What the file transcription says of a task, in numbers and words, and which error is which of them."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

from app.domain import errors
from app.domain.errors import InvalidParameter, SpeechError
from app.protocols.aliyun.errors import UnknownAppkey
from app.service.jobs.job import Failure, Job


class FileStatus(Enum):
    """How a task fares: StatusCode and, as its name, StatusText."""

    SUCCESS = 21050000
    RUNNING = 21050001
    QUEUEING = 21050002
    SUCCESS_WITH_NO_VALID_FRAGMENT = 21050003
    USER_BIZDURATION_QUOTA_EXCEED = 41050001
    FILE_DOWNLOAD_FAILED = 41050002
    FILE_CHECK_FAILED = 41050003
    FILE_TOO_LARGE = 41050004
    FILE_PARSE_FAILED = 41050006
    FILE_TRANS_TASK_EXPIRED = 41050010
    REQUEST_INVALID_FILE_URL_VALUE = 41050011
    REQUEST_INVALID_CALLBACK_VALUE = 41050012
    REQUEST_PARAMETER_INVALID = 41050013
    REQUEST_EMPTY_APPKEY_VALUE = 41050014
    REQUEST_APPKEY_UNREGISTERED = 41050015
    INTERNAL_ERROR = 51050000
    RECOGNIZE_FAILED = 51050002
    RECOGNIZE_INTERRUPT = 51050003
    FILE_TRANS_TIMEOUT = 51050005


class EmptyAppkey(UnknownAppkey):
    """APPKEY is set, and no appkey was sent."""

    code = "appkey_missing"


_BY_CODE: MappingProxyType[str, FileStatus] = MappingProxyType(
    {
        EmptyAppkey.code: FileStatus.REQUEST_EMPTY_APPKEY_VALUE,
        UnknownAppkey.code: FileStatus.REQUEST_APPKEY_UNREGISTERED,
        errors.UnknownJob.code: FileStatus.FILE_TRANS_TASK_EXPIRED,
        errors.AddressNotFetched.code: FileStatus.FILE_DOWNLOAD_FAILED,
        errors.EmptyAudio.code: FileStatus.FILE_CHECK_FAILED,
        errors.NoAudioStream.code: FileStatus.FILE_CHECK_FAILED,
        errors.UndecodableAudio.code: FileStatus.FILE_PARSE_FAILED,
        errors.BadAudio.code: FileStatus.FILE_PARSE_FAILED,
        errors.AudioTooShort.code: FileStatus.SUCCESS_WITH_NO_VALID_FRAGMENT,
        errors.UploadTooLarge.code: FileStatus.FILE_TOO_LARGE,
        errors.AudioTooLong.code: FileStatus.FILE_TOO_LARGE,
        errors.AudioQuotaTooSmall.code: FileStatus.USER_BIZDURATION_QUOTA_EXCEED,
        errors.QuotaExceeded.code: FileStatus.USER_BIZDURATION_QUOTA_EXCEED,
        errors.DeadlineExceeded.code: FileStatus.FILE_TRANS_TIMEOUT,
        errors.EngineFailure.code: FileStatus.RECOGNIZE_FAILED,
        errors.EndedByOperator.code: FileStatus.RECOGNIZE_INTERRUPT,
        errors.InvalidParameter.code: FileStatus.REQUEST_PARAMETER_INVALID,
        errors.InvalidHotwords.code: FileStatus.REQUEST_PARAMETER_INVALID,
        errors.UnsupportedFeature.code: FileStatus.REQUEST_PARAMETER_INVALID,
        errors.UnknownModel.code: FileStatus.REQUEST_PARAMETER_INVALID,
        errors.UnknownVocabulary.code: FileStatus.REQUEST_PARAMETER_INVALID,
    }
)
_BY_FIELD: MappingProxyType[str, FileStatus] = MappingProxyType(
    {
        "file_link": FileStatus.REQUEST_INVALID_FILE_URL_VALUE,
        "callback_url": FileStatus.REQUEST_INVALID_CALLBACK_VALUE,
    }
)
CANCELLED = "The task was cancelled."


def refused(error: SpeechError) -> FileStatus | None:
    """Which status an error at submission is; None for one that is no task's: the gateway answers that."""
    if isinstance(error, InvalidParameter) and (status := _BY_FIELD.get(error.param or "")):
        return status
    if isinstance(error, errors.RequestError) and not isinstance(error, errors.AuthenticationFailed):
        return _BY_CODE.get(error.code)
    return None


def failed(failure: Failure) -> FileStatus:
    """Which status it is that a task failed of."""
    if failure.code == InvalidParameter.code and (status := _BY_FIELD.get(failure.param or "")):
        return status
    return _BY_CODE.get(failure.code, FileStatus.INTERNAL_ERROR)


def told_of(job: Job) -> tuple[FileStatus, str]:
    """A task's status, and why it is that ("": that says itself). One that succeeded may yet have nothing in it."""
    match job.state:
        case "queued":
            return FileStatus.QUEUEING, job.waits_for
        case "running":
            return FileStatus.RUNNING, job.waits_for
        case "succeeded":
            return FileStatus.SUCCESS, ""
        case "cancelled":
            return FileStatus.RECOGNIZE_INTERRUPT, CANCELLED
        case "failed":
            failure = job.failure or Failure("SpeechError", SpeechError.code, "It failed.")
            return failed(failure), failure.message
