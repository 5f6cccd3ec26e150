"""What tests with real models share: the weights, a real recording, and the real server."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from real.server import ROOT, RealServer, start_server

from app.modelstore.catalog import FSMN_VAD, PHONE_CALL, SPEAKERS, WHISPER_BASE
from app.modelstore.store import ModelStore
from app.settings import Settings

# A busy machine is no failure, and what fails once shall fail again.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


_LIVE = re.compile(
    r"clients/(?!test_groq|test_oddasr_api)|nginx/test_rolling|real/test_(live_|page|slow_start|together|decoder)|test_readme"
)
"""Where it counts how soon something comes: live speech, and starts."""

_LONG = re.compile(
    r"real/|lifecycle/|nginx/|web/|cli/|test_readme|clients/test_(openai|funasr|words)|service/test_job_(telling|store|runner)"
)
"""Files that take longest for what they hold. They are begun first, so that no worker has one when all else is done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what must not be kept waiting by heavy work beside it, and begin with what takes longest."""
    for item in items:
        if _LIVE.match(_place(item)) and not {mark.name for mark in item.iter_markers()} & {"heavy", "vllm"}:
            item.add_marker("live")
    items.sort(key=lambda item: _LONG.match(_place(item)) is None)


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's models folder, with the speech models in it: fetched the first time, then kept."""
    _store(tmp_path_factory).ensure_all([WHISPER_BASE.id, FSMN_VAD.id, SPEAKERS.id])
    return ROOT / "models"


@pytest.fixture(scope="session")
def phone_call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real phone call: sample.wav (30 s, two speakers) and sample.stm (what they say, and when)."""
    return _store(tmp_path_factory).ensure(PHONE_CALL.id)


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Recordings that are not part of the repository."""
    return _shared("audio", "manifest.tsv")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Small checkpoints in the true formats, each in a folder of its own. They are not part of the repository."""
    return _shared("models", "paraformer-tiny-onnx/model.onnx")


@pytest.fixture(scope="session")
def real_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """One server for all tests; its end is checked, too."""
    server = start_server(models_dir, tmp_path_factory.mktemp("server"))
    try:
        server.wait_until_ready()
        yield server
        assert server.active() == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


def _shared(name: str, member: str) -> Path:
    folder = ROOT.parent / "shared" / name
    if not (folder / member).is_file():
        reason = f"the shared {name} (../shared/{name}) are not on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def _store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A store that keeps what it fetches in the repository and looks nowhere else on this machine."""
    nowhere = tmp_path_factory.mktemp("caches")
    return ModelStore(Settings(models_dir=ROOT / "models", modelscope_path=nowhere, hf_home=nowhere))
