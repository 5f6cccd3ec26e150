"""Continuous integrate-and-fire across chunks: weights of encoded steps are added up, and whenever they reach the
threshold a token is complete, whose embedding is the weighted sum of its steps.

Dong and Xu, "CIF: Continuous Integrate-and-Fire for End-to-End Speech Recognition", 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class Firing:
    """What an utterance has not made a token of yet: a weight below the threshold, and the sum of its steps.

    In the model's own precision, step by step, as FunASR computes it: otherwise a token would be complete a step
    earlier or later here and there.
    """

    def __init__(self, width: int, threshold: float) -> None:
        self._threshold = np.float32(threshold)
        self._weight = np.float32(0)
        self._mean = np.zeros(width, np.float32)

    def push(self, encoded: Floats, weights: Floats) -> Floats:
        """Embeddings of the tokens that are complete with these steps, float32 (tokens, width).

        `encoded` is float32 (steps, width), `weights` float32 (steps,).
        """
        complete: list[Floats] = []
        # What is carried over counts as a step of its own.
        total, summed = self._weight, self._weight * self._mean
        for step, weight in zip(encoded, weights, strict=True):
            if total + weight < self._threshold:
                total += weight
                summed = summed + weight * step
                continue
            complete.append(summed + (self._threshold - total) * step)
            total = total + weight - self._threshold
            summed = total * step
        self._weight = total
        self._mean = summed / total if total > 0 else summed
        return np.stack(complete) if complete else np.zeros((0, len(self._mean)), np.float32)
