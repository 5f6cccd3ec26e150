"""FSMN-VAD on ONNX Runtime: where somebody speaks.

Model: FunASR's FSMN-VAD (16 kHz), Zhang et al., "Deep-FSMN for Large Vocabulary Continuous Speech Recognition", 2018,
and its model card. It scores each 10 ms frame; the decision (a 200 ms window that must be three quarters speech)
follows the values in the model's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE, Sound, SpeechSpan
from app.domain.errors import EngineFailure
from app.domain.options import SpeechDetection
from app.engines.banks import filter_banks
from app.engines.folders import Normalisation
from app.engines.sessions import open_session, run
from app.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]

FRAME = 0.01
"""Seconds between frames."""
_CONTEXT = 2
"""Frames joined on each side of a frame (low frame rate features, m=5, n=1)."""
_WINDOW = 20
"""Frames over which speech must dominate before it counts (window_size_ms 200)."""
_ONSET = 15
"""Speech frames in the window that begin or end a stretch (sil_to_speech_time_thres 150 ms)."""
_THRESHOLD = 0.8
"""Least speech probability of a speech frame: p(speech) >= p(noise) + 0.6 (speech_noise_thres)."""
_SILENCE = 0.3
"""Seconds of quiet that end a span. Shorter than the live model's 0.8: merging spans into pieces is the pipeline's
work, and the more pauses it knows the better it can choose where to cut."""
_FRAME_SAMPLES = 400
_HOP_SAMPLES = 160
_CHUNK_FRAMES = 3000
"""Frames scored per run (30 s): bounds memory for recordings of hours; the model's caches carry over."""
_FEATURE = 400
_CACHE_SHAPE = (1, 128, 19, 1)
_CACHES = 4


class FsmnVad:
    """The offline detector. Thread-safe: every call owns its caches.

    Raises:
        EngineFailure: the folder does not hold the model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._session = open_session(folder / "model.onnx")
            self._normalisation = Normalisation.read(folder / "am.mvn", _FEATURE)
        except EngineFailure as error:
            raise EngineFailure(f"The voice activity detector could not be loaded: {error.message}") from error

    def detect(self, sound: Sound, options: SpeechDetection) -> list[SpeechSpan]:
        """Spans of speech; see VoiceActivityDetector."""
        return spans_of(self.speech_probabilities(sound), sound.duration, options)

    def speech_probabilities(self, sound: Sound) -> Floats:
        """One probability in 0..1 for each 10 ms of the sound."""
        caches = _fresh_caches()
        scores: list[Floats] = []
        for features in self._features(sound):
            heard, caches = self.score(features, caches)
            scores.append(heard)
        return np.concatenate(scores) if scores else np.zeros(0, dtype=np.float32)

    def open(self) -> FsmnVadStream:
        """See VoiceActivityDetector.open."""
        return FsmnVadStream(self)

    def score(self, features: Floats, caches: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        """Speech probabilities of stacked, unnormalised features (frames, 400) that follow those whose caches these
        are; and the caches for what follows."""
        normalised = self._normalisation(features)
        feed = {"speech": normalised[None], **{f"in_cache{index}": cache for index, cache in enumerate(caches)}}
        outputs = run(self._session, None, feed, told="The voice activity detector failed.")
        posteriors = np.asarray(outputs[0], dtype=np.float32)
        # Unit 0 is silence (sil_pdf_ids).
        return 1.0 - posteriors[0, :, 0], [np.asarray(cache, dtype=np.float32) for cache in outputs[1:]]

    def _features(self, sound: Sound) -> Iterator[Floats]:
        """Stacked filter banks, a chunk of frames at a time: float32 of shape (frames, 400)."""
        total = 1 + (round(sound.duration * SAMPLE_RATE) - _FRAME_SAMPLES) // _HOP_SAMPLES
        for first in range(0, total, _CHUNK_FRAMES):
            last = min(first + _CHUNK_FRAMES, total)
            low, high = max(0, first - _CONTEXT), min(total, last + _CONTEXT)
            banks = filter_banks(sound.piece(low * FRAME, (high - 1) * FRAME + _FRAME_SAMPLES / SAMPLE_RATE))
            neighbours = np.arange(first, last)[:, None] + np.arange(-_CONTEXT, _CONTEXT + 1)
            neighbours = np.clip(neighbours - low, 0, len(banks) - 1)  # the ends repeat their own frame
            yield banks[neighbours].reshape(last - first, -1)


class FsmnVadStream:
    """One live stream's detector; see VoiceActivityStream. The same probabilities as for the whole sound at once."""

    threshold = _THRESHOLD

    def __init__(self, detector: FsmnVad) -> None:
        self._detector = detector
        self._caches = _fresh_caches()
        self._samples = np.zeros(0, dtype=np.float32)  # of frames that are not whole
        self._banks: Floats | None = None  # of frames that are not scored, and of those before them that they look at

    def push(self, samples: Samples, *, last: bool = False) -> Floats:
        """See VoiceActivityStream.push."""
        self._samples = np.concatenate([self._samples, samples])
        banks = filter_banks(self._samples)
        self._samples = self._samples[len(banks) * _HOP_SAMPLES :]
        if self._banks is None:
            if not len(banks):
                return np.zeros(0, dtype=np.float32)
            self._banks = np.repeat(banks[:1], _CONTEXT, axis=0)  # the ends repeat their own frame
        banks = np.concatenate([self._banks, banks])
        if last:
            banks = np.concatenate([banks, np.repeat(banks[-1:], _CONTEXT, axis=0)])
        frames = max(0, len(banks) - 2 * _CONTEXT)
        self._banks = banks[frames:]
        scores = [np.zeros(0, dtype=np.float32)]
        for first in range(0, frames, _CHUNK_FRAMES):
            chunk = banks[first : min(first + _CHUNK_FRAMES, frames) + 2 * _CONTEXT]
            windows = np.lib.stride_tricks.sliding_window_view(chunk, 2 * _CONTEXT + 1, axis=0)
            heard, self._caches = self._detector.score(
                np.ascontiguousarray(windows.transpose(0, 2, 1)).reshape(len(windows), -1), self._caches
            )
            scores.append(heard)
        return np.concatenate(scores)


def _fresh_caches() -> list[Floats]:
    return [np.zeros(_CACHE_SHAPE, dtype=np.float32) for _ in range(_CACHES)]


def spans_of(probabilities: Floats, duration: float, options: SpeechDetection) -> list[SpeechSpan]:
    """Spans of speech from frame probabilities, in seconds, padded by what the caller asked for (default none)."""
    threshold = _THRESHOLD if options.threshold is None else options.threshold
    silence = _SILENCE if options.silence_seconds is None else options.silence_seconds
    padding = options.padding_seconds or 0.0
    spoken = (probabilities >= threshold).astype(np.int32)
    if not len(spoken):
        return []
    # speech_in_window[i] counts the speech frames among the window that begins at frame i
    padded = np.concatenate([spoken, np.zeros(_WINDOW, dtype=np.int32)])
    sums = np.concatenate([[0], np.cumsum(padded)])
    speech_in_window = sums[_WINDOW : _WINDOW + len(spoken)] - sums[: len(spoken)]
    covered = np.zeros(len(spoken) + _WINDOW, dtype=np.bool_)
    for offset in range(_WINDOW):
        covered[np.flatnonzero(speech_in_window >= _ONSET) + offset] = True
    spans: list[SpeechSpan] = []
    for first, last in _runs(covered[: len(spoken)]):
        inside = first + np.flatnonzero(spoken[first:last])  # a window's quiet head and tail are not speech
        start = max(0.0, float(inside[0]) * FRAME - padding)
        end = min(duration, float(inside[-1]) * FRAME + _FRAME_SAMPLES / SAMPLE_RATE)
        if spans and start - spans[-1].end < silence:
            spans[-1] = SpeechSpan(spans[-1].start, end)
        else:
            spans.append(SpeechSpan(start, end))
    return spans


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, last) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def load(_model_id: str, folder: Path, _settings: Settings) -> FsmnVad:
    """The detector in `folder`. Blocking. Raises EngineFailure."""
    return FsmnVad(folder)
