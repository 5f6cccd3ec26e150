"""What a request says its recording is. Bytes of a container say that themselves, whatever is said of them."""

from __future__ import annotations

from app.audio.declared import DeclaredSound, declared_sound
from app.domain.errors import UndecodableAudio
from app.protocols.aliyun.errors import UnsupportedFormat, UnsupportedSampleRate
from app.protocols.aliyun.sound import RATES, RAW, TOLD_BY_THEIR_BYTES
from app.protocols.payload import Payload

_CONTAINERS = TOLD_BY_THEIR_BYTES | {"wav", "mp4", "m4a", "mpeg", "mpga", "mov", "aiff", "3gp"}
_SHOWN = ("pcm", "wav", "opus", "speex", "amr", "mp3", "aac", "mp4", "m4a", "flac", "ogg", "webm", "mulaw", "alaw")


def sound_of(query: Payload, content_type: str | None) -> DeclaredSound | None:
    """What bytes without a container are, by `format` and `sample_rate` (Hz), else by the body's type; None: no sound.

    Raises:
        UnsupportedFormat, UnsupportedSampleRate: nobody knows the format, or sends that rate.
        InvalidParameter: they make no sense.
    """
    rate = query.number("sample_rate")
    if rate is not None and (rate != int(rate) or int(rate) not in RATES):
        told = f"sample_rate must be a whole number from {RATES[0]} to {RATES[-1]} (Hz)."
        raise UnsupportedSampleRate(told, param="sample_rate")
    name = (query.text("format") or "").lower()
    if name and name not in _CONTAINERS and name not in RAW:
        raise UnsupportedFormat(f"format must be one of {', '.join(_SHOWN)}.", param="format")
    if not name:
        return _by_type(content_type)
    if name in _CONTAINERS:
        return None
    encoding, usual = RAW[name]
    return DeclaredSound(encoding, usual if rate is None else int(rate))


def _by_type(content_type: str | None) -> DeclaredSound | None:
    try:
        return declared_sound(content_type)
    except UndecodableAudio:  # clients send any type; what the bytes are decides
        return None
