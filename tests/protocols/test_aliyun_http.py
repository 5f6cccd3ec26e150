"""Alibaba's HTTP routes: what comes back, field by field, and what each parameter asks of the recogniser."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import httpx
import pytest
from aliyun_http_server import ASR, FLASH, Running, serving
from openai_server import ABLE, KEY, TRANSCRIPTS, Calls, wait_until
from shelf import recording_at

from app.audio.declared import DeclaredSound
from app.domain.masking import Masking
from app.domain.speakers import SpeakerOptions
from app.protocols.aliyun.rest import parameters, schema
from app.settings import Settings

TASK_ID = re.compile(r"[0-9a-f]{32}")
STRICT = {"x-nls-strict": "1"}


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("aliyun"), audio_address_networks="127.0.0.1/32") as running:
        yield running


@pytest.fixture
def server(_server: Running) -> Iterator[Running]:
    _server.service.calls = Calls()
    _server.service.declared.clear()
    _server.service.has_speakers(True)
    _server.service.can_write(punctuation=True, numbers=True)
    yield _server
    assert wait_until(lambda: not list(_server.temp.iterdir())), "a recording was left behind"


def ok(answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-asr-model"] == ABLE.id
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, object] = answer.json()
    assert TASK_ID.fullmatch(str(body["task_id"]))
    assert answer.headers["task_id"] == answer.headers["x-request-id"] == body["task_id"]
    return body


def test_an_answer_is_funasr_apis(server: Running) -> None:
    body = ok(server.post(ASR, b"two", word_timestamps=True))
    assert list(body) == ["task_id", "result", "status", "message", "segments", "duration", "processing_time"]
    assert (body["status"], body["message"], body["duration"]) == (200, "SUCCESS", 6.5)
    assert body["result"] == "今天天气很好，\nHello there!\n我们去公园。"
    assert isinstance(body["processing_time"], float)
    assert 0 < body["processing_time"] < 5
    first, second, third = body["segments"]  # type: ignore[misc]
    assert list(first) == ["text", "start_time", "end_time", "speaker_id", "word_tokens"]
    assert [one["speaker_id"] for one in (first, second, third)] == ["Speaker1", "Anna", "Speaker1"]
    assert second == {
        "text": "Hello there!",
        "start_time": 1.5,
        "end_time": 2.4,
        "speaker_id": "Anna",
        "word_tokens": [
            {"text": "Hello", "start_time": 1.5, "end_time": 1.9},
            {"text": "there", "start_time": 2.0, "end_time": 2.4},
        ],
    }
    assert third["word_tokens"][0] == {"text": "我", "start_time": 2.2, "end_time": 2.5}, "of the recording"


def test_what_is_not_asked_for_is_not_there(server: Running) -> None:
    body = ok(server.post(ASR, b"zh", enable_speaker_diarization=False))
    assert [list(one) for one in body["segments"]] == [["text", "start_time", "end_time"]] * 2  # type: ignore[attr-defined]
    assert server.options.speakers is None


def test_nothing_said_is_no_text(server: Running) -> None:
    body = ok(server.post(ASR, b"empty"))
    assert (body["result"], body["segments"], body["status"]) == ("", [], 200)


def test_a_warning_is_told(server: Running) -> None:
    assert ok(server.post(ASR, b"warned"))["warnings"] == ["audio_truncated"]


def test_defaults_are_funasr_apis(server: Running) -> None:
    ok(server.post())
    asked = server.options
    assert asked.punctuation
    assert asked.itn is None
    assert asked.speakers == SpeakerOptions()
    assert (asked.language, asked.hotwords, asked.masking, asked.split_channels) == (None, (), (), False)
    assert server.calls.models == [ABLE.id]
    assert server.calls.modes == [0o600]
    assert server.service.declared == [None]


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded", "text/html", None])
def test_any_content_type_will_do(server: Running, kind: str | None) -> None:
    assert ok(server.post(ASR, b"zh", {"content-type": kind} if kind else {}))["result"]
    assert server.service.declared == [None]


@pytest.mark.parametrize(
    ("query", "kind", "declared"),
    [
        ({"format": "pcm"}, "", DeclaredSound("s16le", 16_000)),
        ({"format": "PCM", "sample_rate": 8000}, "", DeclaredSound("s16le", 8_000)),
        ({"format": "pcm", "sample_rate": 22050}, "", DeclaredSound("s16le", 22_050)),
        ({"format": "mulaw"}, "", DeclaredSound("mulaw", 8_000)),
        ({"format": "wav", "sample_rate": 8000}, "", None),
        ({"format": "mp3", "sample_rate": 16000}, "", None),
        ({"format": "mp4"}, "audio/pcm", None),
        ({"sample_rate": 16000}, "", None),
        ({}, "audio/pcm;rate=24000", DeclaredSound("s16le", 24_000)),
        ({}, "audio/l16", None),
    ],
)
def test_what_bytes_without_a_container_are(
    server: Running, query: dict[str, object], kind: str, declared: DeclaredSound | None
) -> None:
    ok(server.post(ASR, b"zh", {"content-type": kind} if kind else {}, **query))
    assert server.service.declared == [declared]


def test_text_parameters(server: Running) -> None:
    query = {"enable_punctuation_prediction": "no", "enable_inverse_text_normalization": "FALSE", "language": "zh-CN"}
    ok(server.post(ASR, b"zh", **query))
    assert (server.options.punctuation, server.options.itn, server.options.language) == (False, False, "zh")
    ok(
        server.post(
            ASR, b"zh", enable_inverse_text_normalization=1, enable_punctuation_prediction="on", language="auto"
        )
    )
    assert (server.options.punctuation, server.options.itn, server.options.language) == (True, True, None)


def test_hotwords_stored_and_said(server: Running) -> None:
    ok(server.post(ASR, b"zh", vocabulary_id="阿里巴巴 20 通义 10", hotwords="王小明"))
    assert {one.text for one in server.options.hotwords} == {"阿里巴巴", "通义", "王小明"}


def test_special_words_are_masked(server: Running) -> None:
    said = {"filter_with_signed": {"word_list": ["开始", "发生"]}, "filter_with_empty": {"word_list": ["测试"]}}
    for path in (ASR, FLASH):
        ok(server.post(path, b"zh", special_word_filter=json.dumps(said | {"system_reserved_filter": False})))
        assert server.options.masking == (Masking(("开始", "发生"), "stars"), Masking(("测试",), "remove"))


def test_what_has_no_effect_is_taken(server: Running) -> None:
    ok(server.post(ASR, b"zh", customization_id="abc", disfluency="true", enable_voice_detection="true"))
    ok(server.post(FLASH, b"zh", customization_id="abc", enable_timestamp_alignment="true"))


def test_unknown_parameters_are_noted_without_their_values(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "app.protocols.aliyun"):
        ok(server.post(ASR, b"zh", enable_magic="private", token=KEY))
    assert "enable_magic" in caplog.text
    assert "private" not in caplog.text
    assert "token" not in caplog.text


def test_what_cannot_be_had_is_told(server: Running) -> None:
    server.service.has_speakers(False)
    server.service.can_write(punctuation=False, numbers=False)
    assert "warnings" in ok(server.post(ASR))
    asked = {"enable_punctuation_prediction": "true", "enable_inverse_text_normalization": "true"}
    answer = server.post(ASR, b"zh", model_id="group/unmarked", **asked).json()
    assert answer["warnings"] == ["speakers_unavailable", "punctuation_unavailable", "itn_unavailable"]


def test_what_is_on_by_default_and_cannot_be_had_is_told(server: Running) -> None:
    server.service.can_write(punctuation=False, numbers=False)
    unmarked = {"model_id": "group/unmarked"}
    assert server.post(ASR, b"zh", **unmarked).json()["warnings"] == ["punctuation_unavailable", "itn_unavailable"]
    assert server.post(FLASH, b"zh", **unmarked).json()["warnings"] == ["punctuation_unavailable"], "no digits, there"
    off = {"enable_punctuation_prediction": False, "enable_inverse_text_normalization": False}
    assert "warnings" not in server.post(ASR, b"zh", **unmarked, **off).json()


def test_labels_are_as_set(tmp_path: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("labels"), speaker_labels="zh") as server:
        body = ok(server.post(ASR, b"two"))
        assert body["segments"][0]["speaker_id"] == "说话人1"  # type: ignore[index]


def test_strict_is_the_clouds_answer(server: Running) -> None:
    body = ok(server.post(ASR, b"two", STRICT))
    assert body == {
        "task_id": body["task_id"],
        "result": TRANSCRIPTS["two"].text,
        "status": 20000000,
        "message": "SUCCESS",
    }
    assert (server.options.speakers, server.options.timed) == (None, False), "nobody would see them"


def test_strict_has_no_room_for_what_a_model_cannot_do(server: Running) -> None:
    asked = {"model_id": "group/plain", "word_timestamps": True, "enable_speaker_diarization": True}
    server.service.has_speakers(False)
    assert server.post(ASR, b"zh", STRICT, **asked).json()["status"] == 20000000


@pytest.mark.parametrize(
    ("said", "status"),
    [("yes", 20000000), ("ON", 20000000), ("True", 20000000), ("no", 200), ("off", 200), ("FALSE", 200), ("", 200)],
)
def test_ways_to_say_strict(server: Running, said: str, status: int) -> None:
    assert server.post(ASR, b"zh", {"x-nls-strict": said}).json()["status"] == status


def test_flash_does_not_read_what_is_asrs(server: Running) -> None:
    ok(server.post(FLASH, b"zh", enable_speaker_diarization="maybe", word_timestamps="maybe"))


def test_an_empty_filter_is_none(server: Running) -> None:
    ok(server.post(ASR, b"zh", special_word_filter='{"filter_with_signed":{},"filter_with_empty":null}'))
    assert server.options.masking == ()


def test_strict_by_setting_unless_a_request_says_no(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("strict"), aliyun_strict=True) as server:
        assert ok(server.post())["status"] == 20000000
        assert ok(server.post(ASR, b"zh", {"x-nls-strict": "0"}))["status"] == 200


def test_another_request_id_is_made_a_task_id(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app.protocols.aliyun"):
        answer = server.post(ASR, b"zh", {"x-request-id": "my-own"})
    assert answer.headers["x-request-id"] == "my-own"
    assert TASK_ID.fullmatch(answer.headers["task_id"])
    assert answer.headers["task_id"] == answer.json()["task_id"]
    assert f"my-own is task {answer.headers['task_id']}" in caplog.text


def test_a_recording_at_an_address(server: Running) -> None:
    with recording_at(b"two") as shelf:
        body = ok(server.post(ASR, b"", audio_address=shelf.url))
        assert str(body["result"]).count("\n") == 2
        assert ok(server.post(ASR, b"zh", audio_address=shelf.url))["result"] == body["result"], "the address wins"
        flash = ok(server.post(FLASH, b"", {"content-type": "application/text"}, audio_address=shelf.url))
        assert flash["flash_result"]["sentences"]  # type: ignore[index]
    assert shelf.asked == ["/a.wav"] * 3


def test_flash_is_the_clouds_answer(server: Running) -> None:
    body = ok(server.post(FLASH, b"zh", appkey="any", token=KEY, format="wav", enable_word_level_result=True))
    assert list(body) == ["task_id", "status", "message", "flash_result"]
    assert (body["status"], body["message"]) == (20000000, "SUCCESS")
    result: dict[str, object] = body["flash_result"]  # type: ignore[assignment]
    assert list(result) == ["duration", "latency", "completed", "sentences"]
    assert (result["duration"], result["completed"]) == (4250, True)
    assert isinstance(result["latency"], int)
    first, second = result["sentences"]  # type: ignore[misc]
    assert (first["text"], first["begin_time"], first["end_time"], first["channel_id"]) == (
        "今天天气很好，",
        0,
        2300,
        0,
    )
    assert first["words"][0] == {"text": "今", "begin_time": 0, "end_time": 300, "punc": ""}
    assert first["words"][-1]["punc"] == "，"
    assert "".join(word["text"] + word["punc"] for word in second["words"]) == second["text"]
    assert (server.options.itn, server.options.punctuation, server.options.speakers) == (False, True, None)


def test_flash_has_words_when_asked(server: Running) -> None:
    sentences = ok(server.post(FLASH, b"zh"))["flash_result"]["sentences"]  # type: ignore[index]
    assert [list(one) for one in sentences] == [["text", "begin_time", "end_time", "channel_id"]] * 2


def test_flash_parts_sentences(server: Running) -> None:
    sentences = ok(server.post(FLASH, b"zh", sentence_max_length=4))["flash_result"]["sentences"]  # type: ignore[index]
    assert "".join(one["text"] for one in sentences) == TRANSCRIPTS["zh"].text
    assert all(len(one["text"]) <= 4 for one in sentences)
    times = [time for one in sentences for time in (one["begin_time"], one["end_time"])]
    assert times == sorted(times)


def test_flash_channels(server: Running) -> None:
    def channels(**query: object) -> list[int]:
        sentences = ok(server.post(FLASH, b"two", **query))["flash_result"]["sentences"]  # type: ignore[index]
        return [one["channel_id"] for one in sentences]

    assert channels(first_channel_only=False) == [0, 1, 0]
    assert server.options.split_channels
    assert channels(first_channel_only=True) == [0, 0]
    assert channels() == [0, 0, 0]
    assert not server.options.split_channels


@pytest.mark.parametrize(("said", "threshold"), [("-1", 0.05), ("0", 0.5), ("0.6", 0.8), ("1", 0.95)])
def test_flash_noise_threshold(server: Running, said: str, threshold: float) -> None:
    ok(server.post(FLASH, b"zh", speech_noise_threshold=said))
    assert server.options.detection.threshold == pytest.approx(threshold)


def test_the_models(server: Running) -> None:
    answer = httpx.get(f"{server.base}{ASR}/models", headers={"x-nls-token": KEY})
    body = answer.json()
    assert (body["total"], body["loaded_count"], body["asr_model_mode"]) == (2, 1, "all")
    first, second = body["models"]
    assert (first["id"], first["default"], first["loaded"]) == (ABLE.id, True, True)
    assert (second["default"], second["loaded"]) == (False, False)
    assert first["languages"] == ["de", "en", "yue", "zh"]
    assert set(first) == {
        "id",
        "name",
        "engine",
        "description",
        "languages",
        "default",
        "loaded",
        "supports_realtime",
        "offline_model",
        "realtime_model",
        "asr_model_mode",
    }


def test_health_is_200_whatever_it_says(server: Running) -> None:
    def health() -> dict[str, object]:
        answer = httpx.get(f"{server.base}{ASR}/health?token={KEY}")
        assert answer.status_code == 200
        return answer.json()

    well = health()
    assert (well["status"], well["model_loaded"], well["loaded_models"]) == ("healthy", True, [ABLE.id])
    assert (well["version"], well["memory_usage"], well["asr_model_mode"]) == ("1.2.3", None, "all")
    server.service.is_ready = False
    try:
        assert (health()["status"], health()["model_loaded"]) == ("unhealthy", False)
    finally:
        server.service.is_ready = True
    assert httpx.get(f"{server.base}{ASR}/health").status_code == 401


def test_health_asks_no_driver(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("a process for each look at the health")

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    answer = httpx.get(f"{server.base}{ASR}/health?token={KEY}")
    assert (answer.status_code, answer.json()["device"]) == (200, "cpu")


def test_what_is_documented_is_what_is_read() -> None:
    assert set(schema.parameters("asr")) == parameters.ASR
    assert set(schema.parameters("flash")) == parameters.FLASH


def test_the_settings_have_the_switches() -> None:
    assert not Settings(_env_file=None).aliyun_strict
