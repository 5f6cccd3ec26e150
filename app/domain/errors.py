"""Everything that can go wrong, as one tree.

    SpeechError
    ├── RequestError                 the caller can mend it
    │   ├── AuthenticationFailed     no key, or a wrong one
    │   ├── PermissionDenied         nobody may do that on this server as it is set up
    │   ├── InvalidParameter         a field's value makes no sense
    │   │   └── InvalidHotwords      hotwords cannot be read
    │   ├── UnsupportedFeature       it makes sense, but not to the model that would answer
    │   ├── UnknownModel             no such model, or it is not loaded
    │   ├── ModelConflict            what is in memory does not allow it now
    │   │   └── NotEnoughMemory      another model does not fit beside what is there
    │   ├── UnknownVoice             no such enrolled voice (of this caller's)
    │   ├── VoiceExists              the name is taken by another enrolled voice
    │   ├── UnknownVocabulary        no such stored vocabulary (of this caller's)
    │   ├── VocabularyExists         the name is taken by another stored vocabulary
    │   ├── NotRunning               nothing of that id is being worked on
    │   ├── UnknownJob               no such job (of this caller's)
    │   ├── JobNotDone               it has no result yet, or never will
    │   ├── IdempotencyConflict      the key was used for another submission
    │   ├── UnknownUpload            no such resumable upload (of this caller's), or it is over
    │   ├── UploadConflict           its bytes do not continue what is there
    │   │   ├── UploadBusy           somebody else is at it
    │   │   └── ChecksumMismatch     a part is not what its sender says it is
    │   ├── BadAudio                 nothing can be made of the bytes
    │   │   ├── EmptyAudio           no bytes at all
    │   │   ├── UndecodableAudio     not audio, broken, or a forbidden container
    │   │   ├── NoAudioStream        a container without a sound track
    │   │   └── AudioTooShort        less sound than a recogniser can hear
    │   ├── AddressNotFetched        the recording at an address cannot be had, or must not
    │   ├── UploadTooSlow            nothing, or hardly anything, arrives
    │   ├── SlowReader               a live stream's answers are not taken in
    │   ├── UploadTooLarge           more bytes than MAX_AUDIO_SIZE
    │   ├── AudioTooLong             more seconds than MAX_AUDIO_SECONDS
    │   └── AudioQuotaTooSmall       more seconds than its caller may ever send in an hour
    ├── DeadlineExceeded             it takes longer than a request may
    ├── Overloaded                   come back in `retry_after` seconds
    │   ├── TooManyUploads           this caller has as many resumable uploads as it may
    │   ├── TooManyJobs              this caller has as many that have not ended as it may
    │   └── QuotaExceeded            this caller has used up what it may, whatever else the server has to do
    ├── ModelUnavailable             it is still loading, failed to, or starts again: ask in `retry_after` seconds
    ├── ModelStoreError              weights cannot be had
    │   ├── DownloadFailed           every mirror failed
    │   └── VerificationFailed       the bytes on disk are not the catalog's
    ├── VoicesUnavailable            the database of enrolled voices cannot be used
    ├── VocabulariesUnavailable      the database of stored vocabularies cannot be used
    ├── JobsUnavailable              the database of jobs cannot be used
    │   └── JobUnreadable            what it holds of one job is damaged, or a newer version's
    ├── ConfigUnusable               a configuration cannot be read or used, or asks for what must not be dropped
    ├── PortUnavailable              another program listens there, or this one may not
    ├── EndedByOperator              somebody who runs this server ended it
    ├── ServerEnding                 the server ends, and did not wait for it: ask in `retry_after` seconds
    └── EngineFailure                the machine's fault: a decoder or recogniser died
        └── StorageFull              its disk is full

A leaf knows its meaning (`code`, `param`), never an HTTP status: each protocol has one place that turns
leaves into its own envelope. Messages are written for the caller and carry no paths, keys or transcripts; one that may
carry somebody's name is `private`, and stays out of logs.
"""

from __future__ import annotations


class SpeechError(Exception):
    """Root of the tree. `message` is safe to show to the caller."""

    code: str = "server_error"
    private: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(SpeechError):
    """The caller can mend it. `param` names the field at fault, if one is."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class AuthenticationFailed(RequestError):
    code = "invalid_api_key"


class PermissionDenied(RequestError):
    code = "permission_denied"


class InvalidParameter(RequestError):
    code = "invalid_value"


class InvalidHotwords(InvalidParameter):
    private = True


class UnsupportedFeature(RequestError):
    code = "unsupported_feature"


class UnknownModel(RequestError):
    code = "model_not_found"


class ModelConflict(RequestError):
    code = "model_conflict"


class NotEnoughMemory(ModelConflict):
    code = "not_enough_memory"


class UnknownVoice(RequestError):
    code = "voice_not_found"
    private = True


class VoiceExists(RequestError):
    code = "voice_exists"


class UnknownVocabulary(RequestError):
    code = "vocabulary_not_found"


class VocabularyExists(RequestError):
    code = "vocabulary_exists"


class NotRunning(RequestError):
    code = "not_running"


class UnknownJob(RequestError):
    code = "job_not_found"


class JobNotDone(RequestError):
    code = "job_not_done"


class IdempotencyConflict(RequestError):
    code = "idempotency_conflict"


class UnknownUpload(RequestError):
    code = "upload_not_found"


class UploadConflict(RequestError):
    code = "upload_conflict"


class BadAudio(RequestError):
    code = "invalid_audio"

    def __init__(self, message: str, *, param: str | None = "file") -> None:
        super().__init__(message, param=param)


class EmptyAudio(BadAudio):
    code = "audio_empty"


class UndecodableAudio(BadAudio):
    code = "audio_undecodable"


class NoAudioStream(BadAudio):
    code = "audio_stream_missing"


class AudioTooShort(BadAudio):
    code = "audio_too_short"


class AddressNotFetched(RequestError):
    """`passing`: it may go better later, for those who can wait."""

    code = "audio_address_not_fetched"

    def __init__(self, message: str, *, param: str | None = None, passing: bool = False) -> None:
        super().__init__(message, param=param)
        self.passing = passing


class UploadTooSlow(RequestError):
    code = "upload_too_slow"


class SlowReader(RequestError):
    code = "slow_reader"


class UploadTooLarge(RequestError):
    code = "upload_too_large"


class AudioTooLong(RequestError):
    code = "audio_too_long"


class AudioQuotaTooSmall(RequestError):
    code = "audio_quota_too_small"


class DeadlineExceeded(SpeechError):
    code = "deadline_exceeded"


class Overloaded(SpeechError):
    """The service is full; `retry_after` is in seconds."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(Overloaded):
    """In `retry_after` seconds there is room again, where that can be known."""

    code = "key_limit_exceeded"


class TooManyJobs(Overloaded):
    code = "too_many_jobs"


class ModelUnavailable(SpeechError):
    """The model cannot answer now; `retry_after` is in seconds. Most load in a few, from a local disk."""

    code = "model_unavailable"

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelStoreError(SpeechError):
    code = "model_store_error"


class DownloadFailed(ModelStoreError):
    code = "download_failed"


class VerificationFailed(ModelStoreError):
    code = "verification_failed"


class VoicesUnavailable(SpeechError):
    code = "voices_unavailable"


class VocabulariesUnavailable(SpeechError):
    code = "vocabularies_unavailable"


class JobsUnavailable(SpeechError):
    code = "jobs_unavailable"


class JobUnreadable(JobsUnavailable):
    code = "jobs_unavailable"


class ConfigUnusable(SpeechError):
    code = "config_unusable"


class PortUnavailable(SpeechError):
    code = "port_unavailable"


class EndedByOperator(SpeechError):
    code = "ended_by_operator"


class ServerEnding(SpeechError):
    """Another server answers, or this one once it is back; `retry_after` is in seconds."""

    code = "server_ending"
    retry_after = 5.0


class EngineFailure(SpeechError):
    code = "engine_failure"


class StorageFull(EngineFailure):
    code = "storage_full"
