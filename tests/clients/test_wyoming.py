"""The wyoming package's client against the real server and a real model: what Home Assistant would be told."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from environments import interpreter
from real.scoring import character_errors, read_wav, wav_bytes, word_error_rate
from real.server import RealServer, start_server

HERE = Path(__file__).resolve().parent
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
FACTORY = "富士康在印度工厂出现大规模感染目前工厂产量已下降超"
"""What the model writes as 百分之五十 or 50% follows."""
KEY = "the-right-key"
RATE = 16_000


@dataclass(frozen=True)
class Wyoming:
    server: RealServer
    port: int

    @property
    def streams(self) -> int:
        """Live streams that go on."""
        return int(httpx.get(f"{self.server.base}/health").json()["active_streams"])


def _start(models_dir: Path, folder: Path, **settings: str) -> Wyoming:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return Wyoming(start_server(models_dir, folder, WYOMING_PORT=str(port), **settings), port)


@pytest.fixture(scope="module")
def wyoming(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wyoming]:
    """A server that has keys, too."""
    started = _start(models_dir, tmp_path_factory.mktemp("wyoming"), API_KEYS=KEY, LOG_LEVEL="DEBUG")
    server = started.server
    try:
        server.wait_until_ready()
        yield started
        assert server.active() == 0
        assert started.streams == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        log = server.log.read_text()
        assert "Wyoming has no place for API_KEYS" in log
        assert "Traceback" not in log
        assert KEY not in log
        assert "country" not in log, "what was said is in the log"
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def jfk(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, RATE)
    path = tmp_path_factory.mktemp("jfk") / "jfk.wav"
    path.write_bytes(wav_bytes((mono * 32767).astype(np.int16)))
    return path


@pytest.fixture(scope="module")
def factory(shared_audio: Path) -> Path:
    return shared_audio / "zh_aishell_long.wav"


def begin(wyoming: Wyoming, *wavs: Path, pace: float = 0, ask: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    """A client that plays recordings."""
    wish = {"port": wyoming.port, "wavs": [str(wav) for wav in wavs], "ask": ask or {}, "seconds": 0.1, "pace": pace}
    command = [interpreter("wyoming"), HERE / "wyoming_play.py", json.dumps(wish)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(playing: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What it is told, to its end."""
    out, errors = playing.communicate(timeout=200)
    assert playing.returncode == 0, errors[-2000:]
    return [json.loads(line) for line in out.splitlines()]


def of_type(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def transcript(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of the one transcript, which all chunks together are."""
    (found,) = of_type(events, "transcript")
    assert "".join(chunk["data"]["text"] for chunk in of_type(events, "transcript-chunk")) == found["data"]["text"]
    kinds = [event["type"] for event in events if event["type"].startswith("transcript")]
    assert kinds[0] == "transcript-start"
    assert kinds[-2:] == ["transcript", "transcript-stop"]
    return dict(found["data"])


def raw(wyoming: Wyoming, said: bytes) -> list[dict[str, Any]]:
    """The lines that a client is answered which says just that and then waits for the end, each with its data."""
    with socket.create_connection(("127.0.0.1", wyoming.port), 20) as connection:
        connection.sendall(said)
        with connection.makefile("rb") as answers:
            found: list[dict[str, Any]] = []
            while line := answers.readline():
                header = json.loads(line)
                found.append({"type": header["type"], "data": json.loads(answers.read(header["data_length"]))})
            return found


def wait_until_nobody_is_heard(wyoming: Wyoming) -> None:
    deadline = time.monotonic() + 20
    while wyoming.streams and time.monotonic() < deadline:
        time.sleep(0.05)
    assert wyoming.streams == 0


def test_home_assistant_is_told_what_there_is(wyoming: Wyoming) -> None:
    (info,) = told(begin(wyoming))

    (program,) = info["data"]["asr"]
    assert program["installed"]
    assert program["supports_transcript_streaming"]
    (model,) = program["models"]
    assert model["name"] == "whisper-base"
    assert {"zh", "en", "yue"} & set(model["languages"]) >= {"zh", "en"}
    assert model["attribution"]["name"]
    assert model["attribution"]["url"].startswith("https://")


def test_chinese_is_heard_as_a_command_would_be(wyoming: Wyoming, factory: Path) -> None:
    ask = {"language": "zh", "transcript_names": ["富士康"], "transcript_terms": ["印度工厂"]}
    found = transcript(told(begin(wyoming, factory, ask=ask)))

    assert character_errors(FACTORY, found["text"][: len(FACTORY) + 1]) <= 3
    assert found["language"] == "zh"


def test_text_comes_after_every_pause_while_somebody_still_speaks(wyoming: Wyoming, jfk: Path) -> None:
    events = told(begin(wyoming, jfk, pace=1, ask={"language": "en"}))

    found = transcript(events)
    (sent,) = of_type(events, "sent")
    chunks = of_type(events, "transcript-chunk")
    assert len(chunks) > 1
    assert chunks[0]["at"] < sent["at"] - 2.0, "what was said was told only when all was"
    assert word_error_rate(JFK, found["text"]) <= 0.15


def test_a_connection_hears_several_recordings_in_the_languages_they_are_in(
    wyoming: Wyoming,
    jfk: Path,
    factory: Path,
) -> None:
    events = told(begin(wyoming, jfk, factory, jfk))

    texts = [event["data"] for event in of_type(events, "transcript")]
    assert [data["language"] for data in texts] == ["en", "zh", "en"]
    assert texts[0] == texts[2]
    assert word_error_rate(JFK, texts[0]["text"]) <= 0.15
    assert character_errors(FACTORY, texts[1]["text"][: len(FACTORY) + 1]) <= 3


@pytest.mark.parametrize(("rate", "width", "channels"), [(8_000, 2, 1), (44_100, 3, 2), (16_000, 4, 1)])
def test_sound_of_other_kinds_is_heard(
    wyoming: Wyoming, jfk: Path, tmp_path: Path, rate: int, width: int, channels: int
) -> None:
    sound = soxr.resample(read_wav(jfk)[: 5 * RATE].astype(np.float64) / 32768, RATE, rate)
    other = tmp_path / "other.wav"
    soundfile.write(other, np.stack([sound] * channels, axis=1), rate, subtype=f"PCM_{8 * width}")

    found = transcript(told(begin(wyoming, other, ask={"language": "en"})))
    assert "my fellow americans" in found["text"].lower()


def test_silence_is_an_empty_transcript(wyoming: Wyoming, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(wav_bytes(np.zeros(2 * RATE, np.int16)))

    assert transcript(told(begin(wyoming, silence))) == {"text": ""}


@pytest.mark.parametrize(
    ("ask", "code"), [({"language": "klingon"}, "invalid_value"), ({"name": "qwen3-asr-1.7b"}, "model_not_found")]
)
def test_what_cannot_be_had_is_an_error_and_the_end_of_the_connection(
    wyoming: Wyoming, factory: Path, ask: dict[str, str], code: str
) -> None:
    events = told(begin(wyoming, factory, ask=ask))

    assert [event["data"]["code"] for event in of_type(events, "error")] == [code]
    assert of_type(events, "closed"), "it is left waiting for a transcript"
    assert of_type(events, "transcript") == []


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x00\xff" * 500 + b"\n",
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "transcribe", "data_length": -5}\n',
        b'{"type": "audio-start", "data": {"rate": 16000, "width": 2}}\n',
        b"a" * 1_100_000,
    ],
)
def test_what_is_not_the_protocol_is_told_so(wyoming: Wyoming, said: bytes) -> None:
    (error,) = raw(wyoming, said)

    assert error["type"] == "error"
    assert error["data"]["code"] == "invalid_value"


def test_a_health_check_in_a_shell_that_says_one_line_and_ends_is_answered(wyoming: Wyoming) -> None:
    with socket.create_connection(("127.0.0.1", wyoming.port), 20) as connection:
        connection.sendall(b'{"type": "describe"}\n')
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answers:
            assert b"whisper-base" in answers.read()


def test_a_client_that_vanishes_leaves_nothing_and_holds_up_nobody(wyoming: Wyoming, jfk: Path, factory: Path) -> None:
    gone = [begin(wyoming, jfk, pace=1) for _ in range(3)]
    deadline = time.monotonic() + 30
    while wyoming.streams < len(gone):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for playing in gone:
        playing.kill()
        playing.communicate()

    wait_until_nobody_is_heard(wyoming)
    found = transcript(told(begin(wyoming, factory, ask={"language": "zh"})))
    assert character_errors(FACTORY, found["text"][: len(FACTORY) + 1]) <= 3


def test_sigterm_lets_a_transcription_end(models_dir: Path, tmp_path: Path, jfk: Path) -> None:
    started = _start(models_dir, tmp_path)
    server = started.server
    try:
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", started.port), 20) as idle:
            playing = begin(started, jfk, pace=1, ask={"language": "en"})
            deadline = time.monotonic() + 30
            while not started.streams:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            server.process.send_signal(signal.SIGTERM)

            assert idle.recv(1) == b""
            assert playing.poll() is None, "what was being said was cut off"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", started.port), 5)
        assert word_error_rate(JFK, transcript(told(playing))["text"]) <= 0.15
        assert server.process.wait(20) == -signal.SIGTERM
        assert list(server.temp.iterdir()) == []
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()
