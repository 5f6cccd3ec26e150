"""Channels kept apart: each one clean and at its time, under the same limits, beside a mix that stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.audio.protocol import AUDIO_TRUNCATED, CHANNELS_ALIKE, DecodeReport, Job, Limits, read_reply, report_line
from app.audio.recording import Recording
from app.audio.worker import decode_file
from app.domain.engines import WaitingPiece
from app.domain.errors import AudioTooLong, AudioTooShort, UndecodableAudio

from .making import LIMITS, LOUDNESS, decoded, encode, pcm, riff, tone, wav
from .test_clock import restamped
from .test_decoder_pool import with_pool

PITCHES = (440, 700, 1100, 90, 1700, 2300, 2900, 3500)
"""Hz by channel; the fourth place is the low-frequency one where there are six."""


def tones(channels: int, *, rate: int, seconds: float = 2.0) -> np.ndarray:
    """Each channel with its own pitch: float64 (n, channels)."""
    return np.stack([tone(seconds, rate, pitch) for pitch in PITCHES[:channels]], axis=1)


def strengths(sound: np.ndarray) -> np.ndarray:
    """Amplitude of each channel's tone in each channel of `sound`, (n, channels): (heard in, belongs to)."""
    middle = sound[len(sound) // 8 : -len(sound) // 8]
    window = np.hanning(len(middle))
    time = np.arange(len(middle)) / 16_000
    waves = np.exp(-2j * np.pi * np.outer(PITCHES[: sound.shape[1]], time))
    return np.abs((waves * window) @ middle).T * 2 / window.sum()


def check_apart(sound: np.ndarray, *, clean: float, loudness: float = LOUDNESS) -> None:
    """Every channel has its own tone within 6 % of loudness, and every other's at least `clean` dB below."""
    heard = strengths(sound)
    own = np.diag(heard)
    assert own == pytest.approx(np.full(sound.shape[1], loudness), rel=0.06)
    others = heard[~np.eye(len(heard), dtype=bool)]
    assert 20 * np.log10(own.min() / (others.max(initial=0) + 1e-9)) > clean


def refused(path: Path, leaf: type[Exception] = UndecodableAudio, limits: Limits = LIMITS) -> str:
    with pytest.raises(leaf) as caught:
        decoded(path, limits, split=True)
    assert type(caught.value) is leaf
    return str(caught.value)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [2, 3, 8])
def test_wav(tmp_path: Path, rate: int, channels: int) -> None:
    path = wav(tmp_path / "a.wav", tones(channels, rate=rate), rate)
    report, sound = decoded(path, split=True)
    assert (report.channels, report.samples, report.warnings) == (channels, 32_000, ())
    check_apart(sound, clean=80)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout", "channels", "clean"),
    [
        ("a.wav", "pcm_mulaw", 8_000, "stereo", 2, 50),
        ("a.wav", "pcm_f32le", 44_100, "stereo", 2, 80),
        ("a.flac", "flac", 44_100, "stereo", 2, 80),
        ("a.flac", "flac", 48_000, "5.1", 6, 80),
        ("a.mov", "alac", 44_100, "5.1", 6, 80),
        ("a.flac", "flac", 44_100, "7.1", 8, 80),
        ("a.mp3", "libmp3lame", 44_100, "stereo", 2, 40),
        ("a.m4a", "aac", 44_100, "stereo", 2, 40),
        ("a.m4a", "aac", 48_000, "5.1", 6, 30),
        ("a.m4a", "aac", 48_000, "7.1", 8, 30),
        ("a.ogg", "libopus", 48_000, "stereo", 2, 30),
    ],
)
def test_formats(tmp_path: Path, name: str, codec: str, rate: int, layout: str, channels: int, clean: float) -> None:
    sound = tones(channels, rate=rate)
    path = encode(tmp_path / name, sound, codec, rate=rate, layout=layout, bit_rate=96_000 * channels)
    report, apart = decoded(path, split=True)
    assert report.channels == channels
    assert report.warnings == ()
    assert report.samples / 16_000 == pytest.approx(2.0, abs=0.03)
    check_apart(apart, clean=clean)


@pytest.mark.parametrize("name", ["a.m4a", "a.mkv"])
def test_eight_channels_in_planes_are_mixed_too(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, tones(8, rate=48_000), "aac", rate=48_000, layout="7.1", bit_rate=768_000)
    report, mixed = decoded(path)
    assert len(mixed) / 16_000 == pytest.approx(2.0, abs=0.15)
    assert report.channels == 1
    assert strengths(mixed[:, np.newaxis])[0, 0] > 0.05


def test_sixteen_bit_at_16_khz_is_untouched(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, (200_000, 3)).astype("<i2")
    (tmp_path / "a.wav").write_bytes(riff(samples.tobytes(), rate=16_000, channels=3))
    _, sound = decoded(tmp_path / "a.wav", split=True)
    assert np.array_equal(sound * 32768, samples)


def test_the_mix_of_two_channels_is_their_exact_mean(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, (200_000, 2)).astype("<i2")
    (tmp_path / "a.wav").write_bytes(riff(samples.tobytes(), rate=16_000, channels=2))
    report, sound = decoded(tmp_path / "a.wav")
    assert np.array_equal(sound * 32768, np.rint(samples.mean(axis=1)))
    assert (report.channels, report.samples) == (1, 200_000)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.wav", "pcm_s16le", 8_000), ("a.flac", "flac", 44_100), ("a.m4a", "aac", 44_100), ("a.ogg", "libopus", 48_000)],
)
def test_the_mix_is_the_mean_of_the_channels(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = encode(tmp_path / name, tones(2, rate=rate, seconds=9.0), codec, rate=rate, layout="stereo")
    mixed, apart = decoded(path)[1], decoded(path, split=True)[1]
    assert len(mixed) == len(apart)
    assert np.abs(mixed - apart.mean(axis=1)).max() <= 1.01 / 32768  # half a step each


def test_mono_is_one_channel(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(rate=44_100), 44_100)
    report, apart = decoded(path, split=True)
    assert (report, apart[:, 0].tolist()) == (decoded(path)[0], decoded(path)[1].tolist())
    assert (report.channels, apart.shape, report.warnings) == (1, (32_000, 1), ())


def test_declared_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes(pcm(tones(2, rate=44_100), 16))
    report, sound = decoded(path, declared=DeclaredSound("s16le", 44_100, 2), split=True)
    assert report.channels == 2
    assert report.samples / 16_000 == pytest.approx(2, abs=0.01)
    check_apart(sound, clean=80)


def test_what_is_no_number_in_one_channel_is_not_heard_in_the_other(tmp_path: Path) -> None:
    whole = tones(2, rate=48_000).astype("<f4")
    broken = whole.copy()
    broken[1000:1010, 0], broken[2000:2010, 0], broken[3000, 0] = np.nan, -np.inf, 3e38
    heard: list[np.ndarray] = []
    for name, sound in (("whole.wav", whole), ("broken.wav", broken)):
        (tmp_path / name).write_bytes(riff(sound.tobytes(), rate=48_000, channels=2, bits=32, tag=3))
        heard.append(decoded(tmp_path / name, split=True)[1])
    assert np.array_equal(heard[0][:, 1], heard[1][:, 1])
    check_apart(heard[1], clean=60)


def test_a_loud_channel_is_clipped_not_wrapped(tmp_path: Path) -> None:
    sound = np.stack([tone(loudness=1.5), tone(pitch=700)], axis=1).astype("<f4")
    (tmp_path / "a.wav").write_bytes(riff(sound.tobytes(), rate=16_000, channels=2, bits=32, tag=3))
    _, apart = decoded(tmp_path / "a.wav", split=True)
    assert np.abs(np.diff(apart[:, 0])).max() < 0.3
    assert apart[:, 0].max() == pytest.approx(1, abs=1e-4)
    assert apart[:, 1] == pytest.approx(tone(pitch=700), abs=1 / 32768)


@pytest.mark.parametrize(("codec", "rate"), [("aac", 44_100), ("pcm_s16le", 16_000)])
def test_a_gap_is_silence_in_every_channel(tmp_path: Path, codec: str, rate: int) -> None:
    path = encode(tmp_path / "a.mkv", tones(2, rate=rate, seconds=20.0), codec, rate=rate, layout="stereo")
    gap = restamped(path, tmp_path / "gap.mkv", lambda at: at if at < 10 else at + 3)
    report, sound = decoded(gap, split=True)
    assert report.samples / 16_000 == pytest.approx(23, abs=0.1)
    assert report.warnings == ()
    assert np.abs(sound[int(10.3 * 16_000) : int(12.7 * 16_000)]).max() < 0.01
    for part in (sound[: 10 * 16_000], sound[int(13.3 * 16_000) :]):
        check_apart(part, clean=30)
    refused(gap, AudioTooLong, Limits.for_seconds(22))


def test_a_slow_clock_stretches_the_times(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", tones(2, rate=44_100, seconds=20.0), "aac", rate=44_100, layout="stereo")
    report, _ = decoded(restamped(path, tmp_path / "late.m4a", lambda at: at * 1.02), split=True)
    assert report.time_scale == pytest.approx(1.02, abs=0.002)
    assert report.samples / 16_000 == pytest.approx(20, abs=0.1)


def test_truncated(tmp_path: Path) -> None:
    data = riff(pcm(tones(2, rate=16_000), 16), rate=16_000, channels=2)
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    report, sound = decoded(tmp_path / "a.wav", split=True)
    assert report.warnings == (AUDIO_TRUNCATED,)
    assert report.samples / 16_000 == pytest.approx(1, abs=0.01)
    check_apart(sound, clean=80)


def test_too_short(tmp_path: Path) -> None:
    refused(wav(tmp_path / "a.wav", tones(8, rate=16_000, seconds=0.05)), AudioTooShort)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_seconds_are_limited_while_decoding(tmp_path: Path, rate: int) -> None:
    path = wav(tmp_path / "a.wav", tones(2, rate=rate, seconds=60.0), rate)
    out = tmp_path / "out.s16"
    out.touch()
    with pytest.raises(AudioTooLong, match="10 seconds"):
        decode_file(path, out, Limits.for_seconds(10), split=True)
    assert out.stat().st_size <= 10 * 16_000 * 2 * 2
    decoded(path, Limits.for_seconds(60), split=True)
    refused(path, AudioTooLong, Limits.for_seconds(59.99))


def test_decoded_bytes_are_limited(tmp_path: Path) -> None:
    refused(wav(tmp_path / "a.wav", np.zeros((192_000, 8)), 192_000), AudioTooLong, Limits(10, 1_000_000))
    path = wav(tmp_path / "b.wav", tones(2, rate=16_000))
    decoded(path, Limits(10, 128_000), split=True)
    refused(path, AudioTooLong, Limits(10, 127_999))


def chained(path: Path, *sounds: tuple[int, int]) -> Path:
    """An ogg file of stretches one after the other, each of so many channels and Hz."""
    whole = b""
    for index, (channels, rate) in enumerate(sounds):
        part = path.with_name(f"part{index}.ogg")
        layout = "mono" if channels == 1 else "stereo"
        whole += encode(part, tones(channels, rate=rate), "flac", rate=rate, layout=layout).read_bytes()
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_another_number_of_channels_is_refused(tmp_path: Path, first: int, second: int) -> None:
    path = chained(tmp_path / "a.ogg", (first, 48_000), (second, 48_000))
    message = refused(path)
    assert "number of channels changes" in message
    assert f"{first} at first, later {second}" in message
    assert decoded(path)[0].samples / 16_000 == pytest.approx(4, abs=0.03)


def test_another_rate_is_not(tmp_path: Path) -> None:
    report, sound = decoded(chained(tmp_path / "a.ogg", (2, 48_000), (2, 44_100)), split=True)
    assert report.samples / 16_000 == pytest.approx(4, abs=0.03)
    for half in (sound[:32_000], sound[32_000:]):
        check_apart(half, clean=60)


@pytest.mark.parametrize("channels", [9, 16, 17])
def test_more_than_eight_channels_are_refused(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(bytes(channels * 2 * 16_000), rate=16_000, channels=channels))
    message = refused(path)
    assert f"{channels} channels" in message
    assert "8" in message


@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_channels_that_are_alike_are_told(tmp_path: Path, channels: int, rate: int) -> None:
    path = wav(tmp_path / "a.wav", np.repeat(tone(rate=rate)[:, np.newaxis], channels, axis=1), rate)
    report, _ = decoded(path, split=True)
    assert (report.channels, report.warnings) == (channels, (CHANNELS_ALIKE,))
    assert decoded(path)[0].warnings == ()  # nobody asked


def test_also_where_an_encoder_joins_them(tmp_path: Path) -> None:
    sound = np.repeat(tone(rate=48_000)[:, np.newaxis], 2, axis=1)
    path = encode(tmp_path / "a.mp3", sound, "libmp3lame", rate=48_000, layout="stereo", bit_rate=128_000)
    assert decoded(path, split=True)[0].warnings == (CHANNELS_ALIKE,)


@pytest.mark.parametrize(
    ("second", "third", "alike"), [(8, 0, True), (-8, 0, True), (9, 0, False), (-9, 0, False), (5, -5, False)]
)
@pytest.mark.parametrize("at", [0, 100_000, -1])
def test_one_place_is_enough_to_differ(tmp_path: Path, second: int, third: int, alike: bool, at: int) -> None:
    samples = np.repeat(np.rint(tone(20.0) * 32000).astype("<i2")[:, np.newaxis], 3, axis=1)
    samples[at] += np.array([0, second, third], "<i2")
    (tmp_path / "a.wav").write_bytes(riff(samples.tobytes(), rate=16_000, channels=3))
    assert decoded(tmp_path / "a.wav", split=True)[0].warnings == ((CHANNELS_ALIKE,) if alike else ())


def test_opposite_extremes_differ(tmp_path: Path) -> None:
    samples = np.tile(np.array([-32768, 32767], "<i2"), (16_000, 1))
    (tmp_path / "a.wav").write_bytes(riff(samples.tobytes(), rate=16_000, channels=2))
    assert decoded(tmp_path / "a.wav", split=True)[0].warnings == ()


def test_alike_and_truncated(tmp_path: Path) -> None:
    data = riff(bytes(128_000), rate=16_000, channels=2, declared=640_000)
    (tmp_path / "a.wav").write_bytes(data)
    assert decoded(tmp_path / "a.wav", split=True)[0].warnings == (AUDIO_TRUNCATED, CHANNELS_ALIKE)


def interleaved(path: Path, samples: np.ndarray) -> Path:
    path.write_bytes(samples.astype("<i2").tobytes())
    return path


def test_a_channel_is_a_sound(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, (32_000, 3))
    raw = interleaved(tmp_path / "sound.s16", samples)
    with Recording(raw, channels=3) as recording:
        assert not raw.exists()
        assert (recording.channels, recording.duration) == (3, 2.0)
        assert np.array_equal(recording.samples, samples)
        assert not recording.samples.flags.writeable
        channel = recording.channel(1)
        assert channel.duration == 2.0
        piece = channel.piece(0.5, 1.25)
        assert (piece.dtype, piece.flags.writeable, piece.flags.c_contiguous) == (np.float32, True, True)
        assert np.array_equal(piece * 32768, samples[8_000:20_000, 1])
        assert len(channel.piece(-1, 99)) == 32_000
        assert len(channel.piece(5, 6)) == len(channel.piece(1, 0.5)) == 0
        waiting = WaitingPiece(channel, 1.5, 99)
        assert waiting.seconds == waiting.read().seconds == 0.5
    assert piece.max() > 0.4  # a piece outlives its recording


def test_the_whole_is_the_mean(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, (32_000, 3))
    samples[0], samples[1] = -32768, 32767
    with Recording(interleaved(tmp_path / "sound.s16", samples), channels=3) as recording:
        piece = recording.piece(0, 1)
        assert (piece.dtype, piece.shape, piece.flags.writeable) == (np.float32, (16_000,), True)
        assert piece == pytest.approx(samples[:16_000].mean(axis=1) / 32768, abs=1e-7)
        assert piece[0] == -1
        assert piece.max() < 1
        assert len(recording.piece(5, 6)) == 0


def test_mono_has_one_channel(tmp_path: Path) -> None:
    with Recording(interleaved(tmp_path / "sound.s16", tone() * 32767)) as recording:
        assert (recording.channels, recording.samples.shape) == (1, (32_000,))
        assert np.array_equal(recording.channel(0).piece(0.5, 1), recording.piece(0.5, 1))


@pytest.mark.parametrize(("channels", "index"), [(1, 1), (2, 2), (2, -1)])
def test_a_channel_that_is_not_there(tmp_path: Path, channels: int, index: int) -> None:
    raw = interleaved(tmp_path / "sound.s16", np.zeros(1000))
    with Recording(raw, channels=channels) as recording, pytest.raises(IndexError, match=str(index)):
        recording.channel(index)


def test_a_closed_recording_has_no_channels_to_hear(tmp_path: Path) -> None:
    recording = Recording(interleaved(tmp_path / "sound.s16", np.zeros((16_000, 2))), channels=2)
    channel = recording.channel(0)
    recording.close()
    for sound in (recording, channel, recording.channel(1)):
        assert sound.duration == 1.0
        with pytest.raises(ValueError, match="closed"):
            sound.piece(0, 1)


def test_a_file_that_does_not_fit_stays_the_caller_s(tmp_path: Path) -> None:
    raw = interleaved(tmp_path / "sound.s16", np.zeros(1001))
    with pytest.raises(ValueError, match="1001"):
        Recording(raw, channels=2)
    assert raw.exists()


def test_the_wish_and_the_answer_cross_the_pipe(tmp_path: Path) -> None:
    for split in (False, True):
        job = Job(tmp_path / "a", tmp_path / "b", LIMITS, 2.0, DeclaredSound("s16le", 8_000, 2), split)
        assert Job.from_line(job.to_line()) == job
    report = DecodeReport(5, 1.0, (CHANNELS_ALIKE,), 1.5, 2)
    assert read_reply(report_line(report)) == report


def test_through_the_pool_and_nothing_stays(tmp_path: Path) -> None:
    stereo = wav(tmp_path / "a.wav", tones(2, rate=8_000), 8_000)
    alike = wav(tmp_path / "b.wav", np.zeros((16_000, 2)))
    (tmp_path / "c.pcm").write_bytes(pcm(tones(2, rate=8_000), 16))
    many = wav(tmp_path / "d.wav", np.zeros((16_000, 9)))
    changing = chained(tmp_path / "e.ogg", (2, 48_000), (1, 48_000))

    async def scenario(pool: DecoderPool) -> None:
        pids = pool.pids
        for path, declared in ((stereo, None), (tmp_path / "c.pcm", DeclaredSound("s16le", 8_000, 2))):
            with await pool.decode(path, declared, split=True) as recording:
                assert (recording.channels, recording.warnings) == (2, ())
                assert recording.duration == pytest.approx(2, abs=0.01)
                channels = [recording.channel(index).piece(0, 2) for index in range(2)]
                check_apart(np.stack(channels, axis=1), clean=60)
        with await pool.decode(alike, split=True) as recording:
            assert recording.warnings == (CHANNELS_ALIKE,)
        with await pool.decode(stereo) as recording:
            assert (recording.channels, recording.samples.ndim, recording.duration) == (1, 1, 2.0)
        for path in (many, changing):
            with pytest.raises(UndecodableAudio, match="kept apart"):
                await pool.decode(path, split=True)
        assert pool.pids == pids

    with_pool(scenario, tmp_path / "temp")
