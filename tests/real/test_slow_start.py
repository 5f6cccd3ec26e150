"""The server while a model takes minutes to start: it answers health, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
from models.small_qwen import make

from .server import ROOT, start_server

STUB = ROOT / "tests" / "engines" / "stub_vllm"


def test_the_end_does_not_wait_for_a_start(models_dir: Path, tmp_path: Path) -> None:
    checkpoint = make(tmp_path / "qwen", kind="random")
    aligner = make(tmp_path / "aligner", kind="aligner")
    server = start_server(
        models_dir,
        tmp_path,
        ASR_MODEL="qwen3-asr-0.6b",
        ASR_MODEL_DIR_QWEN3_ASR_0_6B=str(checkpoint),
        ASR_MODEL_DIR_QWEN3_FORCED_ALIGNER=str(aligner),
        SPEAKER_DIARIZATION="off",
        PYTHONPATH=str(STUB),
        STUB_START_SECONDS="600",
    )
    try:
        host = _host_of(server.process.pid)
        assert httpx.get(f"{server.base}/health/live").status_code == 200
        assert httpx.get(f"{server.base}/health/ready").status_code == 503
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)
        assert time.monotonic() - began < 10
        for _ in range(50):
            if not Path(f"/proc/{host}/exe").exists():
                return
            time.sleep(0.1)
        os.killpg(host, signal.SIGKILL)
        raise AssertionError("vLLM outlived the server")
    finally:
        server.process.kill()
        server.process.wait()


def _host_of(server: int) -> int:
    """The vLLM process that the server has started."""
    for _ in range(600):
        for folder in Path("/proc").iterdir():
            try:
                called = (folder / "cmdline").read_text()
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if "app.engines.qwen3.host" in called and int(parent) == server:
                return int(folder.name)
        time.sleep(0.1)
    raise AssertionError("the server never started vLLM")
