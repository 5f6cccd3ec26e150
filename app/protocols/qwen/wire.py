"""The shapes of funasr-api's protocol for Qwen3-ASR: what a client says in a text message, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from app.domain import errors
from app.domain.errors import InvalidParameter, ModelUnavailable, Overloaded, RequestError, SpeechError
from app.protocols.languages import language_name

Json: TypeAlias = dict[str, object]
Reason: TypeAlias = Literal["silence", "max_duration", "final"]

MOST_CHARACTERS = 1024 * 1024
"""Of a text message: ten thousand hotwords have room in it."""
_RATE_FIELD = "sample_rate"


class InvalidMessage(RequestError):  # noqa: N818 - a leaf of the tree
    """A text message that nobody understands. `message` never repeats it: it may hold keys."""

    code = "invalid_message"


class InvalidState(RequestError):  # noqa: N818 - a leaf of the tree
    """A message that makes sense, but not now."""

    code = "invalid_state"


@dataclass(frozen=True, slots=True)
class Command:
    """What a client says in a text message. `beside` names what stands outside `payload`, where nothing is read."""

    type: Literal["start", "stop"]
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    beside: tuple[str, ...] = ()


def read_command(text: str) -> Command:
    """The command in a text message.

    Raises:
        InvalidMessage: it is none.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidMessage(f"A text message has {MOST_CHARACTERS} characters at most.")
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage('The message is not JSON. Send an object such as {"type": "start"}.') from None
    if not isinstance(parsed, dict):
        raise InvalidMessage('A text message must be a JSON object such as {"type": "start"}.')
    said = cast("dict[str, Any]", parsed)
    kind = said.get("type")
    if kind not in ("start", "stop"):
        raise InvalidMessage("type must be start or stop; sound goes into binary messages.")
    if kind == "stop":
        return Command("stop")
    payload = said.get("payload")
    if not (payload is None or isinstance(payload, dict)):
        raise InvalidMessage("payload must be a JSON object.")
    beside = tuple(name for name in said if name not in {"type", "payload", "task_id"})
    return Command("start", cast("dict[str, Any]", payload or {}), beside)


# --- what clients are told: times are seconds of the stream -----------------------------------------------------------


class TimedWord(TypedDict):
    """A word without the marks round it. `speaker` where speakers were asked for."""

    text: str
    start: float
    end: float
    speaker: NotRequired[str]


class Turn(TypedDict):
    """A stretch of a segment that one speaker says; null where it is not known who. `speaker_id` counts from 0, and
    stays when somebody is known by name later."""

    text: str
    start: float
    end: float
    speaker: str | None
    speaker_id: int | None


class Details(TypedDict):
    """What a segment's text comes with: `speaker` (who says most of it) and `turns` where speakers were asked for,
    `words` where they were, `warnings` where there are any."""

    start: NotRequired[float]
    end: NotRequired[float]
    speaker: NotRequired[str]
    speaker_id: NotRequired[int]
    turns: NotRequired[list[Turn]]
    words: NotRequired[list[TimedWord]]
    warnings: NotRequired[list[str]]


class PartialResult(TypedDict):
    """A segment so far. `text` is all that was said before it, too, a line each; `chunk_id` counts within the segment,
    from 1. `start` is where its speech begins."""

    text: str
    current_segment_text: str
    language: str
    chunk_id: int
    is_partial: bool
    segment_index: int
    start: float


class SegmentResult(Details):
    """A segment. `text` is as in PartialResult."""

    text: str
    segment_text: str
    language: str


class SegmentSummary(TypedDict):
    """A segment in the list at the end."""

    index: int
    text: str
    language: str
    reason: Reason
    start: float
    end: float
    speaker: NotRequired[str]
    speaker_id: NotRequired[int]


class FinalResult(Details):
    """Everything. `text`, `language`, `total_chunks` and the details are the last segment's: what was not over when
    the client stopped."""

    text: str
    full_text: str
    language: str
    total_chunks: int
    total_segments: int
    segments: list[SegmentSummary]


class Failure(TypedDict):
    """Why there will be nothing, or why one message came to nothing. `details` has the code of other protocols here."""

    type: Literal["error"]
    error_code: str
    message: str
    task_id: str
    timestamp: str
    details: Json


def full_name(language: str | None) -> str:
    """A language as Qwen3-ASR calls it: "Chinese"; "" where it is not known."""
    return language_name(language).title() if language else ""


_CODES: MappingProxyType[type[SpeechError], str] = MappingProxyType(
    {
        errors.AuthenticationFailed: "AUTHENTICATION_FAILED",
        errors.PermissionDenied: "AUTHENTICATION_FAILED",
        InvalidMessage: "INVALID_MESSAGE",
        InvalidState: "INVALID_STATE",
        errors.InvalidParameter: "INVALID_PARAMETER",
        errors.UnsupportedFeature: "INVALID_PARAMETER",
        errors.UnknownModel: "INVALID_PARAMETER",
        errors.UnknownVoice: "INVALID_PARAMETER",
        errors.UnknownVocabulary: "INVALID_PARAMETER",
        errors.UploadTooSlow: "IDLE_TIMEOUT",
        errors.RequestError: "DEFAULT_CLIENT_ERROR",
        errors.Overloaded: "TOO_MANY_REQUESTS",
        errors.SpeechError: "DEFAULT_SERVER_ERROR",
    }
)
"""funasr-api's names, by the nearest class there is, upwards in the tree."""


def failure(error: SpeechError, task_id: str) -> Failure:
    """An error of the tree as a client is told it: the one place that knows its names."""
    details: Json = {"code": error.code}
    if isinstance(error, RequestError) and error.param is not None:
        details["param"] = error.param
    if isinstance(error, Overloaded | ModelUnavailable):
        details["retry_after"] = error.retry_after
    return {
        "type": "error",
        "error_code": _code(error),
        "message": error.message,
        "task_id": task_id,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "details": details,
    }


def _code(error: SpeechError) -> str:
    if isinstance(error, InvalidParameter) and error.param == _RATE_FIELD:
        return "UNSUPPORTED_SAMPLE_RATE"
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
