"""WAV headers in live sound: believed, and never heard, wherever clients put them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from app.audio.declared import DeclaredSound
from app.domain.errors import UndecodableAudio

from .hearing import halves, heard, pieces
from .making import PITCH, measure, pcm, riff, tone
from .test_live_raw import PCM, noise, samples

DATA = noise(0.5)
TAGS = b"LIST" + struct.pack("<I", 27) + b"INFOISFT\x0e\0\0\0Lavf58.29.100\0x" + b"\0"


def chunked(data: bytes, *, before: bytes = b"", after: bytes = b"", rate: int = 16_000) -> bytes:
    """A wav file with chunks before and after its sound."""
    plain = riff(data, rate=rate)
    return plain[:36] + before + plain[36:] + after


@pytest.mark.parametrize("declared", [PCM, None, DeclaredSound("mulaw", 8_000)])
def test_a_header_is_believed_before_what_was_declared(declared: DeclaredSound | None) -> None:
    both = np.stack([tone(2, 44_100), np.zeros(88_200)], axis=1)
    sound = heard(declared, pieces(riff(pcm(both, 16), rate=44_100, channels=2), 1_000))
    pitch, loudness, clean = measure(sound)
    assert (pitch, loudness) == (PITCH, pytest.approx(0.25, abs=0.001))
    assert clean > 60
    assert abs(len(sound) - 32_000) <= 2


@pytest.mark.parametrize("declared", [PCM, None])
@pytest.mark.parametrize(
    "file",
    [
        riff(DATA, rate=16_000),
        riff(DATA, rate=16_000, declared=0),
        riff(DATA, rate=16_000, declared=0xFFFFFFFF),
        riff(DATA, rate=16_000, declared=0x7FFFFFFF),
        chunked(DATA, before=TAGS),
        chunked(DATA, after=TAGS),
        chunked(DATA, before=TAGS, after=b"id3 \x04\0\0\0ABCD" + TAGS),
        b"RF64"
        + riff(DATA, rate=16_000, declared=0xFFFFFFFF)[4:12]
        + b"ds64\x04\0\0\0abcd"
        + riff(DATA, rate=16_000)[12:],
    ],
    ids=["sized", "zero", "unsized", "largest", "tags", "tags-after", "tags-everywhere", "rf64"],
)
def test_nothing_but_the_sound_of_a_file_is_heard(file: bytes, declared: DeclaredSound | None) -> None:
    assert np.array_equal(heard(declared, [file]), samples(DATA))
    assert np.array_equal(heard(declared, pieces(file, 1)), samples(DATA))


def test_a_header_may_be_cut_anywhere() -> None:
    file = chunked(DATA, before=TAGS, after=TAGS)
    for place in range(100):
        assert np.array_equal(heard(PCM, halves(file, place)), samples(DATA)), place
        assert np.array_equal(heard(PCM, halves(file, len(file) - place)), samples(DATA)), place


@pytest.mark.parametrize("declared", [PCM, None])
def test_every_message_may_be_a_file(declared: DeclaredSound | None) -> None:
    for size in (None, 0, 0xFFFFFFFF):
        files = [riff(piece, rate=16_000, declared=size) for piece in pieces(DATA, 3_200)]
        assert np.array_equal(heard(declared, files), samples(DATA))


def test_files_in_a_row_may_be_cut_anywhere() -> None:
    whole = b"".join(chunked(piece, before=TAGS, after=TAGS) for piece in pieces(DATA, 3_200))
    for size in (1, 7, 1_000, len(whole)):
        assert np.array_equal(heard(PCM, pieces(whole, size)), samples(DATA))


def test_a_file_may_follow_raw_sound_and_say_another_rate() -> None:
    first, second = tone(1), tone(1, 48_000)
    sound = heard(PCM, [pcm(first, 16), b"?", riff(pcm(second, 16), rate=48_000), riff(pcm(second, 16), rate=48_000)])
    assert abs(len(sound) - 3 * 16_000) <= 2
    for part in np.split(sound[:47_997], 3):
        assert measure(part)[:2] == (PITCH, pytest.approx(0.5, abs=0.01))


def test_sound_is_kept_where_a_header_says_too_little() -> None:
    short = riff(DATA, rate=16_000, declared=1_000)
    assert np.array_equal(heard(PCM, [short]), samples(DATA))
    assert np.array_equal(heard(PCM, pieces(short, 100)), samples(DATA))
    assert np.array_equal(heard(PCM, [short, DATA]), samples(DATA + DATA))


@pytest.mark.parametrize("start", [b"RIFF", b"RIFFabcdWAVx", b"LIST", b"R", b"RIFF\1\2\3\4WA"])
def test_sound_that_happens_to_look_like_a_header_is_heard(start: bytes) -> None:
    data = start + DATA[len(start) :]
    assert np.array_equal(heard(PCM, [data]), samples(data))
    assert np.array_equal(heard(PCM, pieces(data, 1)), samples(data))
    assert np.array_equal(heard(PCM, [start]), samples(start[: len(start) // 2 * 2]))


@pytest.mark.parametrize("declared", [PCM, None])
@pytest.mark.parametrize(("bits", "tag"), [(8, 1), (24, 1), (32, 1), (32, 3), (64, 3), (8, 6), (8, 7), (16, 0xFFFE)])
def test_samples_of_every_depth(bits: int, tag: int, declared: DeclaredSound | None) -> None:
    sound = tone(2)
    if tag == 3:
        data = sound.astype(f"<f{bits // 8}").tobytes()
    elif tag in (6, 7):
        data = companded(sound, tag)
    else:
        data = pcm(sound, bits)
    file = riff(data, rate=16_000, bits=bits, tag=tag)
    if tag == 0xFFFE:
        guid = struct.pack("<HHIH", 22, 16, 4, 1) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        file = file[:16] + b"\x28\0\0\0" + file[20:36] + guid + file[36:]
    pitch, loudness, clean = measure(heard(declared, pieces(file, 777)))
    assert (pitch, loudness) == (PITCH, pytest.approx(0.5, abs=0.02))
    assert clean > 30


def companded(sound: np.ndarray, tag: int) -> bytes:
    """The code nearest to each sample, by listening to all 256."""
    law = DeclaredSound("alaw" if tag == 6 else "mulaw", 16_000)
    meanings = heard(law, [bytes(range(256))])
    return bytes(np.abs(sound[:, None] - meanings[None]).argmin(axis=1).astype(np.uint8))


def test_floats_that_are_no_sound_do_no_harm() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 1e30, 0.25] * 1_000, "<f4")
    sound = heard(None, [riff(wild.tobytes(), rate=48_000, bits=32, tag=3)])
    assert np.isfinite(sound).all()
    assert len(sound) == pytest.approx(5_000 / 3, abs=2)


@pytest.mark.parametrize(
    "file",
    [
        riff(DATA, rate=16_000, bits=4, tag=2),
        riff(DATA, rate=0),
        riff(DATA, rate=16_000, channels=0),
        riff(DATA, rate=16_000)[:12] + b"fmt \xff\xff\xff\x00" + DATA,
        riff(DATA, rate=16_000)[:12] + b"\xff\xfe\xfd\xfc" + DATA,
        riff(b"", rate=16_000)[:36] + b"LIST\0\0\0\0" * 100_000,
    ],
    ids=["adpcm", "no-rate", "no-channels", "endless-form", "no-chunk", "empty-chunks"],
)
def test_a_header_that_makes_no_sense_ends_the_stream_with_a_reason(file: bytes) -> None:
    with pytest.raises(UndecodableAudio, match=r"WAV|rate"):
        heard(PCM, [DATA, file])
