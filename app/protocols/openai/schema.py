"""What the interactive documentation knows of the routes: the form is parsed by hand, so it is described by hand.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from typing import Any

from app.protocols.asked_masking import STYLES
from app.protocols.json_form import INPUT, MAX_JSON_BYTES
from app.protocols.openai.speakers import ALL_VOICES, DIARIZED, MAX_KNOWN, MAX_ROLES, MAX_SPEAKERS
from app.protocols.openai.text import MAX_VOCABULARY_ID_CHARACTERS, SENSITIVE, SENSITIVE_STYLE
from app.protocols.openai.wire import (
    DeletedModelBody,
    DiarizedBody,
    ErrorBody,
    ModelBody,
    ModelList,
    TranscriptionBody,
    VerboseBody,
)
from app.protocols.openai.wishes import ADDRESS, FORMATS, GRANULARITIES, INCLUDES, MAX_PROMPT_CHARACTERS

Schema = dict[str, Any]

_USAGE: Schema = {"type": "duration", "seconds": 2}
_JSON_EXAMPLE: Schema = {"text": "今天天气很好。", "languages": [{"code": "zh"}], "usage": _USAGE}
_VERBOSE_EXAMPLE: Schema = {
    "task": "transcribe",
    "language": "chinese",
    "duration": 1.62,
    "text": "今天天气很好。",
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": 1.5,
            "text": "今天天气很好。",
            "tokens": [12074, 22028, 47043],
            "temperature": 0.0,
            "avg_logprob": -0.18,
            "compression_ratio": 0.72,
            "no_speech_prob": 0.01,
            "speaker": "Speaker1",
        }
    ],
    "words": [{"word": "今", "start": 0.0, "end": 0.22, "speaker": "Speaker1"}],
    "languages": [{"code": "zh"}],
    "usage": _USAGE,
    "model": "whisper-base",
}
_DIARIZED_EXAMPLE: Schema = {
    "task": "transcribe",
    "duration": 3.4,
    "text": "今天天气很好。是啊。",
    "segments": [
        {
            "type": "transcript.text.segment",
            "id": "seg_001",
            "start": 0.0,
            "end": 1.5,
            "text": "今天天气很好。",
            "speaker": "A",
        },
        {
            "type": "transcript.text.segment",
            "id": "seg_002",
            "start": 1.9,
            "end": 2.6,
            "text": "是啊。",
            "speaker": "王小明",
        },
    ],
    "languages": [{"code": "zh"}],
    "usage": {
        "type": "tokens",
        "input_tokens": 1500,
        "output_tokens": 12,
        "total_tokens": 1512,
        "input_token_details": {"audio_tokens": 1500, "text_tokens": 0},
    },
    "model": "whisper-base",
}
_SSE_DONE = (
    'data: {"type":"transcript.text.done","text":"今天天气很好。","languages":[{"code":"zh"}],'
    '"usage":{"type":"tokens","input_tokens":1500,"output_tokens":9,"total_tokens":1509,'
    '"input_token_details":{"audio_tokens":1500,"text_tokens":0}}}\n\n'
    "data: [DONE]\n\n"
)
_SSE_EXAMPLE = 'data: {"type":"transcript.text.delta","delta":"今天天气很好。"}\n\n' + _SSE_DONE
_SSE_DIARIZED_EXAMPLE = (
    'data: {"type":"transcript.text.delta","delta":"今天天气很好。","segment_id":"seg_001"}\n\n'
    'data: {"type":"transcript.text.segment","id":"seg_001","start":0.0,"end":1.5,"text":"今天天气很好。",'
    '"speaker":"A"}\n\n' + _SSE_DONE
)


def transcription_request(default_format: str = "verbose_json") -> Schema:
    """OpenAPI's description of the transcription form."""
    said = "as setting SPEAKER_DIARIZATION says (default: yes; asked, off: no)"
    return _request(_shared(default_format) | _streaming() | _speakers(said))


def translation_request(default_format: str = "verbose_json") -> Schema:
    """OpenAPI's description of the translation form."""
    return _request(_shared(default_format) | _speakers("no"))


def recognition_responses(*, stream: bool) -> dict[int | str, Schema]:
    """Answers of a recognition, an example for each format, and its errors."""
    content: Schema = {
        "application/json": {
            "examples": {
                "json": {"summary": "response_format=json", "value": _JSON_EXAMPLE},
                "verbose_json": {"summary": "response_format=verbose_json", "value": _VERBOSE_EXAMPLE},
                DIARIZED: {"summary": f"response_format={DIARIZED}", "value": _DIARIZED_EXAMPLE},
            },
            "schema": {"anyOf": [_inline(TranscriptionBody), _inline(VerboseBody), _inline(DiarizedBody)]},
        },
        "text/plain": {
            "schema": {"type": "string"},
            "examples": {
                "text": {"summary": "response_format=text", "value": "今天天气很好。\n"},
                "srt": {
                    "summary": "response_format=srt",
                    "value": "1\n00:00:00,000 --> 00:00:01,500\n[Speaker1] 今天天气很好。\n\n",
                },
            },
        },
        "text/vtt": {
            "schema": {"type": "string"},
            "example": "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n[Speaker1] 今天天气很好。\n\n",
        },
    }
    if stream:
        content["text/event-stream"] = {
            "schema": {"type": "string"},
            "examples": {
                "json": {"summary": "response_format=json or text", "value": _SSE_EXAMPLE},
                DIARIZED: {"summary": f"response_format={DIARIZED}", "value": _SSE_DIARIZED_EXAMPLE},
            },
        }
    ok: Schema = {"description": "What was said, in the format asked for.", "content": content}
    errors = error_responses(400, 401, 404, 408, 413, 429, 500, 503, 504)
    errors[404]["description"] = "No such model, or you have no such voice."
    return {200: ok} | errors


def model_responses(*, many: bool) -> dict[int | str, Schema]:
    """Answers of the model routes."""
    shape = ModelList if many else ModelBody
    return {200: {"description": "OK", "model": shape}} | error_responses(401, *(() if many else (404,)))


def loading_responses() -> dict[int | str, Schema]:
    """Answers of the route that loads a model."""
    errors = error_responses(401, 403, 404, 409, 500, 503)
    errors[404]["description"] = "No such model, or it is not on this machine."
    errors[409]["description"] = "There is not enough memory for it, or it is being unloaded."
    errors[500]["description"] = "It is on this machine and cannot be loaded."
    return {200: {"description": "It answers.", "model": ModelBody}} | errors


def unloading_responses() -> dict[int | str, Schema]:
    """Answers of the route that unloads a model."""
    errors = error_responses(401, 403, 404, 409, 503)
    errors[404]["description"] = "No such model answers."
    return {200: {"description": "It does not answer any more.", "model": DeletedModelBody}} | errors


def error_responses(*statuses: int) -> dict[int | str, Schema]:
    """Errors by status, all in one envelope."""
    meanings = {
        400: "A field or the audio makes no sense, or the model cannot do what is asked; `param` names the field.",
        401: "No API key, or a wrong one.",
        403: "The server has no API keys, and this needs one.",
        404: "No such model.",
        408: "Nothing, or hardly anything, of the upload arrives.",
        409: "No other model would be left to answer.",
        413: "The upload has more bytes, or the recording more seconds, than the server takes.",
        429: "The server is full, or this key has used up what it may; try again after Retry-After seconds.",
        500: "The server failed.",
        503: "The model is still loading, or not there; try again after Retry-After seconds.",
        504: "It takes longer than a request may.",
    }
    return {status: {"description": meanings[status], "model": ErrorBody} for status in statuses}


def _request(properties: Schema) -> Schema:
    form: Schema = {"type": "object", "properties": properties}
    # Without "explode" the documentation's own client would send a list as one comma-separated part.
    lists = {name: {"style": "form", "explode": True} for name in properties if name.endswith("[]")}
    content: Schema = {
        "multipart/form-data": {"schema": form, "encoding": lists},
        "application/json": {"schema": _json_body(properties)},
    }
    return {"requestBody": {"required": True, "content": content}}


def _json_body(properties: Schema) -> Schema:
    """The same fields as JSON has them."""
    others = {name.removesuffix("[]"): schema for name, schema in properties.items() if name != "file"}
    sound: Schema = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {"type": "string", "description": "The recording in base64, or as a data URL."},
            "format": {"type": "string", "examples": ["mp3"], "description": "What it is; its bytes count for more."},
        },
        "description": f"The recording; all of the body has {MAX_JSON_BYTES // 1024 // 1024} MiB at most.",
    }
    return {"type": "object", "properties": {INPUT: sound} | others}


def _inline(shape: type[TranscriptionBody | VerboseBody | DiarizedBody]) -> Schema:
    """A shape's schema without references: it stands in the middle of the document."""
    schema = shape.model_json_schema()
    return _resolved(schema, schema.pop("$defs", {}))


def _resolved(node: Any, definitions: Schema) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _resolved(definitions[str(node["$ref"]).rsplit("/", 1)[-1]], definitions)
        return {key: _resolved(value, definitions) for key, value in node.items()}
    return [_resolved(value, definitions) for value in node] if isinstance(node, list) else node


def _shared(default_format: str) -> Schema:
    # Blank defaults: without one the documentation's form fills in the word "string" and sends it.
    return {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The recording, in any common audio or video container, whatever its name and content type.",
        },
        ADDRESS: {
            "type": "string",
            "default": "",
            "description": (
                "Where the recording lies: an http or https address that anybody may reach. A file counts for more; "
                "one of both is needed."
            ),
        },
        "model": {
            "type": "string",
            "default": "",
            "description": "A model from /v1/models. Empty, whisper-1 and OpenAI's other names mean the default model.",
        },
        "language": {
            "type": "string",
            "default": "",
            "description": "The language spoken: zh, zh-CN or chinese. Left out: the model finds out.",
        },
        "prompt": {
            "type": "string",
            "default": "",
            "maxLength": MAX_PROMPT_CHARACTERS,
            "description": "Text that came before, or a sample of the style wanted. Only for models that take one.",
        },
        "response_format": {
            "type": "string",
            "enum": list(FORMATS),
            "description": f"Shape of the answer. When left out: {default_format} (setting OPENAI_DEFAULT_FORMAT).",
        },
        "temperature": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0,
            "description": "0 searches for the likeliest words; above it the model samples.",
        },
        "timestamp_granularities[]": _list(
            GRANULARITIES, "Times in verbose_json: segments always have them, word adds `words`."
        ),
        "word_timestamps": {"type": "boolean", "default": False, "description": "The same as the granularity word."},
        "include[]": _list(INCLUDES, "logprobs adds every token's log-probability (json, verbose_json and streams)."),
        "chunking_strategy": {
            "type": "string",
            "default": "",
            "description": (
                'How speech is told from silence: auto, or {"type":"server_vad","threshold":0.5,'
                '"prefix_padding_ms":300,"silence_duration_ms":500}.'
            ),
        },
        "languages[]": _list((), "Languages to choose from when the model finds out which is spoken."),
    } | _text()


def _text() -> Schema:
    """Fields about hotwords, words to mask, marks and numbers."""
    return {
        "keywords[]": _list((), "Terms to listen for, one in each item."),
        "hotwords": {
            "type": "string",
            "default": "",
            "description": (
                "Terms to listen for, with weights: 阿里巴巴 20 通义千问 15, one term a line, commas between terms, "
                'or JSON: {"阿里巴巴": 20}. May be repeated. Which of them were said is in the answer.'
            ),
        },
        "vocabulary_id": {
            "type": "string",
            "default": "",
            "maxLength": MAX_VOCABULARY_ID_CHARACTERS,
            "description": "A stored vocabulary of hotwords (/v1/vocabularies), or, as in funasr-api, hotwords.",
        },
        SENSITIVE: {
            "type": "string",
            "default": "",
            "description": (
                "Terms that are not to be read in the answer, with commas between them or as a JSON array, or the id "
                "of a stored list (/v1/sensitive_words). May be repeated. Latin letters match whole words, Chinese "
                "characters anywhere. A stream holds back text that may be the beginning of a term."
            ),
        },
        # Neither it nor switches have a default: the documentation's form would send it.
        SENSITIVE_STYLE: {
            "type": "string",
            "enum": list(STYLES),
            "description": "What stands in their place: `*` for each character, nothing, or (the term). "
            "Left out: stars.",
        },
        "punctuation": {
            "type": "boolean",
            "description": "false: text without marks. Left out: true.",
        },
        "enable_punctuation_prediction": {"type": "boolean", "description": "The same as punctuation."},
        "itn": {
            "type": "boolean",
            "description": (
                "Numbers said as words in digits. Left out: true for models that write them as words. "
                "Models that write digits themselves go on doing so with false."
            ),
        },
        "enable_inverse_text_normalization": {"type": "boolean", "description": "The same as itn."},
    }


def _streaming() -> Schema:
    return {
        "stream": {
            "type": "boolean",
            "default": False,
            "description": (
                f"Send text as soon as it is known, as server-sent events. With json, text or {DIARIZED} only; the "
                "last sends a delta and a transcript.text.segment event, with its speaker, for every segment. With "
                "logprobs or channel_split, too, each delta is a segment."
            ),
        }
    }


def _speakers(unsaid: str) -> Schema:
    """Fields about speakers; `unsaid`: whether they are told apart where a request does not say."""
    # Numbers and the switch have no default: the documentation's form would send it.
    count: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS}
    return {
        "enable_speaker_diarization": {
            "type": "boolean",
            "description": (
                f"Tell speakers apart, in verbose_json, srt, vtt and {DIARIZED} (other formats do not show them). "
                f"When left out: {unsaid}; {DIARIZED} and the fields about speakers below always mean yes."
            ),
        },
        "num_speakers": count | {"description": "How many people speak, if it is known."},
        "min_speakers": count | {"description": "How many people speak at least. Not with num_speakers."},
        "max_speakers": count | {"description": "How many people speak at most. Not with num_speakers."},
        "known_speaker_names[]": _list(
            (), f"What people are called whose voices come in known_speaker_references[], {MAX_KNOWN} at most."
        ),
        "known_speaker_references[]": _list(
            (), "For each name, speech of this person alone, 2 to 10 s, as a data URL: data:audio/wav;base64,..."
        ),
        "voices[]": _list(
            (), f"Names or ids of enrolled voices (/v1/voices) that may be recognised, or {ALL_VOICES}: all of yours."
        ),
        "channel_split": {
            "type": "boolean",
            "default": False,
            "description": (
                "Recognise each channel by itself; each is one speaker. "
                "Not with num_speakers, min_speakers, max_speakers, known speakers or voices."
            ),
        },
        "channel_roles[]": _list(
            (), f"With channel_split: what the channels' speakers are called, in order, {MAX_ROLES} at most."
        ),
    }


def _list(choices: tuple[str, ...], description: str) -> Schema:
    items: Schema = {"type": "string"} | ({"enum": list(choices)} if choices else {})
    return {"type": "array", "items": items, "default": [], "description": description}
