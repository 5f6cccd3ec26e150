"""Every format people send, decoded: right length, right pitch, right loudness, nothing added."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest

from app.audio.mixing import downmix_weights
from app.audio.protocol import AUDIO_TRUNCATED, DecodeReport

from .making import LOUDNESS, PITCH, decoded, encode, measure, pcm, riff, tone, wav

SHARED = Path(__file__).resolve().parents[3] / "shared" / "audio"
SOUNDS = {".wav", ".flac", ".aiff", ".mp3", ".m4a", ".ogg", ".opus", ".webm"}


def check_tone(path: Path, seconds: float = 2.0, *, loudness: float = LOUDNESS, clean: float = 30.0) -> None:
    """A tone came through: within 30 ms, 1 Hz and 6 % of loudness (LAME takes 5), all else `clean` dB below."""
    report, sound = decoded(path)
    assert report.warnings == ()
    assert len(sound) / 16_000 == pytest.approx(seconds, abs=0.03)
    pitch, amplitude, cleanness = measure(sound)
    assert pitch == pytest.approx(PITCH, abs=1)
    assert amplitude == pytest.approx(loudness, rel=0.06)
    assert cleanness > clean


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_wav_of_any_rate_has_no_clicks(tmp_path: Path, rate: int) -> None:
    # 16-bit quantisation leaves about 90 dB below a tone at half scale; one click of 1 % would leave 70.
    check_tone(wav(tmp_path / "a.wav", tone(rate=rate), rate), clean=80)


@pytest.mark.parametrize(("bits", "clean"), [(8, 35), (16, 80), (24, 80), (32, 80)])
def test_wav_of_any_width(tmp_path: Path, bits: int, clean: float) -> None:
    check_tone(wav(tmp_path / "a.wav", tone(rate=44_100), 44_100, bits), clean=clean)


@pytest.mark.parametrize(
    ("codec", "clean"),
    [
        ("pcm_f32le", 80),
        ("pcm_f64le", 80),
        ("pcm_mulaw", 30),
        ("pcm_alaw", 30),
    ],
)
def test_wav_of_any_encoding(tmp_path: Path, codec: str, clean: float) -> None:
    check_tone(encode(tmp_path / "a.wav", tone(rate=8_000), codec, rate=8_000), clean=clean)


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms"])
def test_wav_in_blocks(tmp_path: Path, codec: str) -> None:
    report, sound = decoded(encode(tmp_path / "a.wav", tone(rate=8_000), codec, rate=8_000))
    assert report.warnings == ()
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.06)  # the encoder fills its last block
    assert measure(sound)[0] == PITCH


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.mp3", "libmp3lame", 16_000),
        ("a.m4a", "aac", 44_100),
        ("a.mp4", "aac", 48_000),
        ("a.mov", "alac", 44_100),
        ("a.flac", "flac", 48_000),
        ("a.ogg", "libopus", 48_000),
        ("a.ogg", "flac", 48_000),
        ("a.webm", "libopus", 48_000),
        ("a.mkv", "ac3", 48_000),
        ("a.aiff", "pcm_s16be", 22_050),
        ("a.au", "pcm_s16be", 8_000),
        ("a.caf", "pcm_s24le", 48_000),
        ("a.w64", "pcm_s16le", 48_000),
        ("a.wma", "wmav2", 44_100),
        ("a.avi", "pcm_s16le", 48_000),
        ("a.flv", "libmp3lame", 44_100),
        ("a.mp2", "mp2", 48_000),
    ],
)
def test_formats(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = encode(tmp_path / name, tone(rate=rate), codec, rate=rate, bit_rate=96_000)
    if name in {"a.wma", "a.mkv", "a.mp2", "a.flv"}:  # these containers keep an encoder's lead-in or tail
        report, sound = decoded(path)
        assert report.warnings == ()
        assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.15)
        assert measure(sound)[0] == pytest.approx(PITCH, abs=1)
    else:
        check_tone(path)


@pytest.mark.parametrize(("name", "container"), [("a.aac", "adts"), ("a.ts", "mpegts")])
def test_streams_without_a_length(tmp_path: Path, name: str, container: str) -> None:
    report, sound = decoded(encode(tmp_path / name, tone(rate=48_000), "aac", rate=48_000, container=container))
    assert report.warnings == ()
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.06)  # no place for the encoder's lead-in and tail
    assert measure(sound)[0] == pytest.approx(PITCH, abs=1)


@pytest.mark.parametrize(("magic", "head", "payload"), [(b"#!AMR\n", 0x04, 12), (b"#!AMR-WB\n", 0x04, 17)])
def test_amr_of_telephones(tmp_path: Path, magic: bytes, head: int, payload: int) -> None:
    noise = np.random.default_rng(1)  # nothing here encodes AMR, but every payload is some sound
    path = tmp_path / "a.amr"
    path.write_bytes(magic + b"".join(bytes([head]) + noise.bytes(payload) for _ in range(100)))
    report, sound = decoded(path)
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.05)
    assert np.abs(sound).max() > 0.001
    assert report.warnings == ()


def test_the_name_says_nothing(tmp_path: Path) -> None:
    check_tone(encode(tmp_path / "a.wav", tone(rate=44_100), "libmp3lame", rate=44_100, container="mp3"))
    check_tone(wav(tmp_path / "a.mp3", tone()))
    check_tone(wav(tmp_path / "concat:a|b.txt", tone()))


def test_stereo_is_the_mean(tmp_path: Path) -> None:
    left = tone()
    check_tone(wav(tmp_path / "one.wav", np.stack([left, np.zeros_like(left)], axis=1)), loudness=LOUDNESS / 2)
    loud = tone(loudness=0.999)
    check_tone(wav(tmp_path / "two.wav", np.stack([loud, loud], axis=1)), loudness=0.999, clean=80)
    _, silence = decoded(wav(tmp_path / "opposite.wav", np.stack([left, -left], axis=1)))
    assert np.abs(silence).max() <= 1 / 32768


@pytest.mark.parametrize(("place", "weight"), [("FL", 0.207), ("FC", 0.293), ("LFE", 0.0), ("SL", 0.146)])
def test_surround_is_mixed_by_place(tmp_path: Path, place: str, weight: float) -> None:
    places = ["FL", "FR", "FC", "LFE", "SL", "SR"]
    sound = np.zeros((32_000, 6))
    sound[:, places.index(place)] = tone(loudness=0.9)
    path = encode(tmp_path / "a.flac", sound, "flac", rate=16_000, layout="5.1(side)")
    _, mixed = decoded(path)
    assert np.abs(mixed[1000:-1000]).max() == pytest.approx(0.9 * weight, abs=0.003)


def test_surround_never_clips(tmp_path: Path) -> None:
    sound = np.repeat(tone(loudness=0.999)[:, None], 6, axis=1)
    check_tone(encode(tmp_path / "a.flac", sound, "flac", rate=16_000, layout="5.1"), loudness=0.999, clean=80)


def test_channels_without_places_count_alike(tmp_path: Path) -> None:
    sound = np.zeros((32_000, 16))
    sound[:, 3] = tone(loudness=0.8)
    check_tone(wav(tmp_path / "array.wav", sound), loudness=0.05, clean=50)
    assert downmix_weights(["?"] * 4).tolist() == [0.25] * 4


def test_sixteen_bit_at_16_khz_is_untouched(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 200_000).astype("<i2")
    (tmp_path / "a.wav").write_bytes(riff(samples.tobytes(), rate=16_000))
    _, sound = decoded(tmp_path / "a.wav")
    assert np.array_equal(sound * 32768, samples)


def test_not_a_number_becomes_silence(tmp_path: Path) -> None:
    sound = tone(rate=48_000).astype("<f4")
    sound[1000:1010] = np.nan
    sound[2000:2010] = np.inf
    sound[3000] = 3e38
    (tmp_path / "a.wav").write_bytes(riff(sound.tobytes(), rate=48_000, bits=32, tag=3))
    check_tone(tmp_path / "a.wav")


def test_loud_float_is_clipped_not_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(tone(loudness=1.5).astype("<f4").tobytes(), rate=16_000, bits=32, tag=3))
    _, sound = decoded(path)
    assert np.abs(np.diff(sound)).max() < 0.3
    assert sound.max() == pytest.approx(1, abs=1e-4)


def test_video_with_sound(tmp_path: Path) -> None:
    check_tone(encode(tmp_path / "a.mp4", tone(rate=44_100), "aac", rate=44_100, video=True))


def test_cover_art_is_ignored(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp3", tone(rate=44_100), "libmp3lame", rate=44_100, cover=True)
    assert b"APIC" in path.read_bytes()[:100]
    check_tone(path)


def test_tags_in_a_local_encoding(tmp_path: Path) -> None:
    plain = encode(tmp_path / "a.mp3", tone(rate=44_100), "libmp3lame", rate=44_100).read_bytes()
    title = b"TIT2\0\0\0\x06\0\0\0" + "标题".encode("gb18030") + b"\0"
    (tmp_path / "b.mp3").write_bytes(b"ID3\x03\0\0\0\0\0" + bytes([len(title)]) + title + plain)
    check_tone(tmp_path / "b.mp3")


def test_rate_and_layout_may_change_in_the_middle(tmp_path: Path) -> None:
    mono = encode(tmp_path / "mono.ogg", tone(rate=48_000), "flac", rate=48_000)
    other = np.stack([tone(rate=44_100)] * 2, axis=1)
    stereo = encode(tmp_path / "stereo.ogg", other, "flac", rate=44_100, layout="stereo")
    (tmp_path / "chained.ogg").write_bytes(mono.read_bytes() + stereo.read_bytes())
    _, sound = decoded(tmp_path / "chained.ogg")
    assert len(sound) / 16_000 == pytest.approx(4, abs=0.03)
    for half in (sound[:32_000], sound[32_000:]):
        pitch, amplitude, cleanness = measure(half)
        assert (pitch, amplitude) == (PITCH, pytest.approx(LOUDNESS, rel=0.01))
        assert cleanness > 60


def test_what_ffmpeg_cannot_follow_is_said(tmp_path: Path) -> None:
    mono = encode(tmp_path / "mono.ogg", tone(rate=48_000), "libopus", rate=48_000)
    other = np.stack([tone(rate=48_000)] * 2, axis=1)
    stereo = encode(tmp_path / "stereo.ogg", other, "libopus", rate=48_000, layout="stereo")
    (tmp_path / "chained.ogg").write_bytes(mono.read_bytes() + stereo.read_bytes())
    report, sound = decoded(tmp_path / "chained.ogg")
    assert len(sound) / 16_000 >= 1.97
    assert report.warnings == (AUDIO_TRUNCATED,) or len(sound) / 16_000 >= 3.95


def test_several_tracks_give_the_default_one(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        tracks = [output.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
        tracks[0].disposition = av.stream.Disposition(0)
        tracks[1].disposition = av.stream.Disposition.default
        for track, sound in zip(tracks, (np.zeros(32_000), tone()), strict=True):
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm(sound, 16), "<i2")[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            output.mux(track.encode(frame))
            output.mux(track.encode(None))
    check_tone(tmp_path / "a.mkv")


def test_the_container_s_own_length_is_reported(tmp_path: Path) -> None:
    report, _ = decoded(encode(tmp_path / "a.m4a", tone(rate=44_100), "aac", rate=44_100))
    assert report.container_seconds == pytest.approx(2, abs=0.05)


def test_real_recordings() -> None:
    if not SHARED.is_dir():
        assert os.environ.get("CI") != "true", "continuous integration must have the shared recordings"
        pytest.skip("no ../shared/audio beside the repository")
    files = [path for path in sorted(SHARED.rglob("*")) if path.suffix in SOUNDS]
    assert files
    for path in files:
        report, sound = _decoded_elsewhere(path)
        assert report.warnings == (), path.name
        assert report.container_seconds == pytest.approx(len(sound) / 16_000, abs=0.03), path.name
        assert 0.001 < np.sqrt(np.mean(sound**2)) < 0.5, path.name


def _decoded_elsewhere(path: Path) -> tuple[DecodeReport, np.ndarray]:
    """As `decoded`; the shared folder is read-only."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / path.name
        link.symlink_to(path)
        return decoded(link)
