"""Servers to end: the small model, so that they start in seconds and answer at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models.small_whisper import make_small_whisper
from real.server import RealServer
from real.wires import Wires, start_wires

Starting = Callable[..., Wires]


@pytest.fixture(scope="session")
def small_model(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_whisper(tmp_path_factory.mktemp("models") / "small", models_dir / "whisper-base")


@pytest.fixture(scope="module")
def starting(models_dir: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starting]:
    """Starts a server with all its ports and the settings that are given, which is ready."""
    started: list[RealServer] = []

    def start(**settings: str) -> Wires:
        given = {"ASR_MODEL_DIR_WHISPER_BASE": str(small_model), "ASR_CHINESE_STYLE": "false"} | settings
        wires = start_wires(models_dir, tmp_path_factory.mktemp("server"), MAX_WAIT_SECONDS="600", **given)
        started.append(wires.server)
        wires.server.wait_until_ready()
        return wires

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
