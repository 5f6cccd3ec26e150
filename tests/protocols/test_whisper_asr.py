"""whisper-asr-webservice's routes: parameters in the address, five outputs, raw samples, its errors."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai_server import ABLE, FAILURES, KEY, MAX_BYTES, PLAIN, Running, serving, wait_until
from test_openai_fields import documented

from app.audio.declared import DeclaredSound
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.whisper_asr.parameters import NAMES

ASR, LANGUAGE = "/asr", "/detect-language"


def post(raw: httpx.Client, path: str = ASR, content: bytes = b"zh", **asked: str) -> httpx.Response:
    return raw.post(path, params=asked, files={"audio_file": ("film.mkv", content)})


def options(raw: httpx.Client, server: Running, **asked: str) -> RecognitionOptions:
    answer = post(raw, **asked)
    assert answer.status_code == 200, answer.text
    return server.calls.options[-1]


def refused(answer: httpx.Response) -> dict[str, Any]:
    """The one thing that FastAPI's validation found."""
    assert answer.status_code == 422, answer.text
    (found,) = answer.json()["detail"]
    assert set(found) == {"type", "loc", "msg"}
    return found


def test_text_has_a_line_for_every_segment(raw: httpx.Client) -> None:
    answer = post(raw)

    assert answer.text == "今天天气很好，\n我们去公园。\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="film.mkv.txt"'
    assert answer.headers["asr-engine"] == answer.headers["x-asr-model"] == ABLE.id


@pytest.mark.parametrize("output", ["txt", "text", ""])
def test_text_is_what_is_sent_unless_something_else_is_asked_for(raw: httpx.Client, output: str) -> None:
    assert post(raw, output=output).text == post(raw).text


def test_subtitles(raw: httpx.Client) -> None:
    srt, vtt = post(raw, output="srt"), post(raw, output="vtt")

    assert srt.text.startswith("1\n00:00:00,000 --> 00:00:01,800\n今天天气很好，\n\n2\n")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.800\n今天天气很好，\n\n")
    assert srt.headers["content-disposition"] == 'attachment; filename="film.mkv.srt"'


def test_tab_separated_values_have_times_in_milliseconds(raw: httpx.Client) -> None:
    assert post(raw, output="tsv").text == "start\tend\ttext\n0\t2300\t今天天气很好，\n2500\t4200\t我们去公园。\n"


def test_json_has_the_text_its_segments_and_its_language(raw: httpx.Client) -> None:
    body = json.loads(post(raw, output="json").text)

    assert set(body) == {"text", "segments", "language"}
    assert body["text"] == "今天天气很好，我们去公园。"
    assert body["language"] == "zh"
    assert body["segments"][1] == {
        "id": 1,
        "seek": 250,
        "start": 2.5,
        "end": 4.2,
        "text": "我们去公园。",
        "tokens": [0, 1, 2, 3, 4, 5],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.02,
    }


def test_words_stand_in_their_segments_with_the_spaces_before_them(raw: httpx.Client) -> None:
    body = json.loads(post(raw, content=b"en", output="json", word_timestamps="true").text)

    words = body["segments"][0]["words"]
    assert "".join(word["word"] for word in words) == ' Hello there, "world".'
    assert words[1] == {"word": " there,", "start": 0.5, "end": 0.9}


def test_figures_that_json_has_not_got_are_left_out(raw: httpx.Client) -> None:
    (segment,) = json.loads(post(raw, content=b"odd", output="json").text)["segments"]

    assert "avg_logprob" not in segment
    assert "no_speech_prob" not in segment


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("txt", ""),
        ("srt", ""),
        ("vtt", "WEBVTT\n\n"),
        ("tsv", "start\tend\ttext\n"),
        ("json", '{"text":"","segments":[],"language":"und"}'),
    ],
)
def test_nothing_is_made_up_where_nobody_speaks(raw: httpx.Client, output: str, expected: str) -> None:
    assert post(raw, content=b"empty", output=output).text == expected


def test_a_translation_is_english(raw: httpx.Client, server: Running) -> None:
    answer = post(raw, task="translate", language="zh", output="json")

    assert server.calls.options[-1].task == "translate"
    assert server.calls.options[-1].language == "zh"
    assert json.loads(answer.text)["language"] == "en"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, RecognitionOptions()),
        ({"language": "Chinese"}, RecognitionOptions(language="zh")),
        ({"language": "auto"}, RecognitionOptions()),
        ({"language": "", "initial_prompt": "", "task": "", "vad_filter": ""}, RecognitionOptions()),
        ({"initial_prompt": "上文。" * 1000}, RecognitionOptions(prompt="上文。" * 1000)),
        ({"vad_filter": "true", "video_file": "a.mkv", "unheard_of": "1"}, RecognitionOptions()),
        ({"diarize": "true"}, RecognitionOptions(speakers=SpeakerOptions())),
        (
            {"diarize": "true", "min_speakers": "2", "max_speakers": "3"},
            RecognitionOptions(speakers=SpeakerOptions(least=2, most=3)),
        ),
        ({"max_speakers": "3"}, RecognitionOptions(speakers=SpeakerOptions(most=3))),
        ({"diarize": "false", "max_speakers": "3"}, RecognitionOptions()),
    ],
)
def test_what_is_asked_for(
    raw: httpx.Client, server: Running, asked: dict[str, str], expected: RecognitionOptions
) -> None:
    assert options(raw, server, **asked) == expected


def test_a_form_may_say_what_the_address_does_not(raw: httpx.Client, server: Running) -> None:
    said = {"output": "srt", "language": "en"}
    answer = raw.post(ASR, params={"language": "zh"}, data=said, files={"audio_file": b"zh"})

    assert answer.text.startswith("1\n")
    assert server.calls.options[-1].language == "zh"
    wrong = raw.post(ASR, params={"language": "zh"}, data={"output": "docx"}, files={"audio_file": b"zh"})
    assert refused(wrong)["loc"] == ["body", "output"], "where it was said"


def test_speakers_are_numbered(raw: httpx.Client) -> None:
    body = json.loads(post(raw, content=b"two", output="json", diarize="true", word_timestamps="true").text)

    assert [segment["speaker"] for segment in body["segments"]] == ["SPEAKER_00", "Anna", "SPEAKER_00"]
    assert body["segments"][0]["words"][0]["speaker"] == "SPEAKER_00"
    assert post(raw, content=b"two", diarize="true").text.startswith("SPEAKER_00: 今天天气很好，\nAnna: Hello there!\n")
    assert "[SPEAKER_00] " in post(raw, content=b"two", output="srt", diarize="true").text
    assert "\t[Anna] Hello" in post(raw, content=b"two", output="tsv", diarize="true").text


def test_samples_without_a_header_are_taken_for_what_they_are(raw: httpx.Client, server: Running) -> None:
    for path in (ASR, LANGUAGE):
        assert post(raw, path, encode="false").status_code == 200
        assert post(raw, path, encode="true").status_code == 200
        assert post(raw, path).status_code == 200
    assert server.calls.declared == [DeclaredSound("s16le", 16_000), None, None] * 2


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"output": "docx"}, "output"),
        ({"task": "summarize"}, "task"),
        ({"language": "klingon"}, "language"),
        ({"language": "fr"}, "language"),
        ({"encode": "perhaps"}, "encode"),
        ({"vad_filter": "perhaps"}, "vad_filter"),
        ({"word_timestamps": "perhaps"}, "word_timestamps"),
        ({"diarize": "perhaps"}, "diarize"),
        ({"min_speakers": "0"}, "min_speakers"),
        ({"max_speakers": "many"}, "max_speakers"),
        ({"max_speakers": "1.5"}, "max_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
        ({"initial_prompt": "a" * 10_001}, "initial_prompt"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(
    raw: httpx.Client, server: Running, asked: dict[str, str], name: str
) -> None:
    assert refused(post(raw, **asked))["loc"] == ["query", name]
    assert server.calls.options == []


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"task": "translate"}, "task"),
        ({"initial_prompt": "上文。"}, "initial_prompt"),
        ({"word_timestamps": "true"}, "word_timestamps"),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    raw: httpx.Client, server: Running, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], name: str
) -> None:
    monkeypatch.setattr(server.service, "resolve", lambda _name: PLAIN)

    found = refused(post(raw, **asked))

    assert found["loc"] == ["query", name]
    assert found["type"] == "unsupported_feature"


@pytest.mark.parametrize("path", [ASR, LANGUAGE])
def test_a_recording_that_is_none_is_told_of_its_part(raw: httpx.Client, path: str) -> None:
    for answer in (
        post(raw, path, content=b""),
        post(raw, path, content=b"fail undecodable"),
        raw.post(path, files={"audio": b"zh"}),
        raw.post(path, files={"audio_file": ("a", b"zh", "audio/l16")}),
        raw.post(path, data={"audio_file": "zh"}, files={"other": b"x"}),
    ):
        assert refused(answer)["loc"] == ["body", "audio_file"]


@pytest.mark.parametrize("path", [ASR, LANGUAGE])
@pytest.mark.parametrize(
    ("failure", "status"),
    [("long", 413), ("overloaded", 429), ("unavailable", 503), ("store", 503), ("engine", 500), ("bug", 500)],
)
def test_all_other_errors_are_a_sentence(raw: httpx.Client, path: str, failure: str, status: int) -> None:
    answer = post(raw, path, content=f"fail {failure}".encode())

    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}
    assert isinstance(answer.json()["detail"], str)
    assert str(FAILURES["bug"]) not in answer.text


@pytest.mark.parametrize("path", [ASR, LANGUAGE])
def test_what_never_reaches_the_route_has_its_errors_too(server: Running, raw: httpx.Client, path: str) -> None:
    with httpx.Client(base_url=server.base) as stranger:
        assert post(stranger, path).json() == {
            "detail": "A valid API key is needed: send it as Authorization: Bearer <key>."
        }
        assert stranger.post(path, params={"token": KEY}, files={"audio_file": b"zh"}).status_code == 200
    assert set(raw.get(path).json()) == {"detail"}
    assert raw.get(path).status_code == 405
    assert raw.post(path, json={"audio_file": "zh"}).status_code == 400
    assert post(raw, path, content=b"z" * (MAX_BYTES + 1)).status_code == 413


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"zh", {"detected_language": "chinese", "language_code": "zh", "confidence": 0.875}),
        (b"en", {"detected_language": "english", "language_code": "en", "confidence": 0.875}),
        (b"empty", {"detected_language": "unknown", "language_code": "und", "confidence": 0.0}),
    ],
)
def test_a_language_has_a_name_and_a_code(raw: httpx.Client, content: bytes, body: dict[str, Any]) -> None:
    assert post(raw, LANGUAGE, content).json() == body


@pytest.mark.parametrize("path", [ASR, LANGUAGE])
def test_work_ends_when_the_client_leaves(raw: httpx.Client, server: Running, path: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        raw.post(path, files={"audio_file": b"slow"}, timeout=0.3)
    assert wait_until(lambda: server.calls.cancelled == 1)


def test_a_name_that_no_header_takes_is_written_so_that_it_does(raw: httpx.Client) -> None:
    answer = raw.post(ASR, files={"audio_file": ("电影 1.mkv", b"zh")}, params={"output": "srt"})

    assert answer.headers["content-disposition"] == 'attachment; filename="%E7%94%B5%E5%BD%B1%201.mkv.srt"'


def test_the_documentation_knows_every_parameter(raw: httpx.Client) -> None:
    paths = raw.get("/openapi.json").json()["paths"]

    assert {one["name"] for one in paths[ASR]["post"]["parameters"]} == set(NAMES)
    assert {one["name"] for one in paths[LANGUAGE]["post"]["parameters"]} == {"encode"}
    assert documented(paths[ASR]["post"]) == {"audio_file"}
    recorded = (ASR, LANGUAGE, "/recognition", "/v1/audio/transcriptions", "/v1/voices", "/v1/voices/identify")
    assert all({"408", "504"} <= paths[path]["post"]["responses"].keys() for path in recorded)


def test_no_speakers_where_they_cannot_be_told_apart(
    raw: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        serving(tmp_path_factory.mktemp("off"), speaker_diarization="off") as running,
        httpx.Client(base_url=running.base, headers={"authorization": f"Bearer {KEY}"}) as http,
    ):
        found = refused(post(http, diarize="true"))
        assert found["loc"] == ["query", "diarize"]
        assert "SPEAKER_DIARIZATION" in found["msg"]
        assert refused(post(http, max_speakers="2"))["loc"] == ["query", "max_speakers"]
        funasrs = http.post(ASR, data={"spk": "true"}, files={"file": b"zh"})
        assert refused(funasrs)["loc"] == ["body", "spk"]
        assert post(http).status_code == 200


# --- funasr-server's /asr, and FunASR's /recognition -----------------------------------------------------------------


def test_funasr_servers_form_gets_its_answer(raw: httpx.Client, server: Running) -> None:
    said = {"language": "auto", "hotwords": "阿里,达摩院", "spk": "true"}
    body = raw.post(ASR, data=said, files={"file": ("a.wav", b"two")}).json()

    assert set(body) == {"text", "segments", "duration", "processing_time", "rtf"}
    assert [segment["speaker"] for segment in body["segments"]] == ["SPK0", "Anna", "SPK0"]
    assert body["segments"][1]["words"] == [
        {"word": "Hello", "start": 1.5, "end": 1.9},
        {"word": "there", "start": 2.0, "end": 2.4},
    ]
    assert body["duration"] == 6.5
    assert server.calls.options[-1].hotwords == (Hotword("阿里"), Hotword("达摩院"))


def test_funasr_servers_form_says_whether_speakers_are_wanted(raw: httpx.Client) -> None:
    body = raw.post(ASR, files={"file": ("a.wav", b"two")}).json()

    assert all("speaker" not in segment for segment in body["segments"])


@pytest.mark.parametrize("said", [{"language": "klingon"}, {"spk": "perhaps"}, {"hotwords": "term -5"}])
def test_funasr_servers_form_is_refused_by_name(raw: httpx.Client, said: dict[str, str]) -> None:
    found = refused(raw.post(ASR, data=said, files={"file": b"zh"}))

    assert found["loc"] == ["body", next(iter(said))]


def test_funasr_servers_hotwords_are_no_file(raw: httpx.Client, server: Running) -> None:
    found = refused(raw.post(ASR, files={"file": b"zh", "hotwords": ("words.txt", "阿里".encode())}))

    assert found["loc"] == ["body", "hotwords"]
    assert server.calls.options == []


def test_recognition_has_sentences_in_milliseconds(raw: httpx.Client) -> None:
    assert raw.post("/recognition", files={"audio": ("a.wav", b"zh")}).json() == {
        "text": "今天天气很好，我们去公园。",
        "sentences": [
            {"text": "今天天气很好，", "start": 0, "end": 2300},
            {"text": "我们去公园。", "start": 2500, "end": 4200},
        ],
        "code": 0,
    }


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"audio": b"fail undecodable"}, 400),
        ({"audio": b""}, 400),
        ({"file": b"zh"}, 400),
        ({"audio": b"fail overloaded"}, 429),
        ({"audio": b"fail bug"}, 500),
    ],
)
def test_recognition_says_what_went_wrong(raw: httpx.Client, files: dict[str, bytes], status: int) -> None:
    answer = raw.post("/recognition", files=files)

    assert answer.status_code == status
    assert answer.json().keys() == {"msg", "code"}
    assert answer.json()["code"] == 1
