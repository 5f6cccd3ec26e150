"""A live stream's decoder: `python -m app.audio.live_worker` turns a file's bytes on stdin, as they come, into sound on
stdout (int16 16 kHz mono), and exits when stdin closes. What went wrong is one line on stderr (see protocol).

One process a stream: what a stream does to its decoder ends that stream only. The policy is the worker's for files:
self-contained files of sound, no playlists, no network, no raw samples.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING

import av
import av.error
import av.logging

from app.audio.clock import StreamClock
from app.audio.mixing import SoundWriter, undecodable
from app.audio.protocol import Limits, error_line
from app.audio.worker import (  # the one policy for bytes from outside
    CODECS,
    CONTAINERS,
    allow_cpu,
    choose_stream,
    open_container,
    restrain,
)
from app.domain.errors import EngineFailure, SpeechError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

_ENDLESS = Limits(max_seconds=float("inf"), max_bytes=sys.maxsize)  # how long a stream may be is others' business
_MAX_BAD_AT_FIRST, _MAX_BAD = 32, 1000  # packets in a row; a stream joined in its middle begins with one or two
_LONGEST_REST = 30.0  # seconds of silence that one gap between time stamps is worth
_CPU = 60.0  # seconds of processor time between two reads; decoding takes a thousandth of that
_ADDRESS_SPACE = 2 << 30  # bytes
_INDEX_LAST = 64 << 20  # bytes of an mp4 file whose index comes last, which is held until it has come
_READ_BUFFER = 1 << 15
_BOXES, _BOXED = 16, 1 << 20  # boxes and bytes of an mp4 file that are looked at to find its index
_MP4 = re.compile(rb"\0\0\0[\x08-\xff]ftyp")
_OUT_OF_MEMORY = error_line(EngineFailure("The decoder ran out of memory on this stream."))  # made while there is some


class Pipe:
    """Bytes as they come: `read` gives what is there, and waits only while there is nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ahead = b""
        self._before = b""  # the end of the last read, where a mark may begin
        self.mp4_files = 0
        """How many of them began so far."""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only where the stream ends; they are read again."""
        while len(self._ahead) < size and (more := self._more(size)):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        if not self._ahead:
            return self._more(size)
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        while size and (skipped := len(self.read(min(size, _READ_BUFFER)))):
            size -= skipped

    def _more(self, size: int) -> bytes:
        allow_cpu(_CPU)
        read = os.read(self._descriptor, size)
        joined = self._before + read
        self.mp4_files += len(_MP4.findall(joined))
        self._before = joined[-7:]
        return read


class PromptWriter(SoundWriter):
    """Writes every frame at once instead of in batches."""

    def add(self, frame: AudioFrame) -> None:
        """See SoundWriter.add."""
        super().add(frame)
        self._drain()
        self._out.flush()

    def end(self) -> None:
        """Write what the resampler holds back."""
        self._end_stretch()
        self._out.flush()


def decode(source: Pipe, sound: PromptWriter) -> None:
    """Everything in `source` into `sound`; broken packets are skipped.

    Raises:
        UndecodableAudio, NoAudioStream: the bytes' fault.
    """
    with contextlib.closing(_open_live(source)) as container:
        stream = choose_stream(container)
        clock = StreamClock(container.format.name)
        for frame in _frames(container, stream):
            if missing := clock.gap(frame):
                sound.rest(min(missing, _LONGEST_REST))
            sound.add(frame)
        if not sound.seconds:
            raise undecodable()
        sound.end()
        while source.read(_READ_BUFFER):  # who writes must not meet a closed pipe
            pass
        # Other demuxers go on where a second file follows; this one is done with the last sample of the first.
        if container.format.name.startswith("mov") and source.mp4_files > 1:
            raise undecodable("Of several mp4 files in a row, only the first can be.")


def _open_live(source: Pipe) -> InputContainer:
    _skip_tags(source)
    if _index_comes_last(source):
        return open_container(_held(source))
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": CONTAINERS,
        "codec_whitelist": CODECS,
        # What headers tell is not searched for in seconds of sound; the first of them, where a stream is joined in its
        # middle, is: a frame of AAC has up to 8 KiB.
        "analyzeduration": "1",
        "probesize": "16384",
        "formatprobesize": "65536",
    }
    nameless = SimpleNamespace(read=source.read)  # no seek: nothing in the bytes can ask for it
    try:
        return av.open(
            nameless,
            "r",
            format=_format(source.peek(8)),
            container_options=options,
            metadata_errors="replace",
            buffer_size=_READ_BUFFER,
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise undecodable() from error


def _skip_tags(source: Pipe) -> None:
    """Pass over ID3 tags: with a picture they are longer than FFmpeg looks for a format."""
    while (head := source.peek(10)).startswith(b"ID3") and len(head) == 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        source.skip(20 + size if head[5] & 0x10 else 10 + size)


def _format(head: bytes) -> str | None:
    """The demuxer for a stream that begins so; None: FFmpeg is to find out, which takes it two KiB or more."""
    if head[4:] == b"ftyp":
        return "mov"
    names = {b"OggS": "ogg", b"fLaC": "flac", b"\x1aE\xdf\xa3": "matroska", b"RIFF": "wav", b"#!AM": "amr"}
    if head[:4] in names or len(head) < 4 or head[0] != 0xFF:
        return names.get(head[:4])
    if head[1] & 0xF6 == 0xF0:  # ADTS
        return "aac"
    is_mp3 = head[1] & 0xE6 == 0xE2 and head[2] & 0xF0 not in (0, 0xF0) and head[2] & 0x0C != 0x0C
    return "mp3" if is_mp3 else None


def _index_comes_last(source: Pipe) -> bool:
    """Whether this is an mp4 file with the sound before the index that tells where in it what is."""
    at = 0
    for _ in range(_BOXES):
        box = source.peek(at + 8)[at:]
        size, name = int.from_bytes(box[:4], "big"), box[4:]
        if name == b"mdat":
            return at > 0
        if name == b"moov" or size < 8 or at + size > _BOXED or (at == 0 and name != b"ftyp"):
            return False
        at += size
    return False


def _held(source: Pipe) -> io.BytesIO:
    """All of `source`.

    Raises:
        UndecodableAudio: that is too much to hold.
    """
    held = io.BytesIO()
    while piece := source.read(_READ_BUFFER):
        held.write(piece)
        if held.tell() > _INDEX_LAST:
            raise undecodable("Its index comes last, which a live stream cannot wait for.")
    held.seek(0)
    return held


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """What can be decoded, in order.

    Raises:
        UndecodableAudio: nothing but errors from some point on.
    """
    bad, most = 0, _MAX_BAD_AT_FIRST
    packets = container.demux(stream)
    while bad <= most:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.error.EOFError:
            return
        except MemoryError:
            raise
        except av.error.FFmpegError:
            bad += 1
            packets = container.demux(stream)  # a generator that has raised is over
            continue
        if frames:
            bad, most = 0, _MAX_BAD
            yield from frames
    raise undecodable()


def _limit() -> None:
    """What a worker gives up, and more: one stream needs less memory, and no files at all."""
    restrain()
    if sys.platform == "win32":
        return
    for what, most in ((resource.RLIMIT_AS, _ADDRESS_SPACE), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))


def main() -> int:
    """Decode stdin to stdout; the exit status."""
    logging.basicConfig(level=logging.WARNING)
    av.logging.set_level(None)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a C library that prints must not be heard
    _limit()
    try:
        decode(Pipe(0), PromptWriter(out, _ENDLESS))
    except BrokenPipeError:  # nobody listens any more
        return 1
    except MemoryError:
        os.write(2, _OUT_OF_MEMORY)
        return 1
    except SpeechError as error:
        os.write(2, error_line(error))
        return 1
    except Exception:
        logger.exception("the live decoder failed")
        os.write(2, error_line(EngineFailure("The decoder failed on this stream.")))
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())  # somebody waits for the end: what Python tidies up takes longer than what it leaves undone
