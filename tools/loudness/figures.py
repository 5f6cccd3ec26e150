"""What levels come to: percentiles, what each threshold would ignore, and which one to take. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tools.loudness.hearing import FLOOR, Heard, Listened, decibels, two_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Powers = NDArray[np.float64]
    Flags = NDArray[np.bool_]

CANDIDATES = (0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)
"""Thresholds that are tried: RMS of samples in [-1, 1]."""
PERCENTILES = (5, 25, 50, 75, 95)
SOFTER = 2.0
"""How much quieter who speaks may become, as a factor: 6 dB."""
_SPARED = 0.02
"""The share of speech that a threshold may ignore and still count as hearing all of it: what is at the very edge."""
_BELOW = 10.0
"""How far a suggested threshold is below a voice at least, in dB: about as much as its syllables differ."""
_TENTH = 10
"""Frames in 100 ms."""
_SECOND, _SHORTEST = 100, 30
"""Frames of speech whose level says how loud a voice is, and the fewest that do."""
_APART, _EXPLAINED = 10.0, 0.75
"""Two groups of voices differ by so many dB at least, and explain so much of the variance. One voice's seconds, spread
evenly, reach 0.75 at most, and 0.64 if they are normally distributed."""
_VOICE = 3
"""The fewest seconds of speech in a group."""
_HEARD, _IGNORED = 0.9, 0.5
"""The least shares of near speech heard, and of far speech ignored, where a threshold tells them apart."""

Hear = Callable[[float | None], Heard]
"""What a live stream would hear with a threshold (None: without the filter)."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A threshold, and what the filter does with it. `ignored` is the share of speech that is in no utterance;
    `ignored_loud` and `ignored_quiet` are those of each group, where there are two groups of voices."""

    threshold: float
    ignored: float
    utterances: int
    ignored_loud: float | None = None
    ignored_quiet: float | None = None

    def undivided(self) -> Tried:
        """The same without the groups' shares."""
        return replace(self, ignored_loud=None, ignored_quiet=None)


@dataclass(frozen=True, slots=True)
class Voices:
    """How loud speech is: the level (dBFS) of its seconds, in one group, or in two that `bound` parts."""

    near: float
    near_seconds: float
    far: float | None = None
    far_seconds: float = 0.0
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """A recording's. `levels` (dBFS) are those of 100 ms each, `spoken` which of them are speech; `speech_seconds` is
    how much is taken for speech, in `utterances`; `suggested` is None where no threshold fits, and `reason` says why,
    or why this one."""

    seconds: float
    modelled: bool
    speech_seconds: float
    utterances: int
    levels: Powers
    spoken: Flags
    voices: Voices | None
    current: float
    tried: tuple[Tried, ...]
    suggested: float | None
    reason: str

    @property
    def speech(self) -> Powers:
        """Levels of speech."""
        return self.levels[self.spoken]

    @property
    def rest(self) -> Powers:
        """Levels of everything else."""
        return self.levels[~self.spoken]

    @property
    def percentiles(self) -> Mapping[str, Sequence[float]]:
        """dBFS at PERCENTILES, of speech and of the rest; of nothing, none."""
        both = {"speech": self.speech, "rest": self.rest}
        return {
            name: [round(float(level), 1) for level in np.percentile(levels, PERCENTILES)] if len(levels) else []
            for name, levels in both.items()
        }


def figures(listened: Listened, hear: Hear, current: float) -> Figures:
    """All about a recording. `current` is the threshold that is set."""
    without = hear(None)
    spoken = _tenths(without.spoken.astype(np.float64)) >= 0.5
    levels = decibels(_tenths(listened.powers))
    groups = _groups(listened.powers, without.spoken)
    voices = None if groups is None else _voices(groups[0])
    near, far = _sides(groups, voices, len(without.spoken))
    tried = {bound: _tried(bound, hear(bound), without, near, far) for bound in sorted({*CANDIDATES, current})}
    suggested, reason = None, "nobody speaks in this recording"
    if groups is not None and voices is not None:
        parting = _parting(voices, tried)
        if parting is None and voices.far is not None:
            voices, tried = _one(groups[0]), {bound: one.undivided() for bound, one in tried.items()}
        suggested, reason = parting or _hearing(voices, tried, lambda bound: _ignored(hear(bound), without))
    noise = float(np.median(levels[~spoken])) if (~spoken).any() else None
    if suggested is not None:
        reason += f"; {_between(suggested, voices, noise)}"
    return Figures(
        seconds=listened.seconds,
        modelled=listened.modelled,
        speech_seconds=float(without.spoken.sum()) / 100,
        utterances=without.utterances,
        levels=levels,
        spoken=spoken,
        voices=voices,
        current=current,
        tried=tuple(tried.values()),
        suggested=suggested,
        reason=reason,
    )


def runs(current: float) -> int:
    """How often `figures` hears a recording, at most."""
    return 1 + 2 * len({*CANDIDATES, current})


def dbfs(threshold: float) -> float:
    """An RMS of samples in [-1, 1] as dBFS."""
    return 20 * math.log10(threshold) if threshold > 0 else FLOOR


def _tenths(frames: Powers) -> Powers:
    """Means over 100 ms; what is left of the last is left out."""
    whole = len(frames) // _TENTH
    return frames[: whole * _TENTH].reshape(whole, _TENTH).mean(axis=1)


def _groups(powers: Powers, spoken: Flags) -> tuple[Powers, list[tuple[int, int]]] | None:
    """The level of each second of speech, and where it is: frames [first, last). None: there is no speech."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], spoken.astype(np.int8), [0]])))
    places = [
        (start, min(start + _SECOND, int(last)))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
        for start in range(int(first), int(last), _SECOND)
    ]
    places = [place for place in places if place[1] - place[0] >= _SHORTEST]
    if not places:
        return None
    return decibels(np.array([powers[first:last].mean() for first, last in places])), places


def _voices(levels: Powers) -> Voices:
    bound, explained = two_groups(levels)
    loud, quiet = levels[levels > bound], levels[levels <= bound]
    if min(len(loud), len(quiet)) >= _VOICE and explained >= _EXPLAINED and loud.mean() - quiet.mean() >= _APART:
        return Voices(float(np.median(loud)), float(len(loud)), float(np.median(quiet)), float(len(quiet)), bound)
    return _one(levels)


def _one(levels: Powers) -> Voices:
    return Voices(float(np.median(levels)), float(len(levels)))


def _sides(
    groups: tuple[Powers, list[tuple[int, int]]] | None, voices: Voices | None, frames: int
) -> tuple[Flags | None, Flags | None]:
    """Frames of near and of far speech, where there are both."""
    if groups is None or voices is None or voices.bound is None:
        return None, None
    near, far = np.zeros(frames, np.bool_), np.zeros(frames, np.bool_)
    for level, (first, last) in zip(*groups, strict=True):
        (near if level > voices.bound else far)[first:last] = True
    return near, far


def _tried(bound: float, heard: Heard, without: Heard, near: Flags | None, far: Flags | None) -> Tried:
    def share(which: Flags | None) -> float | None:
        return None if which is None else 1 - float(heard.covered[which].mean())

    return Tried(bound, _ignored(heard, without), heard.utterances, share(near), share(far))


def _ignored(heard: Heard, without: Heard) -> float:
    return 1 - float(heard.covered[without.spoken].mean()) if without.spoken.any() else 0.0


def _parting(voices: Voices, tried: Mapping[float, Tried]) -> tuple[float, str] | None:
    """A threshold that hears the loud voices and ignores the quiet ones, if one does."""
    best = max((tried[bound] for bound in CANDIDATES), key=_parts)
    heard, ignored = 1 - (best.ignored_loud or 0.0), best.ignored_quiet or 0.0
    if voices.far is None or heard < _HEARD or ignored < _IGNORED:
        return None
    return best.threshold, (
        f"two groups of voices, {voices.near_seconds:.0f} s at about {voices.near:.0f} dBFS and "
        f"{voices.far_seconds:.0f} s at about {voices.far:.0f}; it hears {heard:.0%} of the first and ignores "
        f"{ignored:.0%} of the second"
    )


def _parts(one: Tried) -> float:
    """How well it tells two groups of voices apart."""
    return (one.ignored_quiet or 0.0) - (one.ignored_loud or 0.0)


def _hearing(
    voices: Voices, tried: Mapping[float, Tried], ignored: Callable[[float], float]
) -> tuple[float | None, str]:
    """The largest threshold that still hears the voice when it is softer; where there is none, the largest that hears
    it as it is."""
    told = f"voices at about {voices.near:.0f} dBFS"
    whole = [bound for bound in CANDIDATES if tried[bound].ignored <= _SPARED]
    if not whole:
        least = CANDIDATES[0]
        lost = f"{least:g} ignores {tried[least].ignored:.1%} of them already"
        return None, f"{told}; {lost}: make the microphone louder, or do without the filter"
    for bound in reversed(whole):
        if dbfs(bound) <= voices.near - _BELOW and ignored(bound * SOFTER) <= _SPARED:
            return bound, f"{told}; it hears them when they are 6 dB softer, too"
    return whole[-1], f"{told}; it hears them as they are here, and not all of them when they are 6 dB softer"


def _between(bound: float, voices: Voices | None, noise: float | None) -> str:
    """How far it is from voices and from what is none."""
    below = "" if voices is None else f"{voices.near - dbfs(bound):.0f} dB below the voices"
    if noise is None:
        return below
    above = dbfs(bound) - noise
    return f"{below}, {abs(above):.0f} dB {'above' if above >= 0 else 'below'} the rest (its median)"
