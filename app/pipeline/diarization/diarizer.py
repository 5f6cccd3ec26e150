"""Who speaks when in one recording: its chunks heard on the engine threads, its voices told apart, known ones named.

Between requests nothing is shared but the models and a measure of their speed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from app.domain.engines import Sound, SpeakerEncoder, SpeakerModels, SpeakerSegmenter, SpeechSpan
from app.domain.errors import AudioTooShort, EngineFailure, InvalidParameter, SpeechError
from app.domain.speakers import Speaker, SpeakerOptions, SpeakerTurn, Voiceprint
from app.pipeline.diarization.clustering import Voices, find_voices
from app.pipeline.diarization.hearing import Chunk, HeardChunk, chunks, hear
from app.pipeline.diarization.matching import best_first
from app.pipeline.diarization.turns import VoiceTurn, turns_of
from app.pipeline.presence import Presence
from app.pipeline.yielding import YieldingPlaces

LEAST_SAMPLE_SECONDS = 1.0
"""Speech that a voiceprint needs: less is a word or two, whose sounds say more than the voice."""
_ANOTHER = 0.25
"""The part of a sample that a second voice may have before the sample is refused."""
_MEMORY = 0.1
"""How much the latest recording counts in the measured speed."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who speaks in a recording, and when: turns in order of their starts."""

    speakers: tuple[Speaker, ...] = ()
    turns: tuple[SpeakerTurn, ...] = ()


class Diarizer:
    """Tells the speakers of a recording apart. Belongs to one event loop."""

    def __init__(
        self,
        segmenter: SpeakerSegmenter,
        encoder: SpeakerEncoder,
        executor: Executor,
        *,
        parallel: int,
        threshold: float,
        presence: Presence | None = None,
    ) -> None:
        """`parallel` chunks of a recording are heard at once; `threshold` is the least similarity of a known voice.

        `presence`: its recordings are jobs', which make way for whoever that is.
        """
        self._segmenter = segmenter
        self._encoder = encoder
        self._executor = executor
        self._parallel = parallel
        self._threshold = threshold
        self._yielding = None if presence is None else YieldingPlaces(presence, parallel)
        self._pace: float | None = None

    @property
    def encoder_id(self) -> str:
        """The model whose embeddings these are."""
        return self._encoder.id

    @property
    def models(self) -> SpeakerModels:
        """What it hears with, for those who hear while somebody still speaks."""
        return SpeakerModels(self._segmenter, self._encoder)

    def work(self, spans: Sequence[SpeechSpan]) -> float:
        """Seconds of the whole machine it takes to tell the speakers of so much speech; 0 until it was measured."""
        return _seconds(spans) * (self._pace or 0.0)

    async def diarize(self, sound: Sound, spans: Sequence[SpeechSpan], options: SpeakerOptions) -> Diarization:
        """Who speaks in `spans`, the recording's speech. Cancelling ends it after the chunks in hand.

        Raises:
            EngineFailure: a model failed.
        """
        if not spans:
            return Diarization()
        heard, busy = await self._hear(sound, chunks(spans, self._segmenter.chunk_seconds))
        self._learn(busy / self._parallel / max(_seconds(spans), 1.0))
        return await asyncio.to_thread(self._tell, heard, options)

    async def voiceprint(self, sound: Sound, spans: Sequence[SpeechSpan], *, param: str) -> Voiceprint:
        """What the one voice in a sample sounds like. `param` names the sample in errors.

        Raises:
            AudioTooShort: hardly any speech.
            InvalidParameter: more than one voice.
            EngineFailure: a model failed.
        """
        seconds = _seconds(spans)
        if seconds < LEAST_SAMPLE_SECONDS:
            raise AudioTooShort(
                f"The sample holds {seconds:.1f} s of speech; a voice needs {LEAST_SAMPLE_SECONDS:g} s.", param=param
            )
        heard, _ = await self._hear(sound, chunks(spans, self._segmenter.chunk_seconds))
        voices = await asyncio.to_thread(_voices, heard, SpeakerOptions())
        if voices is None:
            raise AudioTooShort("The sample holds too little clear speech to know a voice by.", param=param)
        main = int(voices.seconds.argmax())
        if 1 - voices.seconds[main] / voices.seconds.sum() > _ANOTHER:
            raise InvalidParameter("The sample holds more than one voice; send one person's speech.", param=param)
        return Voiceprint(voices.centroids[main], round(seconds, 3), self._encoder.id)

    async def _hear(self, sound: Sound, parts: Sequence[Chunk]) -> tuple[list[HeardChunk], float]:
        """Every chunk, a few at a time, so that one long recording does not hold up others' speech detection.

        Also how many seconds all of them took together, waiting for others not included.
        """
        loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(self._parallel)

        async def one(chunk: Chunk) -> tuple[HeardChunk, float]:
            async with places, self._yielding.place() if self._yielding else nullcontext():
                return await loop.run_in_executor(self._executor, self._timed, sound, chunk)

        tasks = [asyncio.ensure_future(one(chunk)) for chunk in parts]
        try:
            done = [await task for task in tasks]
        except SpeechError:
            raise
        except Exception as error:
            _logger.exception("telling speakers apart failed in a way it should not")
            raise EngineFailure("Telling the speakers apart failed unexpectedly.") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [heard for heard, _ in done], sum(seconds for _, seconds in done)

    def _timed(self, sound: Sound, chunk: Chunk) -> tuple[HeardChunk, float]:
        started = time.monotonic()
        return hear(sound, chunk, self._segmenter, self._encoder), time.monotonic() - started

    def _tell(self, heard: Sequence[HeardChunk], options: SpeakerOptions) -> Diarization:
        voices = _voices(heard, options)
        if voices is None:
            return _numbered(turns_of(heard, _one_voice(), overlap=False), [None])
        turns = turns_of(heard, voices, overlap=options.overlap)
        return _numbered(turns, [self._name(voices, number, options) for number in range(len(voices))])

    def _name(self, voices: Voices, number: int, options: SpeakerOptions) -> str | None:
        """The known voice that this one is, if it is one."""
        seconds = float(voices.seconds[number])
        ranked = best_first(options.voices, Voiceprint(voices.centroids[number], seconds, self._encoder.id))
        return ranked[0][0].name if ranked and ranked[0][1] >= self._threshold else None

    def _learn(self, pace: float) -> None:
        self._pace = pace if self._pace is None else self._pace + _MEMORY * (pace - self._pace)


def _voices(heard: Sequence[HeardChunk], options: SpeakerOptions) -> Voices | None:
    """The voices in what was heard; None where nothing was long enough to tell a voice by."""
    windows = [window for chunk in heard for window in chunk.windows]
    if not windows:
        return None
    embeddings = np.concatenate([chunk.embeddings for chunk in heard if chunk.windows])
    seconds = np.array([window.seconds for window in windows], np.float32)
    return find_voices(embeddings, seconds, count=options.count, least=options.least, most=options.most)


def _one_voice() -> Voices:
    """Somebody, of whom nothing is known."""
    return Voices(np.zeros((1, 1), np.float32), np.zeros(1, np.float32))


def _numbered(turns: Sequence[VoiceTurn], names: Sequence[str | None]) -> Diarization:
    """Speakers in the order in which they are first heard; voices of one name are one speaker."""
    speakers: dict[int | str, Speaker] = {}
    made: list[SpeakerTurn] = []
    for turn in turns:
        name = names[turn.voice]
        speaker = speakers.setdefault(turn.voice if name is None else name, Speaker(len(speakers), name))
        made.append(SpeakerTurn(turn.start, turn.end, speaker))
    return Diarization(tuple(speakers.values()), tuple(_together(made)))


def _together(turns: Sequence[SpeakerTurn]) -> list[SpeakerTurn]:
    """Turns of one speaker that overlap, as voices of one name may, made one."""
    latest: dict[Speaker, int] = {}
    made: list[SpeakerTurn] = []
    for turn in turns:
        at = latest.get(turn.speaker)
        if at is not None and turn.start <= made[at].end:
            made[at] = replace(made[at], end=max(made[at].end, turn.end))
            continue
        latest[turn.speaker] = len(made)
        made.append(turn)
    return made


def _seconds(spans: Sequence[SpeechSpan]) -> float:
    return sum(span.end - span.start for span in spans)
