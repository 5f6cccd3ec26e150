"""Every answer through the real SDK, and once more through its types in strict mode (the SDK itself checks nothing)."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Model
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
    Translation,
)
from openai.types.audio.transcription_text_delta_event import TranscriptionTextDeltaEvent
from openai.types.audio.transcription_text_done_event import TranscriptionTextDoneEvent
from openai_server import KEY, TRANSCRIPTS, Running
from pydantic import BaseModel, TypeAdapter

from app.protocols.openai.schema import recognition_responses
from app.protocols.openai.wire import DiarizedBody, TranscriptionBody, VerboseBody

ZH = TRANSCRIPTS["zh"].text
EN = TRANSCRIPTS["en"].text


def strict(kind: type[BaseModel], body: object) -> BaseModel:
    return kind.model_validate(body, strict=True)


def test_json_has_text_languages_and_usage(client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=("a.wav", b"zh"), response_format="json"
    )
    assert answer.headers["x-asr-model"] == "able"
    assert answer.http_response.json() == {
        "text": ZH,
        "languages": [{"code": "zh"}],
        "usage": {"type": "duration", "seconds": 5},
    }
    parsed = answer.parse()
    assert isinstance(parsed, Transcription)
    assert parsed.text == ZH
    assert parsed.usage is not None
    assert parsed.usage.type == "duration"


def test_logprobs_come_when_asked(client: OpenAI, server: Running) -> None:
    answer = client.audio.transcriptions.create(
        model="able", file=("a.wav", b"zh"), response_format="json", include=["logprobs"]
    )
    assert answer.logprobs is not None
    assert answer.logprobs[0].model_dump() == {"token": "今", "bytes": list("今".encode()), "logprob": -0.25}
    assert "".join(item.token or "" for item in answer.logprobs) == ZH
    assert server.calls.options[0].logprobs
    assert server.calls.options[0].timed


@pytest.mark.parametrize("content", ["zh", "en", "odd", "warned"])
def test_verbose_json_is_complete(raw: httpx.Client, content: str) -> None:
    body = raw.post(
        "/v1/audio/transcriptions",
        data={"response_format": "verbose_json", "timestamp_granularities[]": "word"},
        files={"file": ("a", content.encode())},
    ).json()
    strict(TranscriptionVerbose, body)
    transcript = TRANSCRIPTS[content]
    assert body["task"] == "transcribe"
    assert body["language"] == {"zh": "chinese", "en": "english"}[transcript.language or ""]
    assert body["model"] == "able"
    assert body["duration"] == transcript.duration
    assert body.get("warnings") == (["audio_truncated"] if content == "warned" else None)
    ten = {"id", "seek", "start", "end", "text", "tokens"}
    ten |= {"temperature", "avg_logprob", "compression_ratio", "no_speech_prob"}
    for number, item in enumerate(body["segments"]):
        assert item.keys() == ten
        assert item["id"] == number
        assert item["seek"] == int(item["start"] * 100)
        assert item["compression_ratio"] > 0
        assert isinstance(item["tokens"], list)


def test_words_are_bare_and_timed(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="able", file=("a.wav", b"en"), response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert [word.model_dump() for word in answer.words or []] == [
        {"word": "Hello", "start": 0.0, "end": 0.4},
        {"word": "there", "start": 0.5, "end": 0.9},
        {"word": "world", "start": 1.0, "end": 1.4},
    ]
    assert answer.segments


def test_no_words_unless_asked(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="able", file=("a.wav", b"en"), response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert answer.words is None
    assert answer.segments


def test_word_timestamps_of_funasr_api(raw: httpx.Client) -> None:
    body = raw.post("/v1/audio/transcriptions", data={"word_timestamps": "true"}, files={"file": b"zh"}).json()
    assert [word["word"] for word in body["words"]] == list("今天天气很好我们去公园")


def test_default_format_is_verbose_json(raw: httpx.Client, server: Running) -> None:
    body = raw.post("/v1/audio/transcriptions", files={"file": ("x", b"zh")}).json()
    assert body["language"] == "chinese"
    assert server.calls.options[0].timed


def test_text_is_bare(client: OpenAI, raw: httpx.Client) -> None:
    assert client.audio.transcriptions.create(model="able", file=b"zh", response_format="text") == ZH + "\n"
    answer = raw.post("/v1/audio/transcriptions", data={"response_format": "text"}, files={"file": b"zh"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == (ZH + "\n").encode()


def test_srt_and_vtt(client: OpenAI, raw: httpx.Client) -> None:
    srt = client.audio.transcriptions.create(model="able", file=b"zh", response_format="srt")
    assert srt == (
        "1\n00:00:00,000 --> 00:00:01,800\n今天天气很好，\n\n2\n00:00:02,500 --> 00:00:04,000\n我们去公园。\n\n"
    )
    answer = raw.post("/v1/audio/transcriptions", data={"response_format": "vtt"}, files={"file": b"en"})
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    assert answer.text == (
        'WEBVTT\n\n00:00:00.000 --> 00:00:01.400\nHello there, "world".\n\n'
        "00:00:03.000 --> 00:00:04.000\nIt's fine &lt;b&gt; &amp; so on --&gt;\n\n"
    )


@pytest.mark.parametrize(("shape", "body"), [("text", ""), ("srt", ""), ("vtt", "WEBVTT\n\n")])
def test_silence(client: OpenAI, shape: str, body: str) -> None:
    assert client.audio.transcriptions.create(model="able", file=b"empty", response_format=shape) == body  # type: ignore[call-overload]


def test_silence_in_json(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="able", file=b"empty", response_format="json")
    assert (answer.text, answer.languages) == ("", [])
    verbose = client.audio.transcriptions.create(model="able", file=b"empty", response_format="verbose_json")
    assert (verbose.text, verbose.segments, verbose.language) == ("", [], "unknown")


@pytest.mark.parametrize("shape", ["json", "text"])
def test_untimed_formats_save_the_alignment(client: OpenAI, server: Running, shape: str) -> None:
    client.audio.transcriptions.create(model="able", file=b"zh", response_format=shape)  # type: ignore[call-overload]
    assert not server.calls.options[0].timed


@pytest.mark.filterwarnings("ignore:deprecated")  # the SDK says so of its whole translations resource
def test_translation(client: OpenAI, server: Running) -> None:
    answer = client.audio.translations.create(model="able", file=b"zh", response_format="json")
    assert isinstance(answer, Translation)
    verbose = client.audio.translations.create(model="able", file=b"zh", response_format="verbose_json")
    assert verbose.language == "english"
    assert client.audio.translations.create(model="able", file=b"zh", response_format="text") == ZH + "\n"
    assert {options.task for options in server.calls.options} == {"translate"}


def test_translation_takes_a_language_and_no_stream(raw: httpx.Client, server: Running) -> None:
    path = "/v1/audio/translations"
    body = raw.post(path, data={"language": "zh"}, files={"file": b"zh"}).json()
    assert body["task"] == "translate"
    assert server.calls.options[0].language == "zh"
    assert raw.post(path, data={"stream": "true"}, files={"file": b"zh"}).json()["error"]["param"] == "stream"
    assert raw.post(path, data={"model": "group/plain"}, files={"file": b"zh"}).status_code == 400


@pytest.mark.parametrize("content", ["zh", "en", "empty"])
def test_stream(client: OpenAI, server: Running, content: str) -> None:
    events = list(client.audio.transcriptions.create(model="able", file=content.encode(), stream=True))
    *deltas, done = events
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    transcript = TRANSCRIPTS[content]
    assert done.text == transcript.text
    assert "".join(event.delta for event in deltas) == done.text  # type: ignore[union-attr]
    assert len(deltas) == len(transcript.segments)
    assert [item.code for item in done.languages or []] == ([transcript.language] if transcript.language else [])
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    assert done.usage.output_tokens == transcript.usage.output_tokens
    assert done.logprobs is None
    assert not server.calls.options[0].timed
    for event in events:
        strict(type(event), event.model_dump(exclude_unset=True))


def test_stream_with_logprobs(client: OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="able", file=b"zh", stream=True, include=["logprobs"]))
    tokens = [item.token for event in events[:-1] for item in event.logprobs or []]  # type: ignore[union-attr]
    assert "".join(token or "" for token in tokens) == ZH
    assert [item.token for item in events[-1].logprobs or []] == tokens  # type: ignore[union-attr]


def test_stream_on_the_wire(raw: httpx.Client) -> None:
    answer = raw.post("/v1/audio/transcriptions", data={"stream": "true"}, files={"file": b"zh"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-asr-model"] == "able"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "content-length" not in answer.headers
    assert answer.text.endswith("data: [DONE]\n\n")
    assert all(block.startswith("data: ") for block in answer.text.strip().split("\n\n"))
    assert "今天" in answer.text


def test_async_client(server: Running) -> None:
    async def scenario() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=f"{server.base}/v1", api_key=KEY, max_retries=0) as sdk:
            plain = await sdk.audio.transcriptions.create(model="able", file=b"en", response_format="json")
            stream = await sdk.audio.transcriptions.create(model="able", file=b"en", stream=True)
            return plain.text, "".join([event.delta async for event in stream if hasattr(event, "delta")])

    assert asyncio.run(scenario()) == (EN, EN)


def test_models(client: OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["able", "group/plain"]
    for model in listed:
        strict(Model, model.model_dump())
    assert client.models.retrieve("group/plain").id == "group/plain"
    assert client.models.retrieve("whisper-1").id == "able"


def test_documentation_knows_every_field(raw: httpx.Client) -> None:
    document = raw.get("/openapi.json").json()
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
        operation = document["paths"][path]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert {"file", "audio_address"} <= form["properties"].keys()
        body = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert body.keys() == {name.removesuffix("[]") for name in form["properties"]} - {"file"} | {"input_audio"}
        assert all("description" in field for field in form["properties"].values())
        assert {"application/json", "text/plain", "text/vtt"} <= operation["responses"]["200"]["content"].keys()
        assert operation["security"]


def test_documented_examples_are_answers() -> None:
    content = recognition_responses(stream=True)[200]["content"]
    examples = content["application/json"]["examples"]
    shapes = {"json": TranscriptionBody, "verbose_json": VerboseBody, "diarized_json": DiarizedBody}
    assert examples.keys() == shapes.keys()
    for name, shape in shapes.items():
        value = examples[name]["value"]
        assert strict(shape, value).model_dump(exclude_none=True) == value
    strict(TranscriptionVerbose, examples["verbose_json"]["value"])
    strict(TranscriptionDiarized, examples["diarized_json"]["value"])
    streams = content["text/event-stream"]["examples"]
    assert streams.keys() == {"json", "diarized_json"}
    for stream in streams.values():
        *events, done = stream["value"].strip().split("\n\n")
        assert done == "data: [DONE]"
        for event in events:
            TypeAdapter(TranscriptionStreamEvent).validate_json(event.removeprefix("data: "), strict=True)
