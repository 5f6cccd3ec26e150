"""OddASR's HTTP routes with real speech and a real model, at a port of their own."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from .known import known_recordings
from .scoring import character_errors, plain, word_error_rate
from .server import RealServer, start_server

KEY = "the-right-key"
KFC, KFC_TEXT = "zh_aishell_mid.wav", "大学生利用漏洞免费吃肯德基获刑"
LAST_WORD = "获刑"
"""What the model does not hear of it unless it is told to."""
STAMP = r"\d\d:\d\d:\d\d,\d\d\d"
CALLERS = 8


@dataclass(frozen=True)
class Port:
    """A server with a key, and a port of its own for OddASR's clients."""

    server: RealServer
    base: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {KEY}"}, timeout=300)


@pytest.fixture(scope="module")
def port(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("oddasr")
    settings = {"ODDASR_HTTP_PORT": str(number), "API_KEYS": KEY, "LOG_LEVEL": "DEBUG", "MAX_WAIT_SECONDS": "300"}
    server = start_server(models_dir, folder, DATA_DIR=str(folder / "data"), **settings)
    try:
        server.wait_until_ready()
        yield Port(server, f"http://127.0.0.1:{number}")
        assert server.active() == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        log = server.log.read_text()
        assert "Traceback" not in log
        for secret in (KEY, LAST_WORD, "肯德基", "macintosh", "工厂"):
            assert secret not in log, "keys and words are nothing for a log"
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def http(port: Port) -> Iterator[httpx.Client]:
    with port.client() as one:
        yield one


def text(http: httpx.Client, sound: Path | bytes, path: str = "/v1/asr", **fields: Any) -> str:
    content = sound if isinstance(sound, bytes) else sound.read_bytes()
    answer = http.post(path, files={"audio": ("a.wav", content)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["text"]


def test_txt_has_each_sentence_on_a_line(http: httpx.Client, shared_audio: Path) -> None:
    lines = text(http, shared_audio / "en_steve_jobs_10s.wav", output_format="txt").split("\n")
    assert len(lines) > 1
    assert all(line.endswith(".") for line in lines)
    one = text(http, shared_audio / "en_steve_jobs_10s.wav", "/v1/asr/sentence")
    assert one == " ".join(lines)


def test_spk_says_who_said_each_sentence(http: httpx.Client, phone_call: Path) -> None:
    lines = text(http, phone_call / "sample.wav", output_format="spk").split("\n")
    matches = [re.fullmatch(r"发言人 (\d): (.+)", line) for line in lines]
    assert all(matches), lines
    assert {match[1] for match in matches if match} == {"0", "1"}
    said = " ".join(match[2] for match in matches if match)
    assert word_error_rate(plain(text(http, phone_call / "sample.wav")), said) <= 0.1
    assert "New Jersey" in said


def test_srt_is_what_players_read(http: httpx.Client, phone_call: Path) -> None:
    cues = text(http, phone_call / "sample.wav", "/v1/asr/file", output_format="srt").split("\n\n")
    for number, cue in enumerate(cues, start=1):
        first, times, said = cue.split("\n", 2)
        assert first == str(number)
        assert re.fullmatch(rf"{STAMP} --> {STAMP}", times)
        assert re.match(r"发言人 [01]: \S", said)


def test_hotwords_change_the_text_whichever_way_they_come(http: httpx.Client, shared_audio: Path) -> None:
    sound = shared_audio / KFC
    without = text(http, sound)
    assert LAST_WORD not in without
    assert LAST_WORD in text(http, sound, hotwords=f"小落 {LAST_WORD}")

    kept = http.post("/v1/asr/hotwords", json={"unique_id": "u", "hotwords_type": 2, "words": [LAST_WORD]})
    assert kept.json()["error_code"] == 0
    assert LAST_WORD in text(http, sound, hot_uid="u")
    http.post("/api/v1/asr/vocabs", json={"id": "v", "name": "词表", "word_weights": {LAST_WORD: 2}})
    http.post("/api/v1/asr/class-vocabs", json={"id": "c", "name": "词表", "words": [LAST_WORD]})
    for path, name, field in (("vocabs", "v", "vocab"), ("class-vocabs", "c", "class_vocab")):
        assert LAST_WORD in text(http, sound, hot_uid=name)
        stored = http.get(f"/api/v1/asr/{path}/{name}").json()[field]["vocabulary_id"]
        form = {"response_format": "text", "vocabulary_id": stored}
        elsewhere = http.post("/v1/audio/transcriptions", files={"file": sound.read_bytes()}, data=form)
        assert LAST_WORD in elsewhere.text
        query = {"vocabulary_id": stored, "format": "wav"}
        alibaba = http.post("/stream/v1/asr", params=query, content=sound.read_bytes())
        assert LAST_WORD in alibaba.json()["result"]


def test_sensitive_words_are_masked(http: httpx.Client, shared_audio: Path) -> None:
    sound = shared_audio / KFC
    http.post("/v1/asr/sensitivewords", json={"unique_id": "s", "words": ["肯德基"]})
    assert "吃***" in text(http, sound, sensitive_uid="s")
    assert "吃(肯德基)" in text(http, sound, sensitive_uid="s", sensitive_style="parentheses", output_format="spk")
    subtitles = text(http, sound, sensitive_words="肯德基", sensitive_style="remove", output_format="srt")
    assert "大学生" in subtitles
    assert not set("肯德") & set(subtitles)


def test_many_at_once_get_their_own_words(port: Port, http: httpx.Client, shared_audio: Path, phone_call: Path) -> None:
    recordings = known_recordings(shared_audio, phone_call)[:-1]  # all but the longest
    alone = [plain(text(http, one.wav)) for one in recordings]
    assert len(set(alone)) == len(alone)

    def call(number: int) -> list[tuple[int, str]]:
        order = [(number + step) % len(recordings) for step in range(3)]
        with port.client() as mine:
            return [(which, plain(text(mine, recordings[which].wav))) for which in order]

    with ThreadPoolExecutor(CALLERS) as callers:
        for told in callers.map(call, range(CALLERS)):
            for which, heard in told:
                # A batch's company may change a word.
                assert character_errors(alone[which], heard) <= max(2, len(alone[which]) // 20), (which, heard)


def test_a_wrong_key_and_broken_recordings(port: Port, http: httpx.Client, shared_audio: Path) -> None:
    sound = {"audio": (shared_audio / KFC).read_bytes()}
    refused = httpx.post(f"{port.base}/v1/asr", files=sound, headers={"authorization": "Bearer wrong"})
    assert (refused.status_code, list(refused.json())) == (401, ["error"])
    for content, status in ((b"nonsense", 400), (b"", 400), (sound["audio"][:20], 400)):
        answer = http.post("/v1/asr", files={"audio": ("a.wav", content)})
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_bookmarks_lead_to_the_page(port: Port) -> None:
    answer = httpx.get(f"{port.base}/hotwords.html", follow_redirects=True, headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_the_main_port_has_the_same_routes(port: Port, shared_audio: Path) -> None:
    sound = (shared_audio / KFC).read_bytes()
    answer = httpx.post(f"{port.server.base}/v1/asr", files={"audio": sound}, headers={"x-nls-token": KEY}, timeout=120)
    assert character_errors(KFC_TEXT, answer.json()["text"]) <= 3
