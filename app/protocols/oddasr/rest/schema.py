"""What the interactive documentation knows of these routes: bodies are parsed by hand, so they are described by hand.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from typing import Any

from app.protocols.asked_masking import STYLES
from app.protocols.oddasr.rest.layouts import LAYOUTS

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_TEXT: Schema = {"type": "string", "default": ""}
FIELDS: Schema = {
    "audio": {"type": "string", "format": "binary", "description": "The recording, in any common container."},
    "file": {"type": "string", "format": "binary", "description": "The same as audio."},
    "mode": {"type": "string", "enum": ["file"], "description": "There is no other."},
    "output_format": {
        "type": "string",
        "enum": list(LAYOUTS),
        "description": "txt (left out): a line for each sentence. spk: the same with speakers. srt: subtitles.",
    },
    "hotwords": _TEXT | {"description": "Terms to listen for, spaces between them; weights, if any, after each."},
    "hot_uid": _TEXT | {"description": "Stored hotwords, by their id or unique_id."},
    "sensitive_words": _TEXT
    | {"description": "Terms to be masked in the text, with commas or line ends between them, or a JSON array."},
    "sensitive_uid": _TEXT | {"description": "Stored sensitive words, by their id or unique_id."},
    "sensitive_style": {
        "type": "string",
        "enum": list(STYLES),
        "description": "Left out: stars, a * for each character. remove: nothing is left. parentheses: (term).",
    },
    "model": _TEXT | {"description": "A model from /v1/models. Empty: the default one."},
    "language": _TEXT | {"description": "The language spoken: zh, zh-CN or chinese. Left out: the model finds out."},
    "punctuation": {"type": "boolean", "description": "false: text without marks."},
    "itn": {"type": "boolean", "description": "Numbers said as words in digits."},
    "speakers": {
        "type": "boolean",
        "description": "srt only: false for no speakers. Left out: who speaks, where that can be told.",
    },
}
MEANINGS = {
    400: "Something that was sent makes no sense; the text says what.",
    401: "No API key, or a wrong one.",
    404: "There is none of this name here, or not of yours.",
    408: "The upload does not arrive.",
    409: "Another of your lists is called that.",
    413: "It is larger, or longer, than this server takes.",
    429: "The server is full, or this key has used up what it may; try again after Retry-After seconds.",
    500: "The server failed.",
    503: "What this needs is not there now; try again later.",
    504: "It would take longer than a request may.",
}
_STRING, _NUMBER = {"type": "string"}, {"type": "integer"}
_NAMES = {"hotwords": "vocabulary", "class": "class of words"}


def recognition_request() -> Schema:
    """OpenAPI's description of the recognition form. (Either of the recording's two names will do.)"""
    form: Schema = {"type": "object", "required": ["audio"], "properties": FIELDS}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def recognition_responses() -> Responses:
    """Answers of a recognition."""
    ok = _object(text=_STRING)
    return _ok("What was said.", ok, {"text": "发言人 0: 今天天气很好。\n发言人 1: 是啊。"}) | _errors(
        (400, 401, 404, 408, 413, 429, 500, 503, 504), _object(error=_STRING)
    )


def word_list_request(*, typed: bool) -> Schema:
    """OpenAPI's description of a list of words with its unique_id; `typed`: and of which type they are."""
    of_type: Schema = {"hotwords_type": {"enum": [0, 1, 2, "0", "1", "2"]}} if typed else {}
    words: Schema = {"type": "array", "items": _STRING, "description": "No words: there is no such list any more."}
    fields: Schema = {"unique_id": _STRING | {"maxLength": 60}, **of_type, "words": words}
    example = {"unique_id": "123456", **({"hotwords_type": 0} if typed else {}), "words": ["你好", "大家"]}
    return _json_request({"type": "object", "required": list(fields), "properties": fields}, example)


def word_list_responses(*errors: int, typed: bool) -> Responses:
    """Answers that have a list of words, and errors besides the usual."""
    of_type: Schema = {"hotwords_type": _NUMBER} if typed else {}
    data = _object(unique_id=_STRING, **of_type, words={"type": "array", "items": _STRING})
    shape = _object(error_code=_NUMBER, error_desc=_STRING, data=data)
    failed = _object(error_code=_NUMBER, error_desc=_STRING, data={"type": "object"})
    example = {"unique_id": "123456", **({"hotwords_type": 0} if typed else {}), "words": ["你好", "大家"]}
    told = {"error_code": 0, "error_desc": "ok", "data": example}
    return _ok("The list.", shape, told) | _errors((*errors, 401, 500, 503), failed)


def named(kind: str) -> str:
    """What a list of a kind is called in summaries."""
    return _NAMES[kind]


def list_request(kind: str, field: str) -> Schema:
    """OpenAPI's description of a list of a kind, whose words are in `field`."""
    weights: Schema = {"type": "object", "additionalProperties": {"type": "number"}}
    words: Schema = {"type": "array", "items": _STRING}
    fields: Schema = {
        "id": _STRING | {"description": "Your choice; left out, one is given."},
        "name": _STRING,
        "description": _STRING,
        field: weights if kind == "hotwords" else words,
    }
    said: object = {"苹果": 2, "西瓜": 3} if kind == "hotwords" else ["苹果", "西瓜"]
    example = {"id": "demo-vocab", "name": "示例词表", "description": "这是一个示例词表", field: said}
    return _json_request({"type": "object", "properties": fields}, example)


def list_responses(*errors: int) -> Responses:
    """Answers of these routes, which all have a request_id, and errors besides the usual."""
    failed = _object(request_id=_STRING, error_code=_NUMBER, error_message=_STRING)
    ok: Schema = {"type": "object", "required": ["request_id"], "properties": {"request_id": _STRING}}
    example = {"request_id": "7130914d32a3441db06747523675d9ff"}
    return _ok("Done.", ok, example) | _errors((*errors, 401, 500, 503), failed)


def _object(**fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}


def _json_request(shape: Schema, example: Schema) -> Schema:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": shape, "example": example}}}}


def _ok(description: str, shape: Schema, example: Schema) -> Responses:
    return {200: {"description": description, "content": {"application/json": {"schema": shape, "example": example}}}}


def _errors(statuses: tuple[int, ...], shape: Schema) -> Responses:
    return {
        status: {"description": MEANINGS[status], "content": {"application/json": {"schema": shape}}}
        for status in sorted(set(statuses))
    }
