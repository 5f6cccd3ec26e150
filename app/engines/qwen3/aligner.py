"""The forced aligner behind its vLLM process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.domain.engines import SAMPLE_RATE
from app.domain.meters import Meter
from app.engines.qwen3.alignment import times
from app.engines.qwen3.languages import ALIGNED_LANGUAGES
from app.engines.qwen3.process import EngineProcess
from app.engines.qwen3.prompts import alignment_prompt

if TYPE_CHECKING:
    from app.domain.engines import Samples

_MAX_SECONDS = 60.0
"""Twice a piece: with its words it fits into what vLLM is told to make room for. (The model knows 300.)"""


class QwenAligner:
    """See app.domain.engines.Aligner. Its words are units without marks (`alignment.aligner_words`)."""

    languages = ALIGNED_LANGUAGES
    max_seconds = _MAX_SECONDS

    def __init__(self, model_id: str, process: EngineProcess, *, bin_seconds: float) -> None:
        self.id = model_id
        self._process = process
        self._bin_ms = bin_seconds * 1000

    async def align(self, samples: Samples, words: Sequence[str]) -> list[tuple[float, float]]:
        """See Aligner.align."""
        if not words:
            return []
        answer = await self._process.ask({"do": "align", "prompt": alignment_prompt(words)}, samples)
        return times(answer.bins, len(words), len(samples) / SAMPLE_RATE, self._bin_ms)

    def watch(self, meter: Meter) -> None:
        """See Watched."""
        self._process.watch(meter)

    def close(self) -> None:
        """End the process."""
        self._process.close()
