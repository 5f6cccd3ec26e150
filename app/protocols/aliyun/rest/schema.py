"""What the interactive documentation knows of the routes: addresses are read by hand, so they are described by hand.

The parameters here are compared with those that are read by a test.
"""

from __future__ import annotations

from typing import Any

from app.protocols.aliyun.rest.errors import STRICT
from app.protocols.aliyun.rest.flash import FlashBody
from app.protocols.aliyun.rest.parameters import LONGEST_MODEL, SENTENCE_CHARACTERS, Route
from app.protocols.aliyun.rest.wire import AliyunErrorBody, AliyunRecognitionBody, StrictBody

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_TASK = "2f9c8d1e5b7a4630a1c05d9e8f7b6a54"
_WORD: Schema = {"text": "北京", "start_time": 0.4, "end_time": 0.78}
_SEGMENT: Schema = {"text": "北京的天气。", "start_time": 0.31, "end_time": 1.62, "speaker_id": "Speaker1"}
_ANSWER: Schema = {
    "task_id": _TASK,
    "result": "北京的天气。",
    "status": 200,
    "message": "SUCCESS",
    "segments": [_SEGMENT | {"word_tokens": [_WORD]}],
    "duration": 2.0,
    "processing_time": 0.147,
}
_STRICT: Schema = {"task_id": _TASK, "result": "北京的天气。", "status": 20000000, "message": "SUCCESS"}
_FLASH_WORD: Schema = {"text": "喂", "begin_time": 1010, "end_time": 1520, "punc": "，"}
_FLASH: Schema = {
    "task_id": _TASK,
    "status": 20000000,
    "message": "SUCCESS",
    "flash_result": {
        "duration": 22330,
        "latency": 310,
        "completed": True,
        "sentences": [
            {"text": "喂，", "begin_time": 1010, "end_time": 1520, "channel_id": 0, "words": [_FLASH_WORD]},
        ],
    },
}
_MEANINGS = {
    400: "A parameter or the sound makes no sense, or the model cannot do what is asked.",
    401: "No token, or a wrong one.",
    403: "The server is set to an appkey, and it was not named.",
    404: "No such model, or no such stored vocabulary.",
    408: "Nothing, or hardly anything, of the body arrives.",
    413: "The recording has more bytes, or more seconds, than the server takes.",
    429: "The server is full, or this key has used up what it may; try again after Retry-After seconds.",
    500: "The server failed.",
    503: "The model is still loading, or not there; try again after Retry-After seconds.",
    504: "It takes longer than a request may.",
}
_YES_NO: Schema = {"type": "boolean"}
_TEXT: Schema = {"type": "string"}
_COMMON: dict[str, tuple[Schema, str]] = {
    "model_id": (_TEXT | {"maxLength": LONGEST_MODEL}, "A model by name. Left out: the default one."),
    "audio_address": (
        _TEXT | {"format": "uri"},
        "An http or https address that the recording is fetched from; a body beside it is not listened to.",
    ),
    "appkey": (_TEXT, "Where setting APPKEY is set, its value; otherwise anything."),
    "format": (
        _TEXT,
        "pcm, mulaw and alaw say what bytes without a container are. With one, the recording says what it is; then "
        "this need only be a format there is (wav, opus, speex, amr, mp3, aac, mp4, m4a, flac, ogg, webm).",
    ),
    "sample_rate": (
        {"type": "integer", "minimum": 8000, "maximum": 48000},
        "Hz of samples without a container: 16000 if left out, 8000 for mulaw and alaw.",
    ),
    "vocabulary_id": (
        _TEXT,
        "A stored vocabulary's id; or, as in funasr-api, hotwords: 阿里巴巴 20 通义 10.",
    ),
    "hotwords": (_TEXT, "Terms to listen for."),
    "language": (_TEXT, "The language spoken: zh, en-US, Chinese. Left out, or auto: detected."),
    "enable_punctuation_prediction": (_YES_NO | {"default": True}, "false takes marks out."),
    "special_word_filter": (
        _TEXT,
        'Words to hide, as JSON: {"filter_with_signed":{"word_list":["A"]},"filter_with_empty":{"word_list":["B"]}} '
        "writes stars for A and leaves B out.",
    ),
    "customization_id": (_TEXT, "Without effect: names a model that was trained in the cloud."),
}
_ITN = "enable_inverse_text_normalization"
_ASR: dict[str, tuple[Schema, str]] = {
    _ITN: (_YES_NO | {"default": True}, "Numbers in digits."),
    # No default: it depends on a setting, and the documentation's form would send it.
    "enable_speaker_diarization": (
        _YES_NO,
        "Tell speakers apart. Left out: as setting SPEAKER_DIARIZATION says (default: yes).",
    ),
    "word_timestamps": (_YES_NO | {"default": False}, "word_tokens: every word with its times."),
    "enable_voice_detection": (_YES_NO, "Without effect: silence is always left out."),
    "disfluency": (_YES_NO, "Without effect: what is said is written as the model hears it."),
}
_FLASH_ONLY: dict[str, tuple[Schema, str]] = {
    _ITN: (_YES_NO | {"default": False}, "Numbers in digits."),
    "enable_word_level_result": (_YES_NO | {"default": False}, "Words with their times in every sentence."),
    "sentence_max_length": (
        {"type": "integer", "minimum": SENTENCE_CHARACTERS[0], "maximum": SENTENCE_CHARACTERS[1]},
        "Characters of a sentence, at most. Left out: as long as it is.",
    ),
    "first_channel_only": (
        _YES_NO,
        "true: nothing of the other channels. false: each channel by itself. Left out: all channels together.",
    ),
    "speech_noise_threshold": (
        {"type": "number", "minimum": -1, "maximum": 1},
        "By how much speech must be likelier than noise: higher hears less.",
    ),
    "enable_timestamp_alignment": (_YES_NO, "Without effect: times are always aligned as well as the model can."),
}
_BODY: Schema = {
    "description": "The recording, in any format. Its Content-Type does not matter.",
    "required": False,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


def parameters(route: Route) -> dict[str, tuple[Schema, str]]:
    """Each parameter's schema and description."""
    return _COMMON | (_ASR if route == "asr" else _FLASH_ONLY)


def asr_request() -> Schema:
    """OpenAPI's description of a request for /asr."""
    strict: Schema = {
        "name": STRICT,
        "in": "header",
        "required": False,
        "schema": {"type": "string", "enum": ["0", "1"]},
        "description": "1: answer as Alibaba Cloud does. Left out: as setting ALIYUN_STRICT says.",
    }
    return {"parameters": [*_described("asr"), strict], "requestBody": _BODY}


def flash_request() -> Schema:
    """OpenAPI's description of a request for /FlashRecognizer."""
    return {"parameters": _described("flash"), "requestBody": _BODY}


def asr_responses() -> Responses:
    """Answers of /asr."""
    examples = {
        "default": {"summary": "As funasr-api", "value": _ANSWER},
        "strict": {"summary": "X-NLS-Strict: 1", "value": _STRICT},
    }
    ok = _ok(AliyunRecognitionBody | StrictBody, {"application/json": {"examples": examples}})
    return {200: ok} | _errors(AliyunErrorBody | StrictBody, *_MEANINGS)


def flash_responses() -> Responses:
    """Answers of /FlashRecognizer."""
    return {200: _ok(FlashBody, {"application/json": {"example": _FLASH}})} | _errors(StrictBody, *_MEANINGS)


def plain_responses() -> Responses:
    """Errors of the routes that tell of models."""
    return _errors(AliyunErrorBody | StrictBody, 401, 500)


def _ok(shape: Any, content: Schema) -> Schema:
    return {
        "description": "What was said.",
        "model": shape,
        "content": content,
        "headers": {"task_id": {"description": "The request's id.", "schema": _TEXT}},
    }


def _errors(shape: Any, *statuses: int) -> Responses:
    return {status: {"description": _MEANINGS[status], "model": shape} for status in statuses}


def _described(route: Route) -> list[Schema]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
        for name, (schema, description) in parameters(route).items()
    ]
