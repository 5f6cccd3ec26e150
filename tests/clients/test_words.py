"""Other people's clients hear as well live as the server hears files: the same recordings both ways."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from environments import interpreter
from real.known import POINTS, Known, known_recordings, transcripts, wrong
from real.server import RealServer

HERE = Path(__file__).resolve().parent
LONGEST_SENTENCE = 60
"""Seconds that Alibaba's recognizer, which is for one sentence, is given at most."""


@pytest.fixture(scope="module")
def recordings(shared_audio: Path, phone_call: Path) -> list[Known]:
    return known_recordings(shared_audio, phone_call)


@pytest.fixture(scope="module")
def as_files(real_server: RealServer, recordings: list[Known]) -> list[str]:
    return transcripts(real_server, recordings)


def told(client: str, script: str, wish: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """What a client tells its user."""
    command = [interpreter(client), "-W", "ignore", HERE / script, json.dumps(wish)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def nls(kind: str, url: str, wav: Path) -> str:
    wish = {"url": f"{url}/ws/v1", "token": "any", "client": kind, "file": str(wav), "raw": False}
    wish |= {"pace": 4, "chunk": 3200, "tasks": 1, "start": {}}
    named = "sentence_end" if kind == "transcriber" else "completed"
    lines = told("nls", "nls_live.py", wish, wav.parent)
    return " ".join(line["message"]["payload"]["result"] for line in lines if line["name"] == named)


def transcriber(url: str, wav: Path) -> str:
    return nls("transcriber", url, wav)


def recognizer(url: str, wav: Path) -> str:
    return nls("recognizer", url, wav)


def funasr_client(url: str, wav: Path) -> str:
    wish = {"url": f"{url}/ws/funasr", "wav": str(wav), "how": "live", "pace": 4, "options": {"mode": "2pass"}}
    lines = told("funasr_client", "funasr_client_play.py", wish, wav.parent)
    return "".join(line["message"]["text"] for line in lines if line["message"]["mode"] == "2pass-offline")


def funasr_python(url: str, wav: Path) -> str:
    """In one pass: of several sentences in two it hands its user the last one only."""
    wish = {"url": f"{url}/ws/funasr", "wav": str(wav), "times": 1, "options": {"mode": "offline", "timeout": 120.0}}
    lines = told("funasr_python", "funasr_python_play.py", wish, wav.parent)
    return lines[-1]["text"]


@pytest.mark.parametrize("hear", [transcriber, recognizer, funasr_client, funasr_python])
def test_a_client_reads_hardly_more_mistakes_than_a_file_has(
    real_server: RealServer,
    recordings: list[Known],
    as_files: list[str],
    tmp_path: Path,
    hear: Callable[[str, Path], str],
) -> None:
    chosen = [
        (one, text)
        for one, text in zip(recordings, as_files, strict=True)
        if hear is not recognizer or len(one.sound) < LONGEST_SENTENCE * 16_000
    ]
    files = [tmp_path / f"{number}.wav" for number in range(len(chosen))]
    for file, (one, _) in zip(files, chosen, strict=True):
        file.write_bytes(one.wav)
    url = real_server.base.replace("http", "ws", 1)
    with ThreadPoolExecutor(2) as pool:
        heard = list(pool.map(lambda file: hear(url, file), files))
    known = [one for one, _ in chosen]
    assert wrong(known, heard) <= wrong(known, [text for _, text in chosen]) + POINTS, heard
