"""Many clients at once, clients that leave, and the server's end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from openai import OpenAI

from .scoring import plain, read_wav, wav_bytes
from .server import RealServer, start_server

RATE = 16_000
CLIPS = ((8.2, 10.8), (10.7, 12.6), (12.5, 14.4), (17.8, 20.2))
"""Stretches of the phone call in seconds."""


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def clips(phone_call: Path) -> list[bytes]:
    sound = read_wav(phone_call / "sample.wav")
    return [wav_bytes(sound[round(start * RATE) : round(end * RATE)]) for start, end in CLIPS]


def test_parallel_requests_hear_what_they_hear_alone(sdk: OpenAI, real_server: RealServer, clips: list[bytes]) -> None:
    def heard(clip: bytes) -> str:
        return sdk.audio.transcriptions.create(
            file=("clip.wav", clip), model="whisper-1", response_format="json", language="en"
        ).text

    alone = [heard(clip) for clip in clips]
    assert len({plain(text) for text in alone}) == len(clips), "every clip says something else"
    with ThreadPoolExecutor(2 * len(clips)) as clients:
        together = [clients.submit(heard, clip) for clip in clips + clips]
        assert until(lambda: real_server.active() >= 4)
        delays: list[float] = []
        while not all(work.done() for work in together):
            asked = time.monotonic()
            assert httpx.get(f"{real_server.base}/health/live").status_code == 200
            delays.append(time.monotonic() - asked)
            time.sleep(0.05)
    assert [work.result() for work in together] == alone + alone
    assert sorted(delays)[len(delays) // 2] < 0.5, "health answers while the server works"


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_client_that_leaves_frees_its_place(real_server: RealServer, phone_call: Path, stream: str) -> None:
    body = wav_bytes(np.tile(read_wav(phone_call / "sample.wav"), 20))  # ten minutes: more than any machine's second
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{real_server.base}/v1/audio/transcriptions",
            files={"file": body},
            data={"stream": stream, "response_format": "json", "language": "en"},
            timeout=httpx.Timeout(10, read=1.0),
        )
    assert until(lambda: real_server.active() == 0, 5)
    assert until(lambda: list(real_server.temp.iterdir()) == [])
    assert httpx.get(f"{real_server.base}/health").json()["waiting_pieces"] == 0


def test_sigterm_while_idle_ends_the_server_cleanly(models_dir: Path, tmp_path: Path) -> None:
    server = start_server(models_dir, tmp_path)
    try:
        server.wait_until_ready()
        assert server.stop(signal.SIGTERM) in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()
