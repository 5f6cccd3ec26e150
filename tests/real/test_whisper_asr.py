"""What Bazarr asks of whisper-asr-webservice, of the real server: subtitles and the language of a film's raw sound."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from .scoring import character_errors, plain, wav_bytes
from .server import RealServer

EN_EXAMPLE = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
ZH_EXAMPLE = "欢迎大家来体验达摩院推出的语音识别模型"


def raw_sound(path: Path) -> bytes:
    """What Bazarr makes of a film: samples without a header."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(path) as container:
        frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in [*frames, *resampler.resample(None)])


def post(server: RealServer, route: str, content: bytes, **asked: str) -> httpx.Response:
    """As Python's requests posts bytes: the part's name is its file's, and it has no type."""
    files = {"audio_file": ("audio_file", content)}
    return httpx.post(f"{server.base}{route}", params=asked, files=files, timeout=120)


@pytest.fixture(scope="module")
def english(shared_audio: Path) -> bytes:
    return raw_sound(shared_audio / "en_jfk.flac")


@pytest.fixture(scope="module")
def chinese(shared_audio: Path) -> bytes:
    return raw_sound(shared_audio / "zh_asr_example.wav")


def test_raw_sound_becomes_subtitles(real_server: RealServer, english: bytes) -> None:
    answer = post(
        real_server, "/asr", english, task="transcribe", language="en", output="srt", encode="false", video_file="f.mkv"
    )

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audio_file.srt"'
    assert answer.headers["asr-engine"] == "whisper-base"
    blocks = answer.text.strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == [str(number + 1) for number in range(len(blocks))]
    times = r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}"
    assert all(re.fullmatch(times, block.split("\n")[1]) for block in blocks)
    assert plain(" ".join(line for block in blocks for line in block.split("\n")[2:])) == EN_EXAMPLE


@pytest.mark.parametrize(("said", "code", "name"), [("english", "en", "english"), ("chinese", "zh", "chinese")])
def test_the_language_of_raw_sound_is_told(
    real_server: RealServer, request: pytest.FixtureRequest, said: str, code: str, name: str
) -> None:
    answer = post(real_server, "/detect-language", request.getfixturevalue(said), encode="false")

    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert set(body) == {"detected_language", "language_code", "confidence"}
    assert (body["detected_language"], body["language_code"]) == (name, code)
    assert 0.5 < body["confidence"] <= 1


def test_no_language_is_made_up_where_nobody_speaks(real_server: RealServer) -> None:
    answer = post(real_server, "/detect-language", bytes(32_000 * 5), encode="false")

    assert answer.json() == {"detected_language": "unknown", "language_code": "und", "confidence": 0.0}


def test_the_language_of_an_hour_costs_what_that_of_two_minutes_costs(real_server: RealServer, chinese: bytes) -> None:
    hush = bytes(32_000 * 60)
    short, hour = chinese + hush * 2, chinese + hush * 60
    took = []
    for content in (short, hour):
        began = time.monotonic()
        assert post(real_server, "/detect-language", content, encode="false").json()["language_code"] == "zh"
        took.append(time.monotonic() - began)

    print(f"two minutes: {took[0]:.2f} s, an hour: {took[1]:.2f} s")
    assert took[1] < took[0] + 5.0, "the upload alone takes longer"


def test_chinese_is_translated_for_subtitles_in_english(real_server: RealServer, chinese: bytes) -> None:
    answer = post(real_server, "/asr", chinese, task="translate", language="zh", output="json", encode="false")

    body = json.loads(answer.text)
    assert body["language"] == "en"
    assert len(body["text"].split()) >= 5
    assert not re.search("[\u4e00-\u9fff]", body["text"])


def test_a_container_counts_whatever_the_request_says_of_it(real_server: RealServer, chinese: bytes) -> None:
    wav = wav_bytes(np.frombuffer(chinese, "<i2"))
    texts = [post(real_server, "/asr", wav, encode=encode).text for encode in ("true", "false")]

    assert texts[0] == texts[1]
    assert character_errors(ZH_EXAMPLE, texts[0]) <= 1
    assert texts[0].endswith("\n")


def test_words_have_times_in_json(real_server: RealServer, english: bytes) -> None:
    answer = post(real_server, "/asr", english, output="json", encode="false", word_timestamps="true")

    body = json.loads(answer.text)
    words = [word for segment in body["segments"] for word in segment["words"]]
    assert plain("".join(word["word"] for word in words)) == EN_EXAMPLE
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)
    assert 0 <= words[0]["start"] < words[-1]["end"] <= 11.1
    assert body["language"] == "en"


def test_speakers_are_told_apart_where_that_is_asked_for(real_server: RealServer, phone_call: Path) -> None:
    call = (phone_call / "sample.wav").read_bytes()
    body = json.loads(post(real_server, "/asr", call, output="json", diarize="true", max_speakers="2").text)

    assert {segment["speaker"] for segment in body["segments"]} == {"SPEAKER_00", "SPEAKER_01"}
    assert "SPEAKER" not in post(real_server, "/asr", call, output="srt").text


def test_raw_sound_without_a_word_about_it_is_an_error_in_their_shape(real_server: RealServer, english: bytes) -> None:
    answer = post(real_server, "/asr", english, output="srt")

    assert answer.status_code == 422
    (found,) = answer.json()["detail"]
    assert found["loc"] == ["body", "audio_file"]
