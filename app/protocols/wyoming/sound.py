"""What the bytes of Wyoming's sound are, and those that nobody else sends as samples of 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter

_RATES, _WIDTHS, _CHANNELS = range(4_000, 192_001), range(2, 5), range(1, 9)
_KEPT = 2
"""Bytes of a sample that are heard: the upper ones."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """Signed little-endian samples of `width` bytes at `rate` Hz, `channels` interleaved."""

    rate: int
    width: int
    channels: int

    @property
    def declared(self) -> DeclaredSound:
        """What `Samples` makes of it."""
        return DeclaredSound("s16le", self.rate, self.channels)


def read_format(data: Mapping[str, Any], before: SoundFormat | None) -> SoundFormat:
    """What an event says about the sound; what it leaves out is as it was `before`.

    Raises:
        InvalidParameter: it says too little, or what nobody sends. Samples of one byte are among that: some programs
            mean signed ones, some unsigned.
    """
    return SoundFormat(
        _number(data, "rate", before.rate if before else None, _RATES),
        _number(data, "width", before.width if before else None, _WIDTHS),
        _number(data, "channels", before.channels if before else None, _CHANNELS),
    )


class Samples:
    """Bytes cut anywhere to samples of 16 bits."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rest = b""

    def of(self, data: bytes) -> bytes:
        """The samples that are whole by now."""
        if self._width == _KEPT:
            return data
        data = self._rest + data
        whole = len(data) // self._width * self._width
        self._rest = data[whole:]
        samples = np.frombuffer(data[:whole], np.uint8).reshape(-1, self._width)
        return samples[:, self._width - _KEPT :].tobytes()


def _number(data: Mapping[str, Any], name: str, before: int | None, possible: range) -> int:
    value: object = data.get(name)
    if value is None:
        value = before
    if not isinstance(value, int) or isinstance(value, bool) or value not in possible:
        told = f"{name} of the sound is a number from {possible[0]} to {possible[-1]}"
        raise InvalidParameter(f"{told}{' (bytes)' if name == 'width' else ''}.", param=name)
    return value
