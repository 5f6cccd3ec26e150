"""What the form's fields turn into, and which of their values are refused, naming the field."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai_server import Running

from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions, SpeechDetection
from app.protocols.openai.schema import transcription_request, translation_request
from app.protocols.openai.wishes import KNOWN_FIELDS

PATH = "/v1/audio/transcriptions"
Pairs = list[tuple[str, str]]


def post(raw: httpx.Client, pairs: Pairs, content: bytes = b"zh") -> httpx.Response:
    parts: list[tuple[str, tuple[str | None, bytes]]] = [(name, (None, value.encode())) for name, value in pairs]
    return raw.post(PATH, files=[*parts, ("file", ("a.wav", content))])


def asked(raw: httpx.Client, server: Running, pairs: Pairs) -> RecognitionOptions:
    answer = post(raw, pairs)
    assert answer.status_code == 200, answer.text
    return server.calls.options[-1]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("zh", "zh"),
        ("ZH", "zh"),
        ("zh-CN", "zh"),
        ("zh_CN", "zh"),
        ("zh-Hans-CN", "zh"),
        ("chinese", "zh"),
        ("Chinese", "zh"),
        ("Mandarin", "zh"),
        ("en-US", "en"),
        ("cantonese", "yue"),
        ("auto", None),
        ("", None),
        (" ", None),
    ],
)
def test_language(raw: httpx.Client, server: Running, said: str, code: str | None) -> None:
    assert asked(raw, server, [("language", said)]).language == code


@pytest.mark.parametrize(
    ("pairs", "terms"),
    [
        ([("keywords[]", "阿里"), ("keywords[]", "达摩院")], ("阿里", "达摩院")),
        ([("keywords", "阿里"), ("keywords", "达摩院")], ("阿里", "达摩院")),
        ([("keywords", "阿里, 达摩院,,")], ("阿里", "达摩院")),
        ([("keywords", '["阿里", "达摩院"]')], ("阿里", "达摩院")),
        ([("keywords[0]", "阿里"), ("keywords[1]", "阿里")], ("阿里",)),
    ],
)
def test_lists(raw: httpx.Client, server: Running, pairs: Pairs, terms: tuple[str, ...]) -> None:
    assert tuple(hotword.text for hotword in asked(raw, server, pairs).hotwords) == terms


def test_everything_the_sdk_sends(client: OpenAI, server: Running) -> None:
    client.audio.transcriptions.create(
        model="able",
        file=b"zh",
        prompt="上文。",
        temperature=0.4,
        languages=["zh", "en"],
        keywords=["甲", "乙"],
        response_format="json",
        timestamp_granularities=["word", "segment"],
        chunking_strategy={"type": "server_vad", "threshold": 0.6, "silence_duration_ms": 700, "prefix_padding_ms": 0},
        stream=False,
        extra_body={"vad": True, "nested": {"x": 1}, "enable_speaker_diarization": False},
    )
    assert server.calls.options == [
        RecognitionOptions(
            languages=("zh", "en"),
            prompt="上文。",
            hotwords=(Hotword("甲"), Hotword("乙")),
            temperature=0.4,
            timed=False,
            detection=SpeechDetection(threshold=0.6, silence_seconds=0.7, padding_seconds=0.0),
        )
    ]


@pytest.mark.parametrize(
    ("pairs", "detection"),
    [
        ([("chunking_strategy", "auto")], SpeechDetection()),
        ([("chunking_strategy", "")], SpeechDetection()),
        ([("chunking_strategy", "server_vad")], SpeechDetection()),
        ([("chunking_strategy", '{"type":"auto"}')], SpeechDetection()),
        ([("chunking_strategy", '{"type":"server_vad","threshold":0.3}')], SpeechDetection(threshold=0.3)),
        (
            [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[silence_duration_ms]", "250")],
            SpeechDetection(silence_seconds=0.25),
        ),
    ],
)
def test_chunking_strategy(raw: httpx.Client, server: Running, pairs: Pairs, detection: SpeechDetection) -> None:
    assert asked(raw, server, pairs).detection == detection


@pytest.mark.parametrize("value", ["true", "True", "1", "yes"])
def test_true(raw: httpx.Client, value: str) -> None:
    assert post(raw, [("stream", value)]).headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("value", ["false", "0", "no", ""])
def test_false(raw: httpx.Client, value: str) -> None:
    assert post(raw, [("stream", value)]).headers["content-type"] == "application/json"


def test_stream_as_text(raw: httpx.Client) -> None:
    answer = post(raw, [("stream", "true"), ("response_format", "text")])
    assert answer.headers["content-type"].startswith("text/event-stream")


BAD: list[tuple[Pairs, str]] = [
    ([("language", "klingon")], "language"),
    ([("language", "fr")], "language"),
    ([("languages[]", "zh"), ("languages[]", "xx")], "languages"),
    ([("response_format", "xml")], "response_format"),
    ([("response_format", "JSON")], "response_format"),
    ([("temperature", "1.1")], "temperature"),
    ([("temperature", "-0.1")], "temperature"),
    ([("temperature", "nan")], "temperature"),
    ([("temperature", "inf")], "temperature"),
    ([("temperature", "warm")], "temperature"),
    ([("temperature", "0_1")], "temperature"),
    ([("timestamp_granularities[]", "letter")], "timestamp_granularities"),
    ([("timestamp_granularities[]", "letter"), ("response_format", "json")], "timestamp_granularities"),
    ([("include[]", "usage")], "include"),
    ([("include[]", "logprobs"), ("response_format", "srt")], "include"),
    ([("include[]", "logprobs"), ("response_format", "diarized_json")], "include"),
    ([("stream", "maybe")], "stream"),
    ([("stream", "true"), ("response_format", "srt")], "stream"),
    ([("stream", "true"), ("response_format", "verbose_json")], "stream"),
    ([("word_timestamps", "si")], "word_timestamps"),
    ([("prompt", "长" * 10_001)], "prompt"),
    ([("keywords", json.dumps([str(number) for number in range(10_001)]))], "keywords"),
    ([("keywords[]", "长" * 201)], "keywords"),
    ([("keywords", "[1, 2]")], "keywords"),
    ([("keywords", "[broken")], "keywords"),
    ([("keywords", "[" * 100_000)], "keywords"),
    ([("chunking_strategy", "semantic")], "chunking_strategy"),
    ([("chunking_strategy", "{broken")], "chunking_strategy"),
    ([("chunking_strategy", '{"type":"server_vad","thresold":1}')], "chunking_strategy"),
    ([("chunking_strategy[threshold]", "0.5")], "chunking_strategy"),
    ([("chunking_strategy", "auto"), ("chunking_strategy[type]", "server_vad")], "chunking_strategy"),
    ([("chunking_strategy", '{"type":"server_vad","threshold":2}')], "chunking_strategy[threshold]"),
    ([("chunking_strategy", '{"type":"server_vad","threshold":true}')], "chunking_strategy[threshold]"),
    (
        [("chunking_strategy", '{"type":"server_vad","prefix_padding_ms":9e4}')],
        "chunking_strategy[prefix_padding_ms]",
    ),
    ([("chunking_strategy", '{"type":"server_vad","threshold":1e999}')], "chunking_strategy[threshold]"),
    ([("model", "able"), ("model", "able")], "model"),
    ([("language", "zh"), ("language", "zh")], "language"),
    ([("response_format", "json"), ("response_format", "srt")], "response_format"),
]


@pytest.mark.parametrize(("pairs", "param"), BAD, ids=[str(index) for index in range(len(BAD))])
def test_refused_by_name(raw: httpx.Client, server: Running, pairs: Pairs, param: str) -> None:
    answer = post(raw, pairs)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert len(error["message"]) < 1000
    assert server.calls.options == []


@pytest.mark.parametrize(
    ("pairs", "param"),
    [
        ([("prompt", "x")], "prompt"),
        ([("temperature", "0.2")], "temperature"),
        ([("include[]", "logprobs")], "include"),
        ([("timestamp_granularities[]", "word")], "timestamp_granularities"),
        ([("word_timestamps", "true")], "word_timestamps"),
        ([("language", "en")], "language"),
    ],
)
def test_what_the_model_cannot_do(raw: httpx.Client, server: Running, pairs: Pairs, param: str) -> None:
    error = post(raw, [("model", "group/plain"), *pairs]).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_feature", param)
    assert "group/plain" in error["message"]
    assert server.calls.options == []


def test_blank_wishes_are_none(raw: httpx.Client) -> None:
    blank = [("model", "group/plain"), ("prompt", ""), ("temperature", "0"), ("keywords", ""), ("word_timestamps", "")]
    assert post(raw, [*blank, ("timestamp_granularities[]", "segment")]).status_code == 200


def test_times_asked_for_in_plain_json_are_harmless(raw: httpx.Client) -> None:
    pairs = [("model", "group/plain"), ("response_format", "json"), ("timestamp_granularities[]", "word")]
    assert post(raw, pairs).status_code == 200


def test_documented_fields_are_the_ones_read() -> None:
    assert documented(transcription_request()) == set(KNOWN_FIELDS)
    assert documented(translation_request()) == set(KNOWN_FIELDS - {"stream"})


def documented(request: dict[str, Any]) -> set[str]:
    schema = request["requestBody"]["content"]["multipart/form-data"]["schema"]
    return {name.removesuffix("[]") for name in schema["properties"]}
