from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from .server import RealServer

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
