"""What the interactive documentation knows of DashScope's transcription.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_TEXT: Schema = {"type": "string"}
_YES_NO: Schema = {"type": "boolean", "default": False}
PARAMETERS: Schema = {
    "channel_id": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 7},
        "default": [0],
        "description": "Channels to tell of, each by itself.",
    },
    "language_hints": {"type": "array", "items": _TEXT, "description": "The language spoken, or several it may be."},
    "diarization_enabled": _YES_NO | {"description": "Tell speakers apart, of all channels together."},
    "speaker_count": {"type": "integer", "minimum": 2, "maximum": 50},
    "vocabulary_id": _TEXT | {"description": "A stored vocabulary's id."},
    "special_word_filter": _TEXT | {"description": "Words to hide, as JSON."},
    "disfluency_removal_enabled": _YES_NO | {"description": "Without effect."},
    "timestamp_alignment_enabled": _YES_NO | {"description": "Without effect."},
    "audio_event_detection_enabled": _YES_NO | {"description": "true is refused."},
}
_ID = "job_0123456789abcdef01234567"
_REQUEST: Schema = {"request_id": "7130914d32a3441db06747523675d9ff"}
SUBMITTED: Schema = _REQUEST | {"output": {"task_id": _ID, "task_status": "PENDING"}}
DONE: Schema = _REQUEST | {
    "output": {
        "task_id": _ID,
        "task_status": "SUCCEEDED",
        "submit_time": "2026-01-31 12:00:00.000",
        "scheduled_time": "2026-01-31 12:00:00.040",
        "end_time": "2026-01-31 12:00:02.310",
        "results": [
            {
                "file_url": "https://example.com/call.wav",
                "transcription_url": "https://speech.example.com/api/v1/transcription?task=...&secret=...",
                "subtask_status": "SUCCEEDED",
            }
        ],
        "task_metrics": {"TOTAL": 1, "SUCCEEDED": 1, "FAILED": 0},
    },
    "usage": {"duration": 4},
}
CANCELLED: Schema = _REQUEST
_MEANINGS = {
    400: "Something that was sent makes no sense, or cannot be had; the message says what.",
    401: "No API key, or a wrong one.",
    404: "There is none of this name here, or not of yours.",
    413: "The request is longer than one can be.",
    429: "The server is full, or this key has as many tasks as it may; try again after Retry-After seconds.",
    500: "The server failed.",
    503: "Something is not there now; try again later.",
}


def submit_request() -> Schema:
    """OpenAPI's description of a task."""
    urls: Schema = {"type": "array", "items": _TEXT | {"format": "uri"}, "minItems": 1, "maxItems": 1}
    phrase: Schema = {"type": "object", "properties": {"resource_id": _TEXT, "resource_type": {"const": "asr_phrase"}}}
    shape: Schema = {
        "type": "object",
        "required": ["input"],
        "properties": {
            "model": _TEXT | {"description": "A model from /v1/models; the cloud's own names mean the default one."},
            "input": {"type": "object", "required": ["file_urls"], "properties": {"file_urls": urls}},
            "parameters": {"type": "object", "properties": PARAMETERS},
            "resources": {"type": "array", "items": phrase, "maxItems": 1},
        },
    }
    header: Schema = {
        "name": "X-DashScope-Async",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "enum": ["enable"]},
    }
    example = {"model": "paraformer-v2", "input": {"file_urls": ["https://example.com/call.wav"]}}
    content = {"application/json": {"schema": shape, "example": example}}
    return {"parameters": [header], "requestBody": {"required": True, "content": content}}


def responses(example: Schema, *errors: int) -> Responses:
    """Answers that look like `example`, and errors besides the usual."""
    fields = {name: _TEXT if isinstance(value, str) else {"type": "object"} for name, value in example.items()}
    shape: Schema = {"type": "object", "required": ["request_id"], "properties": fields}
    failed: Schema = {
        "type": "object",
        "required": ["request_id", "code", "message"],
        "properties": {"request_id": _TEXT, "code": _TEXT, "message": _TEXT},
    }
    ok: Responses = {
        200: {"description": "How it is.", "content": {"application/json": {"schema": shape, "example": example}}}
    }
    return ok | {
        status: {"description": _MEANINGS[status], "content": {"application/json": {"schema": failed}}}
        for status in sorted({*errors, 401, 500, 503})
    }
