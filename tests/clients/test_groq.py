"""Groq's SDK against the real server: it has OpenAI's paths behind /openai."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environments import interpreter
from real.scoring import plain
from real.server import RealServer

HERE = Path(__file__).resolve().parent
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def asked(server: RealServer, how: str, file: Path, **options: Any) -> Any:
    given = {"base": server.base, "key": "any", "how": how, "file": str(file), "options": options}
    command = [interpreter("groq"), HERE / "groq_play.py", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def jfk(shared_audio: Path) -> Path:
    return shared_audio / "en_jfk.flac"


def test_a_recording_is_transcribed(real_server: RealServer, jfk: Path) -> None:
    answer = asked(
        real_server,
        "transcriptions",
        jfk,
        model="whisper-large-v3-turbo",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        temperature=0.0,
        language="en",
    )

    assert plain(answer["text"]) == JFK
    assert [word["word"].lower() for word in answer["words"]] == JFK.split()
    assert answer["segments"][0]["start"] < answer["segments"][-1]["end"]


def test_a_recording_is_translated(real_server: RealServer, jfk: Path) -> None:
    assert asked(real_server, "translations", jfk, model="whisper-large-v3")["text"]


def test_models_are_listed(real_server: RealServer, jfk: Path) -> None:
    assert "whisper-base" in [model["id"] for model in asked(real_server, "models", jfk)["data"]]


def test_an_error_is_the_sdks(real_server: RealServer, jfk: Path) -> None:
    answer = asked(real_server, "transcriptions", jfk, model="whisper-large-v3", language="klingon")

    assert answer["raised"] == "BadRequestError"
    assert answer["body"]["error"]["param"] == "language"
