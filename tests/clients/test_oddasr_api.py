"""OddASR's sample client for recordings against the real server and a real model: what it prints."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import interpreter
from real.scoring import character_errors, plain
from real.server import start_server

SCRIPT = Path(__file__).with_name("oddasr_api_play.py")
RECORDING, SAID = "zh_asr_example.wav", "欢迎大家来体验达摩院推出的语音识别模型"
RESULT = "Recognition Result: "


@pytest.fixture(scope="module")
def address(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with a port of its own for OddASR's clients."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    server = start_server(models_dir, tmp_path_factory.mktemp("oddasr"), ODDASR_HTTP_PORT=str(number))
    try:
        server.wait_until_ready()
        yield f"http://127.0.0.1:{number}"
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


def play(address: str, recording: Path, layout: str) -> str:
    """What the sample client prints after what it calls the result."""
    command = [interpreter("oddasr"), SCRIPT, address, recording, layout]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=recording.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    _, found, result = done.stdout.partition(RESULT)
    assert found, done.stdout
    return result.rstrip("\n")


def test_txt(address: str, shared_audio: Path) -> None:
    assert character_errors(SAID, play(address, shared_audio / RECORDING, "txt")) <= 1


def test_spk(address: str, phone_call: Path) -> None:
    lines = play(address, phone_call / "sample.wav", "spk").split("\n")
    assert {line.partition(": ")[0] for line in lines} == {"发言人 0", "发言人 1"}


def test_srt(address: str, shared_audio: Path) -> None:
    number, times, said = play(address, shared_audio / RECORDING, "srt").split("\n", 2)
    assert number == "1"
    assert re.fullmatch(r"00:00:0\d,\d{3} --> 00:00:0\d,\d{3}", times)
    assert said.startswith("发言人 0: ")
    assert character_errors(SAID, plain(said.removeprefix("发言人 0: "))) <= 1


def test_errors_are_printed(address: str, tmp_path: Path) -> None:
    """It prints the body of whatever is no success."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nonsense")
    command = [interpreter("oddasr"), SCRIPT, address, broken, "txt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert 'Error: {"error":"The file could not be decoded as audio.' in done.stdout
