"""Raw live sound, decoded in this process: samples of any kind, cut anywhere, to float32 mono 16 kHz."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

from app.audio.g711 import ALAW, MULAW
from app.audio.live_backlog import Backlog, Cue
from app.audio.live_wav import RawEncoding, RawLayout, Stretch, WavFilter
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import SpeechError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

_SLICE = 1 << 16  # bytes decoded at a time: a millisecond or two, so that no message holds up the event loop
_LOUDEST = 4.0  # of full scale; what floats say beyond is nothing a microphone makes
_INTEGERS: MappingProxyType[RawEncoding, str] = MappingProxyType({"s16le": "<i2", "s16be": ">i2", "s32le": "<i4"})
_FLOATS: MappingProxyType[RawEncoding, str] = MappingProxyType({"f32le": "<f4", "f64le": "<f8"})
_LAWS: MappingProxyType[RawEncoding, Samples] = MappingProxyType({"mulaw": MULAW, "alaw": ALAW})


class RawDecoder:
    """A decoder (see `live`) for samples without a container, or with WAV headers among them (see WavFilter)."""

    def __init__(self, layout: RawLayout | None, backlog: Backlog) -> None:
        """Sound goes to `backlog`. `layout` is what bytes are that no header describes; None: there are none."""
        self._backlog = backlog
        self._wav = WavFilter(layout)
        self._converter: _Converter | None = None

    async def feed(self, data: bytes) -> None:
        """See LiveSource.feed."""
        try:
            for stretch in self._wav.message(data):
                await self._hear(stretch)
        except SpeechError as error:
            self._backlog.end(error)

    async def finish(self) -> None:
        """See LiveSource.finish."""
        self._put_rest()
        self._backlog.end()

    async def cue(self, cue: Cue) -> None:
        """See LiveSource.cue."""
        await self._backlog.room()
        self._put_rest()
        if self._converter:
            self._converter = self._converter.anew()
        self._backlog.cue(cue)

    async def close(self) -> None:
        """See LiveSource.close."""
        self._backlog.drop()

    async def _hear(self, stretch: Stretch) -> None:
        step = min(_SLICE, stretch.layout.rate * stretch.layout.frame)
        for start in range(0, len(stretch.data), step):
            await self._backlog.room()
            if self._backlog.ended:
                return
            self._put(stretch._replace(first=stretch.first and not start), stretch.data[start : start + step])
            await asyncio.sleep(0)  # others' turn

    def _put_rest(self) -> None:
        if self._backlog.ended:
            return
        for stretch in self._wav.finish():
            self._put(stretch, stretch.data)
        if self._converter:
            self._backlog.put(self._converter.flush())

    def _put(self, stretch: Stretch, data: memoryview) -> None:
        if self._converter and self._converter.layout != stretch.layout:
            self._backlog.put(self._converter.flush())
            self._converter = None
        self._converter = self._converter or _Converter(stretch.layout)
        if stretch.first:
            self._converter.align()
        self._backlog.put(self._converter.decode(data))


class _Converter:
    """Bytes of one kind to samples; what does not depend on how they are cut: a part of a frame, the filter's past."""

    def __init__(self, layout: RawLayout) -> None:
        self.layout = layout
        self._part = b""
        # HQ is good to 20 bits. It holds back 115 ms of sound at 8 kHz and 40 ms from 22 kHz on.
        self._resampler = (
            soxr.ResampleStream(layout.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            if layout.rate != SAMPLE_RATE
            else None
        )

    def align(self) -> None:
        """A frame begins with the next byte: what is left of one before it never comes."""
        self._part = b""

    def decode(self, data: bytes | memoryview) -> Samples:
        """float32 mono 16 kHz in [-1, 1]: as much as is known now."""
        joined = self._part + data
        whole = len(joined) - len(joined) % self.layout.frame
        self._part = joined[whole:]
        sound = _mono(joined[:whole], self.layout)
        if self._resampler and len(sound):
            sound = self._resampler.resample_chunk(sound)
        return np.clip(sound, -1, 1)

    def anew(self) -> _Converter:
        """One that knows nothing of the sound before it, but goes on in the middle of a frame."""
        other = _Converter(self.layout)
        other._part = self._part
        return other

    def flush(self) -> Samples:
        """What the filter held back; a part of a frame is no sound. It is of no more use."""
        if not self._resampler:
            return np.zeros(0, np.float32)
        return np.clip(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True), -1, 1)


def _mono(data: bytes, layout: RawLayout) -> Samples:
    """Whole frames to samples, the channels averaged."""
    sound = _samples(data, layout.encoding)
    if layout.channels == 1:
        return sound
    frames = sound.reshape(-1, layout.channels)
    mixed = frames[:, 0].copy()
    for channel in range(1, layout.channels):  # and not a product: BLAS rounds by how many frames there are
        mixed += frames[:, channel]
    return mixed * np.float32(1 / layout.channels)


def _samples(data: bytes, encoding: RawEncoding) -> Samples:
    """float32 of shape (n * channels,), full scale 1."""
    if encoding in _LAWS:
        return _LAWS[encoding][np.frombuffer(data, np.uint8)]
    if encoding in _FLOATS:
        held = np.clip(np.frombuffer(data, _FLOATS[encoding]), -_LOUDEST, _LOUDEST).astype(np.float32)
        held[np.isnan(held)] = 0
        return held
    if encoding == "u8":
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    if encoding == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return _scaled(wide.view("<i4").reshape(-1))
    return _scaled(np.frombuffer(data, _INTEGERS[encoding]))


def _scaled(whole: NDArray[Any]) -> Samples:
    return whole.astype(np.float32) * np.float32(0.5 ** (8 * whole.dtype.itemsize - 1))
