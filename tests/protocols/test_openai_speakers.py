"""Speakers through the real SDK: who said what in every format, which wishes reach the service, which are refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.audio import TranscriptionDiarized, TranscriptionVerbose
from openai.types.audio.transcription_text_delta_event import TranscriptionTextDeltaEvent
from openai.types.audio.transcription_text_done_event import TranscriptionTextDoneEvent
from openai.types.audio.transcription_text_segment_event import TranscriptionTextSegmentEvent
from openai_server import (
    ENCODER,
    KEY,
    OTHER_KEY,
    TRANSCRIPTS,
    Calls,
    Running,
    serving,
    voiceprint,
    wait_until,
)

from app.audio.declared import DeclaredSound
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions

PATH = "/v1/audio/transcriptions"
SHOWING = ("verbose_json", "srt", "vtt", "diarized_json")
ANNA, BOB = "data:audio/wav;base64,QW5uYQ==", "data:audio/wav;base64,Qm9i"
NAMES, REFERENCES = "known_speaker_names[]", "known_speaker_references[]"
Pairs = list[tuple[str, str]]


def post(
    http: httpx.Client, pairs: Pairs, content: bytes = b"two", path: str = PATH, **extra: object
) -> httpx.Response:
    parts: list[tuple[str, tuple[str | None, bytes]]] = [(name, (None, value.encode())) for name, value in pairs]
    return http.post(path, files=[*parts, ("file", ("a.wav", content))], **extra)  # type: ignore[arg-type]


def asked(http: httpx.Client, server: Running, pairs: Pairs) -> RecognitionOptions:
    answer = post(http, pairs)
    assert answer.status_code == 200, answer.text
    return server.calls.options[-1]


def wanted(http: httpx.Client, server: Running, pairs: Pairs) -> SpeakerOptions:
    options = asked(http, server, pairs).speakers
    assert options is not None
    return options


def check_refusal(answer: httpx.Response, status: int, param: str | None, code: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]
    assert len(error["message"]) < 1000


def http_client(server: Running, key: str = KEY) -> httpx.Client:
    return httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {key}"}, timeout=10)


# --- what comes back --------------------------------------------------------------------------------------------------


def test_diarized_json_is_openais(client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="able", file=b"three", response_format="diarized_json"
    )
    body = answer.http_response.json()
    TranscriptionDiarized.model_validate(body, strict=True)
    assert [segment["speaker"] for segment in body["segments"]] == ["A", "Anna", "A", "C"]
    assert body["segments"][1] == {
        "type": "transcript.text.segment",
        "id": "seg_002",
        "start": 1.5,
        "end": 2.4,
        "text": "Hello there!",
        "speaker": "Anna",
    }
    assert len({segment["id"] for segment in body["segments"]}) == 4
    assert body["text"] == TRANSCRIPTS["three"].text
    assert (body["task"], body["duration"], body["model"]) == ("transcribe", 6.5, "able")
    assert body["languages"] == [{"code": "zh"}]
    assert body["usage"]["total_tokens"] == 680
    assert "warnings" not in body
    parsed = answer.parse()
    assert isinstance(parsed, TranscriptionDiarized)
    assert parsed.segments[0].speaker == "A"


def test_diarized_json_of_silence(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="able", file=b"empty", response_format="diarized_json")
    assert (answer.text, answer.segments) == ("", [])


def test_diarized_json_carries_warnings(raw: httpx.Client) -> None:
    body = post(raw, [("response_format", "diarized_json")], b"warned").json()
    assert body["warnings"] == ["audio_truncated"]
    assert body["segments"][0]["speaker"] == "A"


def test_diarized_stream(client: OpenAI) -> None:
    events = list(
        client.audio.transcriptions.create(model="able", file=b"three", response_format="diarized_json", stream=True)
    )
    *parts, done = events
    deltas, segments = parts[::2], parts[1::2]
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert all(isinstance(event, TranscriptionTextSegmentEvent) for event in segments)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(event.delta for event in deltas) == done.text == TRANSCRIPTS["three"].text  # type: ignore[union-attr]
    ids = [event.id for event in segments]  # type: ignore[union-attr]
    assert ids == [event.segment_id for event in deltas] == ["seg_001", "seg_002", "seg_003", "seg_004"]  # type: ignore[union-attr]
    assert [event.speaker for event in segments] == ["A", "Anna", "A", "C"]  # type: ignore[union-attr]
    for delta, segment in zip(deltas, segments, strict=True):
        assert delta.delta.strip() == segment.text  # type: ignore[union-attr]
        assert segment.start < segment.end  # type: ignore[union-attr]
    assert done.usage is not None
    assert done.usage.output_tokens == 30
    for event in events:
        type(event).model_validate(event.model_dump(exclude_unset=True), strict=True)


@pytest.mark.parametrize("shape", ["json", "text"])
def test_other_streams_have_no_segments(client: OpenAI, server: Running, shape: str) -> None:
    events = list(client.audio.transcriptions.create(model="able", file=b"two", response_format=shape, stream=True))  # type: ignore[call-overload]
    assert {event.type for event in events} == {"transcript.text.delta", "transcript.text.done"}
    assert all(event.segment_id is None for event in events[:-1])
    assert server.calls.options[-1].speakers is None


def test_a_diarized_stream_that_fails_says_so(raw: httpx.Client) -> None:
    answer = post(raw, [("response_format", "diarized_json"), ("stream", "true")], b"part engine")
    *events, last = answer.text.strip().split("\n\n")
    assert [json.loads(event.removeprefix("data: "))["type"] for event in events] == [
        "transcript.text.delta",
        "transcript.text.segment",
    ]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_failure"


def test_verbose_json_names_the_speaker_of_segments_and_words(raw: httpx.Client) -> None:
    pairs = [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")]
    body = post(raw, pairs).json()
    TranscriptionVerbose.model_validate(body, strict=True)
    assert [segment["speaker"] for segment in body["segments"]] == ["Speaker1", "Anna", "Speaker1"]
    spoken = {
        speaker: "".join(word["word"] for word in words)
        for speaker, words in itertools.groupby(body["words"][:8], key=lambda word: word["speaker"])
    }
    assert spoken == {"Speaker1": "今天天气很好", "Anna": "Hellothere"}
    assert "warnings" not in body


def test_without_speakers_nothing_mentions_them(raw: httpx.Client) -> None:
    pairs = [("enable_speaker_diarization", "false"), ("timestamp_granularities[]", "word")]
    body = post(raw, pairs)
    assert body.json()["words"]
    assert "speaker" not in body.text
    assert "warnings" not in body.json()
    assert "[" not in post(raw, [("enable_speaker_diarization", "false"), ("response_format", "srt")]).text


def test_subtitles_say_who_speaks(client: OpenAI, raw: httpx.Client) -> None:
    assert client.audio.transcriptions.create(model="able", file=b"two", response_format="srt") == (
        "1\n00:00:00,000 --> 00:00:01,800\n[Speaker1] 今天天气很好，\n\n"
        "2\n00:00:01,500 --> 00:00:02,400\n[Anna] Hello there!\n\n"
        "3\n00:00:02,200 --> 00:00:03,700\n[Speaker1] 我们去公园。\n\n"
    )
    assert post(raw, [("response_format", "vtt")], b"three").text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.800\n[Speaker1] 今天天气很好，\n\n"
        "00:00:01.500 --> 00:00:02.400\n[Anna] Hello there!\n\n"
        "00:00:02.200 --> 00:00:03.700\n[Speaker1] 我们去公园。\n\n"
        "00:00:04.000 --> 00:00:04.600\n[Speaker3] 好啊。\n\n"
    )


def test_json_and_text_are_as_they_were(raw: httpx.Client) -> None:
    text = TRANSCRIPTS["two"].text
    assert post(raw, [("response_format", "text")]).text == f"{text}\n"
    assert post(raw, [("response_format", "json")]).json().keys() == {"text", "languages", "usage"}


def test_chinese_labels(tmp_path: Path) -> None:
    with serving(tmp_path, speaker_labels="zh") as running, http_client(running) as http:
        assert "[说话人1] 今天" in post(http, [("response_format", "srt")]).text
        assert "[说话人3] 好啊" in post(http, [("response_format", "vtt")], b"three").text
        body = post(http, [("response_format", "verbose_json"), ("word_timestamps", "1")]).json()
        assert [segment["speaker"] for segment in body["segments"]] == ["说话人1", "Anna", "说话人1"]
        assert body["words"][0]["speaker"] == "说话人1"


# --- when speakers are told apart -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def modes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """A server for each SPEAKER_DIARIZATION."""
    with contextlib.ExitStack() as stack:
        yield {
            mode: stack.enter_context(serving(tmp_path_factory.mktemp(mode), speaker_diarization=mode))
            for mode in ("default", "asked", "off")
        }


@pytest.mark.parametrize("mode", ["default", "asked", "off"])
@pytest.mark.parametrize("said", [None, "true", "false"])
@pytest.mark.parametrize("shape", ["json", "text", *SHOWING, None])
def test_who_is_told_apart(modes: dict[str, Running], mode: str, said: str | None, shape: str | None) -> None:
    server = modes[mode]
    server.service.calls = Calls()
    pairs = [("response_format", shape)] if shape else []
    pairs += [("enable_speaker_diarization", said)] if said else []
    with http_client(server) as http:
        answer = post(http, pairs)
    diarized, shows = shape == "diarized_json", shape is None or shape in SHOWING
    if diarized and said == "false":
        check_refusal(answer, 400, "enable_speaker_diarization", "invalid_value")
    elif mode == "off" and (diarized or (shows and said == "true")):
        field = "enable_speaker_diarization" if said else "response_format"
        check_refusal(answer, 400, field, "unsupported_feature")
    else:
        assert answer.status_code == 200, answer.text
        apart = shows and (said == "true" or diarized or (said is None and mode == "default"))
        assert server.calls.options[-1].speakers == (SpeakerOptions() if apart else None)
        assert ("Anna" in answer.text) == apart
        return
    assert server.calls.options == []


def test_a_translation_tells_speakers_apart_when_asked(raw: httpx.Client, server: Running) -> None:
    path = "/v1/audio/translations"
    assert "speaker" not in post(raw, [], path=path).text
    assert server.calls.options[-1].speakers is None
    assert "Anna" in post(raw, [("enable_speaker_diarization", "true")], path=path).text
    assert server.calls.options[-1].speakers == SpeakerOptions()
    assert post(raw, [("response_format", "diarized_json")], path=path).json()["task"] == "translate"


@pytest.fixture
def speechless(server: Running) -> Iterator[Running]:
    """A server that could not load what tells speakers apart."""
    server.service.has_speakers(False)
    yield server
    server.service.has_speakers(True)


def test_without_the_models_an_answer_has_a_warning(speechless: Running, raw: httpx.Client) -> None:
    body = post(raw, []).json()
    assert body["warnings"] == ["speakers_unavailable"]
    assert all("speaker" not in segment for segment in body["segments"])
    assert post(raw, [], b"warned").json()["warnings"] == ["audio_truncated", "speakers_unavailable"]
    assert speechless.calls.options[-1].speakers is None
    assert "warnings" not in post(raw, [("enable_speaker_diarization", "false")]).json()
    assert "warnings" not in post(raw, [("response_format", "json")]).json()
    assert "[" not in post(raw, [("response_format", "srt")]).text


@pytest.mark.parametrize(
    "pairs",
    [
        [("enable_speaker_diarization", "true")],
        [("response_format", "diarized_json")],
        [("response_format", "diarized_json"), ("stream", "true")],
        [("num_speakers", "2")],
        [("voices", "all")],
        [(NAMES, "Ann"), (REFERENCES, ANNA)],
    ],
)
def test_without_the_models_who_asks_is_told(speechless: Running, raw: httpx.Client, pairs: Pairs) -> None:
    answer = post(raw, pairs)
    check_refusal(answer, 503, None, "model_unavailable")
    assert answer.headers["retry-after"]
    assert speechless.calls == Calls()


# --- what the fields turn into ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        ([("num_speakers", "2")], SpeakerOptions(count=2)),
        ([("num_speakers", " 3 ")], SpeakerOptions(count=3)),
        ([("num_speakers", "50")], SpeakerOptions(count=50)),
        ([("min_speakers", "2")], SpeakerOptions(least=2)),
        ([("max_speakers", "4")], SpeakerOptions(most=4)),
        ([("min_speakers", "3"), ("max_speakers", "3")], SpeakerOptions(least=3, most=3)),
    ],
)
@pytest.mark.parametrize("shape", SHOWING)
def test_counts(raw: httpx.Client, server: Running, pairs: Pairs, options: SpeakerOptions, shape: str) -> None:
    assert wanted(raw, server, [("response_format", shape), *pairs]) == options


@pytest.mark.parametrize("field", [("num_speakers", "2"), ("voices", "all"), ("max_speakers", "2")])
def test_a_field_about_speakers_asks_for_them(modes: dict[str, Running], field: tuple[str, str]) -> None:
    with http_client(modes["asked"]) as http:
        assert wanted(http, modes["asked"], [field])
    with http_client(modes["off"]) as http:
        check_refusal(post(http, [field]), 400, field[0], "unsupported_feature")


def test_everything_the_sdk_knows_of_speakers(client: OpenAI, server: Running) -> None:
    client.audio.transcriptions.create(
        model="able",
        file=b"two",
        response_format="diarized_json",
        chunking_strategy="auto",
        known_speaker_names=["Anna", "客服"],
        known_speaker_references=[ANNA, BOB],
        extra_body={"num_speakers": 2, "enable_speaker_diarization": True},
    )
    speakers = server.calls.options[-1].speakers
    assert speakers is not None
    assert speakers.count == 2
    assert [(voice.name, voice.id) for voice in speakers.voices] == [("Anna", None), ("客服", None)]
    for voice, seed in zip(speakers.voices, b"AB", strict=True):
        (sample,) = voice.voiceprints
        assert sample.encoder == ENCODER
        assert (sample.embedding == voiceprint(seed).embedding).all()
    assert [(reference.content, reference.param) for reference in server.calls.references] == [
        (b"Anna", "known_speaker_references[0]"),
        (b"Bob", "known_speaker_references[1]"),
    ]
    assert {reference.mode for reference in server.calls.references} == {0o600}


@pytest.mark.parametrize(
    "pairs",
    [
        [(NAMES, "Ann"), (NAMES, "Bob"), (REFERENCES, ANNA), (REFERENCES, BOB)],
        [("known_speaker_names", "Ann, Bob"), (REFERENCES, ANNA), (REFERENCES, BOB)],
        [("known_speaker_names[0]", "Ann"), ("known_speaker_names[1]", "Bob"), (REFERENCES, json.dumps([ANNA, BOB]))],
        [(NAMES, '["Ann", "Bob"]'), ("known_speaker_references", ANNA), ("known_speaker_references", BOB)],
    ],
)
def test_lists_of_known_speakers(raw: httpx.Client, server: Running, pairs: Pairs) -> None:
    assert [voice.name for voice in wanted(raw, server, pairs).voices] == ["Ann", "Bob"]
    assert [reference.content for reference in server.calls.references] == [b"Anna", b"Bob"]


def test_a_name_with_a_comma_in_a_json_list(raw: httpx.Client, server: Running) -> None:
    pairs = [(NAMES, '["Smith, John"]'), (REFERENCES, ANNA), ("response_format", "diarized_json")]
    assert [voice.name for voice in wanted(raw, server, pairs).voices] == ["Smith, John"]


@pytest.mark.parametrize(
    ("url", "declared"),
    [
        (ANNA, None),
        ("data:;base64,QW5uYQ==", None),
        ("data:audio/webm;codecs=opus;base64,QW5uYQ==", None),
        ("  data:audio/wav;base64,QW5u\r\nYQ==\n", None),
        ("data:audio/pcm;rate=8000;base64,QW5uYQ==", DeclaredSound("s16le", 8000)),
    ],
)
def test_data_urls(raw: httpx.Client, server: Running, url: str, declared: DeclaredSound | None) -> None:
    assert wanted(raw, server, [(NAMES, "Ann"), (REFERENCES, url)]).voices
    (reference,) = server.calls.references
    assert (reference.content, reference.declared) == (b"Anna", declared)


def test_a_long_reference_arrives_whole(client: OpenAI, server: Running) -> None:
    sound = b"Anna" + bytes(range(256)) * 5500
    assert len(sound) > 1_400_000
    client.audio.transcriptions.create(
        model="able",
        file=b"two",
        response_format="diarized_json",
        known_speaker_names=["Anna"],
        known_speaker_references=["data:audio/wav;base64," + base64.b64encode(sound).decode()],
    )
    (reference,) = server.calls.references
    assert reference.content == sound


def test_channels(raw: httpx.Client, server: Running) -> None:
    pairs = [("channel_split", "true"), ("channel_roles[]", "客服"), ("channel_roles[]", "客户")]
    for shape in (*SHOWING, "json", "text"):
        options = asked(raw, server, [*pairs, ("response_format", shape)])
        assert options.split_channels
        assert options.channel_roles == ("客服", "客户")
        assert options.timed
    assert not asked(raw, server, []).split_channels
    assert not asked(raw, server, [("channel_split", "false")]).split_channels
    assert asked(raw, server, [("channel_split", "true")]).channel_roles == ()


def test_leaving_while_a_reference_is_heard_ends_it(server: Running, raw: httpx.Client) -> None:
    slow = "data:audio/wav;base64," + base64.b64encode(b"slow").decode()
    with pytest.raises(httpx.ReadTimeout):
        post(raw, [(NAMES, "Ann"), (REFERENCES, slow)], timeout=0.5)
    assert wait_until(lambda: server.calls.cancelled == 1)
    assert wait_until(lambda: not list(server.temp.iterdir()))
    assert server.calls.options == []


# --- what is refused --------------------------------------------------------------------------------------------------


FIRST, SECOND = "known_speaker_references[0]", "known_speaker_references[1]"
TWO = [(NAMES, "Ann"), (NAMES, "Bob"), (REFERENCES, ANNA)]
NO = ("enable_speaker_diarization", "false")
SPLIT = ("channel_split", "true")
BAD: list[tuple[Pairs, str]] = [
    ([("enable_speaker_diarization", "maybe")], "enable_speaker_diarization"),
    *(
        ([(field, value)], field)
        for field in ("num_speakers", "min_speakers", "max_speakers")
        for value in ("0", "-1", "1.5", "51", "abc", "nan", "inf", "1e999", "true", "[2]")
    ),
    ([("num_speakers", "2"), ("num_speakers", "2")], "num_speakers"),
    ([("min_speakers", "3"), ("max_speakers", "2")], "min_speakers"),
    ([("num_speakers", "2"), ("min_speakers", "1")], "num_speakers"),
    ([("num_speakers", "2"), ("max_speakers", "2")], "num_speakers"),
    ([(NAMES, "Ann")], "known_speaker_references"),
    ([(REFERENCES, ANNA)], "known_speaker_references"),
    (TWO, "known_speaker_references"),
    ([(NAMES, "Ann"), (REFERENCES, ANNA), (REFERENCES, BOB)], "known_speaker_references"),
    ([*((NAMES, str(number)) for number in range(17)), *[(REFERENCES, ANNA)] * 17], "known_speaker_names"),
    ([(NAMES, "Ann"), (NAMES, " Ann "), (REFERENCES, ANNA), (REFERENCES, BOB)], "known_speaker_names"),
    ([(NAMES, "x" * 65), (REFERENCES, ANNA)], "known_speaker_names"),
    ([(NAMES, "a\nb"), (REFERENCES, ANNA)], "known_speaker_names"),
    ([(NAMES, "\u202eAnn"), (REFERENCES, ANNA)], "known_speaker_names"),
    ([(NAMES, "voice_" + "0" * 24), (REFERENCES, ANNA)], "known_speaker_names"),
    ([(NAMES, "[1]"), (REFERENCES, ANNA)], "known_speaker_names"),
    ([(NAMES, "Ann"), (REFERENCES, "[1]")], "known_speaker_references"),
    ([(NAMES, "Ann"), (REFERENCES, "https://example.com/ann.wav")], FIRST),
    ([(NAMES, "Ann"), (REFERENCES, "QW5uYQ==")], FIRST),
    ([(NAMES, "Ann"), (REFERENCES, "data:audio/wav,Anna")], FIRST),
    ([(NAMES, "Ann"), (REFERENCES, "data:audio/wav;base64")], FIRST),
    ([*TWO, (REFERENCES, "data:audio/wav;base64,@@@@")], SECOND),
    ([*TWO, (REFERENCES, "data:audio/wav;base64,QW5uY")], SECOND),
    ([*TWO, (REFERENCES, "data:audio/wav;base64,QW5u=YQ==")], SECOND),
    ([("channel_roles[]", "客服")], "channel_roles"),
    ([("channel_roles[]", "客服"), ("channel_split", "false")], "channel_roles"),
    ([SPLIT, *(("channel_roles[]", str(number)) for number in range(9))], "channel_roles"),
    ([SPLIT, ("channel_roles", "a,a")], "channel_roles"),
    ([SPLIT, ("channel_roles", "x" * 65)], "channel_roles"),
    ([("channel_split", "left")], "channel_split"),
    ([SPLIT, ("num_speakers", "2")], "num_speakers"),
    ([SPLIT, ("min_speakers", "2")], "min_speakers"),
    ([SPLIT, ("max_speakers", "2")], "max_speakers"),
    ([SPLIT, ("voices", "all")], "voices"),
    ([SPLIT, (NAMES, "Ann"), (REFERENCES, ANNA)], "known_speaker_names"),
    ([NO, ("response_format", "diarized_json")], "enable_speaker_diarization"),
    ([NO, ("num_speakers", "2")], "num_speakers"),
    ([NO, ("min_speakers", "2")], "min_speakers"),
    ([NO, ("max_speakers", "2")], "max_speakers"),
    ([NO, ("voices[]", "Ann")], "voices"),
    ([NO, (NAMES, "Ann"), (REFERENCES, ANNA)], "known_speaker_names"),
    ([("stream", "true"), ("response_format", "verbose_json"), ("num_speakers", "2")], "stream"),
    ([("voices", json.dumps([str(number) for number in range(501)]))], "voices"),
]


@pytest.mark.parametrize(("pairs", "param"), BAD, ids=[str(index) for index in range(len(BAD))])
def test_refused_by_name(raw: httpx.Client, server: Running, pairs: Pairs, param: str) -> None:
    check_refusal(post(raw, pairs), 400, param, "invalid_value")
    assert server.calls.options == []


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("content", "status", "param", "code"),
    [
        (b"", 400, SECOND, "audio_empty"),
        (b"fail undecodable", 400, SECOND, "audio_undecodable"),
        (b"fail short", 400, SECOND, "audio_too_short"),
        (b"crowd", 400, SECOND, "invalid_value"),
        (b"fail engine", 500, None, "engine_failure"),
        (b"fail overloaded", 429, None, "rate_limit_exceeded"),
    ],
)
def test_bad_references(
    client: OpenAI, server: Running, content: bytes, status: int, param: str | None, code: str, stream: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(
            model="able",
            file=b"two",
            response_format="diarized_json",
            known_speaker_names=["Ann", "Bob"],
            known_speaker_references=[ANNA, "data:audio/wav;base64," + base64.b64encode(content).decode()],
            extra_body={"stream": stream},
        )
    assert (caught.value.status_code, caught.value.param, caught.value.code) == (status, param, code)
    assert server.calls.options == []


def test_a_file_where_a_number_belongs(raw: httpx.Client, server: Running) -> None:
    answer = raw.post(PATH, files=[("num_speakers", ("a.txt", b"2")), ("file", ("a.wav", b"two"))])
    check_refusal(answer, 400, "num_speakers", "invalid_value")
    assert server.calls.options == []


def test_names_are_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), serving(tmp_path) as running, http_client(running) as http:
        for pairs in ([("voices", "Rumpel")], [(NAMES, "Rumpel,Rumpel")], [(NAMES, "Rumpel"), (REFERENCES, ANNA)]):
            post(http, pairs)
            post(http, [*pairs, ("response_format", "diarized_json"), ("stream", "true")])
        assert len(running.calls.options) == 2
    assert "Rumpel" not in caplog.text


# --- enrolled voices --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _shared_by_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, str]]]:
    with serving(tmp_path_factory.mktemp("voices"), keys=(KEY, OTHER_KEY)) as running:
        ids: dict[str, str] = {}
        with http_client(running) as http:
            for name in ("Anna", "Smith, John"):
                answer = http.post("/v1/voices", data={"name": name}, files={"files": ("a.wav", name.encode())})
                assert answer.status_code == 201, answer.text
                ids[name] = answer.json()["id"]
        yield running, ids


@pytest.fixture
def shared_by_two(_shared_by_two: tuple[Running, dict[str, str]]) -> Iterator[tuple[Running, dict[str, str]]]:
    """A server with two keys; the first has enrolled two voices, whose ids these are."""
    running, ids = _shared_by_two
    running.service.calls = Calls()
    yield running, ids
    assert wait_until(lambda: not list(running.temp.iterdir())), "something was left behind"


def test_voices_by_name_and_id(shared_by_two: tuple[Running, dict[str, str]]) -> None:
    server, ids = shared_by_two
    anna, john = ids["Anna"], ids["Smith, John"]
    with http_client(server) as http:
        for pairs, found in [
            ([("voices[]", "Anna")], [anna]),
            ([("voices", "anna")], [anna]),
            ([("voices[]", john), ("voices[]", "Anna")], [john, anna]),
            ([("voices", f"Anna,{anna}")], [anna]),
            ([("voices", '["Smith, John"]')], [john]),
            ([("voices", "all")], [anna, john]),
            ([("voices[]", "all")], [anna, john]),
            ([("response_format", "diarized_json")], []),
        ]:
            assert [voice.id for voice in wanted(http, server, pairs).voices] == found
        both = wanted(http, server, [("voices", "Anna"), (NAMES, "Bob"), (REFERENCES, BOB)]).voices
    assert [(voice.name, voice.id) for voice in both] == [("Anna", anna), ("Bob", None)]
    assert (both[0].voiceprints[0].embedding == voiceprint(ord("A")).embedding).all()


def test_voices_are_their_keys_own(shared_by_two: tuple[Running, dict[str, str]]) -> None:
    server, ids = shared_by_two
    with http_client(server, OTHER_KEY) as http:
        for asked_for in ("Anna", ids["Anna"]):
            check_refusal(post(http, [("voices", asked_for)]), 404, "voices", "voice_not_found")
        assert wanted(http, server, [("voices", "all")]).voices == ()
    assert len(server.calls.options) == 1


@pytest.mark.parametrize("voices", ["Nobody", "voice_" + "0" * 24, "Anna,Nobody", "all,Anna"])
def test_unknown_voices(shared_by_two: tuple[Running, dict[str, str]], voices: str) -> None:
    server, _ = shared_by_two
    pairs = [("voices", voices), ("response_format", "diarized_json")]
    with http_client(server) as http:
        check_refusal(post(http, pairs), 404, "voices", "voice_not_found")
        check_refusal(post(http, [*pairs, ("stream", "true")]), 404, "voices", "voice_not_found")
    assert server.calls.options == []


def test_a_voice_that_another_model_heard_is_not_known(tmp_path: Path) -> None:
    with serving(tmp_path, keys=()) as running, http_client(running) as http:
        asyncio.run(running.service.voices.enrol("", "Old", [voiceprint(1, "encoder-nought")]))
        check_refusal(post(http, [("voices", "Old")]), 404, "voices", "voice_not_found")
        assert wanted(http, running, [("voices", "all")]).voices == ()


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    temp = tmp_path / "temp"
    temp.mkdir()
    with serving(temp, data_dir=blocked) as running, http_client(running) as http:
        check_refusal(post(http, [("voices", "all")]), 503, None, "voices_unavailable")
        assert post(http, [("num_speakers", "2")]).status_code == 200
        assert wait_until(lambda: not list(temp.iterdir()))


# --- what is easily got wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["QW5uYÄ==", "你好"])
def test_base64_that_is_not_ascii(raw: httpx.Client, data: str) -> None:
    answer = post(raw, [(NAMES, "Ann"), (REFERENCES, f"data:audio/wav;base64,{data}")])
    check_refusal(answer, 400, FIRST, "invalid_value")


def test_references_have_the_requests_deadline(tmp_path: Path) -> None:
    slow = "data:audio/wav;base64," + base64.b64encode(b"slow").decode()
    with serving(tmp_path, request_timeout_seconds=1) as running, http_client(running) as http:
        check_refusal(post(http, [(NAMES, "Ann"), (REFERENCES, slow)]), 504, None, "deadline_exceeded")


@pytest.mark.parametrize("more", [[], [NO]])
def test_channels_need_no_speaker_models(modes: dict[str, Running], more: Pairs) -> None:
    with http_client(modes["off"]) as http:
        assert asked(http, modes["off"], [SPLIT, ("response_format", "diarized_json"), *more]).split_channels


def test_channels_without_the_models(speechless: Running, raw: httpx.Client) -> None:
    assert post(raw, [SPLIT, ("response_format", "diarized_json")]).status_code == 200
    assert "warnings" not in post(raw, [SPLIT]).json()


def test_channels_and_a_no(raw: httpx.Client, server: Running) -> None:
    assert asked(raw, server, [SPLIT, NO, ("response_format", "diarized_json")]).speakers is None


@pytest.mark.parametrize(
    "field",
    [
        *((name, "") for name in ("num_speakers", "min_speakers", "max_speakers", NAMES, REFERENCES, "voices[]")),
        ("voices", "[]"),
    ],
)
def test_blank_wishes_are_none(modes: dict[str, Running], field: tuple[str, str]) -> None:
    server = modes["asked"]
    with http_client(server) as http:
        assert asked(http, server, [field]).speakers is None
        assert asked(http, server, [NO, field]).speakers is None
        assert asked(http, server, [SPLIT, field]).split_channels


def test_a_raw_reference_without_a_rate_is_named(raw: httpx.Client) -> None:
    answer = post(raw, [(NAMES, "Ann"), (REFERENCES, "data:audio/l16;base64,QW5uYQ==")])
    check_refusal(answer, 400, FIRST, "audio_undecodable")
