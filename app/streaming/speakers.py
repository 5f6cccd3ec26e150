"""Who says what in a live stream: voices are heard while their words are recognised, and told apart utterance by
utterance.

A speaker model that fails costs the sentence its speaker, never its text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, TypeAlias

from app.domain.engines import SpeakerModels, SpeechSpan
from app.domain.errors import SpeechError
from app.pipeline.diarization.hearing import Chunk, HeardChunk, chunks, hear

if TYPE_CHECKING:
    from app.domain.transcript import Segment
    from app.pipeline.diarization.online import OnlineVoices
    from app.streaming.sound import Stretch

Voiced: TypeAlias = "tuple[HeardChunk, ...] | None"
"""The voices in a piece; None where they could not be heard."""
_logger = logging.getLogger(__name__)


class LiveSpeakers:
    """One stream's speakers. Belongs to one event loop; `threads` compute."""

    def __init__(self, models: SpeakerModels, voices: OnlineVoices, threads: Executor) -> None:
        self._models = models
        self._voices = voices
        self._threads = threads
        self._kept: dict[Chunk, HeardChunk] = {}

    async def hear(self, sound: Stretch, spans: Sequence[SpeechSpan]) -> Voiced:
        """The voices in a piece's speech, ten seconds at a time, so that nobody else waits long for the threads.

        A piece that goes on after all is heard again, but for what was heard whole.
        """
        loop = asyncio.get_running_loop()
        heard: dict[Chunk, HeardChunk] = {}
        segmenter, encoder = self._models.segmenter, self._models.encoder
        try:
            for chunk in chunks(spans, segmenter.chunk_seconds):
                kept = self._kept.get(chunk)
                heard[chunk] = kept or await loop.run_in_executor(self._threads, hear, sound, chunk, segmenter, encoder)
        except SpeechError as error:
            _logger.warning("a sentence will have no speaker: %s", error.message)
            return None
        except Exception:  # this sentence's speaker ends here; its text and the stream go on
            _logger.exception("hearing voices failed in a way it should not")
            return None
        whole = sound.duration - segmenter.chunk_seconds
        self._kept = {chunk: one for chunk, one in heard.items() if chunk.start <= whole}
        return tuple(heard.values())

    async def tell(self, segments: list[Segment], voiced: Voiced) -> list[Segment]:
        """A piece's segments with their speakers, parted where these change. Pieces come in order; one that was not
        heard stays as it is, and so does one that says nothing: what sounds like a voice there is none."""
        if voiced is None or not segments:
            return segments
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._voices.tell, voiced, segments)
        except Exception:  # as in `hear`
            _logger.exception("telling live speakers apart failed in a way it should not")
            return segments
