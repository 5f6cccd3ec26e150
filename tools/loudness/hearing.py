"""Recordings to sound, and sound to what a live stream would take for speech."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from app.audio.nearfield import NearField
from app.audio.recording import Recording
from app.domain.engines import SAMPLE_RATE, VoiceActivityDetector
from app.domain.options import LiveOptions
from app.modelstore.catalog import FSMN_VAD
from app.modelstore.store import ModelStore
from app.service.loading import load_detector
from app.settings import Settings
from app.streaming.endpointing import FRAME, Endpoint, Mark, Onset, Quiet
from app.streaming.hearing import Ear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]
    Powers = NDArray[np.float64]
    Flags = NDArray[np.bool_]

Tell = Callable[[float], object]
"""Is told how many seconds of sound were gone through."""

_BLOCK = 0.1
"""Seconds that a live stream's session listens to at a time."""
_STRETCH = 10.0
"""Seconds that the detector is given at a time: the same answers, sooner."""
_HOP, _WINDOW, _AHEAD = 160, 400, 2
"""Samples between the detector's frames, in one, and frames that it looks ahead."""
_SPEECH = 0.5
"""What counts as speech where no model says so."""
FLOOR = -100.0
"""dBFS of digital silence, which has none."""
_ALIKE = 6.0
"""dB between loud and quiet, below which nothing stands out."""


@dataclass(frozen=True, slots=True)
class Listened:
    """What is known of each 10 ms. `powers` are mean squares of samples in [-1, 1]; `probabilities`, of speech, may be
    a few frames shorter. `modelled`: FSMN-VAD told what is speech, and not the level alone."""

    seconds: float
    powers: Powers
    probabilities: Floats
    threshold: float
    modelled: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """What a live stream would hear, for each 10 ms. `spoken`: it is taken for speech; `covered`: it is in an
    utterance, and so recognised. `utterances` is how many there are."""

    spoken: Flags
    covered: Flags
    utterances: int


def detector(settings: Settings) -> VoiceActivityDetector | None:
    """FSMN-VAD, if this machine has it; nothing is fetched.

    Raises:
        SpeechError: a folder was named for it that is not there, or that does not hold it.
    """
    folder = ModelStore(settings).locate(FSMN_VAD.id)
    return None if folder is None else load_detector(FSMN_VAD, folder, settings)


@contextmanager
def taken_in(stream: BinaryIO, folder: Path | None) -> Generator[Path]:
    """What `stream` has until it ends, or until Ctrl-C, in a file of `folder` (None: the system's)."""
    with tempfile.NamedTemporaryFile(prefix="levels-", dir=folder) as file:
        with suppress(KeyboardInterrupt):
            shutil.copyfileobj(stream, file, 1 << 16)
        file.flush()
        yield Path(file.name)


def listen(recording: Recording, model: VoiceActivityDetector | None, tell: Tell) -> Listened:
    """Go through the whole recording once. Blocking.

    Raises:
        EngineFailure: the detector failed.
    """
    powers = [np.zeros(0)]
    scores = [np.zeros(0, np.float32)]
    stream = None if model is None else model.open()
    for samples, last in _pieces(recording, _STRETCH):
        whole = samples[: len(samples) // _HOP * _HOP].reshape(-1, _HOP).astype(np.float64)
        powers.append((whole**2).mean(axis=1))
        if stream is not None:
            scores.append(stream.push(samples, last=last))
        tell(len(samples) / SAMPLE_RATE)
    heights = np.concatenate(powers)
    if stream is None:
        return Listened(recording.duration, heights, _by_level(heights), _SPEECH, modelled=False)
    return Listened(recording.duration, heights, np.concatenate(scores), stream.threshold, modelled=True)


def hear(recording: Recording, listened: Listened, bound: float | None, tell: Tell) -> Heard:
    """What a live stream would hear of it through the server's own near-field filter with the threshold `bound` (an RMS
    of samples in [-1, 1]; None: without the filter). Blocking."""
    near = None if bound is None else NearField(bound)
    ear = Ear(_Replayed(listened.probabilities, listened.threshold), LiveOptions(), near)
    frames = len(listened.powers)
    spoken, covered = np.zeros(frames, np.bool_), np.zeros(frames, np.bool_)
    begun, utterances = 0.0, 0
    for samples, last in _pieces(recording, _BLOCK):
        for mark in ear.listen(samples, last=last):
            _put(spoken, mark)
            if isinstance(mark, Onset):
                begun = mark.start
            elif isinstance(mark, Endpoint):
                covered[_frame(begun) : _frame(mark.end)] = True
                utterances += 1
        tell(len(samples) / SAMPLE_RATE)
    return Heard(spoken, covered, utterances)


def decibels(powers: Powers) -> Powers:
    """dBFS of mean squares; digital silence is FLOOR."""
    return np.maximum(10 * np.log10(np.maximum(powers, 1e-12)), FLOOR)


def two_groups(levels: Powers) -> tuple[float, float]:
    """Where levels (dB) fall apart into quiet and loud ones, and how much of their variance that explains, 0..1.

    Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    ordered = np.sort(levels)
    count = len(ordered)
    if count < 2 or ordered[0] == ordered[-1]:
        return float(ordered[0]) if count else FLOOR, 0.0
    below = np.arange(1, count)
    sums = np.cumsum(ordered)
    apart = (sums[-1] - sums[:-1]) / (count - below) - sums[:-1] / below
    between = below * (count - below) / count**2 * apart**2
    best = int(between.argmax())
    return float((ordered[best] + ordered[best + 1]) / 2), float(between[best] / ordered.var())


class _Replayed:
    """A live detector whose answers are known already: it gives each as soon as FSMN-VAD would."""

    def __init__(self, probabilities: Floats, threshold: float) -> None:
        self.threshold = threshold
        self._probabilities = probabilities
        self._samples = self._told = 0

    def push(self, samples: Samples, *, last: bool = False) -> Floats:
        """See VoiceActivityStream.push."""
        self._samples += len(samples)
        known = len(self._probabilities)
        if not last:
            known = min(known, max(self._told, 1 + (self._samples - _WINDOW) // _HOP - _AHEAD))
        told, self._told = self._told, known
        return self._probabilities[told:known]


def _pieces(recording: Recording, seconds: float) -> Iterator[tuple[Samples, bool]]:
    """All of it in order, and whether it is the last piece."""
    count = max(1, int(np.ceil(round(recording.duration / seconds, 6))))
    for index in range(count):
        yield recording.piece(index * seconds, (index + 1) * seconds), index == count - 1


def _by_level(powers: Powers) -> Floats:
    """1 where 100 ms are louder than what is quiet in this recording, 0 elsewhere."""
    whole = len(powers) // 10
    levels = decibels(powers[: whole * 10].reshape(whole, 10).mean(axis=1))
    bound, _ = two_groups(levels)
    loud = levels > bound
    if not loud.any() or loud.all() or levels[loud].mean() - levels[~loud].mean() < _ALIKE:
        loud = np.zeros(whole, np.bool_)
    return np.repeat(loud, 10).astype(np.float32)


def _put(spoken: Flags, mark: Mark) -> None:
    if isinstance(mark, Quiet | Endpoint):
        spoken[_frame(mark.start) : _frame(mark.end)] = True


def _frame(time: float) -> int:
    return round(time / FRAME)
