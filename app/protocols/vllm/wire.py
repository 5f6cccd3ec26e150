"""vLLM's realtime messages: what a client says, and what it is told."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict, cast

from app.domain.errors import RequestError, UnknownModel
from app.protocols.messages import parsed

LONGEST_CONTROL = 1024 * 1024
"""Characters of a message without sound: ten thousand hotwords and everything else."""
ErrorCode: TypeAlias = Literal[
    "model_not_validated",
    "model_not_found",
    "invalid_audio",
    "invalid_json",
    "unknown_event",
    "invalid_event",
    "processing_error",
]
UPDATE, APPEND, COMMIT = "session.update", "input_audio_buffer.append", "input_audio_buffer.commit"


class Complaint(Exception):  # noqa: N818 - it is what a client is told, and nothing ends with it
    """A message that cannot be followed. The connection and what was said before stay as they are."""

    def __init__(self, message: str, code: ErrorCode) -> None:
        super().__init__(message)
        self.message = message
        self.code: ErrorCode = code


class ErrorMessage(TypedDict):
    """What went wrong: here `error` is the sentence itself."""

    type: Literal["error"]
    error: str
    code: ErrorCode


class DeltaMessage(TypedDict):
    """Text that continues what came before."""

    type: Literal["transcription.delta"]
    delta: str


class Usage(TypedDict):
    """Tokens. What is heard is not counted in tokens here, so that `prompt_tokens` is 0; `completion_tokens` are the
    recogniser's, 0 for one that has none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class DoneMessage(TypedDict):
    """The end of what was heard: all deltas as one."""

    type: Literal["transcription.done"]
    text: str
    usage: Usage


def read_message(message: str | bytes) -> dict[str, Any]:
    """A client's message.

    Raises:
        Complaint: it is no JSON object with a type.
    """
    said = parsed(message) if isinstance(message, str) else None
    if said is None and isinstance(message, str):
        raise Complaint("Invalid JSON.", "invalid_json")
    if not isinstance(said, dict) or not isinstance(cast("dict[str, Any]", said).get("type"), str):
        raise Complaint("A message is a JSON object with a type, as text; sound is base64 in it.", "invalid_event")
    found = cast("dict[str, Any]", said)
    if found["type"] != APPEND and len(message) > LONGEST_CONTROL:
        raise Complaint(f"A message without sound has {LONGEST_CONTROL} characters at most.", "invalid_event")
    return found


def sound_of(said: Mapping[str, Any]) -> bytes:
    """The samples of an append.

    Raises:
        Complaint: there are none, or they are no base64.
    """
    audio: object = said.get("audio")
    if not isinstance(audio, str):
        raise Complaint("audio is a base64 string: 16-bit samples, one channel, 16 kHz.", "invalid_audio")
    try:
        data = base64.b64decode("".join(audio.split()), validate=True)
    except (binascii.Error, ValueError):  # the second is of letters that are not ASCII
        raise Complaint("audio is no base64.", "invalid_audio") from None
    if not data:
        raise Complaint("audio is empty.", "invalid_audio")
    return data


def is_final(said: Mapping[str, Any]) -> bool:
    """Whether a commit is the end of the sound, and not its beginning.

    Raises:
        Complaint: it says neither.
    """
    final: object = said.get("final")
    if not (final is None or isinstance(final, bool)):
        raise Complaint("final is true or false.", "invalid_event")
    return bool(final)


def failure(message: str, code: ErrorCode) -> ErrorMessage:
    """What went wrong, as a client is told it."""
    return {"type": "error", "error": message, "code": code}


def delta(text: str) -> DeltaMessage:
    """More text."""
    return {"type": "transcription.delta", "delta": text}


def done(text: str, tokens: int) -> DoneMessage:
    """All of the text, and how many of the recogniser's tokens it is."""
    usage: Usage = {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens}
    return {"type": "transcription.done", "text": text, "usage": usage}


def refused(error: RequestError) -> Complaint:
    """That what a client asks for cannot be had."""
    return Complaint(error.message, "model_not_found" if isinstance(error, UnknownModel) else "invalid_event")
