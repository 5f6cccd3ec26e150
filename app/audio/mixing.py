"""Frames of any shape to 16 kHz, mixed to mono or channel by channel: mixing, resampling and writing, under limits."""

from __future__ import annotations

import math
from io import BufferedIOBase
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np
import soxr

from app.audio.protocol import Limits
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import AudioTooLong, AudioTooShort, UndecodableAudio

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from numpy.typing import NDArray

    from app.domain.engines import Samples

_RATES = range(1_000, 384_001)  # Hz; a forged FLAC header can say 655,350
_MAX_CHANNELS, _MAX_SPLIT = 16, 8
MIN_SECONDS = 0.1  # OpenAI's own minimum, and about what a recogniser needs for one feature window
_MAX_PLANES = 7  # PyAV reads memory that is not the frame's where more channels lie apart, and the process dies
_BATCH = 1 << 16  # frames: numpy's cost per call vanishes, and 16 channels of it are 4 MiB
_ALIKE = 8  # of 32768: what rounding and dither leave between two copies; lossy encoders can leave more
_SUPPORTED = "wav, mp3, m4a/mp4/mov, flac, ogg/opus, webm/mkv, aac, amr, aiff, au, caf, wma, w64, avi, mpeg, flv"


class SoundWriter:
    """Frames as they come out of a decoder -> int16 16 kHz in a file, a batch at a time.

    Mono, the channels mixed; or with `split` all channels, interleaved, as many as the first frame has.
    """

    def __init__(self, out: BufferedIOBase | BinaryIO, limits: Limits, *, split: bool = False) -> None:
        self._before = 0.0  # seconds before this stretch of one sample rate
        self._in_stretch = 0  # samples
        self._out = out
        self._limits = limits
        self._bytes = 0
        self._written = 0
        self._batch: list[NDArray[Any]] = []
        self._batched = 0
        self._shape: tuple[str, str, int] | None = None
        self._split = split
        self._weights: Samples = np.ones((1, 1), np.float32)  # (channels written, channels decoded)
        self._alike = True
        self._planar = False
        self._packer: av.AudioResampler | None = None  # planes to interleaved samples
        self._resampler: soxr.ResampleStream | None = None

    @property
    def seconds(self) -> float:
        """How much was decoded so far. Counted in samples: adding up fractions would drift past an exact limit."""
        return self._before + (self._in_stretch / self._shape[2] if self._shape else 0.0)

    @property
    def channels(self) -> int:
        """How many are written."""
        return len(self._weights)

    @property
    def alike(self) -> bool:
        """Whether several channels were kept apart and all of them are one sound, but for rounding."""
        return self.channels > 1 and self._alike

    def add(self, frame: AudioFrame) -> None:
        """Take a frame.

        Raises:
            AudioTooLong: this one passes a limit.
            UndecodableAudio: a rate, channel count or sample format nobody records in; more channels than are kept
                apart, or another number of them than before.
        """
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            self._reshape(frame)
            self._shape = shape
        self._in_stretch += frame.samples
        self._bytes += frame.samples * self._weights.shape[1] * frame.format.bytes
        if self.seconds > self._limits.max_seconds:
            raise _too_long(self._limits)
        if self._bytes > self._limits.max_bytes:
            raise AudioTooLong("The recording decodes to more data than the limit allows.")
        try:
            packed = self._packer.resample(frame) if self._packer else [frame]
            self._batch.extend(part.to_ndarray() for part in packed)
        except ValueError as error:
            raise undecodable("Its sample format is not supported.") from error
        self._batched += frame.samples
        if self._batched >= _BATCH:
            self._drain()

    def rest(self, seconds: float) -> None:
        """Put silence in: what a gap between time stamps was.

        Raises:
            AudioTooLong: this passes a limit.
        """
        if self._shape is None:
            return
        rate = self._shape[2]
        self._drain()
        left = round(seconds * rate)
        if self.seconds + left / rate > self._limits.max_seconds:
            raise _too_long(self._limits)
        self._in_stretch += left
        while left > 0:
            hush = np.zeros((min(left, _BATCH), self.channels), np.float32)
            self._write(self._resampler.resample_chunk(hush) if self._resampler else hush)
            left -= len(hush)

    def finish(self) -> int:
        """Write what is left; the number of samples written in all for each channel.

        Raises:
            AudioTooShort: less than 0.1 s of sound.
        """
        if self.seconds < MIN_SECONDS:
            raise AudioTooShort(f"Audio file is too short. Minimum audio length is {MIN_SECONDS} seconds.")
        self._end_stretch()
        self._out.flush()
        return self._written

    def _reshape(self, frame: AudioFrame) -> None:
        """Begin a stretch of another format, layout or rate: chained ogg files and broadcasts change in the middle."""
        channels = frame.layout.nb_channels
        if self._split:
            self._check_split(channels)
        if frame.sample_rate not in _RATES or not 1 <= channels <= _MAX_CHANNELS:
            raise undecodable(
                f"Sample rates from {_RATES[0]} to {_RATES[-1]} Hz and up to {_MAX_CHANNELS} channels are supported."
            )
        rate = self._shape[2] if self._shape else None
        self._drain()
        names = [channel.name for channel in frame.layout.channels] or ["?"] * channels
        self._weights = np.eye(channels, dtype=np.float32) if self._split else downmix_weights(names)[np.newaxis]
        apart = frame.format.is_planar
        self._packer = av.AudioResampler(format=frame.format.packed) if apart and channels > _MAX_PLANES else None
        self._planar = apart and not self._packer
        if frame.sample_rate != rate:
            self._end_stretch()
            self._before, self._in_stretch = self.seconds, 0
            # HQ is good to 20 bits, more than the 16 that are kept.
            self._resampler = (
                soxr.ResampleStream(frame.sample_rate, SAMPLE_RATE, self.channels, dtype="float32", quality="HQ")
                if frame.sample_rate != SAMPLE_RATE
                else None
            )

    def _check_split(self, channels: int) -> None:
        if channels > _MAX_SPLIT:
            raise UndecodableAudio(
                f"The recording has {channels} channels; no more than {_MAX_SPLIT} can be kept apart."
            )
        if self._shape and channels != self.channels:
            raise UndecodableAudio(
                "The number of channels changes within the recording, so that they cannot be kept apart "
                f"({self.channels} at first, later {channels})."
            )

    def _drain(self) -> None:
        if self._batch:
            raw = np.concatenate(self._batch, axis=1)
            self._batch.clear()
            self._batched = 0
            sound = mix(raw, self._weights, planar=self._planar)
            self._write(self._resampler.resample_chunk(sound) if self._resampler else sound)

    def _end_stretch(self) -> None:
        self._drain()
        if self._resampler:
            self._write(self._resampler.resample_chunk(np.zeros((0, self.channels), np.float32), last=True))
            self._resampler = None

    def _write(self, sound: Samples) -> None:
        whole = np.clip(np.rint(sound * np.float32(32768)), -32768, 32767).astype("<i2")
        self._out.write(whole.tobytes())
        self._written += len(whole)
        if self._alike and self.channels > 1:
            self._alike = _spread(whole) <= _ALIKE


def downmix_weights(channels: list[str]) -> Samples:
    """Weights, summing to 1 so that nothing clips, of named channels in the mono sum.

    One and two channels are averaged. Beyond that the coefficients of ITU-R BS.775: centre 1, left and right -3 dB,
    surrounds -6 dB, no low-frequency effects; channels without a known place count alike.
    """
    places = {"FC": 1.0, "FL": math.sqrt(0.5), "FR": math.sqrt(0.5), "LFE": 0.0, "LFE2": 0.0}
    known = {"FL", "FR", "FC"} <= set(channels)
    weights = np.array([places.get(name, 0.5) if known else 1.0 for name in channels], np.float32)
    return weights / weights.sum()


def mix(raw: NDArray[Any], weights: Samples, *, planar: bool) -> Samples:
    """Samples of any format FFmpeg has, (channels, n) when planar, else (1, n * channels) -> float32 (n, mixed).

    Each row of `weights`, (mixed, channels), makes one channel of the result; as many as there are make the identity.

    What is not a number becomes 0; what is absurdly loud is held at 12 dB over full scale, so that the resampler
    cannot overflow.
    """
    mixed, channels = weights.shape
    planes = raw.reshape(channels, -1) if planar else raw.reshape(-1, channels).T
    if raw.dtype == np.uint8:
        sound = (planes.astype(np.float32) - 128) / 128
    elif raw.dtype.kind == "i":
        sound = planes.astype(np.float32) * np.float32(0.5 ** (8 * raw.dtype.itemsize - 1))
    else:
        finite = planes if np.isfinite(planes).all() else np.nan_to_num(planes, nan=0, posinf=0, neginf=0)
        sound = np.clip(finite, -4, 4).astype(np.float32, copy=False)
    return np.ascontiguousarray((sound if mixed == channels else weights @ sound).T)


def _spread(frames: NDArray[np.int16]) -> int:
    """How far apart the channels of `frames`, (n, channels), are at most."""
    planes = np.ascontiguousarray(frames.T, np.int32)  # the long axis last, or each frame would cost a call
    return int(np.ptp(planes, axis=0).max(initial=0))


def undecodable(reason: str = "") -> UndecodableAudio:
    """The verdict on bytes that are no sound, or none that is understood."""
    detail = f" {reason}" if reason else ""
    return UndecodableAudio(f"The file could not be decoded as audio.{detail} Supported formats: {_SUPPORTED}.")


def _too_long(limits: Limits) -> AudioTooLong:
    return AudioTooLong(f"The recording is longer than the limit of {limits.max_seconds:g} seconds.")
