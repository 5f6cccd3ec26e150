"""What a client says its sound is, and its bytes as a live stream takes them."""

from __future__ import annotations

import asyncio
from types import MappingProxyType

from app.audio.declared import DeclaredSound, Encoding
from app.protocols.aliyun.opu import OpuReader
from app.protocols.aliyun.wire import Status, TaskFailure

RATES = range(8_000, 48_001)
_LARGE = 32 * 1024
RAW: MappingProxyType[str, tuple[Encoding, int]] = MappingProxyType(
    {
        "pcm": ("s16le", 16_000),
        "wav": ("s16le", 16_000),  # until a header says more; funasr-api's clients send a file in every message
        "mulaw": ("mulaw", 8_000),
        "ulaw": ("mulaw", 8_000),
        "pcmu": ("mulaw", 8_000),
        "alaw": ("alaw", 8_000),
        "pcma": ("alaw", 8_000),
    }
)
"""Encoding and usual rate in Hz."""
TOLD_BY_THEIR_BYTES = frozenset({"opus", "ogg", "speex", "amr", "mp3", "aac", "flac", "webm"})
_SHOWN = ("pcm", "wav", "opus", "opu", "speex", "amr", "mp3", "aac", "flac", "ogg", "webm", "mulaw", "alaw")


class Sound:
    """A stream's sound on its way in. `declared` is what its bytes are, None: what they say themselves.

    Raises:
        TaskFailure: nobody knows the format, or nobody sends that rate (Hz; None: the usual one).
    """

    def __init__(self, name: str, rate: int | None) -> None:
        if rate is not None and rate not in RATES:
            told = f"sample_rate must be {RATES[0]} to {RATES[-1]} Hz."
            raise TaskFailure(Status.UNSUPPORTED_SAMPLE_RATE, told)
        self.declared: DeclaredSound | None = None
        self._opu: OpuReader | None = None
        if name in RAW:
            encoding, usual = RAW[name]
            self.declared = DeclaredSound(encoding, rate or usual)
        elif name == "opu":
            self._opu = OpuReader(rate or 16_000)
        elif name not in TOLD_BY_THEIR_BYTES:
            raise TaskFailure(Status.UNSUPPORTED_FORMAT, f"format must be one of {', '.join(_SHOWN)}.")

    async def take(self, data: bytes) -> bytes:
        """What the stream is to hear of the next bytes.

        Raises:
            TaskFailure: they are not what they were said to be.
        """
        if self._opu is None:
            return data
        # A whole recording in one message takes its time.
        return self._opu.take(data) if len(data) < _LARGE else await asyncio.to_thread(self._opu.take, data)
