"""Sound without a container: what its media type says, and only then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from app.audio.declared import DeclaredSound, declared_sound
from app.audio.decoding import DecoderPool
from app.domain.errors import UndecodableAudio

from .making import measure, riff, tone


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("audio/pcm", DeclaredSound("s16le", 16_000)),
        ("audio/pcm;rate=8000", DeclaredSound("s16le", 8_000)),
        ('Audio/PCM; rate="24000"; channels=2', DeclaredSound("s16le", 24_000, 2)),
        ("audio/L16;rate=44100;channels=2", DeclaredSound("s16be", 44_100, 2)),
        ("audio/PCMU", DeclaredSound("mulaw", 8_000)),
        ("audio/pcma", DeclaredSound("alaw", 8_000)),
        ("audio/basic", DeclaredSound("mulaw", 8_000)),
        ("audio/wav", None),
        ("application/octet-stream", None),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_media_types(said: str | None, meant: DeclaredSound | None) -> None:
    assert declared_sound(said) == meant


@pytest.mark.parametrize(
    "said", ["audio/l16", "audio/pcm;rate=0", "audio/pcm;rate=many", "audio/pcm;rate=9999999", "audio/pcm;channels=99"]
)
def test_what_is_declared_badly(said: str) -> None:
    with pytest.raises(UndecodableAudio, match="rate=16000"):
        declared_sound(said)


def heard(path: Path, declared: DeclaredSound | None) -> np.ndarray:
    async def main() -> np.ndarray:
        async with DecoderPool(workers=1, temp_dir=path.parent, max_seconds=60, timeout=30) as pool:
            with await pool.decode(path, declared) as recording:
                return np.array(recording.samples) / 32768

    return asyncio.run(main())


def mulaw(sound: np.ndarray) -> bytes:
    """ITU-T G.711 by its formula."""
    magnitude = np.minimum(np.abs(sound) * 32768 + 132, 32767).astype(int)
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    return (~(np.where(sound < 0, 128, 0) | exponent << 4 | mantissa) & 255).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("declared", "dtype"), [(DeclaredSound("s16le", 8_000), "<i2"), (DeclaredSound("s16be", 44_100), ">i2")]
)
def test_raw_samples(tmp_path: Path, declared: DeclaredSound, dtype: str) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes((tone(2, rate=declared.rate) * 32767).astype(dtype).tobytes())
    pitch, loudness, clean = measure(heard(path, declared))
    assert (pitch, loudness) == (440, pytest.approx(0.5, abs=0.01))
    assert clean > 60


def test_two_channels_and_an_odd_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    both = np.stack([tone(2), np.zeros(32_000)], axis=1)
    path.write_bytes((both * 32767).astype("<i2").tobytes() + b"x")
    sound = heard(path, DeclaredSound("s16le", 16_000, 2))
    assert measure(sound)[1] == pytest.approx(0.25, abs=0.01)
    assert len(sound) / 16_000 == pytest.approx(2, abs=0.01)


def test_telephone_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.ulaw"
    path.write_bytes(mulaw(tone(2, rate=8_000)))
    pitch, loudness, clean = measure(heard(path, DeclaredSound("mulaw", 8_000)))
    assert (pitch, loudness) == (440, pytest.approx(0.5, abs=0.02))
    assert clean > 30


def test_a_container_is_believed_before_its_media_type(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff((tone(2) * 32767).astype("<i2").tobytes(), rate=16_000))
    assert measure(heard(path, DeclaredSound("mulaw", 8_000)))[0] == 440


def test_undeclared_bytes_are_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes((tone(2) * 32767).astype("<i2").tobytes())
    with pytest.raises(UndecodableAudio):
        heard(path, None)
