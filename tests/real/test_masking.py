"""Sensitive words in real speech: nothing of them is in any format, at once, streamed or told live."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from .scoring import plain
from .server import RealServer

PATH = "/v1/audio/transcriptions"
SECRET = ("fellow Americans", "country")


@pytest.fixture
def http(real_server: RealServer) -> httpx.Client:
    return httpx.Client(base_url=real_server.base, timeout=120)


def ask(http: httpx.Client, shared_audio: Path, **form: str) -> str:
    sound = (shared_audio / "en_jfk.flac").read_bytes()
    answer = http.post(PATH, files={"file": ("a.flac", sound)}, data=form)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("shape", ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"])
def test_no_format_has_them(http: httpx.Client, shared_audio: Path, shape: str) -> None:
    asked = {"response_format": shape, "timestamp_granularities[]": "word", "sensitive_words": json.dumps(SECRET)}
    said = ask(http, shared_audio, **asked, hotwords="country, ask")
    assert not any(word in said.casefold() for word in ("fellow", "americans", "country"))
    assert "****** *********" in said
    assert "ask not what your" in plain(said) or shape in {"srt", "vtt", "verbose_json"}


def test_neither_has_a_stream(http: httpx.Client, shared_audio: Path) -> None:
    made = http.post("/v1/sensitive_words", json={"name": "Speech", "words": list(SECRET)}).json()
    try:
        form = {"stream": "true", "sensitive_words": made["id"], "sensitive_words_style": "remove"}
        said = ask(http, shared_audio, **form)
    finally:
        http.delete(f"/v1/sensitive_words/{made['id']}")
    assert not any(word in said.casefold() for word in ("fellow", "americans", "country"))
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")]
    text = "".join(event["delta"] for event in events if event["type"] == "transcript.text.delta")
    assert text == events[-1]["text"]
    assert plain(text) == "and so my ask not what your can do for you ask what you can do for your"
