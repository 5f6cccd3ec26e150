"""The messages of a session: what clients may send, and how what they are sent looks."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from app.domain.errors import InvalidParameter, SpeechError
from app.domain.transcript import Segment
from app.protocols.labels import lettered
from app.protocols.messages import parsed
from app.protocols.openai.errors import envelope
from app.protocols.openai.wire import LogprobBody

Message: TypeAlias = dict[str, object]

MOST_AUDIO = 15 * 1024 * 1024
"""Bytes in a message, once they are out of base64."""
_LARGE = 256 * 1024
"""Characters; longer messages are read in a thread: the loop has others to serve."""
_LONGEST_ID = 512
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_COMMIT_EMPTY = "input_audio_buffer_commit_empty"
"""OpenAI's code, by which clients tell a harmless error from others."""

APPEND, COMMIT, CLEAR = "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"
UPDATE, FLAT_UPDATE = "session.update", "transcription_session.update"
KNOWN = (APPEND, COMMIT, CLEAR, UPDATE, FLAT_UPDATE)


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """A client's message. `id` is its own name for it, which errors carry."""

    type: str
    id: str | None
    body: dict[str, Any]


def new_id(kind: str) -> str:
    """An id that nobody guesses: event_..., item_..., sess_..."""
    return f"{kind}_{secrets.token_hex(12)}"


async def read_event(raw: str | bytes) -> ClientEvent:
    """What a client sent.

    Raises:
        InvalidParameter: it is no JSON object with a type.
    """
    if isinstance(raw, bytes):
        raise InvalidParameter("Messages are JSON in text frames; sound goes in as base64.")
    said = await asyncio.to_thread(parsed, raw) if len(raw) > _LARGE else parsed(raw)
    if not isinstance(said, dict):
        raise InvalidParameter("A message must be a JSON object.")
    body = cast("dict[str, Any]", said)
    kind, name = body.get("type"), body.get("event_id")
    if not isinstance(kind, str):
        raise InvalidParameter("type must be a string, and is missing or something else.", param="type")
    return ClientEvent(kind, name if isinstance(name, str) and len(name) <= _LONGEST_ID else None, body)


async def read_audio(event: ClientEvent) -> bytes:
    """The sound in a message.

    Raises:
        InvalidParameter: there is none, it is too much, or not base64.
    """
    coded = event.body.get("audio")
    if not isinstance(coded, str):
        raise InvalidParameter("audio must be a string: the sound's bytes in base64.", param="audio")
    if len(coded) // 4 * 3 > MOST_AUDIO:
        raise InvalidParameter(f"audio has more than {MOST_AUDIO} bytes; send less at once.", param="audio")
    try:
        return await asyncio.to_thread(_decoded, coded) if len(coded) > _LARGE else _decoded(coded)
    except (binascii.Error, ValueError):  # the second: not ASCII
        raise InvalidParameter("audio is not valid base64; nothing of it was heard.", param="audio") from None


def event_of(kind: str, **fields: object) -> Message:
    """A message to the client."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def error(failure: SpeechError, client_event: str | None) -> Message:
    """An error that the session survives, or its last message. `client_event` is the id of what caused it."""
    detail = envelope(failure).error
    return _error(detail.type, detail.code, detail.message, detail.param, client_event)


def nothing_to_commit(told: str, client_event: str | None) -> Message:
    """The answer to a commit with nothing to end. Clients that commit at the end, to be sure, know its code."""
    return _error("invalid_request_error", _COMMIT_EMPTY, f"Nothing was committed: {told}", None, client_event)


def started(item: str, seconds: float) -> Message:
    """Somebody speaks."""
    return event_of("input_audio_buffer.speech_started", audio_start_ms=_ms(seconds), item_id=item)


def stopped(item: str, seconds: float) -> Message:
    """Nobody does any more."""
    return event_of("input_audio_buffer.speech_stopped", audio_end_ms=_ms(seconds), item_id=item)


def committed(item: str, previous: str | None, *, flat: bool) -> list[Message]:
    """What was said is an item of the conversation now."""
    body: Message = {
        "id": item,
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    kinds = ("created",) if flat else ("added", "done")
    return [
        event_of("input_audio_buffer.committed", previous_item_id=previous, item_id=item),
        *(event_of(f"conversation.item.{kind}", previous_item_id=previous, item=body) for kind in kinds),
    ]


def delta(item: str, text: str) -> Message:
    """More of an item's text."""
    return event_of(f"{_TRANSCRIPTION}.delta", item_id=item, content_index=0, delta=text)


def segment(item: str, one: Segment, offset: float) -> Message:
    """Who said what, in seconds of the session's sound, `offset` after the stream's. The segment has a speaker."""
    return event_of(
        f"{_TRANSCRIPTION}.segment",
        id=new_id("seg"),
        item_id=item,
        content_index=0,
        text=one.text,
        speaker=lettered(one.speaker) if one.speaker else "",
        start=round(one.start + offset, 3),
        end=round(max(one.start, one.end) + offset, 3),
    )


def completed(
    item: str, text: str, seconds: float, languages: list[str], logprobs: list[LogprobBody] | None
) -> Message:
    """An item's text for good. `seconds` of sound are what it is charged."""
    message = event_of(
        f"{_TRANSCRIPTION}.completed",
        item_id=item,
        content_index=0,
        transcript=text,
        usage={"type": "duration", "seconds": round(max(0.0, seconds), 3)},
        languages=[{"code": code} for code in languages],
    )
    if logprobs is not None:
        message["logprobs"] = [one.model_dump() for one in logprobs]
    return message


def failed(item: str, failure: SpeechError) -> Message:
    """An item that will have no text."""
    detail = envelope(failure).error
    told = {"type": detail.type, "code": detail.code, "message": detail.message, "param": detail.param}
    return event_of(f"{_TRANSCRIPTION}.failed", item_id=item, content_index=0, error=told)


def _error(kind: str, code: str | None, told: str, param: str | None, client_event: str | None) -> Message:
    detail = {"type": kind, "code": code, "message": told, "param": param, "event_id": client_event}
    return event_of("error", error=detail)


def _decoded(coded: str) -> bytes:
    return base64.b64decode(coded, validate=True)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
