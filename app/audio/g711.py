"""Telephone sound: the two laws of ITU-T Recommendation G.711 (11/1988), as tables from a byte to a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from app.domain.engines import Samples


def _mulaw() -> Samples:
    """Table 2 of the Recommendation: bits are sent inverted, and 33 (of 8192) is added before a value is cut to its
    four leading bits."""
    codes = ~np.arange(256) & 0xFF
    magnitude = (((codes & 15) << 3) + 132 << (codes >> 4 & 7)) - 132
    return _scaled(magnitude, negative=codes >= 128)


def _alaw() -> Samples:
    """Table 1 of the Recommendation: even bits are sent inverted; the two lowest of the eight steps are one line."""
    codes = np.arange(256) ^ 0x55
    step, middle = codes >> 4 & 7, ((codes & 15) << 4) + 8
    magnitude = np.where(step == 0, middle, middle + 256 << np.maximum(step - 1, 0))
    return _scaled(magnitude, negative=codes < 128)


def _scaled(magnitude: np.ndarray, *, negative: np.ndarray) -> Samples:
    table = (np.where(negative, -magnitude, magnitude) / 32768).astype(np.float32)
    table.setflags(write=False)
    return table


MULAW = _mulaw()
"""float32 of shape (256,) in [-1, 1]: what each byte of mu-law means."""
ALAW = _alaw()
"""The same for A-law."""
