"""What Open WebUI sends when it is set to send JSON, to the real server."""

from __future__ import annotations

import base64
from pathlib import Path

import av
import httpx

from .scoring import plain
from .server import RealServer

EN_EXAMPLE = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def mp3(path: Path, made: Path) -> bytes:
    """The recording as Open WebUI compresses it."""
    with av.open(path) as source, av.open(made, "w", format="mp3") as target:
        stream = target.add_stream("libmp3lame", rate=16_000, layout="mono")
        resampler = av.AudioResampler(format="s16p", layout="mono", rate=16_000)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return made.read_bytes()


def test_a_recording_in_json_is_heard(real_server: RealServer, shared_audio: Path, tmp_path: Path) -> None:
    data = base64.b64encode(mp3(shared_audio / "en_jfk.flac", tmp_path / "jfk.mp3")).decode()

    answer = httpx.post(
        f"{real_server.base}/v1/audio/transcriptions",
        json={"model": "whisper-1", "language": "en", "input_audio": {"data": data, "format": "mp3"}},
        headers={"authorization": "Bearer any"},
        timeout=120,
    )

    assert answer.status_code == 200, answer.text
    assert plain(answer.json()["text"]) == EN_EXAMPLE
