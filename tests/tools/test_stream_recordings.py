"""Recordings are found and read, and what cannot be is told clearly."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from tools.recordings import UnreadableError, find, read

TONE = (8000 * np.sin(np.arange(16_000) / 10)).astype(np.int16)


def write(path: Path, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(TONE, channels).astype("<i2").tobytes())
    return path


def test_files_folders_and_lists_are_found_in_order(tmp_path: Path) -> None:
    one = write(tmp_path / "one.dat")
    for name in ("b.wav", "a.wav", "deep/c.wav"):
        write(tmp_path / "folder" / name)
    (tmp_path / "folder" / "notes.txt").write_text("no sound")
    listed = tmp_path / "wav.scp"
    listed.write_text(f"first folder/b.wav\n\nsecond {one}\n")

    found = find([one, tmp_path / "folder", listed])

    assert [recording.name for recording in found] == ["one.dat", "a.wav", "b.wav", "deep/c.wav", "first", "second"]
    assert all(recording.path.is_file() for recording in found)


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda folder: folder / "nothing.wav", "there is no such file"),
        (lambda folder: folder, "no recordings in this folder"),
        (lambda folder: listing(folder, "first sox a.wav |"), "line 1: a name and the path of a file were expected"),
        (lambda folder: listing(folder, ""), "nothing to play"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, prepare: object, told: str) -> None:
    with pytest.raises(UnreadableError, match=told):
        find([prepare(tmp_path)])  # type: ignore[operator]


def listing(folder: Path, text: str) -> Path:
    (folder / "wav.scp").write_text(text)
    return folder / "wav.scp"


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (16_000, 2), (48_000, 1), (8_000, 2)])
def test_any_rate_and_channels_become_sixteen_kilohertz(tmp_path: Path, rate: int, channels: int) -> None:
    samples = read(write(tmp_path / "a.wav", rate, channels))

    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(16_000 * 16_000 / rate, abs=50)
    assert np.abs(samples).max() == pytest.approx(8000, rel=0.1)


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    with av.open(str(path), "w") as container:
        track = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.repeat(TONE, 3)[None, :], format="s16", layout="mono")
        frame.rate = 48_000
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)

    assert len(read(path)) == pytest.approx(16_000, abs=400)


def test_bare_samples_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes(TONE.astype("<i2").tobytes() + b"\x00")
    assert np.array_equal(read(path), TONE)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.wav", b"no sound at all", "no sound can be read from it"),
        ("a.pcm", b"\x00", "there is no sound in it"),
    ],
)
def test_what_is_no_recording_is_told(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=told):
        read(path)
