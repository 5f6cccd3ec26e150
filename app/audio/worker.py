"""The decoder process: `python -m app.audio.worker` takes jobs from stdin, one at a time, and exits when stdin closes.

Everything that touches bytes from outside happens here, under limits, so that a hostile or broken file costs one
process and one request.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import re
import signal
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.error
import av.logging

from app.audio.clock import StreamClock
from app.audio.declared import DeclaredSound
from app.audio.mixing import MIN_SECONDS, SoundWriter, undecodable
from app.audio.protocol import (
    AUDIO_TRUNCATED,
    CHANNELS_ALIKE,
    DecodeReport,
    Job,
    Limits,
    error_line,
    ready_line,
    report_line,
)
from app.domain.errors import (
    EmptyAudio,
    EngineFailure,
    NoAudioStream,
    SpeechError,
    StorageFull,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

# Demuxers that read one self-contained file of sound. No playlists, no manifests, no image sequences, no raw PCM
# (which would turn any bytes into noise).
CONTAINERS = (
    "wav,w64,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,aac,ac3,eac3,amr,amrnb,amrwb,aiff,au,caf,asf,asf_o,avi,"
    "mpeg,mpegts,flv,ape,wv,tta,nistsphere"
)
CODECS = (
    "aac,aac_latm,mp3float,mp3,mp2float,mp2,mp1float,mp1,flac,alac,opus,libopus,vorbis,speex,libspeex,ac3,eac3,ape,"
    "wavpack,tta,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,gsm,gsm_ms,"
    "g722,g726,g726le,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_g722,adpcm_g726,adpcm_g726le,adpcm_yamaha,adpcm_swf,"
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_alaw,pcm_mulaw,pcm_dvd,pcm_bluray"
)
_DECLARE_LENGTH = frozenset({"flac", "aiff", "au", "mov,mp4,m4a,3gp,3g2,mj2"})
"""Containers whose stated length is a promise, not an estimate from a bit rate, a file size or a timestamp."""

_MAX_BAD_PACKETS = 32  # before any sound; a stream cut in its middle starts with one or two
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_BUFFER = 1 << 17
_ADDRESS_SPACE = 4 << 30  # bytes; decoding takes a twentieth of it, a bomb would take all
_MAX_CHUNKS = 1000  # of a wav file, before its sound
_UNSIZED = 0x7FFF_0000  # bytes: a wav data size from here on is a placeholder of a program that writes to a pipe


_MAGIC = re.compile(rb"RIFF|RIFX|RF64|riff|ID3|fLaC|OggS|\x1aE\xdf\xa3|\.snd|FORM|caff|#!AMR|....ftyp", re.DOTALL)
"""How files begin that say themselves what they are, whatever their sender says."""


def decode_file(
    path: Path,
    out: Path,
    limits: Limits,
    declared: DeclaredSound | None = None,
    *,
    split: bool = False,
    leading: float | None = None,
) -> DecodeReport:
    """Decode the sound of `path` into `out`, which must exist, as int16 16 kHz: mono, or with `split` all channels.

    With `leading`, decoding ends when there are so many seconds; that the rest was not decoded is no loss to warn of.

    Bytes without a container are sound only when `declared`, and then what they are declared to be.

    The name of `path` says nothing; its bytes do. Broken packets are skipped, and what is there is kept with the
    warning "audio_truncated". Channels that are the same sound are told by "channels_alike".

    Raises:
        EmptyAudio, UndecodableAudio, NoAudioStream, AudioTooShort, AudioTooLong: the file's fault.
        OSError: a file cannot be read or written.
    """
    # "r+b" never creates: an output the parent has given up and removed stays removed.
    with path.open("rb") as source, out.open("r+b") as target:
        if not (beginning := source.read(12)):
            raise EmptyAudio("The audio file is empty.")
        source.seek(0)
        raw = None if _MAGIC.match(beginning) else declared
        with contextlib.closing(_open_raw(source, raw) if raw else open_container(source)) as container:
            stream = choose_stream(container)
            sound = SoundWriter(target, limits, split=split)
            clock = StreamClock(container.format.name)
            broken = _decode(container, stream, sound, clock, leading or math.inf)
            samples = sound.finish()
            scale = clock.scale(sound.seconds)
            promised = None if leading else _declared_seconds(source, container, stream)
            lacking = promised - scale * sound.seconds if promised is not None else 0.0
            truncated = broken or lacking > max(0.5, 0.01 * (promised or 0.0))
            told = {AUDIO_TRUNCATED: truncated, CHANNELS_ALIKE: sound.alike}
            warnings = tuple(warning for warning, holds in told.items() if holds)
            return DecodeReport(samples, _claimed_seconds(container, stream), warnings, scale, sound.channels)


def open_container(source: BinaryIO) -> InputContainer:
    """The container in `source`; nothing but `source` can be read, whatever the bytes ask for."""
    # Only the three methods: FFmpeg would take hints from a file's name. With every protocol forbidden and the bytes
    # coming through Python, a reference to another file or host has nothing to open it with.
    nameless = SimpleNamespace(read=source.read, seek=source.seek, tell=source.tell)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": CONTAINERS,
        "codec_whitelist": CODECS,
        "max_size": "65536",  # bytes a wav packet: 8500 times real time against 1950 with the default of a few KiB
    }
    try:
        # Tags in a local encoding are common in mp3; a strict decoder would refuse the whole file.
        return av.open(nameless, "r", container_options=options, metadata_errors="replace", buffer_size=_READ_BUFFER)
    except MemoryError:  # FFmpeg's is one of its errors, too, and says nothing about the file
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise undecodable() from error


def _open_raw(source: BinaryIO, declared: DeclaredSound) -> InputContainer:
    """`source` as samples without a container."""
    shape = {"sample_rate": str(declared.rate), "ch_layout": f"{declared.channels} channels"}
    nameless = SimpleNamespace(read=source.read, seek=source.seek, tell=source.tell)
    try:
        return av.open(
            nameless,
            "r",
            format=declared.encoding,
            container_options={"protocol_whitelist": "none", **shape},
            buffer_size=_READ_BUFFER,
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise undecodable() from error


def choose_stream(container: InputContainer) -> AudioStream:
    """The container's best (or default) sound track, checked."""
    if not container.streams:
        raise undecodable()
    if not container.streams.audio:
        raise NoAudioStream("The file has no audio track.")
    best = container.streams.best("audio")
    stream = next((stream for stream in container.streams.audio if stream is best), container.streams.audio[0])
    context: Any = stream.codec_context  # None when FFmpeg has no decoder for it
    if context is None or context.codec.name not in CODECS.split(","):
        raise undecodable("Its audio codec is not supported.")
    context.thread_count = 1  # the pool has one process a core already
    return stream


def _decode(
    container: InputContainer, stream: AudioStream, sound: SoundWriter, clock: StreamClock, most: float
) -> bool:
    """The packets of `stream` into `sound` until it has `most` seconds; whether some could not be decoded.

    Raises:
        UndecodableAudio: nothing but errors.
    """
    bad = 0
    packets = container.demux(stream)
    while sound.seconds < most:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode()
        except av.error.EOFError:
            break
        except MemoryError:
            raise
        except av.error.FFmpegError as error:
            bad += 1
            # A generator that has raised is over: the next call says so and the loop ends.
            if bad > _MAX_BAD_PACKETS and sound.seconds < MIN_SECONDS:
                raise undecodable() from error
            continue
        for frame in frames:
            if missing := clock.gap(frame):
                room = max(0.0, most - sound.seconds)
                sound.rest(min(missing, room))
                if missing >= room:  # what comes after the pause is beyond it
                    return bad > 0
            sound.add(frame)
    if sound.seconds <= 0 or (bad and sound.seconds < MIN_SECONDS):
        raise undecodable()
    return bad > 0


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


def answer(job: Job) -> bytes:
    """The line that answers `job`."""
    try:
        allow_cpu(job.cpu_seconds)
        return report_line(
            decode_file(job.path, job.out, job.limits, job.declared, split=job.split, leading=job.leading)
        )
    except SpeechError as error:
        return error_line(error)
    except MemoryError:  # there may be none for an answer either; the parent starts a fresh process
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            logger.error("no room for decoded sound: %s", error.strerror)
            return error_line(StorageFull("The server has no room left for the decoded sound."))
        logger.exception("the decoder failed")
        return error_line(EngineFailure("The decoder failed on this file."))


def restrain() -> None:
    """Give up what decoding does not need: memory, priority, core dumps (which would hold people's speech)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes stdin when done
    if sys.platform == "win32":
        return
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not every system honours a limit on address space.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))


def allow_cpu(seconds: float) -> None:
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
    restrain()
    replies.write(ready_line())
    for line in sys.stdin.buffer:
        replies.write(answer(Job.from_line(line)))


if __name__ == "__main__":
    main()
