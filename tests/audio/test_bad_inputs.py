"""Files that lie, break off or attack: each gets its leaf of the error tree, or what sound there is and a warning."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from app.audio.protocol import AUDIO_TRUNCATED, Limits
from app.audio.worker import decode_file
from app.domain.errors import AudioTooLong, AudioTooShort, EmptyAudio, NoAudioStream, UndecodableAudio

from .making import PITCH, decoded, encode, measure, pcm, riff, silent_film, tone, wav


def refused(path: Path, leaf: type[Exception] = UndecodableAudio, limits: Limits | None = None) -> str:
    """Decoding `path` raises `leaf`; the message, which tells nothing about this machine."""
    with pytest.raises(leaf) as caught:
        decoded(path, limits or Limits.for_seconds(3600))
    assert type(caught.value) is leaf
    message = str(caught.value)
    assert path.name not in message
    assert str(path.parent) not in message
    return message


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    refused(tmp_path / "a.wav", EmptyAudio)


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"some text " * 10_000)
    return packed.getvalue()


NOT_SOUND = {
    "one byte": b"R",
    "text": b"Dear sir or madam,\n" * 500,
    "json": b'{"file": "a.wav"}',
    "html": b"<!doctype html><html><body>404</body></html>",
    "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" * 50,
    "zip": _zip(),
    "zeros": bytes(100_000),
    "noise": np.random.default_rng(2).bytes(300_000),
    "half a riff": b"RIFF\x24\0\0\0WAVE",
    "riff of something else": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(100),
    "subtitles": b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
    "gif": b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    "id3 alone": b"ID3\x03\0\0\0\0\0\x0a" + bytes(10),
    "flac marker alone": b"fLaC",
    "ogg page alone": b"OggS\0\x02" + bytes(40),
}


@pytest.mark.parametrize("name", NOT_SOUND)
def test_not_sound(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(NOT_SOUND[name])
    assert "mp3" in refused(tmp_path / "a.wav")


@pytest.mark.parametrize("declared", [None, 32_000, 0xFFFFFFFF])
def test_wav_header_alone(tmp_path: Path, declared: int | None) -> None:
    (tmp_path / "a.wav").write_bytes(riff(b"", rate=16_000, declared=declared))
    refused(tmp_path / "a.wav")


def test_mp4_header_alone(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.m4a", tone(rate=44_100), "aac", rate=44_100).read_bytes()
    (tmp_path / "a.m4a").write_bytes(whole[:2000])  # the index is at the end
    refused(tmp_path / "a.m4a")


def test_video_without_sound(tmp_path: Path) -> None:
    refused(silent_film(tmp_path / "a.mp4"), NoAudioStream)


def test_too_short(tmp_path: Path) -> None:
    message = refused(wav(tmp_path / "a.wav", tone(0.05)), AudioTooShort)
    assert message == "Audio file is too short. Minimum audio length is 0.1 seconds."
    refused(wav(tmp_path / "b.wav", tone(1 / 16_000)), AudioTooShort)
    report, _ = decoded(wav(tmp_path / "c.wav", tone(0.1)))
    assert report.samples == 1600


@pytest.mark.parametrize("declared", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_riff_of_unknown_size_is_read_to_its_end(tmp_path: Path, declared: int) -> None:
    (tmp_path / "a.wav").write_bytes(riff(pcm(tone(), 16), rate=16_000, declared=declared))
    report, sound = decoded(tmp_path / "a.wav")
    assert len(sound) == 32_000
    assert report.warnings == ()


def test_riff_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(pcm(tone(), 16), rate=16_000, declared=640_000))
    report, sound = decoded(tmp_path / "a.wav")
    assert len(sound) == 32_000
    assert report.warnings == (AUDIO_TRUNCATED,)


def test_riff_that_promises_less_than_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(pcm(tone(), 16), rate=16_000, declared=32_000))
    assert decoded(tmp_path / "a.wav")[0].samples == 16_000


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.wav", "pcm_s16le", 16_000),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.flac", "flac", 44_100),
        ("a.aiff", "pcm_s16be", 44_100),
        ("a.au", "pcm_s16be", 44_100),
    ],
)
def test_truncated(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    whole = encode(tmp_path / name, tone(4.0, rate), codec, rate=rate, bit_rate=96_000).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2 + 3])
    report, sound = decoded(tmp_path / name)
    assert report.warnings == (AUDIO_TRUNCATED,)
    assert len(sound) / 16_000 == pytest.approx(2, abs=0.4)
    assert measure(sound)[0] == pytest.approx(PITCH, abs=1)


@pytest.mark.parametrize(("name", "codec"), [("a.ogg", "libopus"), ("a.webm", "libopus"), ("a.ts", "aac")])
def test_truncated_without_a_promised_length(tmp_path: Path, name: str, codec: str) -> None:
    whole = encode(tmp_path / name, tone(4.0, 48_000), codec, rate=48_000).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    _, sound = decoded(tmp_path / name)
    assert 1 < len(sound) / 16_000 < 3
    assert measure(sound)[0] == pytest.approx(PITCH, abs=1)


def test_damage_in_the_middle_keeps_the_rest(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp3", tone(6.0, 44_100), "libmp3lame", rate=44_100, bit_rate=96_000)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 6000] = np.random.default_rng(3).bytes(6000)
    path.write_bytes(data)
    _, sound = decoded(path)
    assert len(sound) / 16_000 == pytest.approx(6, abs=0.7)
    assert measure(sound[-32_000:])[0] == pytest.approx(PITCH, abs=1)


def test_a_packet_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", tone(6.0, 44_100), "flac", rate=44_100)
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half : half + 20_000] = bytes(20_000)
    path.write_bytes(data)
    report, sound = decoded(path)
    assert report.warnings == (AUDIO_TRUNCATED,)
    assert len(sound) / 16_000 > 2


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{path}\n#EXT-X-ENDLIST\n",
    "m3u8 by url": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
        'mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{path}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    ),
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3"></CompositionPlaylist>',
}


@contextmanager
def trap(path: Path) -> Iterator[threading.Event]:
    """A sound file at `path` that tells whether somebody opened it: a pipe whose writer waits for a reader."""
    os.mkfifo(path)
    opened, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            with contextlib.suppress(OSError):  # no reader
                pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                opened.set()
                os.write(pipe, riff(pcm(tone(0.5), 16), rate=16_000))
                os.close(pipe)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield opened
        over.wait(0.01)
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_are_refused_and_not_followed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "list.wav"
    path.write_text(PLAYLISTS[name].format(path=tmp_path / "target.wav"))
    with trap(tmp_path / "target.wav") as opened:
        refused(path)
    assert not opened.is_set()


def test_the_trap_catches_a_careless_decoder(tmp_path: Path) -> None:
    path = tmp_path / "list.wav"
    path.write_text(PLAYLISTS["concat"].format(path=tmp_path / "target.wav"))
    with trap(tmp_path / "target.wav") as opened, contextlib.suppress(av.error.FFmpegError):
        av.open(str(path), options={"safe": "0"}).close()
    assert opened.is_set()


def _refers_elsewhere(path: Path, target: Path) -> Path:
    """A QuickTime file whose track lies in `target`: its "dref" holds a Macintosh alias with an absolute path."""
    whole = bytearray(encode(path, tone(), "pcm_s16le", rate=16_000, container="mov").read_bytes())
    name = str(target).encode()
    name += b"\0" * (len(name) % 2)
    alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16) + b"\xff\xff\xff\xff" + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + b"\xff\xff\0\0"
    entry = struct.pack(">I", len(alias) + 12) + b"alis" + bytes(4) + alias
    at = whole.index(b"dref") + 12
    old = int.from_bytes(whole[at : at + 4], "big")
    whole[at : at + old] = entry
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = whole.rindex(box, 0, at) - 4
        whole[start : start + 4] = struct.pack(">I", int.from_bytes(whole[start : start + 4], "big") + len(entry) - old)
    path.write_bytes(whole)
    return path


def test_a_track_in_another_file_is_not_fetched(tmp_path: Path) -> None:
    path = _refers_elsewhere(tmp_path / "a.mov", tmp_path / "target.wav")
    with trap(tmp_path / "target.wav") as opened, contextlib.suppress(UndecodableAudio):
        decoded(path)
    assert not opened.is_set()
    (tmp_path / "target.wav").unlink()
    with trap(tmp_path / "target.wav") as opened, contextlib.suppress(av.error.FFmpegError):
        av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}).close()
    assert opened.is_set()  # so the file is a real attempt


@pytest.mark.parametrize("rate", [1, 999, 384_001, 655_350, 0xFFFFFFF])
def test_forged_wav_rate(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(riff(bytes(400_000), rate=rate))
    refused(tmp_path / "a.wav")


def test_forged_flac_rate(tmp_path: Path) -> None:
    flac = bytearray(encode(tmp_path / "a.flac", tone(rate=88_200), "flac", rate=88_200).read_bytes())
    assert int.from_bytes(flac[18:21], "big") >> 4 == 88_200  # the 20 bits of STREAMINFO's rate
    flac[18:21] = (655_350 << 4 | flac[20] & 0xF).to_bytes(3, "big")
    (tmp_path / "a.flac").write_bytes(flac)
    try:
        report, _ = decoded(tmp_path / "a.flac")
    except UndecodableAudio:
        return
    assert report.samples <= 32_000  # the frames' own rate was believed instead


def test_too_many_channels(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(bytes(17 * 2 * 16_000), rate=16_000, channels=17))
    assert "16 channels" in refused(tmp_path / "a.wav")


def test_a_bomb_ends_early(tmp_path: Path) -> None:
    silence = np.zeros(48_000 * 300, np.float32)
    path = encode(tmp_path / "a.ogg", silence, "libopus", rate=48_000, bit_rate=6_000)
    assert path.stat().st_size < 300_000  # against 58 MB decoded
    started = time.process_time()
    assert "10 seconds" in refused(path, AudioTooLong, Limits.for_seconds(10))
    assert time.process_time() - started < 0.3  # all of it takes more than a second


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(2.0))
    decoded(path, Limits.for_seconds(2))
    refused(path, AudioTooLong, Limits.for_seconds(1.99))


def test_decoded_bytes_are_limited(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros((192_000, 16)), 192_000)
    refused(path, AudioTooLong, Limits(max_seconds=10, max_bytes=1_000_000))


def test_silence_and_offset_are_sound(tmp_path: Path) -> None:
    for value in (0.0, 0.3, 1.0):
        _, sound = decoded(wav(tmp_path / "a.wav", np.full(48_000, value), 48_000))
        assert sound[1000:-1000] == pytest.approx(value, abs=1e-3)


def test_output_that_was_given_up_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_file(wav(tmp_path / "a.wav", tone()), tmp_path / "gone.s16", Limits.for_seconds(10))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
