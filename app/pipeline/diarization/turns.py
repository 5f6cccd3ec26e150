"""From what was heard in chunks and the recording's voices to turns: which voice speaks from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.pipeline.diarization.clustering import Voices
from app.pipeline.diarization.hearing import HeardChunk, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Labels = NDArray[np.int64]

_COMPANY = 0.5
"""How much all windows of a person in a chunk together count beside each one, when its voice is told."""
_FAR = 1 << 30
"""More frames than there are."""
_JOIN = 0.3
"""Seconds: a shorter silence is a breath within a turn."""
_BESIDE = 0.05
"""Seconds: a gap of so little is between two chunks' frames, not between words."""
_PADDING = 0.1
"""Seconds by which a turn reaches into the silence around it: detected edges clip soft sounds."""


@dataclass(frozen=True, slots=True)
class VoiceTurn:
    """`voice` (a row of Voices) speaks from `start` to `end`, in seconds of the recording."""

    start: float
    end: float
    voice: int


def turns_of(chunks: Sequence[HeardChunk], voices: Voices, *, overlap: bool, before: int = 0) -> list[VoiceTurn]:
    """All turns in order of their starts. With `overlap`, turns of different voices may run at the same time.

    `before` is the voice that spoke last before them: what is too short for a voice is taken for its.
    """
    found: list[VoiceTurn] = []
    last_voice = before
    for chunk in chunks:
        spoken = _spoken(chunk, voices, last_voice, overlap=overlap)
        for voice in range(len(voices)):
            found += [
                VoiceTurn(chunk.time(first), chunk.time(last), voice) for first, last in stretches(spoken[:, voice])
            ]
        if spoken.any():
            last_voice = int(spoken[np.flatnonzero(spoken.any(axis=1))[-1]].argmax())
    return _padded(_joined(sorted(found, key=lambda turn: (turn.start, turn.end))))


def _spoken(chunk: HeardChunk, voices: Voices, last_voice: int, *, overlap: bool) -> Flags:
    """Which voices speak in each frame: bool of shape (frames, voices). In speech, one always does."""
    frames, people = chunk.active.shape
    spoken = np.zeros((frames, len(voices)), np.bool_)
    labels, distances = _told(chunk, voices)
    known = chunk.active & (distances < _FAR)
    if not overlap:
        nearest = np.where(known, distances, _FAR).argmin(axis=1)
        known &= nearest[:, None] == np.arange(people)
    for person in range(people):
        at = np.flatnonzero(known[:, person])
        spoken[at, labels[at, person]] = True
    lacking = np.flatnonzero(chunk.active.any(axis=1) & ~spoken.any(axis=1))
    if len(chunk.windows):  # whoever speaks nearby
        nearest = distances[lacking].argmin(axis=1)
        spoken[lacking, labels[lacking, nearest]] = True
    else:
        spoken[lacking, last_voice] = True
    return spoken


def _told(chunk: HeardChunk, voices: Voices) -> tuple[Labels, Labels]:
    """Whose voice each person's is in each frame, by their nearest window, and how many frames away that is."""
    frames, people = chunk.active.shape
    labels = np.zeros((frames, people), np.int64)
    distances = np.full((frames, people), _FAR, np.int64)
    at = np.arange(frames)
    for window, label in zip(chunk.windows, _labels(chunk, voices), strict=True):
        away = np.maximum(np.maximum(window.first - at, at - (window.last - 1)), 0)
        nearer = away < distances[:, window.person]
        labels[nearer, window.person] = label
        distances[nearer, window.person] = away[nearer]
    return labels, distances


def _labels(chunk: HeardChunk, voices: Voices) -> Labels:
    """Which voice each window is: int64 of shape (windows,)."""
    if not chunk.windows:
        return np.zeros(0, np.int64)
    alike = chunk.embeddings @ voices.centroids.T
    people = np.array([window.person for window in chunk.windows])
    seconds = np.array([window.seconds for window in chunk.windows])
    scores = alike.copy()
    for person in np.unique(people):
        theirs = people == person
        scores[theirs] += _COMPANY * np.average(alike[theirs], axis=0, weights=seconds[theirs])
    return scores.argmax(axis=1)


def _joined(turns: Sequence[VoiceTurn]) -> list[VoiceTurn]:
    """Turns in order of their starts, of which one that goes on after a breath is one, unless another speaks in it."""
    made: list[VoiceTurn] = []
    latest: dict[int, int] = {}  # each voice's last turn
    for turn in turns:
        at = latest.get(turn.voice)
        if at is not None and turn.start - made[at].end < _JOIN:
            others = (made[index].end for voice, index in latest.items() if voice != turn.voice)
            if max(others, default=0.0) <= made[at].end + _BESIDE or turn.start <= made[at].end + _BESIDE:
                made[at] = VoiceTurn(made[at].start, max(turn.end, made[at].end), turn.voice)
                continue
        latest[turn.voice] = len(made)
        made.append(turn)
    return made


def _padded(turns: list[VoiceTurn]) -> list[VoiceTurn]:
    """Turns that reach a little into the silence around them, but not into another turn."""
    made: list[VoiceTurn] = []
    latest = 0.0
    for index, turn in enumerate(turns):
        following = turns[index + 1].start if index + 1 < len(turns) else float("inf")
        start = turn.start if turn.start < latest else max(turn.start - _PADDING, (turn.start + latest) / 2, 0.0)
        latest = max(latest, turn.end)
        end = turn.end
        if end >= latest and following > end:
            end = min(end + _PADDING, (end + following) / 2)
        made.append(VoiceTurn(start, end, turn.voice))
    return made
