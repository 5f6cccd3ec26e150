"""`start.py -c config.json` on a real model: OddASR's clients find everything where they had it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real.server import ROOT, RealServer
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from app.settings import Settings

FRAME = 19_200
"""What OddASR's sample client sends at once."""
PATIENCE = 60.0


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    with contextlib.ExitStack() as held:
        first, second = (held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        return first.getsockname()[1], second.getsockname()[1]


@pytest.fixture(scope="module")
def server(
    ports: tuple[int, int], models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RealServer, Path]]:
    """The server, and the folder it was started in. Nothing says where it listens but the file."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "temp").mkdir()
    said = {
        "HOST": "127.0.0.1",
        "PORT": ports[0],
        "WS_HOST": "127.0.0.2",
        "WS_PORT": ports[1],
        "odd_asr_cfg": {"enable_gpu": False, "asr_stream_cfg": {"free_resource_timeout": 1, "vad_threshold": 0.8}},
        "db_cfg": {"db_password": "hush-hush"},
        "log_file": "oddasr.log",
        "log_path": "logs/",
        "log_level": 10,
    }
    (folder / "config.json").write_text(json.dumps(said), "utf-8")
    names = {name.upper() for name in Settings.model_fields}
    clean = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("ASR_")}
    process = subprocess.Popen(
        [sys.executable, ROOT / "start.py", "-c", "config.json"],
        cwd=folder,
        env=clean | {"MODELS_DIR": str(models_dir), "TEMP_DIR": str(folder / "temp"), "ASR_MODEL": "whisper-base"},
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    real = RealServer(f"http://127.0.0.1:{ports[0]}", process, folder / "temp", folder / "log")
    try:
        real.wait_until_ready()
        yield real, folder
        assert real.stop(signal.SIGINT) in {0, 130}
    finally:
        process.kill()
        process.wait()


def test_its_clients_find_it_and_its_log_says_what_does_nothing(
    server: tuple[RealServer, Path], ports: tuple[int, int], phone_call: Path
) -> None:
    real, folder = server
    sound = (phone_call / "sample.wav").read_bytes()[: 32_000 * 16]
    texts: list[str] = []
    with connect(f"ws://127.0.0.2:{ports[1]}/v1/asr", proxy=None) as socket_:
        socket_.send(json.dumps({"name": "StartTranscription", "message_id": "", "token": "", "task_id": ""}))
        assert json.loads(socket_.recv(PATIENCE))["header"]["name"] == "SentenceBegin"
        for start in range(0, len(sound), FRAME):
            socket_.send(sound[start : start + FRAME])
        with pytest.raises(ConnectionClosedOK):  # who only stops sending is told everything, and sent away
            while True:
                message = json.loads(socket_.recv(PATIENCE))
                texts += [message["payload"]["result"]] if message["header"]["name"] == "SentenceEnd" else []
    assert texts.pop() == "END"
    assert "New Jersey" in " ".join(texts)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[1]), 5)
    recording = {"audio": (phone_call / "sample.wav").read_bytes()}
    answer = httpx.post(f"{real.base}/v1/asr", files=recording, timeout=PATIENCE, trust_env=False)
    assert "New Jersey" in answer.json()["text"]

    log = (folder / "logs" / "oddasr.log").read_text("utf-8")
    assert "config.json: odd_asr_cfg.asr_stream_cfg.vad_threshold has no effect: " in log
    assert "config.json: db_cfg has no effect: " in log
    assert " DEBUG " in log
    for private in ("hush-hush", "Jersey", "SentenceEnd"):
        assert private not in log
        assert private not in real.log.read_text("utf-8")
