"""What the interactive documentation knows of OddASR's tasks.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from app.protocols.oddasr.rest.schema import FIELDS, MEANINGS, Responses, Schema

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_ID = "job_0123456789abcdef01234567"
CREATE_FIELDS: Schema = FIELDS | {
    "upload": _TEXT | {"description": "In place of a recording: a finished resumable upload, by its id or Location."},
    "priority": _NUMBER
    | {"minimum": -10, "maximum": 10, "default": 0, "description": "Of your tasks that wait, higher ones come first."},
}
_TEXTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["bg", "ed", "text"],
        "properties": {"bg": _NUMBER, "ed": _NUMBER, "text": _TEXT, "spk": _TEXT},
    },
}
_SAID: list[Schema] = [{"bg": 310, "ed": 1620, "text": "今天天气很好。"}]


def create_request() -> Schema:
    """OpenAPI's description of the form of a task. (Any one of audio, file and upload will do.)"""
    form: Schema = {"type": "object", "properties": CREATE_FIELDS}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def named_request() -> Schema:
    """OpenAPI's description of a body that names a task. (The address may, too.)"""
    shape: Schema = {"type": "object", "required": ["task_id"], "properties": {"task_id": _TEXT}}
    kinds = ("application/json", "multipart/form-data", "application/x-www-form-urlencoded")
    return {"requestBody": {"required": True, "content": {kind: {"schema": shape} for kind in kinds}}}


def created() -> Responses:
    """Answers of /create."""
    return _answers({"task_id": _TEXT}, {"task_id": _ID}, 400, 404, 408, 409, 413, 429)


def done() -> Responses:
    """Answers of /cancel and /delete."""
    return _answers({"task_id": _TEXT}, {"task_id": _ID}, 400, 404, 413)


def status_responses() -> Responses:
    """Answers of /status."""
    shape: Schema = {
        "task_id": _TEXT,
        "status": {"enum": [0, 1, 2, 3]},
        "texts": _TEXTS,
        "percent": {"type": "number"},
        "seconds_left": {"type": "number"},
        "waits_for": _TEXT,
        "reason": _TEXT,
    }
    example: Schema = {"task_id": _ID, "status": 2, "texts": _SAID, "percent": 100.0}
    return _answers(shape, example, 400, 404, 413, 429)


def result_responses() -> Responses:
    """Answers of /result."""
    shape: Schema = {"task_id": _TEXT, "status": {"enum": [2]}, "text": _TEXT, "texts": _TEXTS}
    example: Schema = {"task_id": _ID, "status": 2, "text": "今天天气很好。", "texts": _SAID}
    return _answers(shape, example, 400, 404, 409, 413, 429)


def _answers(data: Schema, example: Schema, *errors: int) -> Responses:
    told: Schema = {"error_code": 0, "error_desc": "ok", "data": example}
    shape = _shape({"type": "object", "required": list(example), "properties": data})
    failed = _shape({"type": "object", "properties": {"task_id": {"const": ""}}})
    meanings = MEANINGS | {409: "It has no result yet, or never will; or the upload is not finished."}
    ok: Responses = {200: {"description": "Done.", "content": {"application/json": {"schema": shape, "example": told}}}}
    return ok | {
        status: {"description": meanings[status], "content": {"application/json": {"schema": failed}}}
        for status in sorted({*errors, 401, 500, 503})
    }


def _shape(data: Schema) -> Schema:
    fields: Schema = {"error_code": _NUMBER, "error_desc": _TEXT, "data": data}
    return {"type": "object", "required": list(fields), "properties": fields}
