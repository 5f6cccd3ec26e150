"""A decoded recording: int16 16 kHz in a memory-mapped temporary file, so that length costs disk, not memory."""

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

    Where the channels were kept apart, each is a sound by itself, and the recording as a whole their mean.

    The file's name is given up as soon as it is mapped where the system allows that, so that even a killed server
    leaves nothing behind; elsewhere `close` removes it. Space is freed when the last view of `samples` is gone.
    """

    def __init__(
        self, path: Path, *, warnings: tuple[str, ...] = (), time_scale: float = 1.0, channels: int = 1
    ) -> None:
        """Map `path`, a non-empty file of int16 16 kHz samples, `channels` interleaved, and own it from here on.

        Raises:
            OSError, ValueError: it cannot be mapped; the file is still the caller's.
        """
        mapped = np.memmap(path, dtype="<i2", mode="r")
        self._samples: NDArray[np.int16] | None = mapped if channels == 1 else mapped.reshape(-1, channels)
        self._channels = channels
        self._path: Path | None = path
        self._warnings = warnings
        self._time_scale = time_scale
        self._duration = len(self._samples) / SAMPLE_RATE
        self._remove()

    @property
    def samples(self) -> NDArray[np.int16]:
        """All samples, read-only: int16 16 kHz, of shape (n,), or (n, channels) where there are several channels.

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
    def channels(self) -> int:
        """How many there are; 1 where they were mixed."""
        return self._channels

    @property
    def time_scale(self) -> float:
        """What times in this sound are to be multiplied by to be times on its container's clock; nearly always 1."""
        return self._time_scale

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a caller should know about the file, e.g. "audio_truncated"."""
        return self._warnings

    def piece(self, start: float, end: float) -> Samples:
        """A copy of the stretch from `start` to `end` (seconds, clamped to the recording): float32 mono in [-1, 1].

        Several channels are averaged.

        Raises:
            ValueError: the recording is closed.
        """
        stretch = _stretch(self.samples, start, end)
        if self._channels == 1:
            return np.multiply(stretch, _FULL_SCALE, dtype=np.float32)
        # float32 holds the sums exactly, and so the extremes stay within one.
        return (stretch @ np.ones(self._channels, np.float32)) / np.float32(32768 * self._channels)

    def channel(self, index: int) -> Channel:
        """One channel as a sound by itself, counted from 0. It is heard until the recording is closed.

        Raises:
            IndexError: there is no such channel.
        """
        if index not in range(self._channels):
            raise IndexError(f"the recording has no channel {index}")
        return Channel(self, index)

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


class Channel:
    """One channel of a recording; reads its recording's samples and owns nothing."""

    def __init__(self, recording: Recording, index: int) -> None:
        self._recording = recording
        self._index = index

    @property
    def duration(self) -> float:
        """Length in seconds; known after closing the recording, too."""
        return self._recording.duration

    def piece(self, start: float, end: float) -> Samples:
        """A copy of the stretch from `start` to `end` (seconds, clamped to the recording): float32 in [-1, 1].

        Raises:
            ValueError: the recording is closed.
        """
        stretch = _stretch(self._recording.samples, start, end)
        alone = stretch if stretch.ndim == 1 else stretch[:, self._index]
        return np.multiply(alone, _FULL_SCALE, dtype=np.float32)


def _stretch(samples: NDArray[np.int16], start: float, end: float) -> NDArray[np.int16]:
    """A view of `samples`, (n,) or (n, channels), between two times in seconds, clamped to what there is."""
    first = min(max(round(start * SAMPLE_RATE), 0), len(samples))
    last = min(max(round(end * SAMPLE_RATE), first), len(samples))
    return samples[first:last]
