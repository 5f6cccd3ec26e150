"""vLLM's realtime dialect at the real server, as its example client speaks it."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from real.scoring import character_errors, word_error_rate
from real.server import RealServer
from websockets.sync.client import ClientConnection, connect

RATE = 16_000
JOBS = (
    "but ten years later when we were designing the first macintosh computer it all came back to me and we designed it "
    "all into the mac it was the first computer with beautiful typography"
)
FACTORY = "富士康在印度工厂出现大规模感染目前工厂产量已下降超"


def sound(path: Path) -> bytes:
    samples, rate = soundfile.read(path, always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, RATE)
    return (mono * 32767).astype("<i2").tobytes()


def told(connection: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """The messages up to one of that type."""
    messages: list[dict[str, Any]] = [json.loads(connection.recv(60))]
    while messages[-1]["type"] != kind:
        messages.append(json.loads(connection.recv(60)))
    return messages


def say(connection: ClientConnection, kind: str, **fields: object) -> None:
    connection.send(json.dumps({"type": kind, **fields}))


def transcribe(connection: ClientConnection, data: bytes, pace: float) -> tuple[list[dict[str, Any]], bool]:
    """What is told of a recording, and whether the first of it came before all was said."""
    say(connection, "input_audio_buffer.commit")
    for at in range(0, len(data), 6400):
        say(connection, "input_audio_buffer.append", audio=base64.b64encode(data[at : at + 6400]).decode())
        if pace:
            time.sleep(0.2 / pace)
    early: list[dict[str, Any]] = []
    with contextlib.suppress(TimeoutError):
        early.append(json.loads(connection.recv(0)))
    say(connection, "input_audio_buffer.commit", final=True)
    return [*early, *told(connection, "transcription.done")], bool(early)


@pytest.fixture
def connection(real_server: RealServer) -> Any:
    url = real_server.base.replace("http", "ws", 1) + "/v1/realtime"
    with connect(url, open_timeout=20, proxy=None) as connection:
        created = json.loads(connection.recv(20))
        assert created["type"] == "session.created"
        assert created["id"]
        say(connection, "session.update", model="whisper-base")
        yield connection


def check(messages: list[dict[str, Any]]) -> str:
    """The text, which all deltas together are."""
    *deltas, done = messages
    assert {message["type"] for message in deltas} == {"transcription.delta"}
    assert "".join(message["delta"] for message in deltas) == done["text"]
    usage = done["usage"]
    assert 0 < usage["completion_tokens"] == usage["total_tokens"]
    return str(done["text"])


def test_text_grows_while_somebody_speaks(connection: ClientConnection, shared_audio: Path) -> None:
    early = False
    for pace in (1.0, 0.5, 0.25):  # a busy machine leaves guesses out first
        messages, early = transcribe(connection, sound(shared_audio / "en_steve_jobs_10s.wav"), pace=pace)
        assert word_error_rate(JOBS, check(messages)) <= 0.15
        if early:
            break
    assert early, "nothing was told before the end"


def test_a_connection_hears_one_after_the_other(connection: ClientConnection, shared_audio: Path) -> None:
    data = sound(shared_audio / "zh_aishell_long.wav")
    say(connection, "session.update", model="whisper-base", language="zh")

    for _ in range(2):
        text = check(transcribe(connection, data, pace=0)[0])
        assert character_errors(FACTORY, text[: len(FACTORY) + 1]) <= 3


def test_an_unknown_model_is_told_as_vllm_tells_it(connection: ClientConnection) -> None:
    say(connection, "session.update", model="nobody")

    error = told(connection, "error")[-1]
    assert error["code"] == "model_not_found"
    assert "nobody" in error["error"]
    data = np.zeros(RATE, "<i2").tobytes()
    say(connection, "input_audio_buffer.append", audio=base64.b64encode(data).decode())
    assert told(connection, "error")[-1]["code"] == "model_not_validated"
