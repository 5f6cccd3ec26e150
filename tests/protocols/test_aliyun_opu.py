"""Opus in Alibaba Cloud's own framing: a byte of length before each packet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocols.aliyun.opu import OpuReader
from app.protocols.aliyun.wire import Status, TaskFailure

RATE = 16_000
SECONDS = 3.0
TONE = 440.0


def tone() -> np.ndarray:
    """int16 samples at 16 kHz."""
    at = np.arange(round(SECONDS * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * TONE * at)).astype(np.int16)


def opus_packets(samples: np.ndarray, milliseconds: str = "20") -> Iterator[bytes]:
    """As the SDK for C++ makes them: 27,800 bits a second."""
    codec = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format, codec.bit_rate = RATE, "mono", "s16", 27_800
    codec.options = {"frame_duration": milliseconds, "application": "voip"}
    codec.open()
    size = codec.frame_size
    for first in range(0, len(samples), size):
        block = np.zeros(size, np.int16)
        block[: len(samples[first : first + size])] = samples[first : first + size]
        frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        yield from map(bytes, codec.encode(frame))
    yield from map(bytes, codec.encode(None))


def as_opu(packets: Iterable[bytes]) -> bytes:
    return b"".join(bytes([len(packet)]) + packet for packet in packets)


def decoded(stream: bytes) -> np.ndarray:
    """What FFmpeg hears, float32 at 48 kHz."""
    with av.open(io.BytesIO(stream)) as container:
        assert container.format.name == "ogg"
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def pitch(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * rate / len(samples))


@pytest.mark.parametrize("size", [1, 7, 640, 100_000])
def test_it_is_heard_whatever_the_messages_are(size: int) -> None:
    opu = as_opu(opus_packets(tone()))
    reader = OpuReader(RATE)
    stream = b"".join(reader.take(opu[first : first + size]) for first in range(0, len(opu), size))
    heard = decoded(stream)
    assert abs(len(heard) / 48_000 - SECONDS) < 0.05
    assert abs(pitch(heard, 48_000) - TONE) < 2


@pytest.mark.parametrize("milliseconds", ["2.5", "5", "10", "40", "60"])
def test_packets_of_other_lengths_are_as_long_as_they_say(milliseconds: str) -> None:
    stream = OpuReader(RATE).take(as_opu(opus_packets(tone(), milliseconds)))
    with av.open(io.BytesIO(stream)) as container:
        # The last page's clock: where a player thinks that the stream ends.
        assert container.duration is not None
        assert abs(container.duration / av.time_base - SECONDS) < 0.1


def test_every_packet_is_handed_on_as_soon_as_it_is_whole() -> None:
    packets = list(opus_packets(tone()))
    reader = OpuReader(RATE)
    reader.take(as_opu(packets[:1]))
    for packet in packets[1:4]:
        assert reader.take(as_opu([packet])[:-1]) == b""
        assert packet in reader.take(packet[-1:])


def test_ogg_is_ogg_even_here() -> None:
    stream = OpuReader(RATE).take(as_opu(opus_packets(tone())))
    reader = OpuReader(RATE)
    assert reader.take(stream[:2]) == b""
    assert reader.take(stream[2:9]) == stream[:9]
    assert reader.take(stream[9:]) == stream[9:]


def test_a_packet_of_nothing_is_something_else() -> None:
    with pytest.raises(TaskFailure) as caught:
        OpuReader(RATE).take(b"\0\0\0\0")
    assert caught.value.status is Status.UNSUPPORTED_FORMAT


@given(st.lists(st.binary(max_size=600), max_size=20))
def test_anything_is_read_or_refused(messages: list[bytes]) -> None:
    reader = OpuReader(RATE)
    try:
        handed_on = sum(len(reader.take(message)) for message in messages)
    except TaskFailure as failure:
        assert failure.status is Status.UNSUPPORTED_FORMAT
    else:
        assert handed_on <= 200 * (1 + sum(map(len, messages)))
