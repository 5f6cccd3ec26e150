"""WAV headers within raw sound: taken out, believed, never heard.

Clients that promise raw samples send WAV files nevertheless: the whole file with its header, cut anywhere, or every
message a complete file of its own. Sizes in those headers are often placeholders (0, 0xFFFFFFFF), tags stand before the
sound and after it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from app.audio.declared import DeclaredSound, Encoding, declared_sound
from app.domain.errors import UndecodableAudio

RawEncoding = Encoding | Literal["u8", "s24le", "s32le", "f32le", "f64le"]

_ENCODINGS: MappingProxyType[tuple[int, int], RawEncoding] = MappingProxyType(
    {
        (1, 8): "u8",
        (1, 16): "s16le",
        (1, 24): "s24le",
        (1, 32): "s32le",
        (3, 32): "f32le",
        (3, 64): "f64le",
        (6, 8): "alaw",
        (7, 8): "mulaw",
    }
)
"""By format tag and bits a sample."""
_WIDTHS: MappingProxyType[RawEncoding, int] = MappingProxyType(
    {"u8": 1, "mulaw": 1, "alaw": 1, "s16le": 2, "s16be": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}
)
_EXTENSIBLE = 0xFFFE
_AFTER = frozenset(
    (b"LIST", b"data", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"_PMX", b"cue ", b"smpl", b"inst", b"fact")
) | frozenset((b"PEAK", b"JUNK", b"junk", b"FLLR", b"PAD ", b"DISP", b"afsp", b"cart", b"acid"))
"""Chunks that follow the sound. Anything else there is sound whose header had a wrong size."""
_UNSIZED = 0x7FFF_0000  # bytes: a size from here on is a placeholder of a program that writes to a pipe
_MOST_CHUNKS = 1000  # between sound and sound; empty ones cost time and no bandwidth
_ENDLESS = 1 << 62
_FORM = range(16, 4097)  # bytes of a fmt chunk
_FILE, _CHUNK = 12, 8  # bytes of what a file, and a chunk, begins with


@dataclass(frozen=True, slots=True)
class RawLayout:
    """What bytes of sound mean: samples of `encoding` at `rate` Hz, `channels` interleaved."""

    encoding: RawEncoding
    rate: int
    channels: int

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return _WIDTHS[self.encoding] * self.channels

    @classmethod
    def of(cls, declared: DeclaredSound) -> RawLayout:
        """What was declared.

        Raises:
            UndecodableAudio: a rate or number of channels nobody sends.
        """
        # The one place that knows the limits reads a media type.
        declared_sound(f"audio/pcm;rate={declared.rate};channels={declared.channels}")
        return cls(declared.encoding, declared.rate, declared.channels)


class Stretch(NamedTuple):
    """Bytes of sound. `first`: a header stood before them, so that they begin with a whole sample."""

    layout: RawLayout
    data: memoryview
    first: bool


class WavFilter:
    """Bytes in, stretches of sound out. A header counts where a stream or a message begins, or a file has ended."""

    def __init__(self, layout: RawLayout | None) -> None:
        """`layout` is what sound without a header is; None: there is none."""
        self._layout = layout
        self._head = b""  # bytes of which it is not certain yet what they are
        self._in_header = False
        self._after = False  # a file's sound is over
        self._left = 0  # bytes of sound to come
        self._skip = 0  # bytes of a chunk that is not sound
        self._first = False
        self._chunks = 0  # since the last sound
        self._padded = False  # a zero may follow what is over, to make its size even

    @property
    def layout(self) -> RawLayout | None:
        """What sound is now; None until a header has said so."""
        return self._layout

    def message(self, data: bytes) -> Iterator[Stretch]:
        """The sound in a message, which may begin with a header.

        Raises:
            UndecodableAudio: a header that cannot be read, or sound of a kind that is not raw.
        """
        if len(data) >= _FILE and may_be_wav(data):
            self._expect()
        rest = memoryview(data)
        while rest:
            if self._skip:
                skipped = min(self._skip, len(rest))
                self._skip, rest = self._skip - skipped, rest[skipped:]
            elif self._left:
                taken = min(self._left, len(rest))
                yield self._sound(rest[:taken])
                self._left, rest = self._left - taken, rest[taken:]
                self._after = not self._left
            else:
                missing = self._wanted() - len(self._head)
                self._head += bytes(rest[:missing])
                rest = rest[missing:]
                if self._look():
                    yield self._sound(self._give_up())

    def finish(self) -> Iterator[Stretch]:
        """What was held back in case it became a header, and did not."""
        if self._head and not self._in_header and not self._after and self._layout:
            yield self._sound(self._give_up())

    def _expect(self) -> None:
        """A file begins here, whatever the last one promised."""
        self._head = b""
        self._in_header = self._after = False
        self._left = self._skip = 0

    def _sound(self, data: memoryview) -> Stretch:
        if self._layout is None:
            raise UndecodableAudio("The sound begins without a header that says what it is.")
        first, self._first, self._chunks = self._first, False, 0
        return Stretch(self._layout, data, first)

    def _give_up(self) -> memoryview:
        """The held bytes, which are sound after all; so is everything that follows."""
        held = self._head
        self._head = b""
        self._left, self._after = _ENDLESS, False
        return memoryview(held)

    def _wanted(self) -> int:
        """How many bytes the next decision needs."""
        if self._in_header and self._head[:4] == b"fmt " and len(self._head) >= _CHUNK:
            size = _size(self._head)
            if size not in _FORM:
                raise _unreadable()
            return _CHUNK + size + size % 2
        return _FILE if self._head[:4] in (b"RIFF", b"RF64") else _CHUNK

    def _look(self) -> bool:
        """Get on with the held bytes; whether they are sound."""
        if not self._in_header:
            if self._after and self._padded and not self._head[0]:
                self._head = self._head[1:]
            self._padded = False
            if may_be_wav(self._head):
                if len(self._head) == _FILE:
                    self._head = b""
                    self._in_header, self._after = True, False
                return False
            if not (self._after and _may_be_chunk(self._head)):
                return True
        if len(self._head) == self._wanted() >= _CHUNK:
            self._chunk()
        return False

    def _chunk(self) -> None:
        name, size = self._head[:4], _size(self._head)
        self._chunks += 1
        if self._chunks > _MOST_CHUNKS:
            raise _unreadable()
        if name == b"fmt ":
            self._layout = _layout(self._head[_CHUNK:])
        elif name == b"data":
            if self._layout is None:
                raise _unreadable()
            self._left = size if 0 < size < _UNSIZED else _ENDLESS
            self._in_header, self._first, self._padded = False, True, bool(size % 2)
        elif size >= _UNSIZED or not name.isascii():
            raise _unreadable()
        else:
            self._skip = size + size % 2
        self._head = b""


def _size(head: bytes) -> int:
    """What the chunk at the start of `head` says its size is, in bytes."""
    return int.from_bytes(head[4:_CHUNK], "little")


def _layout(form: bytes) -> RawLayout:
    """What a fmt chunk says."""
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack_from("<H", form, 24)
    if (tag, bits) not in _ENCODINGS:
        raise UndecodableAudio(
            f"The WAV header states samples of a kind that is not supported (tag {tag}, {bits} bits)."
        )
    declared_sound(f"audio/pcm;rate={rate};channels={channels}")
    return RawLayout(_ENCODINGS[tag, bits], rate, channels)


def holds_raw_sound(head: bytes) -> bool | None:
    """Whether a WAV file that begins so holds samples that WavFilter knows; None: too little is there to tell."""
    wav = WavFilter(None)
    try:
        next(wav.message(head), None)
    except UndecodableAudio:
        return False
    return True if wav.layout else None


def may_be_wav(head: bytes) -> bool:
    """Whether `head`, of any length, begins as a WAV file does."""
    return any(name.startswith(head[:4]) for name in (b"RIFF", b"RF64")) and b"WAVE".startswith(head[8:_FILE])


def _may_be_chunk(head: bytes) -> bool:
    """Whether `head` begins as a chunk does that stands after the sound."""
    return any(name.startswith(head[:4]) for name in _AFTER)


def _unreadable() -> UndecodableAudio:
    return UndecodableAudio("The sound begins with a WAV header that cannot be read.")
