"""What the interactive documentation knows of the routes: bodies are parsed by hand, so they are described by hand.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.protocols.openai.schema import error_responses
from app.protocols.openai.wire import ErrorBody
from app.service.names import MAX_CHARACTERS
from app.service.vocabularies.lists import MAX_DESCRIPTION

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_TIMES: Schema = {"created_at": 1_700_000_000, "updated_at": 1_700_000_600}
_SUMMARY: Schema = {
    "id": "vocab_5f1d0c9ab3e24786a1c05d9e",
    "object": "vocabulary",
    "name": "客户名单",
    "description": "",
    "count": 3,
} | _TIMES
_WEIGHTS = {"阿里巴巴": 1.0, "Kubernetes": 1.0, "王小明": 3.0}
_VOCABULARY: Schema = _SUMMARY | {"hotwords": [{"text": text, "weight": weight} for text, weight in _WEIGHTS.items()]}
_SENSITIVE_SUMMARY: Schema = {
    "id": "vocab_0b7a6e1f9d2c4385a0e4c1d7",
    "object": "sensitive_words",
    "name": "代号",
    "description": "",
    "count": 2,
} | _TIMES
_SENSITIVE: Schema = _SENSITIVE_SUMMARY | {"words": ["飞鸟计划", "Project Falcon"]}
_MEANINGS = {
    400: "The body is no JSON, or a field makes no sense; `param` names it.",
    404: "You have no such list.",
    409: "You have another list of that name.",
    413: "The body is longer than a list can be.",
    503: "The database of stored vocabularies cannot be used.",
}
_WAYS: dict[str, tuple[str, object]] = {
    "terms": ("A list of terms", list(_WEIGHTS)),
    "weighted": ("Terms with weights", _VOCABULARY["hotwords"]),
    "object": ("Weights by term", _WEIGHTS),
    "string": ("A string, as hotword files and other servers have it", "阿里巴巴 10\nKubernetes 10\n王小明 30"),
}
"""How hotwords can be said: a summary and an example each."""
_SENSITIVE_WAYS: dict[str, tuple[str, object]] = {
    "terms": ("A list of terms", _SENSITIVE["words"]),
    "string": ("A string, with commas, semicolons or line ends between terms", "飞鸟计划，Project Falcon"),
}


def vocabulary_request(required: tuple[str, ...] = ()) -> Schema:
    """OpenAPI's description of a body that says what a vocabulary is; `required`: the fields that must be there."""
    item: Schema = {
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string"}, "weight": {"type": "number", "default": 1}},
    }
    hotwords: Schema = {
        "description": (
            "Terms to listen for, MAX_HOTWORDS at most. Weights may be of any scale: only how they compare counts, and "
            "they come back divided by their median."
        ),
        "oneOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": item},
            {"type": "object", "additionalProperties": {"type": "number"}},
            {"type": "string"},
        ],
    }
    return _request(_SUMMARY["name"], {"hotwords": hotwords}, _WAYS, required)


def sensitive_request(required: tuple[str, ...] = ()) -> Schema:
    """OpenAPI's description of a body that says what sensitive words are."""
    words: Schema = {
        "description": "Terms to mask, MAX_HOTWORDS at most. Latin letters match whole words, Chinese ones anywhere.",
        "oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
    }
    return _request(_SENSITIVE["name"], {"words": words}, _SENSITIVE_WAYS, required)


def vocabulary_responses(description: str, *, status: int = 200, errors: tuple[int, ...] = ()) -> Responses:
    """Answers of a route that gives a vocabulary, and its errors."""
    return _ok(status, description, _VOCABULARY) | _errors(*errors, 503)


def sensitive_responses(description: str, *, status: int = 200, errors: tuple[int, ...] = ()) -> Responses:
    """Answers of a route that gives sensitive words, and its errors."""
    return _ok(status, description, _SENSITIVE) | _errors(*errors, 503)


def list_responses() -> Responses:
    """Answers of the list of vocabularies."""
    return _ok(200, "Your vocabularies, oldest first.", {"object": "list", "data": [_SUMMARY]}) | _errors(503)


def sensitive_list_responses() -> Responses:
    """Answers of the list of lists of sensitive words."""
    return _ok(200, "Your lists, oldest first.", {"object": "list", "data": [_SENSITIVE_SUMMARY]}) | _errors(503)


def deletion_responses() -> Responses:
    """Answers of a vocabulary's deletion."""
    return _deletion(_SUMMARY)


def sensitive_deletion_responses() -> Responses:
    """Answers of the deletion of sensitive words."""
    return _deletion(_SENSITIVE_SUMMARY)


def _deletion(summary: Schema) -> Responses:
    deleted: Schema = {"id": summary["id"], "object": f"{summary['object']}.deleted", "deleted": True}
    return _ok(200, "It is gone.", deleted) | _errors(404, 503)


def _request(example: str, terms: Schema, ways: Mapping[str, tuple[str, object]], required: tuple[str, ...]) -> Schema:
    """A body with a name, a description and the field that `terms` describes, in all the `ways` to say it."""
    name: Schema = {
        "type": "string",
        "maxLength": MAX_CHARACTERS,
        "description": "What to call it. Names that differ in upper and lower case only are the same.",
    }
    about: Schema = {"type": "string", "maxLength": MAX_DESCRIPTION, "description": "A note for yourself."}
    properties = {"name": name, "description": about} | terms
    body: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    (field,) = terms
    examples = {
        way: {"summary": summary, "value": {"name": example, field: said}} for way, (summary, said) in ways.items()
    }
    schema = body | ({"required": list(required)} if required else {})
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }


def _ok(status: int, description: str, example: Schema) -> Responses:
    return {status: {"description": description, "content": {"application/json": {"example": example}}}}


def _errors(*statuses: int) -> Responses:
    own: Responses = {status: {"description": _MEANINGS[status], "model": ErrorBody} for status in statuses}
    return own | error_responses(401)
