"""The ear of a live stream: sound to marks, through the detector of speech and the near-field filter."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np

from app.audio.nearfield import NearField
from app.domain.engines import VoiceActivityStream
from app.domain.options import LiveOptions
from app.streaming.endpointing import FRAME, Endpointer, Mark

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

_logger = logging.getLogger(__name__)

_WORTH_TELLING = 20
"""Frames of speech in a row that the filter ignored, from which on the log says so."""


class Ear:
    """Listens to one stream. Blocking; one caller at a time."""

    def __init__(
        self,
        detector: VoiceActivityStream,
        options: LiveOptions,
        near_field: NearField | None,
        since: float = 0.0,
        *,
        log: bool = False,
    ) -> None:
        """It listens from `since` on, in seconds of the stream. `log`: the log tells what the near-field filter
        ignores."""
        self.endpointer = Endpointer(options.silence_seconds, since)
        self._detector = detector
        self._threshold = detector.threshold if options.threshold is None else options.threshold
        self._near_field = near_field
        self._near = np.zeros(0, dtype=np.bool_)  # of frames whose probability is not known yet
        self._levels = np.zeros(0, dtype=np.float64)
        self._log = log
        self._ignored = 0  # frames in a row, and the loudest of them
        self._loudest = 0.0

    def listen(self, samples: Samples, *, last: bool = False) -> list[Mark]:
        """What the next samples mean.

        Raises:
            EngineFailure: the detector failed.
        """
        spoken = self._detector.push(samples, last=last) >= self._threshold
        if self._near_field is not None:
            spoken = self._filtered(self._near_field, samples, spoken)
        marks = self.endpointer.push(spoken.tolist())
        return [*marks, *self.endpointer.finish()] if last else marks

    def _filtered(self, near_field: NearField, samples: Samples, spoken: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Speech that is near enough. Levels are known a little before probabilities are."""
        near, levels = near_field.push(samples, speaking=self.endpointer.speaking)
        self._near, self._levels = np.concatenate([self._near, near]), np.concatenate([self._levels, levels])
        count = min(len(spoken), len(self._near))
        heard = spoken.copy()
        heard[:count] &= self._near[:count]
        if self._log:
            self._tell(spoken[:count] & ~heard[:count], self._levels[:count])
        self._near, self._levels = self._near[count:], self._levels[count:]
        return heard

    def _tell(self, ignored: NDArray[np.bool_], levels: NDArray[np.float64]) -> None:
        for frame, level in zip(ignored, levels, strict=True):
            if frame:
                self._ignored += 1
                self._loudest = max(level, self._loudest) if self._ignored > 1 else float(level)
                continue
            if self._ignored >= _WORTH_TELLING:
                _logger.info(
                    "near-field filter: %.1f s of speech ignored, level at most %.0f dBFS",
                    self._ignored * FRAME,
                    20 * math.log10(max(self._loudest, 1e-9)),
                )
            self._ignored = 0
