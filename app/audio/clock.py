"""A container's clock against the sound that came out of it.

Recordings joined from parts, and recorders that lose packets, say by their time stamps when a sound was made; the
samples alone drift away from that. What a video player shows, and what people quote, is the container's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

_STAMPED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "flv", "asf", "avi"})
"""Containers whose packets carry time stamps of their own; elsewhere they are counted from the samples."""
_GAP, _LONGEST_GAP = 0.1, 600.0
"""Seconds. A shorter jump is rounding, or a codec's delay; a longer one is a broken stamp, not a pause."""
_DRIFT_SECONDS, _DRIFT = 0.1, 0.001
"""Less than either is no drift: encoders pad a recording by a frame or two."""
_MOST = 0.1
"""More than this part is no drift either, but stamps that mean nothing."""


class StreamClock:
    """Follows a stream's frames in order. All times are in seconds."""

    def __init__(self, container: str) -> None:
        self._trusted = container in _STAMPED
        self._first: float | None = None
        self._end = 0.0

    def gap(self, frame: AudioFrame) -> float:
        """How much silence the time stamps put before `frame`; to be asked for each frame once."""
        if not self._trusted:
            return 0.0
        if frame.pts is None or frame.time_base is None:
            self._trusted = False
            return 0.0
        start = float(frame.pts * frame.time_base)
        missing = start - self._end if self._first is not None else 0.0
        if self._first is None:
            self._first = start
        if missing < -_LONGEST_GAP or missing > _LONGEST_GAP:  # it starts anew: stamps of another recording
            self._trusted = False
            return 0.0
        self._end = start + frame.samples / frame.sample_rate
        return missing if missing >= _GAP else 0.0

    def scale(self, seconds: float) -> float:
        """What times in `seconds` of sound, gaps included, are to be multiplied by to be the container's."""
        if not self._trusted or self._first is None or seconds <= 0:
            return 1.0
        scale = (self._end - self._first) / seconds
        drift = abs(scale - 1.0)
        return scale if drift * seconds > _DRIFT_SECONDS and _DRIFT < drift < _MOST else 1.0
