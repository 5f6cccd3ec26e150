"""What the OpenAPI document promises, held against requests made up from it: no server error, and no answer of a
status, type or shape that it does not describe."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import soxr
from models.small_whisper import make_small_whisper

from real.server import start_server

KEY = "schema-key"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.fixture
def speech(shared_audio: Path, tmp_path: Path) -> Path:
    """A second and a half of it."""
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", always_2d=True)
    path = tmp_path / "speech.wav"
    soundfile.write(path, soxr.resample(samples.mean(axis=1), rate, 16_000)[4_800:28_800], 16_000)
    return path


@pytest.mark.timeout(600)
def test_every_answer_is_described(models_dir: Path, tmp_path: Path, speech: Path) -> None:
    # What is said is no matter here, and there is much of it.
    small = make_small_whisper(tmp_path / "small", models_dir / "whisper-base")
    settings = {"ASR_MODEL_DIR_WHISPER_BASE": str(small), "ASR_CHINESE_STYLE": "false"}
    server = start_server(models_dir, tmp_path, API_KEYS=KEY, **settings)
    try:
        server.wait_until_ready()
        report = made_up_requests(server.base, speech)
        assert server.active() == 0
        assert server.stop(signal.SIGINT) in {0, 130}
    finally:
        server.process.kill()
        server.process.wait()
    assert "Traceback" not in server.log.read_text()
    counted = re.search(r"(\d+) generated, (\d+) passed", report)
    assert counted is not None and int(counted[1]) == int(counted[2]) > 1000, report


def made_up_requests(base: str, speech: Path) -> str:
    """What schemathesis reports, once it has found nothing."""
    command = [Path(sys.executable).with_name("st"), "--no-color", "run", f"{base}/openapi.json"]
    chosen = ["--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)]
    amount = ["--seed", "1", "--max-examples", "20", "--continue-on-failure", "--request-timeout", "60"]
    hooks = {"SCHEMATHESIS_HOOKS": "schema_hooks", "PYTHONPATH": str(Path(__file__).parent), "SPEECH": str(speech)}
    done = subprocess.run(
        [*command, *chosen, *amount, "-H", f"Authorization: Bearer {KEY}"],
        check=False,
        env=os.environ | hooks,
        cwd=speech.parent,  # where it keeps what it remembers
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
