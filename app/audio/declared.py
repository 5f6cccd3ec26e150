"""Sound without a container, as its sender's media type describes it."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from types import MappingProxyType
from typing import Literal

from app.domain.errors import UndecodableAudio

Encoding = Literal["s16le", "s16be", "mulaw", "alaw"]
_TYPES: MappingProxyType[str, tuple[Encoding, int | None]] = MappingProxyType(
    {
        "audio/pcm": ("s16le", 16_000),
        "audio/raw": ("s16le", 16_000),
        "audio/x-raw": ("s16le", 16_000),
        "audio/l16": ("s16be", None),  # RFC 2586: big-endian, and the rate must be said
        "audio/pcmu": ("mulaw", 8_000),
        "audio/pcma": ("alaw", 8_000),
        "audio/basic": ("mulaw", 8_000),
    }
)
"""Encoding and rate in Hz by media type; None: there is no default."""
_RATES, _CHANNELS = range(4_000, 192_001), range(1, 9)


@dataclass(frozen=True, slots=True)
class DeclaredSound:
    """What the bytes of a file without a header are: samples of `encoding` at `rate` Hz, `channels` interleaved."""

    encoding: Encoding
    rate: int
    channels: int = 1


def declared_sound(media_type: str | None) -> DeclaredSound | None:
    """What a media type such as "audio/pcm;rate=16000;channels=1" declares; None for all others.

    Raises:
        UndecodableAudio: it declares raw sound that is none, or does not say enough.
    """
    message = Message()
    message["content-type"] = media_type or ""
    kind = message.get_content_type()
    if kind not in _TYPES:
        return None
    encoding, default = _TYPES[kind]
    rate = _number(message.get_param("rate"), default)
    channels = _number(message.get_param("channels"), 1)
    if rate not in _RATES or channels not in _CHANNELS:
        raise UndecodableAudio(
            f"Raw sound must say its rate ({_RATES[0]} to {_RATES[-1]} Hz) and up to {_CHANNELS[-1]} channels, "
            f"for example {kind};rate=16000;channels=1."
        )
    return DeclaredSound(encoding, rate, channels)


def _number(value: object, default: int | None) -> int:
    if value is None:
        return default or 0
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else 0
