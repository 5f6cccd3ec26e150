"""FunASR's clients against the real server and a real model: what they tell their users."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from environments import interpreter
from real.scoring import character_errors, characters, read_wav, wav_bytes, word_error_rate
from real.server import RealServer, start_server

HERE = Path(__file__).resolve().parent
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
JOBS = (
    "but ten years later when we were designing the first macintosh computer it all came back to me and we designed it "
    "all into the mac it was the first computer with beautiful typography "
)
COUNTRY = "what your country can do for you ask what you can do for your country"
FACTORY = "富士康在印度工厂出现大规模感染目前工厂产量已下降超"
"""What the model writes as 百分之五十 or 50% follows."""
KEY = "the-right-key"


@dataclass(frozen=True)
class Bare:
    """A server with a key, and a port of its own for FunASR's clients."""

    server: RealServer
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def bare(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("bare")
    server = start_server(models_dir, folder, FUNASR_WS_PORT=str(port), API_KEYS=KEY, LOG_LEVEL="DEBUG")
    try:
        server.wait_until_ready()
        yield Bare(server, port)
        assert server.active() == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        assert "Traceback" not in server.log.read_text()
        assert KEY not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def jfk(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, 16_000)
    path = tmp_path_factory.mktemp("jfk") / "jfk.wav"
    path.write_bytes(wav_bytes((mono * 32767).astype(np.int16)))
    return path


@pytest.fixture(scope="module")
def talk(shared_audio: Path, jfk: Path) -> Path:
    """A quarter of a minute with hardly a pause: long enough for texts while it is said, on a busy machine, too."""
    samples, rate = soundfile.read(shared_audio / "en_steve_jobs_10s.wav", always_2d=True)
    mono = (soxr.resample(samples.mean(axis=1), rate, 16_000) * 32767).astype(np.int16)
    path = jfk.with_name("talk.wav")
    path.write_bytes(wav_bytes(np.concatenate([mono, read_wav(jfk)[5 * 16_000 :]])))
    return path


@pytest.fixture(scope="module")
def factory(shared_audio: Path) -> Path:
    return shared_audio / "zh_aishell_long.wav"


def play(client: str, url: str, wav: Path, **wish: Any) -> list[dict[str, Any]]:
    """What a client tells when it plays a recording."""
    given = json.dumps({"url": url, "wav": str(wav), "pace": 1, "times": 1, "options": {}, **wish})
    command = [interpreter(client), HERE / f"{client}_play.py", given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=wav.parent, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def raised(url: str, wav: Path, **wish: Any) -> str:
    """The traceback with which funasr-client ends."""
    given = json.dumps({"url": url, "wav": str(wav), "pace": 1, "options": {}, **wish})
    command = [interpreter("funasr_client"), HERE / "funasr_client_play.py", given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


def messages(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["message"] for one in told]


def of_mode(told: list[dict[str, Any]], mode: str) -> list[dict[str, Any]]:
    return [message for message in messages(told) if message["mode"] == mode]


def text_of(said: list[dict[str, Any]]) -> str:
    return "".join(message["text"] for message in said)


def check_times(message: dict[str, Any], seconds: float) -> None:
    """One pair a token, in order, within the recording; the same pairs in its sentences."""
    pairs = message["timestamp"]
    flat = [time for pair in pairs for time in pair]
    assert flat == sorted(flat)
    assert 0 <= flat[0] <= flat[-1] <= seconds * 1000 + 300
    assert [pair for sentence in message["stamp_sents"] for pair in sentence["ts_list"]] == pairs
    spoken = " ".join(sentence["text_seg"] for sentence in message["stamp_sents"])
    assert len(spoken.split()) == len(pairs)
    assert characters(spoken) == characters(message["text"])


def check_final(told: list[dict[str, Any]]) -> None:
    assert [message["is_final"] for message in messages(told)] == [False] * (len(told) - 1) + [True]


def path_of(server: RealServer) -> str:
    return server.base.replace("http", "ws", 1) + "/ws/funasr"


def test_funasr_client_hears_live_speech_in_two_passes(real_server: RealServer, jfk: Path) -> None:
    told = play("funasr_client", path_of(real_server), jfk, how="live", options={"mode": "2pass"})

    check_final(told)
    sentences = of_mode(told, "2pass-offline")
    assert len(sentences) > 1, "a pause of more than a second ends a sentence"
    assert word_error_rate(JFK, text_of(sentences)) <= 0.15
    for sentence in sentences:
        if sentence["text"]:
            check_times(sentence, 11.0)


@pytest.mark.parametrize("mode", ["2pass", "online"])
def test_funasr_client_is_told_what_is_said_while_it_is_said(real_server: RealServer, talk: Path, mode: str) -> None:
    told = play("funasr_client", path_of(real_server), talk, how="live", options={"mode": mode})

    check_final(told)
    partials = of_mode(told, "2pass-online" if mode == "2pass" else "online")
    assert partials
    assert told[0]["message"] == partials[0]
    assert told[0]["at"] < told[-1]["at"] - 2.0, "what was said was told only when it was over"
    assert word_error_rate(JOBS + COUNTRY, text_of(of_mode(told, "2pass-offline") or partials)) <= 0.2


def test_funasr_client_gets_a_whole_recording_at_once(real_server: RealServer, factory: Path) -> None:
    told = play("funasr_client", path_of(real_server), factory, how="file", options={"mode": "offline"})

    (message,) = messages(told)
    assert message["mode"] == "offline"
    assert message["is_final"] is True
    assert message["wav_name"] == factory.name
    assert character_errors(FACTORY, message["text"][: len(FACTORY) + 1]) <= 3
    check_times(message, 8.0)


@pytest.mark.parametrize("how", ["merged", "async"])
def test_funasr_client_plays_a_file_as_fast_as_it_can_without_naming_a_mode(
    real_server: RealServer, factory: Path, how: str
) -> None:
    told = play("funasr_client", path_of(real_server), factory, how=how)

    text = text_of(of_mode(told, "2pass-offline"))
    assert character_errors(FACTORY, text[: len(FACTORY) + 1]) <= 3
    assert messages(told)[-1]["is_final"]


def test_funasr_client_sends_a_compressed_file_as_it_is(real_server: RealServer, shared_audio: Path) -> None:
    flac = shared_audio / "en_jfk.flac"

    (message,) = messages(play("funasr_client", path_of(real_server), flac, how="file", options={"mode": "offline"}))

    assert word_error_rate(JFK, message["text"]) <= 0.15


def test_funasr_client_keeps_its_connection_for_a_second_recording(real_server: RealServer, factory: Path) -> None:
    told = play("funasr_client", path_of(real_server), factory, how="twice", options={"mode": "offline"})

    assert [message["is_final"] for message in messages(told)] == [True, True]
    assert messages(told)[0] == messages(told)[1]


def test_hotwords_and_language_go_with_a_recording(real_server: RealServer, factory: Path) -> None:
    options = {"mode": "offline", "hotwords": {"富士康": 20}, "svs_lang": "zh", "itn": False}

    (message,) = messages(play("funasr_client", path_of(real_server), factory, how="file", options=options))

    assert message["text"].startswith("富士康")


@pytest.mark.parametrize("mode", ["offline", "online", "2pass"])
def test_funasr_python_is_told_the_text_in_every_mode(bare: Bare, factory: Path, mode: str) -> None:
    """It has no path and no place for a key but the address; and it keeps connections for the next recording."""
    options = {"mode": mode, "timeout": 60.0}
    told = play("funasr_python", f"{bare.url}/?token={KEY}", factory, times=2, options=options)

    assert [one["name"] for one in told].count("returned") == 2
    assert [one["name"] for one in told].count("final") == 2
    assert {one["name"] for one in told} <= {"partial", "final", "returned"}
    texts = [one["text"] for one in told if one["name"] != "returned"]
    last = next(place for place, one in enumerate(told) if one["name"] == "final") + 1
    assert character_errors(FACTORY, "".join(texts[:last])[: len(FACTORY) + 1]) <= 3


def test_funasr_client_connects_to_the_bare_port(bare: Bare, factory: Path) -> None:
    told = play("funasr_client", f"{bare.url}?token={KEY}", factory, how="file", options={"mode": "offline"})

    assert messages(told)[0]["text"].startswith("富士康")


@pytest.mark.parametrize("how", ["file", "live", "async"])
def test_a_wrong_key_is_an_exception_that_says_so(bare: Bare, factory: Path, how: str) -> None:
    assert "A valid API key is needed" in raised(f"{bare.url}?token=wrong", factory, how=how, pace=9)


@pytest.mark.parametrize("how", ["merged", "async"])
@pytest.mark.parametrize("mode", ["offline", "2pass"])
def test_what_cannot_be_recognised_is_an_exception_and_no_empty_text(
    real_server: RealServer, factory: Path, how: str, mode: str
) -> None:
    told = raised(path_of(real_server), factory, how=how, options={"mode": mode, "hotwords": {"term": -5}})

    assert "hotwords: a weight is not a positive number" in told


def test_funasr_python_hands_errors_to_its_callback(bare: Bare, factory: Path) -> None:
    options = {"mode": "2pass", "timeout": 5.0, "hotwords": {"term": -5}}
    told = play("funasr_python", f"{bare.url}/?token={KEY}", factory, options=options)

    assert [one["name"] for one in told] == ["error", "raised"]
    assert "[INVALID_VALUE] hotwords: a weight is not a positive number" in told[0]["text"]


def test_funasr_python_raises_for_a_wrong_key_at_once(bare: Bare, factory: Path) -> None:
    told = play("funasr_python", f"{bare.url}?token=wrong", factory, options={"mode": "offline", "timeout": 60.0})

    assert [one["name"] for one in told if one["name"] != "error"] == ["raised"]
    assert told[-1]["at"] < 50, "it waited for an answer"
