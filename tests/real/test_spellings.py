"""OpenAI's paths as its own SDK writes them for other bases, and sockets there, on the real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai import OpenAI
from websockets.sync.client import connect

from .scoring import plain
from .server import RealServer

EN_EXAMPLE = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


@pytest.mark.parametrize("base", ["", "/openai/v1", "/v1/audio/transcriptions"])
def test_the_sdk_is_served_at_any_base(real_server: RealServer, shared_audio: Path, base: str) -> None:
    with OpenAI(base_url=f"{real_server.base}{base}", api_key="any", max_retries=0) as sdk:
        answer = sdk.audio.transcriptions.create(file=shared_audio / "en_jfk.flac", model="whisper-1", language="en")

    assert plain(answer.text) == EN_EXAMPLE


@pytest.mark.parametrize("path", ["/realtime", "/openai/v1/realtime", "/v1/v1/realtime/"])
def test_a_live_session_opens_at_any_spelling(real_server: RealServer, path: str) -> None:
    with connect(f"{real_server.base.replace('http', 'ws', 1)}{path}?intent=transcription") as socket:
        assert json.loads(socket.recv(10))["type"] == "session.created"
