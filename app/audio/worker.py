"""The decoder process: `python -m app.audio.worker` takes jobs from stdin, one at a time, and exits when stdin closes.

Everything that touches bytes from outside happens here, under limits, so that a hostile or broken file costs one
process and one request.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
from fractions import Fraction
from io import BufferedIOBase
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import av.logging
import numpy as np
import soxr

from app.audio.protocol import AUDIO_TRUNCATED, DecodeReport, Job, Limits, error_line, ready_line, report_line
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import (
    AudioTooLong,
    AudioTooShort,
    EmptyAudio,
    EngineFailure,
    NoAudioStream,
    SpeechError,
    UndecodableAudio,
)

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer
    from numpy.typing import NDArray

    from app.domain.engines import Samples

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

# Demuxers that read one self-contained file of sound. No playlists, no manifests, no image sequences, no raw PCM
# (which would turn any bytes into noise).
_CONTAINERS = (
    "wav,w64,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,aac,ac3,eac3,amr,amrnb,amrwb,aiff,au,caf,asf,asf_o,avi,"
    "mpeg,mpegts,flv,ape,wv,tta,nistsphere"
)
_CODECS = (
    "aac,aac_latm,mp3float,mp3,mp2float,mp2,mp1float,mp1,flac,alac,opus,libopus,vorbis,speex,libspeex,ac3,eac3,ape,"
    "wavpack,tta,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,gsm,gsm_ms,"
    "g722,g726,g726le,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_g722,adpcm_g726,adpcm_g726le,adpcm_yamaha,adpcm_swf,"
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_alaw,pcm_mulaw,pcm_dvd,pcm_bluray"
)
_SUPPORTED = "wav, mp3, m4a/mp4/mov, flac, ogg/opus, webm/mkv, aac, amr, aiff, au, caf, wma, w64, avi, mpeg, flv"
_DECLARE_LENGTH = frozenset({"flac", "aiff", "au", "mov,mp4,m4a,3gp,3g2,mj2"})
"""Containers whose stated length is a promise, not an estimate from a bit rate, a file size or a timestamp."""

_RATES = range(1_000, 384_001)  # Hz; a forged FLAC header can say 655,350
_MAX_CHANNELS = 16
_MIN_SECONDS = 0.1  # OpenAI's own minimum, and about what a recogniser needs for one feature window
_MAX_BAD_PACKETS = 32  # before any sound; a stream cut in its middle starts with one or two
_BATCH = 1 << 16  # samples: numpy's cost per call vanishes, and 16 channels of it are 4 MiB
_READ_BUFFER = 1 << 17
_ADDRESS_SPACE = 4 << 30  # bytes; decoding takes a twentieth of it, a bomb would take all
_MAX_CHUNKS = 1000  # of a wav file, before its sound
_UNSIZED = 0x7FFF_0000  # bytes: a wav data size from here on is a placeholder of a program that writes to a pipe


def decode_file(path: Path, out: Path, limits: Limits) -> DecodeReport:
    """Decode the sound of `path` into `out`, which must exist, as int16 mono 16 kHz.

    The name of `path` says nothing; its bytes do. Broken packets are skipped, and what is there is kept with the
    warning "audio_truncated".

    Raises:
        EmptyAudio, UndecodableAudio, NoAudioStream, AudioTooShort, AudioTooLong: the file's fault.
        OSError: a file cannot be read or written.
    """
    # "r+b" never creates: an output the parent has given up and removed stays removed.
    with path.open("rb") as source, out.open("r+b") as target:
        if not source.read(1):
            raise EmptyAudio("The audio file is empty.")
        source.seek(0)
        with contextlib.closing(_open(source)) as container:
            stream = _choose(container)
            sound = _Sound(target, limits)
            broken = _decode(container, stream, sound)
            samples = sound.finish()
            declared = _declared_seconds(source, container, stream)
            truncated = broken or (declared is not None and declared - sound.seconds > max(0.5, 0.01 * declared))
            return DecodeReport(samples, _claimed_seconds(container, stream), (AUDIO_TRUNCATED,) if truncated else ())


def _open(source: BinaryIO) -> InputContainer:
    """The container in `source`; nothing but `source` can be read, whatever the bytes ask for."""
    # Only the three methods: FFmpeg would take hints from a file's name. With every protocol forbidden and the bytes
    # coming through Python, a reference to another file or host has nothing to open it with.
    nameless = SimpleNamespace(read=source.read, seek=source.seek, tell=source.tell)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": _CONTAINERS,
        "codec_whitelist": _CODECS,
        "max_size": "65536",  # bytes a wav packet: 8500 times real time against 1950 with the default of a few KiB
    }
    try:
        # Tags in a local encoding are common in mp3; a strict decoder would refuse the whole file.
        return av.open(nameless, "r", container_options=options, metadata_errors="replace", buffer_size=_READ_BUFFER)
    except (av.error.FFmpegError, ValueError) as error:
        raise _undecodable() from error


def _choose(container: InputContainer) -> AudioStream:
    """The container's best (or default) sound track, checked."""
    if not container.streams:
        raise _undecodable()
    if not container.streams.audio:
        raise NoAudioStream("The file has no audio track.")
    best = container.streams.best("audio")
    stream = next((stream for stream in container.streams.audio if stream is best), container.streams.audio[0])
    context: Any = stream.codec_context  # None when FFmpeg has no decoder for it
    if context is None or context.codec.name not in _CODECS.split(","):
        raise _undecodable("Its audio codec is not supported.")
    context.thread_count = 1  # the pool has one process a core already
    return stream


def _decode(container: InputContainer, stream: AudioStream, sound: _Sound) -> bool:
    """Every packet of `stream` into `sound`; whether some could not be decoded.

    Raises:
        UndecodableAudio: nothing but errors.
    """
    bad = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode()
        except av.error.EOFError:
            break
        except av.error.FFmpegError as error:
            bad += 1
            # A generator that has raised is over: the next call says so and the loop ends.
            if bad > _MAX_BAD_PACKETS and sound.seconds < _MIN_SECONDS:
                raise _undecodable() from error
            continue
        for frame in frames:
            sound.add(frame)
    if sound.seconds <= 0 or (bad and sound.seconds < _MIN_SECONDS):
        raise _undecodable()
    return bad > 0


class _Sound:
    """Frames as they come out of a decoder -> int16 mono 16 kHz in a file, a batch at a time."""

    def __init__(self, out: BufferedIOBase | BinaryIO, limits: Limits) -> None:
        self._before = 0.0  # seconds before this stretch of one sample rate
        self._in_stretch = 0  # samples
        self._out = out
        self._limits = limits
        self._bytes = 0
        self._written = 0
        self._batch: list[NDArray[Any]] = []
        self._batched = 0
        self._shape: tuple[str, str, int] | None = None
        self._weights: Samples = np.ones(1, np.float32)
        self._planar = False
        self._resampler: soxr.ResampleStream | None = None

    @property
    def seconds(self) -> float:
        """How much was decoded so far. Counted in samples: adding up fractions would drift past an exact limit."""
        return self._before + (self._in_stretch / self._shape[2] if self._shape else 0.0)

    def add(self, frame: AudioFrame) -> None:
        """Take a frame.

        Raises:
            AudioTooLong: this one passes a limit.
            UndecodableAudio: a rate, channel count or sample format nobody records in.
        """
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            self._reshape(frame)
            self._shape = shape
        self._in_stretch += frame.samples
        self._bytes += frame.samples * len(self._weights) * frame.format.bytes
        if self.seconds > self._limits.max_seconds:
            raise AudioTooLong(f"The recording is longer than the limit of {self._limits.max_seconds:g} seconds.")
        if self._bytes > self._limits.max_bytes:
            raise AudioTooLong("The recording decodes to more data than the limit allows.")
        try:
            self._batch.append(frame.to_ndarray())
        except ValueError as error:
            raise _undecodable("Its sample format is not supported.") from error
        self._batched += frame.samples
        if self._batched >= _BATCH:
            self._drain()

    def finish(self) -> int:
        """Write what is left; the number of samples written in all.

        Raises:
            AudioTooShort: less than 0.1 s of sound.
        """
        if self.seconds < _MIN_SECONDS:
            raise AudioTooShort(f"Audio file is too short. Minimum audio length is {_MIN_SECONDS} seconds.")
        self._end_stretch()
        self._out.flush()
        return self._written

    def _reshape(self, frame: AudioFrame) -> None:
        """Begin a stretch of another format, layout or rate: chained ogg files and broadcasts change in the middle."""
        channels = frame.layout.nb_channels
        if frame.sample_rate not in _RATES or not 1 <= channels <= _MAX_CHANNELS:
            raise _undecodable(
                f"Sample rates from {_RATES[0]} to {_RATES[-1]} Hz and up to {_MAX_CHANNELS} channels are supported."
            )
        rate = self._shape[2] if self._shape else None
        self._drain()
        if frame.sample_rate != rate:
            self._end_stretch()
            self._before, self._in_stretch = self.seconds, 0
            # HQ is good to 20 bits, more than the 16 that are kept.
            self._resampler = (
                soxr.ResampleStream(frame.sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
                if frame.sample_rate != SAMPLE_RATE
                else None
            )
        self._planar = frame.format.is_planar
        self._weights = downmix_weights([channel.name for channel in frame.layout.channels] or ["?"] * channels)

    def _drain(self) -> None:
        if self._batch:
            raw = np.concatenate(self._batch, axis=1)
            self._batch.clear()
            self._batched = 0
            mono = to_mono(raw, self._weights, planar=self._planar)
            self._write(self._resampler.resample_chunk(mono) if self._resampler else mono)

    def _end_stretch(self) -> None:
        self._drain()
        if self._resampler:
            self._write(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = None

    def _write(self, mono: Samples) -> None:
        scaled = np.rint(mono * np.float32(32768))
        self._out.write(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())
        self._written += len(mono)


def downmix_weights(channels: list[str]) -> Samples:
    """Weights, summing to 1 so that nothing clips, of named channels in the mono sum.

    One and two channels are averaged. Beyond that the coefficients of ITU-R BS.775: centre 1, left and right -3 dB,
    surrounds -6 dB, no low-frequency effects; channels without a known place count alike.
    """
    places = {"FC": 1.0, "FL": math.sqrt(0.5), "FR": math.sqrt(0.5), "LFE": 0.0, "LFE2": 0.0}
    known = {"FL", "FR", "FC"} <= set(channels)
    weights = np.array([places.get(name, 0.5) if known else 1.0 for name in channels], np.float32)
    return weights / weights.sum()


def to_mono(raw: NDArray[Any], weights: Samples, *, planar: bool) -> Samples:
    """Samples of any format FFmpeg has, (channels, n) when planar, else (1, n * channels) -> float32 mono.

    What is not a number becomes 0; what is absurdly loud is held at 12 dB over full scale, so that the resampler
    cannot overflow.
    """
    planes = raw.reshape(len(weights), -1) if planar else raw.reshape(-1, len(weights)).T
    if raw.dtype == np.uint8:
        sound = (planes.astype(np.float32) - 128) / 128
    elif raw.dtype.kind == "i":
        sound = planes.astype(np.float32) * np.float32(0.5 ** (8 * raw.dtype.itemsize - 1))
    else:
        finite = planes if np.isfinite(planes).all() else np.nan_to_num(planes, nan=0, posinf=0, neginf=0)
        sound = np.clip(finite, -4, 4).astype(np.float32, copy=False)
    return np.ascontiguousarray(sound[0]) if len(weights) == 1 else np.ascontiguousarray(weights @ sound)


def _claimed_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    """How long the container says the sound is, in seconds; None when it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(Fraction(container.duration, 1_000_000)) if container.duration is not None else None


def _declared_seconds(source: BinaryIO, container: InputContainer, stream: AudioStream) -> float | None:
    """The length the file's writer promised, in seconds, where it is a promise: only a shortfall from one is a loss."""
    name = container.format.name
    if name == "wav":  # FFmpeg shortens what the header says to what the file holds
        size, bit_rate = _riff_data_size(source), stream.codec_context.bit_rate
        return size * 8 / bit_rate if size and bit_rate else None
    if stream.duration is not None and (name in _DECLARE_LENGTH or (name == "mp3" and _counts_frames(source))):
        return _claimed_seconds(container, stream)
    return None


def _riff_data_size(source: BinaryIO) -> int | None:
    """Bytes of sound a wav header states; None when it states none, or a placeholder."""
    source.seek(12)
    for _ in range(_MAX_CHUNKS):
        name, size = source.read(4), int.from_bytes(source.read(4), "little")
        if name == b"data":
            return size if 0 < size < _UNSIZED else None
        if len(name) < 4:
            return None
        source.seek(size + size % 2, os.SEEK_CUR)
    return None


def _counts_frames(source: BinaryIO) -> bool:
    """Whether an mp3's first frame holds a count of all (Xing, Info or VBRI); without one, length is a guess."""
    source.seek(0)
    head = source.read(10)
    tag = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False)) + 10
    source.seek(tag if head.startswith(b"ID3") else 0)
    first = source.read(1024)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


def _undecodable(reason: str = "") -> UndecodableAudio:
    detail = f" {reason}" if reason else ""
    return UndecodableAudio(f"The file could not be decoded as audio.{detail} Supported formats: {_SUPPORTED}.")


def answer(job: Job) -> bytes:
    """The line that answers `job`."""
    try:
        _allow_cpu(job.cpu_seconds)
        return report_line(decode_file(job.path, job.out, job.limits))
    except SpeechError as error:
        return error_line(error)
    except Exception:
        logger.exception("the decoder failed")
        return error_line(EngineFailure("The decoder failed on this file."))


def _restrain() -> None:
    """Give up what decoding does not need: memory, priority, core dumps (which would hold people's speech)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes stdin when done
    if sys.platform == "win32":
        return
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not every system honours a limit on address space.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))


def _allow_cpu(seconds: float) -> None:
    """Let this process use `seconds` of processor time from now; past it the system ends it, even without a parent."""
    if sys.platform == "win32":
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(usage.ru_utime + usage.ru_stime + seconds) + 1, hard))


def main() -> None:
    """Answer jobs until stdin closes."""
    logging.basicConfig(level=logging.WARNING)
    av.logging.set_level(None)
    # A C library that prints must not end up between two replies.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _restrain()
    replies.write(ready_line())
    for line in sys.stdin.buffer:
        replies.write(answer(Job.from_line(line)))


if __name__ == "__main__":
    main()
