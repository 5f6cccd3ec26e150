"""When each token was said, from the weights by which Paraformer's predictor counts tokens (continuous integrate-and-
fire: a token ends where the weights summed since the last one reach 1).

Source: Dong and Xu, "CIF: Continuous Integrate-and-Fire for End-to-End Speech Recognition", 2020; the constants are
those of FunASR's function for features that stand for 60 ms, and of the finer weights of models trained for times.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_FULL = 1.0 - 1e-4
"""A sum that counts as 1."""
_SHIFT = -1.5
"""Steps by which a token is heard before its weights are full."""
_LONGEST = 12
"""Steps a token lasts at most; what is longer is silence after it."""
_TAIL = 5
"""Steps of silence at the end that are not the last token's."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What the predictor says of a piece: a weight for each step of `seconds`, and the running sums that tell where
    tokens end (float32, shape (steps,)); None where the model gives only weights."""

    alphas: Floats
    peaks: Floats | None
    seconds: float


def token_times(weights: Weights, count: int) -> list[tuple[float, float]]:
    """Start and end of `count` tokens, in seconds from the beginning of the features. In order, never negative."""
    if not count:
        return []
    alphas = weights.alphas
    ends = _fires(running_sums(alphas) if weights.peaks is None else weights.peaks)
    if len(ends) != count + 1 and alphas.sum() > 0:
        # The sums disagree with the tokens that were written: the weights are scaled until they agree.
        ends = _fires(_rescaled(alphas, count + 1))
    steps = float(len(alphas))
    places = [*ends, *[steps] * (count + 1 - len(ends))][: count + 1]
    spans = [(first, min(second, first + _LONGEST)) for first, second in pairwise(places)]
    start, last = places[-2], places[-1]
    if last - start <= _LONGEST:  # of a longer one it is known where it ends
        end = (steps + last) / 2 if steps - last > _TAIL else steps
        spans[-1] = (start, max(start, min(end, steps)))
    return [(max(0.0, first) * weights.seconds, max(0.0, second) * weights.seconds) for first, second in spans]


def running_sums(alphas: Floats) -> Floats:
    """Where tokens end: the sum of weights since the last token, 1 or more at the step that completes one."""
    total = np.cumsum(alphas, dtype=np.float64).astype(np.float32)
    whole = np.floor(total)
    completes = np.diff(whole, prepend=np.float32(0)) > 0
    return completes + total - whole


def _fires(peaks: Floats) -> list[float]:
    return [float(step) + _SHIFT for step in np.flatnonzero(peaks >= _FULL)]


def _rescaled(alphas: Floats, count: int) -> Floats:
    """Running sums of weights that add up to `count`, step by step, as each is rounded to the model's precision."""
    scaled = alphas / (alphas.sum() / np.float32(count))
    sums = np.empty_like(scaled)
    total = np.float32(0)
    for step, alpha in enumerate(scaled):
        total = np.float32(total + alpha)
        sums[step] = total
        if total >= np.float32(_FULL):
            total = np.float32(total - np.float32(_FULL))
    return sums
