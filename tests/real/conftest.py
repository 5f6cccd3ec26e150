from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from models.small_whisper import make_small_whisper
from openai import OpenAI

from .server import RealServer
from .wires import Wires, start_wires

Listen = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def sdk(real_server: RealServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{real_server.base}/v1", api_key="any", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def listen(sdk: OpenAI) -> Listen:
    """verbose_json with words of a file, asked of the server once however many tests look at it."""
    answers: dict[tuple[Path, str], dict[str, Any]] = {}

    def answer(path: Path, language: str = "auto") -> dict[str, Any]:
        if (path, language) not in answers:
            transcription = sdk.audio.transcriptions.create(
                file=path,
                model="whisper-1",
                language=language,
                response_format="verbose_json",
                timestamp_granularities=["word", "segment"],
            )
            answers[path, language] = transcription.model_dump()
        return answers[path, language]

    return answer


@pytest.fixture(scope="session")
def small_wires(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    """A server with the small model, which lets as many wait as come, on all its ports."""
    small = make_small_whisper(tmp_path_factory.mktemp("models") / "small", models_dir / "whisper-base")
    folder = tmp_path_factory.mktemp("small")
    wires = start_wires(
        models_dir, folder, ASR_MODEL_DIR_WHISPER_BASE=str(small), MAX_WAIT_SECONDS="600", ASR_CHINESE_STYLE="false"
    )
    server = wires.server
    try:
        server.wait_until_ready()
        yield wires
        assert server.active() == 0
        assert list(server.temp.iterdir()) == []
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def small_server(small_wires: Wires) -> RealServer:
    """The same one, for who needs only its main port."""
    return small_wires.server
