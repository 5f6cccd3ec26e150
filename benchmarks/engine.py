"""The recogniser called directly, without a server: pieces cut as the pipeline cuts them, recognised on all threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.domain.engines import SAMPLE_RATE, Piece, PieceRequest
from app.domain.options import RecognitionOptions, SpeechDetection
from app.domain.transcript import join_texts
from app.engines.fsmn_vad import FsmnVad
from app.engines.whisper.recognizer import WhisperRecognizer
from app.pipeline.segmentation import cut
from benchmarks import audio
from benchmarks.common import VAD, Bench
from benchmarks.measures import Clip, Run
from benchmarks.progress import bar
from benchmarks.server import MODEL

if TYPE_CHECKING:
    from app.domain.engines import Samples


class Waveform:
    """A clip in memory as app.domain.engines.Sound."""

    def __init__(self, path: Path) -> None:
        self._samples = audio.read(path).astype(np.float32) / 32768

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self._samples) / SAMPLE_RATE

    def piece(self, start: float, end: float) -> Samples:
        """Samples between two times."""
        return self._samples[max(0, round(start * SAMPLE_RATE)) : round(end * SAMPLE_RATE)]


class Engine:
    """Speech detection, cutting and recognition.

    `max_silence` is the longest pause inside a piece, in seconds (None: what the recogniser declares); `options` go to
    WhisperRecognizer as they are.
    """

    def __init__(self, bench: Bench, *, max_silence: float | None = None, **options: Any) -> None:
        self._detector = FsmnVad(bench.folders[VAD])
        self._recognizer = WhisperRecognizer(
            MODEL, bench.weights, threads=bench.threads, compute_type="int8", beam_size=5, **options
        )
        capabilities = self._recognizer.capabilities
        self._longest = capabilities.preferred_seconds
        self._max_silence = capabilities.max_silence if max_silence is None else max_silence

    def run(self, clips: Sequence[Clip], *, words: bool = False, label: str = "engine") -> Run:
        """Recognise all the clips' pieces, one a call, on as many threads as the recogniser asks for.

        Files are read before the clock starts; latencies are not taken.
        """
        sounds = [Waveform(clip.path) for clip in clips]
        began = time.perf_counter()
        pieces = [
            piece for clip, sound in zip(clips, sounds, strict=True) for piece in self._pieces(clip, sound, words)
        ]
        heard: dict[str, list[str]] = {clip.name: [] for clip in clips}
        with ThreadPoolExecutor(self._recognizer.parallel_calls) as pool, bar(label, len(pieces)) as progress:
            answers = pool.map(lambda request: self._recognizer.recognize([request])[0], [ask for _, ask in pieces])
            for (name, _), answer in zip(pieces, answers, strict=True):
                heard[name].append(answer.text)
                progress.update()
        wall = time.perf_counter() - began
        texts = {name: join_texts(parts) for name, parts in heard.items()}
        return Run(wall, sum(clip.seconds for clip in clips), (), texts)

    def _pieces(self, clip: Clip, sound: Waveform, words: bool) -> list[tuple[str, PieceRequest]]:
        options = RecognitionOptions(language=clip.language, timed=words)
        spans = self._detector.detect(sound, SpeechDetection())
        cuts = cut(sound, spans, self._longest, self._max_silence)
        return [
            (clip.name, PieceRequest(Piece(each.start, sound.piece(each.start, each.end)), options)) for each in cuts
        ]
