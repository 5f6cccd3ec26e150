"""What the interactive documentation knows of whisper-asr-webservice's routes: they are read by hand."""

from __future__ import annotations

from typing import Any

from app.protocols.openai.speakers import MAX_SPEAKERS
from app.protocols.openai.wishes import MAX_PROMPT_CHARACTERS
from app.protocols.whisper_asr.errors import FILE
from app.protocols.whisper_asr.parameters import OUTPUTS, TASKS
from app.protocols.whisper_asr.wire import LanguageBody

Schema = dict[str, Any]

_JSON = (
    '{"text":"今天天气很好。","segments":[{"id":0,"seek":0,"start":0.0,"end":1.5,"text":"今天天气很好。",'
    '"tokens":[12074,22028,47043],"temperature":0.0,"avg_logprob":-0.18,"compression_ratio":0.72,'
    '"no_speech_prob":0.01}],"language":"zh"}'
)
_EXAMPLES = {
    "txt": "今天天气很好。\n",
    "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n今天天气很好。\n\n",
    "srt": "1\n00:00:00,000 --> 00:00:01,500\n今天天气很好。\n\n",
    "tsv": "start\tend\ttext\n0\t1500\t今天天气很好。\n",
    "json": _JSON,
}
_MEANINGS = {
    400: "The request has no form.",
    401: "No API key, or a wrong one.",
    408: "Nothing, or hardly anything, of the upload arrives.",
    413: "The upload has more bytes, or the recording more seconds, than the server takes.",
    422: "A parameter or the audio makes no sense, or the model cannot do what is asked; `loc` names the parameter.",
    429: "The server is full, or this key has used up what it may; try again after Retry-After seconds.",
    500: "The server failed.",
    503: "The model is still loading, or not there; try again after Retry-After seconds.",
    504: "It takes longer than a request may.",
}


def recognition_request() -> Schema:
    """OpenAPI's description of what is sent to /asr."""
    count: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS}
    parameters = [
        _encode(),
        _parameter("task", _choice(TASKS), "translate: into English."),
        _parameter("language", {"type": "string"}, "The language spoken: zh or chinese. Left out: found out."),
        _parameter(
            "initial_prompt",
            {"type": "string", "maxLength": MAX_PROMPT_CHARACTERS},
            "Text that came before, or a sample of the style wanted. Only for models that take one.",
        ),
        _parameter("output", _choice(OUTPUTS), "Shape of the answer."),
        _parameter("word_timestamps", _switch(default=False), "Words with their times in json."),
        _parameter("vad_filter", {"type": "boolean"}, "Makes no difference: silence is never recognised here."),
        _parameter("diarize", {"type": "boolean"}, "Tell speakers apart. Left out: where a number of them is given."),
        _parameter("min_speakers", count, "How many people speak at least. Nothing without diarize."),
        _parameter("max_speakers", count, "How many people speak at most. Nothing without diarize."),
    ]
    return {"parameters": parameters, "requestBody": _body()}


def detection_request() -> Schema:
    """OpenAPI's description of what is sent to /detect-language."""
    return {"parameters": [_encode()], "requestBody": _body()}


def recognition_responses() -> dict[int | str, Schema]:
    """Answers of /asr."""
    examples = {name: {"summary": f"output={name}", "value": text} for name, text in _EXAMPLES.items()}
    content = {"text/plain": {"schema": {"type": "string"}, "examples": examples}}
    return {200: {"description": "What was said, in the output asked for.", "content": content}} | _errors()


def detection_responses() -> dict[int | str, Schema]:
    """Answers of /detect-language."""
    return {200: {"description": "The language.", "model": LanguageBody}} | _errors()


def _errors() -> dict[int | str, Schema]:
    sentence: Schema = {"type": "string"}
    found: Schema = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type", "loc", "msg"],
            "properties": {
                "type": sentence,
                "loc": {"type": "array", "items": sentence},
                "msg": sentence,
            },
        },
    }
    return {
        status: {
            "description": meaning,
            "content": {"application/json": {"schema": _detail(found if status == 422 else sentence)}},
        }
        for status, meaning in _MEANINGS.items()
    }


def _detail(schema: Schema) -> Schema:
    return {"type": "object", "required": ["detail"], "properties": {"detail": schema}}


def _body() -> Schema:
    file: Schema = {
        "type": "string",
        "format": "binary",
        "description": "The recording, in any common audio or video container; with encode=false also without one.",
    }
    form: Schema = {"type": "object", "required": [FILE], "properties": {FILE: file}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


def _encode() -> Schema:
    return _parameter(
        "encode",
        _switch(default=True),
        "false: the file may be 16-bit little-endian samples of one channel at 16 kHz, without a header.",
    )


def _parameter(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _choice(choices: tuple[str, ...]) -> Schema:
    return {"type": "string", "enum": list(choices), "default": choices[0]}


def _switch(*, default: bool) -> Schema:
    return {"type": "boolean", "default": default}
