"""A decoded recording: int16 mono 16 kHz in a memory-mapped temporary file, so that length costs disk, not memory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from app.domain.engines import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

_FULL_SCALE = np.float32(1 / 32768)


class Recording:
    """Sound to recognise. A context manager: leaving it (or `close`) frees the disk.

    The file's name is given up as soon as it is mapped where the system allows that, so that even a killed server
    leaves nothing behind; elsewhere `close` removes it. Space is freed when the last view of `samples` is gone.
    """

    def __init__(self, path: Path, *, warnings: tuple[str, ...] = (), time_scale: float = 1.0) -> None:
        """Map `path`, a non-empty file of int16 mono 16 kHz samples, and own it from here on.

        Raises:
            OSError, ValueError: it cannot be mapped; the file is still the caller's.
        """
        self._samples: NDArray[np.int16] | None = np.memmap(path, dtype="<i2", mode="r")
        self._path: Path | None = path
        self._warnings = warnings
        self._time_scale = time_scale
        self._duration = len(self._samples) / SAMPLE_RATE
        self._remove()

    @property
    def samples(self) -> NDArray[np.int16]:
        """All samples, read-only: int16 mono 16 kHz.

        Raises:
            ValueError: the recording is closed.
        """
        if self._samples is None:
            raise ValueError("the recording is closed")
        return self._samples

    @property
    def duration(self) -> float:
        """Length in seconds; known after closing, too."""
        return self._duration

    @property
    def time_scale(self) -> float:
        """What times in this sound are to be multiplied by to be times on its container's clock; nearly always 1."""
        return self._time_scale

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a caller should know about the file, e.g. "audio_truncated"."""
        return self._warnings

    def piece(self, start: float, end: float) -> Samples:
        """A copy of the stretch from `start` to `end` (seconds, clamped to the recording): float32 in [-1, 1].

        Raises:
            ValueError: the recording is closed.
        """
        samples = self.samples
        first = min(max(round(start * SAMPLE_RATE), 0), len(samples))
        last = min(max(round(end * SAMPLE_RATE), first), len(samples))
        return np.multiply(samples[first:last], _FULL_SCALE, dtype=np.float32)

    def close(self) -> None:
        """Free the file. Safe to call again."""
        self._samples = None
        self._remove()

    def _remove(self) -> None:
        if self._path is None:
            return
        # Windows keeps a mapped file until the mapping is gone.
        with contextlib.suppress(PermissionError):
            self._path.unlink(missing_ok=True)
            self._path = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
