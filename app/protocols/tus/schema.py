"""What the interactive documentation knows of these routes: headers and parts are described by hand."""

from __future__ import annotations

from typing import Any

from app.protocols.openai.schema import error_responses
from app.protocols.openai.wire import ErrorBody
from app.protocols.tus.errors import VERSION
from app.protocols.tus.headers import ALGORITHMS, PART, PATH

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_ID = "upload_5f1d0c9ab3e24786a1c05d9e"
_UPLOAD: Schema = {
    "id": _ID,
    "object": "upload",
    "offset": 25_165_824,
    "length": 345_600_044,
    "finished": False,
    "metadata": {"filename": "board meeting.wav", "filetype": "audio/wav"},
    "created_at": 1_700_000_000,
    "expires_at": 1_700_086_400,
}
_MEANINGS = {
    400: "A header is missing or makes no sense; `param` names it.",
    404: "You have no such upload (any more).",
    409: "The part does not begin where the upload ends, its length is another one than was said, or nothing more of "
    "it arrives: ask for the offset, and go on from there.",
    412: f"Tus-Resumable is not {VERSION}.",
    413: "More bytes than were announced, or than the server takes.",
    415: f"Content-Type is not {PART}.",
    423: "Another request is at this upload.",
    429: "You have as many uploads as you may.",
    460: "The part is not what Upload-Checksum says; nothing of it was kept.",
    503: "The server ends; what has arrived counts.",
    507: "The server's disk is full; what has arrived counts.",
}
_ABOUT = {
    "Tus-Resumable": "The protocol's version.",
    "Location": "Where the upload is. A job takes this, or the id at its end, as `upload`.",
    "Upload-Offset": "Bytes that have arrived.",
    "Upload-Length": "Bytes that there will be.",
    "Upload-Defer-Length": "1, where the length was not said yet.",
    "Upload-Metadata": "What the client said of it.",
    "Upload-Expires": "Until when it is kept, if nothing more arrives.",
    "Tus-Version": "The versions that are spoken here.",
    "Tus-Extension": "The protocol's extensions that are there.",
    "Tus-Max-Size": "Most bytes of an upload (MAX_JOB_AUDIO_SIZE).",
    "Tus-Checksum-Algorithm": "Names that Upload-Checksum may have.",
}


def options_responses() -> Responses:
    """Answers to what can be uploaded."""
    told = ("Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm")
    return _ok(204, "What this server can do.", *told) | _errors(401)


def creation_request() -> Schema:
    """A new upload."""
    length = _header("Upload-Length", "How many bytes there will be.", _bytes())
    deferred = _header("Upload-Defer-Length", "1 instead of that: it is said with a part.", {"const": "1"})
    told = "What the file is: keys and values in base64, comma-separated. `filename` and `filetype` are common."
    metadata = _header("Upload-Metadata", told, {"type": "string", "example": "filename Y2FsbC53YXY="})
    return {"parameters": [_version(), length, deferred, metadata, _checksum()]} | _part(required=False)


def creation_responses() -> Responses:
    """Answers to a new upload."""
    told = _ok(201, "It has begun.", "Tus-Resumable", "Location", "Upload-Offset", "Upload-Expires")
    told[201]["headers"]["Location"]["schema"]["example"] = f"{PATH}/{_ID}"
    return told | _errors(400, 401, 409, 412, 413, 415, 429, 460, 507)


def part_request() -> Schema:
    """A part."""
    offset = _header("Upload-Offset", "How many bytes have arrived before it.", _bytes(), required=True)
    length = _header("Upload-Length", "How many bytes there will be, if that was not said before.", _bytes())
    return {"parameters": [_version(), offset, length, _checksum()]} | _part(required=True)


def part_responses() -> Responses:
    """Answers to a part."""
    told = _ok(204, "All of it is kept.", "Tus-Resumable", "Upload-Offset", "Upload-Expires")
    return told | _errors(400, 401, 404, 409, 412, 413, 415, 423, 460, 503, 507)


def head_responses() -> Responses:
    """Answers to where to go on."""
    names = ("Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires")
    return _ok(200, "How far it is.", "Tus-Resumable", *names) | _errors(401, 404, 412)


def get_responses() -> Responses:
    """Answers to the same as JSON."""
    told = _ok(200, "The upload.", "Tus-Resumable")
    told[200]["content"] = {"application/json": {"example": _UPLOAD}}
    return told | _errors(401, 404)


def removal_responses() -> Responses:
    """Answers to a removal."""
    return _ok(204, "It is gone.", "Tus-Resumable") | _errors(401, 404, 412, 423)


def _ok(status: int, description: str, *names: str) -> Responses:
    described: Schema = {name: {"description": _ABOUT[name], "schema": {"type": "string"}} for name in names}
    return {status: {"description": description, "headers": described}}


def _errors(*statuses: int) -> Responses:
    own: Responses = {
        status: {"description": _MEANINGS[status], "model": ErrorBody} for status in statuses if status in _MEANINGS
    }
    return own | error_responses(*(status for status in statuses if status not in _MEANINGS))


def _version() -> Schema:
    return _header("Tus-Resumable", "The protocol's version.", {"const": VERSION}, required=True)


def _checksum() -> Schema:
    told = f"What the body is to be: {', '.join(ALGORITHMS)}, a blank, and its digest in base64."
    return _header("Upload-Checksum", told, {"type": "string", "example": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="})


def _header(name: str, description: str, kind: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": kind}


def _bytes() -> Schema:
    return {"type": "integer", "minimum": 0}


def _part(*, required: bool) -> Schema:
    content: Schema = {PART: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": required, "content": content}}
