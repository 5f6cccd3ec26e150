"""The shapes of Alibaba's HTTP answers: funasr-api's (status 200), and the real service's (status 20000000)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from types import MappingProxyType

from pydantic import BaseModel, Field

from app.domain.transcript import Segment, Transcript
from app.protocols.aliyun.wire import Status
from app.protocols.labels import Label
from app.protocols.words import bare_words

SUCCESS = "SUCCESS"
_TASK_ID = re.compile(r"[0-9a-f]{32}")
_SEED_NAMES: MappingProxyType[Status, str] = MappingProxyType(
    {
        Status.ACCESS_DENIED: "AUTHENTICATION_FAILED",
        Status.APPKEY_NOT_EXIST: "AUTHENTICATION_FAILED",
        Status.PARAMETER_INVALID: "INVALID_PARAMETER",
        Status.UNSUPPORTED_FORMAT: "INVALID_PARAMETER",
        Status.UNSUPPORTED_SAMPLE_RATE: "INVALID_PARAMETER",
        Status.FILE_DOWNLOAD_FAILED: "INVALID_PARAMETER",
        Status.MESSAGE_INVALID: "INVALID_MESSAGE",
        Status.NO_VALID_AUDIO: "INVALID_MESSAGE",
        Status.NO_AUDIO_STREAM: "INVALID_MESSAGE",
        Status.DECODE_ERROR: "INVALID_MESSAGE",
        Status.TOO_LONG_SPEECH: "INVALID_MESSAGE",
        Status.GET_CLIENT_DATA_TIMEOUT: "IDLE_TIMEOUT",
        Status.TOO_MANY_REQUESTS: "TOO_MANY_REQUESTS",
        Status.SERVER_ERROR: "DEFAULT_SERVER_ERROR",
    }
)
"""What funasr-api calls them, which had fewer names; all others are its DEFAULT_CLIENT_ERROR."""


class WordToken(BaseModel):
    """A word; seconds of the recording."""

    text: str
    start_time: float
    end_time: float


class SegmentBody(BaseModel):
    """A stretch of speech; seconds of the recording."""

    text: str
    start_time: float
    end_time: float
    speaker_id: str | None = Field(None, description="Where speakers were told apart.")
    word_tokens: list[WordToken] | None = Field(None, description="With word_timestamps.")


class AliyunRecognitionBody(BaseModel):
    """A recording's text, as funasr-api answers."""

    task_id: str
    result: str = Field(description="The segments' texts, a newline between them.")
    status: int = 200
    message: str = SUCCESS
    segments: list[SegmentBody]
    duration: float = Field(description="Seconds of sound.")
    processing_time: float = Field(description="Seconds that it took.")
    warnings: list[str] | None = Field(None, description="What a reader should know; absent where that is nothing.")


class StrictBody(BaseModel):
    """A recording's text, or why there is none, as Alibaba Cloud answers."""

    task_id: str
    result: str
    status: int = Status.SUCCESS.value
    message: str = SUCCESS


class AliyunErrorBody(BaseModel):
    """Why there is no text, for clients of both: funasr-api's fields, and the real service's `status` and `result`."""

    error_code: str
    message: str
    task_id: str
    timestamp: str
    details: dict[str, str] = Field(description="`parameter`: the one at fault, if one is.")
    status: int = Field(description="Alibaba Cloud's number for it, of eight digits.")
    result: str = ""


def task_id_of(request_id: str) -> str:
    """The request's id as Alibaba writes them, in 32 hexadecimal digits; another one of those where it is none."""
    if _TASK_ID.fullmatch(request_id):
        return request_id
    return hashlib.sha256(request_id.encode()).hexdigest()[:32]


def recognition_body(
    task_id: str, transcript: Transcript, label: Label, *, words: bool, seconds: float, warnings: tuple[str, ...]
) -> AliyunRecognitionBody:
    """The transcript as funasr-api answers; it took `seconds`. Word times are the recording's, as segments' are."""
    segments = [segment for segment in transcript.segments if segment.text]
    return AliyunRecognitionBody(
        task_id=task_id,
        result="\n".join(segment.text for segment in segments),
        segments=[_segment(segment, label, words=words) for segment in segments],
        duration=round(transcript.duration, 2),
        processing_time=round(seconds, 3),
        warnings=list(warnings) or None,
    )


def strict_body(task_id: str, transcript: Transcript) -> StrictBody:
    """The transcript as Alibaba Cloud answers."""
    return StrictBody(task_id=task_id, result=" ".join(transcript.text.splitlines()))


def error_body(task_id: str, status: Status, message: str, parameter: str | None) -> AliyunErrorBody:
    """What went wrong, for clients of both."""
    return AliyunErrorBody(
        error_code=_SEED_NAMES.get(status, "DEFAULT_CLIENT_ERROR"),
        message=message,
        task_id=task_id,
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        details={"parameter": parameter} if parameter else {},
        status=status.value,
    )


def strict_error_body(task_id: str, status: Status, message: str) -> StrictBody:
    """What went wrong, as Alibaba Cloud says it."""
    return StrictBody(task_id=task_id, result="", status=status.value, message=f"Gateway:{status.name}:{message}")


def _segment(segment: Segment, label: Label, *, words: bool) -> SegmentBody:
    tokens = [
        WordToken(text=word.text, start_time=round(word.start, 3), end_time=round(max(word.start, word.end), 3))
        for word in bare_words(segment.words)
    ]
    return SegmentBody(
        text=segment.text,
        start_time=round(segment.start, 2),
        end_time=round(max(segment.start, segment.end), 2),
        speaker_id=label(segment.speaker) if segment.speaker else None,
        word_tokens=tokens if words else None,
    )
