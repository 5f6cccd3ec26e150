"""Time stamps against samples: times that follow the container's clock, and only where it has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from app.audio.worker import decode_file

from .making import LIMITS, decoded, encode, riff, tone

RATE = 44_100


def restamped(source: Path, path: Path, stamp: Callable[[float], float]) -> Path:
    """The packets of `source` as they are, each at `stamp` of its time in seconds."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        track = old.streams.audio[0]
        copy = new.add_stream_from_template(track)
        for packet in old.demux(track):
            if packet.dts is None:
                continue
            at = round(stamp(float(packet.pts * packet.time_base)) / packet.time_base)
            packet.pts = packet.dts = at
            packet.stream = copy
            new.mux(packet)
    return path


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    return encode(tmp_path / "spoken.m4a", tone(20.0, rate=RATE), "aac", rate=RATE)


@pytest.mark.parametrize("name", ["late.m4a", "late.mkv"])
def test_a_slow_clock_stretches_the_times(tmp_path: Path, spoken: Path, name: str) -> None:
    report, sound = decoded(restamped(spoken, tmp_path / name, lambda at: at * 1.02))
    assert report.time_scale == pytest.approx(1.02, abs=0.002)
    assert len(sound) / 16_000 == pytest.approx(20, abs=0.1)
    assert report.warnings == ()


def test_a_fast_clock_shrinks_them(tmp_path: Path, spoken: Path) -> None:
    report, _ = decoded(restamped(spoken, tmp_path / "early.mkv", lambda at: at * 0.97))
    assert report.time_scale == pytest.approx(0.97, abs=0.003)


def test_a_gap_is_silence_so_that_what_follows_keeps_its_time(tmp_path: Path, spoken: Path) -> None:
    report, sound = decoded(restamped(spoken, tmp_path / "gap.mkv", lambda at: at if at < 10 else at + 3))
    assert len(sound) / 16_000 == pytest.approx(23, abs=0.1)
    assert np.abs(sound[int(10.3 * 16_000) : int(12.7 * 16_000)]).max() < 0.01
    assert np.abs(sound[int(13.3 * 16_000) : (14 * 16_000)]).max() > 0.4
    assert report.time_scale == 1.0


@pytest.mark.parametrize(("leading", "heard"), [(12.0, 12.0), (10.0, 10.0), (500.0, 500.0), (600.0, 600.0)])
def test_the_leading_seconds_end_within_a_gap(tmp_path: Path, spoken: Path, leading: float, heard: float) -> None:
    """Else ten minutes of silence would be written for the sake of ten seconds."""
    path = restamped(spoken, tmp_path / "gap.mkv", lambda at: at if at < 10 else at + 590)
    (out := tmp_path / "out").touch()
    report = decode_file(path, out, LIMITS, leading=leading)
    assert report.samples / 16_000 == pytest.approx(heard, abs=0.1)
    assert report.warnings == ()
    assert report.time_scale == 1.0


def test_a_stamp_from_another_world_is_not_believed(tmp_path: Path, spoken: Path) -> None:
    report, sound = decoded(restamped(spoken, tmp_path / "odd.mkv", lambda at: at if at < 10 else at + 50_000))
    assert len(sound) / 16_000 == pytest.approx(20, abs=0.1)
    assert report.time_scale == 1.0


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.m4a", "aac", 44_100),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.ogg", "flac", 44_100),
        ("a.opus", "libopus", 48_000),
        ("a.webm", "libopus", 48_000),
        ("a.flac", "flac", 48_000),
        ("a.aac", "aac", 44_100),
        ("a.ts", "mp2", 48_000),
        ("a.avi", "pcm_s16le", 16_000),
        ("a.wav", "pcm_s16le", 8_000),
    ],
)
def test_ordinary_files_are_exact(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    report, sound = decoded(encode(tmp_path / name, tone(20.0, rate=rate), codec, rate=rate))
    assert report.time_scale == 1.0
    assert len(sound) / 16_000 == pytest.approx(20, abs=0.15)


def test_a_wav_that_ends_early_is_truncated_not_stretched(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(riff(bytes(32_000 * 5), rate=16_000, declared=32_000 * 10))
    report, _ = decoded(path)
    assert report.time_scale == 1.0
    assert report.warnings == ("audio_truncated",)
