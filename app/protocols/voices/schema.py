"""What the interactive documentation knows of the routes: forms are parsed by hand, so they are described by hand.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.protocols.openai.schema import error_responses
from app.protocols.openai.wire import ErrorBody
from app.service.voices.names import MAX_CHARACTERS
from app.service.voices.store import MAX_ASKED, MAX_SAMPLES

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_VOICE: Schema = {
    "id": "voice_5f1d0c9ab3e24786a1c05d9e",
    "object": "voice",
    "name": "王小明",
    "created": 1_700_000_000,
    "samples": 2,
    "seconds": 23.4,
    "encoder": "campplus",
}
_CANDIDATE: Schema = {"id": _VOICE["id"], "name": _VOICE["name"], "similarity": 0.8213}
_MEANINGS = {
    400: "A field or a recording makes no sense; `param` names it: `files[1]` is the second file.",
    404: "You have no such voice.",
    409: "You have a voice of that name.",
    503: "The database of enrolled voices cannot be used, or the model is still loading.",
}
_RECORDING: Schema = {"type": "string", "format": "binary"}


def enrolment_request() -> Schema:
    """OpenAPI's description of the form that enrols a voice."""
    name: Schema = {
        "type": "string",
        "maxLength": MAX_CHARACTERS,
        "description": "Whose voice it is. Names that differ in upper and lower case only are the same.",
    }
    return _request({"name": name} | _files())


def samples_request() -> Schema:
    """OpenAPI's description of the form that adds samples to a voice."""
    return _request(_files())


def identification_request() -> Schema:
    """OpenAPI's description of the form that asks who speaks."""
    voices: Schema = {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": (
            f"Names or ids of the voices it may be, {MAX_ASKED} at most; left out: all of yours. "
            'Names with commas in them are sent as a JSON array: ["Smith, John"].'
        ),
    }
    file = _RECORDING | {"description": "Speech of one person, in any common audio or video container."}
    return _request({"file": file, "voices[]": voices}, optional=("voices[]",))


def voice_responses(description: str, *, status: int = 200, errors: tuple[int, ...] = ()) -> Responses:
    """Answers of a route that gives a voice, and its errors."""
    return _ok(status, description, _VOICE) | _errors(401, *errors, 503)


def list_responses() -> Responses:
    """Answers of the list of voices."""
    return _ok(200, "Your voices, oldest first.", {"object": "list", "data": [_VOICE]}) | _errors(401, 503)


def deletion_responses() -> Responses:
    """Answers of a deletion."""
    deleted: Schema = {"id": _VOICE["id"], "object": "voice.deleted", "deleted": True}
    return _ok(200, "It is gone.", deleted) | _errors(401, 404, 503)


def identification_responses() -> Responses:
    """Answers to who speaks."""
    body: Schema = {
        "object": "voice.identification",
        "voice": _CANDIDATE,
        "candidates": [_CANDIDATE],
        "threshold": 0.5,
        "seconds": 7.2,
    }
    return _ok(200, "Who speaks, or null where nobody is alike enough.", body) | _errors(
        400, 401, 404, 408, 413, 429, 500, 503, 504
    )


def _ok(status: int, description: str, example: Schema) -> Responses:
    return {status: {"description": description, "content": {"application/json": {"example": example}}}}


def _errors(*statuses: int) -> Responses:
    shape: type[BaseModel] = ErrorBody
    own: Responses = {
        status: {"description": _MEANINGS[status], "model": shape} for status in statuses if status in _MEANINGS
    }
    return own | error_responses(*(status for status in statuses if status not in _MEANINGS))


def _files() -> Schema:
    description = f"1 to {MAX_SAMPLES} recordings in which this person alone speaks, each in a part of its own."
    return {"files": {"type": "array", "items": _RECORDING, "maxItems": MAX_SAMPLES, "description": description}}


def _request(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    form: Schema = {"type": "object", "required": required, "properties": properties}
    # Without "explode" the documentation's own client would send a list as one comma-separated part.
    lists = {name: {"style": "form", "explode": True} for name in properties if name.endswith("[]")}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": lists}}}}
