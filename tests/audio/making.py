"""Sound files made on the spot: tones in every format the tests need, and measures of what came out."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from app.audio.declared import DeclaredSound
from app.audio.protocol import DecodeReport, Limits
from app.audio.worker import decode_file

PITCH = 440.0
LOUDNESS = 0.5
LIMITS = Limits.for_seconds(3600)


def tone(seconds: float = 2.0, rate: int = 16_000, pitch: float = PITCH, loudness: float = LOUDNESS) -> np.ndarray:
    """A sine as float64 in [-1, 1]."""
    return loudness * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def riff(
    data: bytes, *, rate: int, channels: int = 1, bits: int = 16, tag: int = 1, declared: int | None = None
) -> bytes:
    """A wav file around `data`; `declared` overrides the sizes its header states."""
    size = len(data) if declared is None else declared
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame % 2**32, frame, bits)
    whole = min(size + 36, 0xFFFFFFFF) if size else 0
    return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size) + data


def pcm(sound: np.ndarray, bits: int) -> bytes:
    """Little-endian integer PCM as wav stores it: unsigned at 8 bits, else signed. `sound` is (n,) or (n, channels)."""
    flat = sound.reshape(-1)
    if bits == 8:
        return np.rint(flat * 127 + 128).astype(np.uint8).tobytes()
    whole = np.rint(flat * (2 ** (bits - 1) - 1)).astype("<i4")
    return whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def wav(path: Path, sound: np.ndarray, rate: int = 16_000, bits: int = 16) -> Path:
    """Write integer PCM."""
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    path.write_bytes(riff(pcm(sound, bits), rate=rate, channels=channels, bits=bits))
    return path


def encode(
    path: Path,
    sound: np.ndarray,
    codec: str,
    *,
    rate: int,
    layout: str = "mono",
    container: str | None = None,
    bit_rate: int | None = None,
    video: bool = False,
    cover: bool = False,
) -> Path:
    """Encode `sound`, (n,) or (n, channels), with PyAV; `video` adds a picture track, `cover` attached art."""
    packed = np.ascontiguousarray(sound, np.float32).reshape(1, -1)  # PyAV cannot make a frame of eight planes
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        pictures = _add_pictures(output, cover=cover) if video or cover else None
        if pictures:
            _show(output, pictures, 1 if cover else 20)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = 0
        target = stream.codec_context.format.name if stream.codec_context.format else "s16"
        converter = av.AudioResampler(format=target, layout=layout, rate=rate, frame_size=stream.frame_size or 4096)
        for part in (*converter.resample(frame), *converter.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


def silent_film(path: Path) -> Path:
    """A video without a sound track."""
    with av.open(str(path), "w") as output:
        _show(output, _add_pictures(output, cover=False), 20)
    return path


def _add_pictures(output: av.container.OutputContainer, *, cover: bool) -> av.VideoStream:
    stream = output.add_stream("mjpeg" if cover else "mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if cover else "yuv420p"
    if cover:
        stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _show(output: av.container.OutputContainer, stream: av.VideoStream, count: int) -> None:
    for index in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index % 255, np.uint8), format="rgb24")
        frame.pts = index
        frame.time_base = Fraction(1, 10)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def decoded(
    path: Path, limits: Limits = LIMITS, declared: DeclaredSound | None = None, *, split: bool = False
) -> tuple[DecodeReport, np.ndarray]:
    """`decode_file`'s report and samples as float64 in [-1, 1]: (n,), with `split` (n, channels)."""
    out = path.with_name(path.name + ".s16")
    out.touch(mode=0o600)
    try:
        report = decode_file(path, out, limits, declared, split=split)
        samples = np.fromfile(out, "<i2")
        samples = samples.reshape(-1, report.channels) if split else samples
    finally:
        out.unlink()
    assert len(samples) == report.samples
    return report, samples / 32768


def measure(sound: np.ndarray, rate: int = 16_000) -> tuple[float, float, float]:
    """Pitch (Hz) and amplitude of the strongest sine in the middle of `sound`, and how far below (dB) the rest is."""
    middle = sound[len(sound) // 8 : -len(sound) // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 20))
    pitch = float(np.argmax(spectrum)) * rate / (1 << 20)
    if abs(pitch - PITCH) < 1:
        pitch = PITCH  # the transform's own step would leave more than the quantisation does
    time = np.arange(len(middle)) / rate
    base = np.stack([np.sin(2 * np.pi * pitch * time), np.cos(2 * np.pi * pitch * time)], axis=1)
    weights, *_ = np.linalg.lstsq(base, middle, rcond=None)
    left = middle - base @ weights
    amplitude = float(np.hypot(*weights))
    return pitch, amplitude, float(20 * np.log10(amplitude / (np.sqrt(np.mean(left**2)) * np.sqrt(2) + 1e-12)))
