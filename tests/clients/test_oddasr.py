"""OddASR's sample client against the real server and a real model: what it is told, and that it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
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
from real.scoring import character_errors, wav_bytes, word_error_rate
from real.server import RealServer, start_server

SCRIPT = Path(__file__).with_name("oddasr_play.py")
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
FACTORY = "富士康在印度工厂出现大规模感染目前工厂产量已下降超"
"""What the model writes as 百分之五十 or 50% follows."""


@dataclass(frozen=True)
class Port:
    """A server with a port of its own for OddASR's clients. `log` is what it printed."""

    url: str
    log: Path


@pytest.fixture(scope="module")
def port(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("oddasr")
    server: RealServer = start_server(models_dir, folder, ODDASR_WS_PORT=str(number))
    try:
        server.wait_until_ready()
        yield Port(f"ws://127.0.0.1:{number}/v1/asr", server.log)
        assert httpx.get(f"{server.base}/health").json()["active_streams"] == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def jfk(shared_audio: Path, tmp_path: Path) -> Path:
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, 16_000)
    path = tmp_path / "jfk.wav"
    path.write_bytes(wav_bytes((mono * 32767).astype(np.int16)))
    return path


def play(url: str, wav: Path, folder: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The messages that the sample client was told, and its log."""
    command = [interpreter("oddasr"), SCRIPT, wav, "--server_url", url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (line for line in done.stdout.splitlines() if line.startswith("{"))
    return [json.loads(line)["message"] for line in lines], done.stderr


def named(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [message["payload"] for message in messages if message["header"]["name"] == name]


def test_the_sample_client_is_told_all_of_a_recording_and_ends(port: Port, jfk: Path, tmp_path: Path) -> None:
    """It sends the file with its header at twice its speed, never says that it has ended, and waits for the close."""
    messages, log = play(port.url, jfk, tmp_path)

    sentences = named(messages, "SentenceEnd")
    assert messages[0]["header"]["name"] == "SentenceBegin"
    assert named(messages, "TranscriptionResultChanged"), "nothing was told while somebody spoke"
    assert sentences[-1]["result"] == "END"
    assert word_error_rate(JFK, " ".join(sentence["result"] for sentence in sentences[:-1])) <= 0.15
    assert "Connection closed gracefully" in log
    assert "Receive error" not in log
    assert "unknown message type" not in log


def test_several_sample_clients_at_once_are_told_the_same(port: Port, shared_audio: Path, tmp_path: Path) -> None:
    messages, log = play(port.url, shared_audio / "zh_aishell_long.wav", tmp_path, "--concurrency", "3")

    begun = [message["header"]["task_id"] for message in messages if message["header"]["name"] == "SentenceBegin"]
    assert len(set(begun)) == 3
    for task_id in begun:
        own = [message for message in messages if message["header"]["task_id"] == task_id]
        text = "".join(sentence["result"] for sentence in named(own, "SentenceEnd")[:-1])
        assert character_errors(FACTORY, text[: len(FACTORY) + 1]) <= 3
    assert "Receive error" not in log
