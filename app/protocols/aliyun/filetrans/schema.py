"""What the interactive documentation knows of the file transcription: bodies are parsed by hand, so they are described
by hand.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from typing import Any

from app.protocols.aliyun.filetrans.calls import FORM
from app.protocols.aliyun.filetrans.wire import VERSIONS

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_YES_NO: Schema = {"type": "boolean"}
TASK: Schema = {
    "file_link": _TEXT
    | {"format": "uri", "description": "An http or https address that the recording is fetched from."},
    "appkey": _TEXT | {"description": "Where setting APPKEY is set, its value; otherwise anything."},
    "app_key": _TEXT | {"description": "The same."},
    "version": _TEXT | {"enum": list(VERSIONS), "default": VERSIONS[0], "description": "What callbacks look like."},
    "enable_words": _YES_NO | {"default": False, "description": "Words, with their times."},
    "enable_callback": _YES_NO | {"default": False, "description": "Send the result to callback_url."},
    "callback_url": _TEXT | {"format": "uri"},
    "auto_split": _YES_NO | {"default": False, "description": "Tell speakers apart: ChannelId is a speaker."},
    "supervise_type": _NUMBER
    | {"enum": [1, 2], "description": "2: there are speaker_num speakers. 1: it is found out."},
    "speaker_num": _NUMBER | {"minimum": 1, "maximum": 50, "description": "How many speakers there are."},
    "enable_punctuation_prediction": _YES_NO | {"default": True, "description": "false takes marks out."},
    "enable_inverse_text_normalization": _YES_NO | {"default": False, "description": "Numbers in digits."},
    "max_end_silence": _NUMBER | {"minimum": 200, "maximum": 6000, "description": "Milliseconds that end speech."},
    "sentence_max_length": _NUMBER | {"minimum": 4, "maximum": 50, "description": "Characters of a sentence, at most."},
    "first_channel_only": _YES_NO | {"default": False, "description": "Nothing of the other channels."},
    "vocabulary_id": _TEXT | {"description": "A stored vocabulary's id."},
    "class_vocabulary_id": _TEXT | {"description": "A stored class of words' id."},
    "special_word_filter": _TEXT
    | {
        "description": 'Words to hide, as JSON: {"filter_with_signed":{"word_list":["A"]},'
        '"filter_with_empty":{"word_list":["B"]}} writes stars for A and leaves B out.'
    },
    "model_id": _TEXT | {"description": "A model by name. Left out: the default one."},
    "language": _TEXT | {"description": "The language spoken: zh, en-US. Left out, or auto: detected."},
    "hotwords": _TEXT | {"description": "Terms to listen for."},
}
"""The fields that change something."""
_EXAMPLE = '{"appkey": "any", "file_link": "https://example.com/call.wav", "version": "4.0", "enable_words": true}'
_STATUS: Schema = {
    "TaskId": "job_0123456789abcdef01234567",
    "RequestId": "E4B183CC-6CFE-411E-A547-D877F7BD0000",
    "StatusText": "SUCCESS",
    "StatusCode": 21050000,
}
_DONE: Schema = _STATUS | {
    "BizDuration": 2956,
    "SolveTime": 1540363288472,
    "Result": {
        "Sentences": [
            {
                "ChannelId": 0,
                "BeginTime": 340,
                "EndTime": 2365,
                "Text": "北京的天气。",
                "SilenceDuration": 0,
                "SpeechRate": 177,
            }
        ],
        "Words": [{"ChannelId": 0, "Word": "北京", "BeginTime": 640, "EndTime": 940}],
    },
}
_ERRORS = {
    400: "A parameter is missing, or there is no such Action.",
    401: "No AccessKeyId, or one that is no API key.",
    413: "The call is longer than a task can be.",
    429: "The server is full, or this key has as many tasks as it may; try again after Retry-After seconds.",
    500: "The server failed.",
    503: "Something is not there now; try again later.",
}


def submit_request() -> Schema:
    """OpenAPI's description of SubmitTask, as a form. (SDKs have all but Task in the address.)"""
    task: Schema = {"type": "object", "required": ["file_link"], "properties": TASK}
    form: Schema = {
        "type": "object",
        "required": ["Action", "Task"],
        "properties": {
            "Action": _TEXT | {"enum": ["SubmitTask", "GetTaskResult"]},
            "AccessKeyId": _TEXT | {"description": "An API key."},
            "Task": _TEXT | {"contentMediaType": "application/json", "contentSchema": task, "example": _EXAMPLE},
            "TaskId": _TEXT | {"description": "Of GetTaskResult."},
        },
    }
    return {"requestBody": {"required": True, "content": {FORM: {"schema": form}}}}


def poll_request() -> Schema:
    """OpenAPI's description of GetTaskResult."""
    described = {
        "Action": (_TEXT | {"enum": ["GetTaskResult"]}, True),
        "TaskId": (_TEXT, True),
        "AccessKeyId": (_TEXT, False),
    }
    return {
        "parameters": [
            {"name": name, "in": "query", "required": needed, "schema": shape}
            for name, (shape, needed) in described.items()
        ]
    }


def responses() -> Responses:
    """Answers of both."""
    examples = {"submitted": {"value": _STATUS}, "done": {"value": _DONE}}
    shape: Schema = {"type": "object", "required": list(_STATUS), "properties": _typed(_DONE)}
    failed: Schema = {
        "type": "object",
        "required": ["RequestId", "Code", "Message"],
        "properties": {"RequestId": _TEXT, "Code": _TEXT, "Message": _TEXT},
    }
    ok: Responses = {
        200: {
            "description": "How the task is: StatusText says it, also where the task could not be taken.",
            "content": {"application/json": {"schema": shape, "examples": examples}},
        }
    }
    return ok | {
        status: {"description": told, "content": {"application/json": {"schema": failed}}}
        for status, told in _ERRORS.items()
    }


def _typed(example: Schema) -> Schema:
    kinds = {str: "string", int: "integer", dict: "object"}
    return {name: {"type": kinds[type(value)]} for name, value in example.items()}
