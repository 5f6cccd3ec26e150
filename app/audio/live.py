"""Live sound: the bytes of a stream as they come, cut anywhere, to float32 mono 16 kHz as soon as it is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from app.audio.declared import DeclaredSound
from app.audio.live_backlog import BLOCK, Backlog, Cue
from app.audio.live_process import ProcessDecoder
from app.audio.live_raw import RawDecoder
from app.audio.live_wav import RawLayout, holds_raw_sound, may_be_wav

if TYPE_CHECKING:
    from app.domain.engines import Samples

__all__ = ["BLOCK", "Cue", "LiveSource", "open_source"]

_MARKS = (b"OggS", b"fLaC", b"\x1aE\xdf\xa3", b"ID3\x02", b"ID3\x03", b"ID3\x04", b"#!AMR")
"""How streams begin that say themselves what they are, whatever was declared."""
_LONGEST_MARK = 5
_LONGEST_HEAD = 1 << 16  # bytes in which a WAV header says what its sound is


class LiveSource(Protocol):
    """One stream's sound. One task feeds it, one reads; whoever opened it closes it."""

    async def feed(self, data: bytes) -> None:
        """More bytes, cut anywhere. Waits while too much is unread. After `finish` and `close` nothing is wanted.

        Raises:
            SpeechError: the stream cannot be decoded (UndecodableAudio), or its decoder died (EngineFailure).
        """
        ...

    async def finish(self) -> None:
        """No more bytes: what the decoder holds back is handed on, then `blocks` ends. Said again, nothing happens."""
        ...

    async def cue(self, cue: Cue) -> None:
        """Say something of all the sound so far; whoever reads finds it behind that. Waits as `feed` does. Half a
        sample is of the sound after it.

        Raises:
            UnsupportedFeature: the sound is compressed.
        """
        ...

    def blocks(self) -> AsyncIterator[Samples | Cue]:
        """The sound: float32 mono 16 kHz in [-1, 1] of shape (n,), n at most BLOCK, and cues in their places; ends
        after `finish` or `close`.

        One reader at a time. Only `close` frees the stream: whoever stops reading must see to it.

        Raises:
            SpeechError: as `feed` does, after the sound that could be decoded.
        """
        ...

    async def close(self) -> None:
        """Free everything now, unread sound included. A waiting `feed` returns, `blocks` ends. Safe to call again."""
        ...


def open_source(declared: DeclaredSound | None, *, bound: int) -> LiveSource:
    """A source for raw sound as `declared`, or (None) for the bytes of a file, told by how they begin.

    Raw sound and PCM in WAV are decoded here, everything else by a process of its own. Sound declared raw may have WAV
    headers nevertheless (see `live_wav`), or be a file of a format that shows in its first bytes. While more than
    `bound` samples of 16 kHz are unread, `feed` waits.

    Raises:
        UndecodableAudio: a rate or number of channels that nobody sends.
    """
    return _SniffedSource(RawLayout.of(declared) if declared else None, Backlog(bound))


class _Decoder(Protocol):
    """Puts a stream's sound, its end, and what went wrong into a backlog."""

    async def feed(self, data: bytes) -> None: ...

    async def finish(self) -> None: ...

    async def cue(self, cue: Cue) -> None: ...

    async def close(self) -> None: ...


class _SniffedSource:
    """A LiveSource that chooses its decoder by the first bytes."""

    def __init__(self, layout: RawLayout | None, backlog: Backlog) -> None:
        self._layout = layout
        self._backlog = backlog
        self._head = b""
        self._decoder: _Decoder | None = None

    async def feed(self, data: bytes) -> None:
        await self._decode(data, last=False)
        if self._backlog.error:
            raise self._backlog.error.with_traceback(None)  # raised again and again, it would grow

    async def finish(self) -> None:
        await self._decode(b"", last=True)
        if self._decoder:
            await self._decoder.finish()
        else:
            self._backlog.end()

    async def cue(self, cue: Cue) -> None:
        await self._decode(b"", last=True)
        if self._decoder:
            await self._decoder.cue(cue)
        else:
            await self._backlog.room()
            self._backlog.cue(cue)

    def blocks(self) -> AsyncIterator[Samples | Cue]:
        return self._backlog.blocks()

    async def close(self) -> None:
        self._backlog.drop()
        if self._decoder:
            await self._decoder.close()

    async def _decode(self, data: bytes, *, last: bool) -> None:
        if self._backlog.ended:
            return
        if self._decoder is None:
            # What is too little to tell is short: a large message is not copied.
            head = self._head + data[: _LONGEST_HEAD + 1]
            self._decoder = self._choose(head, last=last)
            if self._decoder is None:
                self._head = head
                return
            if self._head:
                await self._decoder.feed(self._head)
                self._head = b""
        await self._decoder.feed(data)

    def _choose(self, head: bytes, *, last: bool) -> _Decoder | None:
        """The decoder for a stream that begins with `head`; None: that is too little to tell."""
        if not head:
            return None
        raw: bool | None = self._layout is not None
        if may_be_wav(head):
            raw = holds_raw_sound(head) if len(head) <= _LONGEST_HEAD else bool(holds_raw_sound(head))
        elif raw and any(mark.startswith(head[: len(mark)]) for mark in _MARKS):
            raw = None if len(head) < _LONGEST_MARK else False
        if raw is None and last:
            raw = self._layout is not None
        if raw is None:
            return None
        return RawDecoder(self._layout, self._backlog) if raw else ProcessDecoder(self._backlog)
