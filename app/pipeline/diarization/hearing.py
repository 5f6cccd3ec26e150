"""A few seconds of a recording: who of a few people speaks when, and what their voices sound like.

People are numbered within a chunk only; who is who across chunks is the clustering's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import Sound, SpeakerEncoder, SpeakerSegmenter, SpeechSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float32]

_BRIDGE = 0.25
"""Seconds: a shorter silence between a person's words does not end a run of theirs."""
_PART = 4.0
"""A run is parted into equal parts of at most so many seconds, each of which is somebody's by itself: the segmenter
may have missed a change of speakers."""
_WINDOW = 1.6
"""Seconds in the middle of a part that are embedded: about what the encoder was made for (FunASR's windows are 1.5 s).
Embedding is most of the work of telling speakers apart (`python -m benchmarks.speakers`)."""
_SHORTEST = 0.5
"""A shorter part is embedded only when its speaker has none that is longer."""
_LEAST = 0.2
"""Seconds. Less is not a voice."""
_CHUNK_SLACK = 2.5
"""Seconds: a chunk rather ends in a pause, if one is so close to its end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of the recording, in seconds, and the speech in it; `end` may lie before the sound that is heard."""

    start: float
    end: float
    spans: tuple[SpeechSpan, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """Frames `first` to `last` (not included) in which `person` speaks alone; `seconds` were embedded."""

    first: int
    last: int
    person: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class HeardChunk:
    """What was heard. Frame i is the time `start + i * frame_seconds`.

    `active` is bool of shape (frames, people); in speech, somebody always speaks. `embeddings` is float32 of shape
    (windows, size), each of unit length.
    """

    start: float
    frame_seconds: float
    active: Flags
    windows: tuple[Window, ...]
    embeddings: Floats

    def time(self, frame: int) -> float:
        """Where the frame begins, in seconds of the recording."""
        return self.start + (frame - 0.5) * self.frame_seconds


def chunks(spans: Sequence[SpeechSpan], longest: float) -> list[Chunk]:
    """Chunks of at most `longest` seconds that cover all speech, in order, preferably parted in pauses."""
    made: list[Chunk] = []
    waiting = list(reversed(spans))
    while waiting:
        start = waiting[-1].start
        inside: list[SpeechSpan] = []
        while waiting and waiting[-1].end <= start + longest:
            inside.append(waiting.pop())
        ends_in_pause = inside and inside[-1].end >= start + longest - _CHUNK_SLACK
        if waiting and waiting[-1].start < start + longest and not ends_in_pause:
            span = waiting.pop()
            inside.append(SpeechSpan(span.start, start + longest))
            waiting.append(SpeechSpan(start + longest, span.end))
        made.append(Chunk(start, inside[-1].end, tuple(inside)))
    return made


def hear(sound: Sound, chunk: Chunk, segmenter: SpeakerSegmenter, encoder: SpeakerEncoder) -> HeardChunk:
    """Who speaks in `chunk`. Blocking: about 0.2 s on one core for ten seconds.

    Raises:
        EngineFailure: a model failed.
    """
    end = min(chunk.start + segmenter.chunk_seconds, sound.duration)
    samples = sound.piece(chunk.start, end)
    step, first = segmenter.frame_seconds, chunk.start + segmenter.first_frame
    frames = max(1, round((chunk.end - first) / step) + 1)
    active = np.zeros((frames, 1), np.bool_)
    if len(heard := segmenter.activity(samples)):
        active = np.zeros((frames, heard.shape[1]), np.bool_)
        active[: len(heard)] = heard[:frames]
    _fill(active, _speech(chunk.spans, first, step, frames))
    windows = _windows(active, step)
    cuts = [_middle(window, first - chunk.start, step) for window in windows]
    sounds = [sound.piece(chunk.start + start, chunk.start + end) for start, end in cuts]
    kept = [index for index, piece in enumerate(sounds) if len(piece) >= 16_000 * _LEAST * 0.9]
    embeddings = encoder.embed([sounds[index] for index in kept])
    return HeardChunk(first, step, active, tuple(windows[index] for index in kept), embeddings)


def _speech(spans: Sequence[SpeechSpan], first: float, step: float, frames: int) -> Flags:
    """Which frames lie in speech."""
    times = first + step * np.arange(frames)
    inside = np.zeros(frames, np.bool_)
    for span in spans:
        inside |= (times > span.start - step / 2) & (times < span.end + step / 2)
    return inside


def _fill(active: Flags, speech: Flags) -> None:
    """Nobody speaks outside of speech; inside, where nobody was heard, whoever is nearest does."""
    active[~speech] = False
    heard = np.flatnonzero(active.any(axis=1))
    lacking = np.flatnonzero(speech & ~active.any(axis=1))
    if not len(heard):
        active[lacking, 0] = True
        return
    place = np.clip(np.searchsorted(heard, lacking), 1, len(heard) - 1) if len(heard) > 1 else np.zeros_like(lacking)
    before, after = heard[np.maximum(place - 1, 0)], heard[place]
    nearest = np.where(lacking - before <= after - lacking, before, after)
    active[lacking] = active[nearest]


def _windows(active: Flags, step: float) -> list[Window]:
    """Parts of the runs in which one person speaks alone, in order."""
    alone = active.sum(axis=1) == 1
    anybody: Flags = np.any(active, axis=1, keepdims=True)[:, 0]
    made: list[Window] = []
    for person in range(active.shape[1]):
        runs = list(_runs(active[:, person] & alone, round(_BRIDGE / step), anybody))
        long = [run for run in runs if (run[1] - run[0]) * step >= _SHORTEST]
        longest = max(runs, key=lambda run: run[1] - run[0], default=None)
        for first, last in long or ([longest] if longest and (longest[1] - longest[0]) * step >= _LEAST else []):
            edges = np.linspace(first, last, int(np.ceil((last - first) * step / _PART)) + 1).round().astype(int)
            for start, end in pairwise(edges):
                made.append(Window(int(start), int(end), person, min(_WINDOW, (end - start) * step)))
    return sorted(made, key=lambda window: window.first)


def _runs(flags: Flags, bridge: int, anybody: Flags) -> Iterator[tuple[int, int]]:
    """[first, last) of every stretch of True; stretches less than `bridge` apart are one if nobody speaks between."""
    run: tuple[int, int] | None = None
    for first, last in stretches(flags):
        if run and first - run[1] <= bridge and not anybody[run[1] : first].any():
            run = run[0], last
            continue
        if run:
            yield run
        run = first, last
    if run:
        yield run


def stretches(flags: Flags) -> list[tuple[int, int]]:
    """[first, last) of every stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _middle(window: Window, offset: float, step: float) -> tuple[float, float]:
    """Where the window's embedded sound starts and ends, in seconds from the chunk's start."""
    middle = offset + (window.first + window.last - 1) / 2 * step
    return middle - window.seconds / 2, middle + window.seconds / 2
