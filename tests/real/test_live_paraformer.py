"""Live speech by small Paraformers through the real server: words one by one as they are said, then the sentence."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from models.small_paraformer_online import write_streaming_paraformer
from models.speech import RATE, say
from websockets.asyncio.client import connect

from .live_client import FRAME, PATIENCE, Heard, listen
from .scoring import character_errors
from .server import RealServer, start_server

SENTENCES = ("人工智能改变世界", "今天天气很好")


@pytest.fixture(scope="module")
def server(models_dir: Path, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    online = write_streaming_paraformer(shared_models / "paraformer-online-tiny", tmp_path_factory.mktemp("online"))
    running = start_server(
        models_dir,
        tmp_path_factory.mktemp("live"),
        ASR_MODEL="paraformer-large",
        ASR_MODEL_DIR_PARAFORMER_LARGE=str(shared_models / "paraformer-tiny-onnx"),
        ASR_MODEL_DIR_PARAFORMER_LARGE_ONLINE=str(online),
        SPEAKER_DIARIZATION="off",
        HF_HUB_OFFLINE="1",
    )
    try:
        running.wait_until_ready()
        yield running
        assert running.stop(signal.SIGINT) in {0, 130}
        assert "Traceback" not in running.log.read_text()
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Two sentences in a quiet room, a second between them, nothing after the last: int16."""
    gap = np.zeros(round(1.2 * RATE), np.float32)
    parts = [part for text in SENTENCES for part in (gap, say(text, "cmn+f4", speed=150))]
    sound = np.concatenate(parts)
    noise = np.random.default_rng(3).standard_normal(len(sound)) * 3e-4
    return (np.clip(sound + noise, -1, 1) * 32767).astype(np.int16)


def test_words_come_while_they_are_said(server: RealServer, talk: np.ndarray) -> None:
    heard: Heard = asyncio.run(listen(f"{server.base}/ws/v1/asr", talk, pace=1.0, enable_words=True))
    first = [message.payload["result"] for message in heard.partials if message.payload["index"] == 1]
    assert len(first) >= 2
    assert all(after.startswith(before) for before, after in pairwise(first))
    assert "人工智能" in heard.texts[0]
    assert heard.text.rstrip("。？")[-1] == "好"
    places = [heard.messages.index(message) for message in (heard.partials[0], heard.finals[0])]
    assert places == sorted(places)
    words = heard.finals[0].payload["words"]
    assert "".join(word["text"] for word in words).startswith("人工智能")
    assert all(before["endTime"] <= after["startTime"] for before, after in pairwise(words))


def test_funasrs_online_mode_puts_the_words_together(server: RealServer, talk: np.ndarray) -> None:
    async def online() -> list[str]:
        said: list[str] = []
        size = round(FRAME * RATE)
        url = f"{server.base}/ws/funasr".replace("http", "ws", 1)
        async with asyncio.timeout(PATIENCE), connect(url, proxy=None) as socket:
            await socket.send(json.dumps({"mode": "online", "wav_format": "pcm", "audio_fs": RATE}))
            for start in range(0, len(talk), size):
                await socket.send(talk[start : start + size].tobytes())
                await asyncio.sleep(FRAME)
            await socket.send(json.dumps({"is_speaking": False}))
            async for raw in socket:
                message = json.loads(raw)
                said.append(message["text"])
                if message["is_final"]:
                    return said
        return said

    said = asyncio.run(online())
    assert len([text for text in said if text]) >= 4
    # What was sent is not taken back: the streaming model's own mistakes stay.
    assert character_errors("".join(SENTENCES), "".join(said)) <= 5
