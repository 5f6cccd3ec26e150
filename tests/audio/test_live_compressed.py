"""Compressed live sound: heard as it comes, by a process of its own that takes nobody with it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import uvloop

from app.audio.declared import DeclaredSound
from app.audio.live import LiveSource, open_source
from app.audio.live_backlog import Backlog, Cue
from app.audio.live_process import ProcessDecoder
from app.audio.protocol import read_reply
from app.domain.errors import EngineFailure, NoAudioStream, SpeechError, UndecodableAudio

from .hearing import PLENTY, assert_nothing_left, decoders, heard, likeness, pieces, read, until
from .making import decoded, encode, measure, silent_film, tone, wav

SECONDS = 6
Case = tuple[str, str, int, str | None, int | None]
CASES: dict[str, Case] = {
    "ogg-opus": ("a.ogg", "libopus", 48_000, None, 32_000),
    "webm-opus": ("a.webm", "libopus", 48_000, None, 32_000),
    "mp3": ("a.mp3", "libmp3lame", 44_100, None, 64_000),
    "aac": ("a.aac", "aac", 44_100, "adts", 64_000),
    "flac": ("a.flac", "flac", 24_000, None, None),
    "m4a": ("a.m4a", "aac", 44_100, None, 64_000),
    "wav-adpcm": ("a.wav", "adpcm_ms", 16_000, None, None),
}


def sweep(rate: int) -> np.ndarray:
    """SECONDS of sines that rise from 100 Hz to 3.5 kHz, louder and softer as syllables are: alike nowhere."""
    time = np.arange(SECONDS * rate) / rate
    phase = 2 * np.pi * (100 * time + 3_400 / (2 * SECONDS) * time**2)
    return 0.3 * np.sin(phase) * (1.2 + np.sin(2 * np.pi * 3 * time)) / 2.2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sweep in every format."""
    folder = tmp_path_factory.mktemp("live")
    made = {
        name: encode(folder / file, sweep(rate), codec, rate=rate, container=container, bit_rate=bit_rate)
        for name, (file, codec, rate, container, bit_rate) in CASES.items()
    }
    made["m4a-index-first"] = remuxed(made["m4a"], folder / "first.mp4", "faststart")
    made["m4a-fragments"] = remuxed(made["m4a"], folder / "live.mp4", "frag_keyframe+empty_moov+default_base_moof")
    made["mp3-tags"] = folder / "tagged.mp3"
    tag = b"ID3\x03\0\0" + bytes((3 << 20 >> shift) & 0x7F for shift in (21, 14, 7, 0)) + bytes(3 << 20)
    made["mp3-tags"].write_bytes(tag + made["mp3"].read_bytes())
    return made


def remuxed(source: Path, target: Path, flags: str) -> Path:
    options = {"movflags": flags, "frag_duration": "200000"} if "frag" in flags else {"movflags": flags}
    with av.open(str(source)) as given, av.open(str(target), "w", format="mp4", options=options) as made:
        stream = made.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return target


FORMATS = [*CASES, "m4a-index-first", "m4a-fragments", "mp3-tags"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_sounds_like_the_file(name: str, files: dict[str, Path]) -> None:
    data = files[name].read_bytes()
    sound = heard(None, pieces(data, 1_357))
    _, reference = decoded(files[name])
    assert likeness(sound, reference) > 0.999
    assert likeness(sound, sweep(16_000)) > 0.98
    assert len(sound) / 16_000 == pytest.approx(SECONDS, abs=0.15)
    assert abs(len(sound) - len(reference)) <= 320


def test_a_real_recording_in_three_formats(shared_audio: Path, tmp_path: Path) -> None:
    _, speech = decoded_copy(shared_audio / "en_jfk.flac", tmp_path)
    for name, codec, container in (("a.ogg", "libopus", None), ("a.mp3", "libmp3lame", None), ("a.aac", "aac", "adts")):
        path = encode(tmp_path / name, speech, codec, rate=16_000, container=container, bit_rate=48_000)
        assert likeness(heard(None, pieces(path.read_bytes(), 640)), speech) > 0.98, name


def decoded_copy(path: Path, folder: Path) -> tuple[object, np.ndarray]:
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return decoded(copy)


@pytest.mark.parametrize("name", ["mp3", "ogg-opus", "aac"])
def test_cuts_are_not_heard(name: str, files: dict[str, Path]) -> None:
    data = files[name].read_bytes()[:20_000]
    assert np.array_equal(heard(None, pieces(data, 1)), heard(None, [data]))


@pytest.mark.parametrize(
    ("name", "lag"),
    [("ogg-opus", 1.3), ("webm-opus", 0.5), ("mp3", 0.5), ("aac", 0.5), ("flac", 2.0), ("m4a-fragments", 0.8)],
)
def test_sound_is_heard_as_it_comes(name: str, lag: float, files: dict[str, Path]) -> None:
    data = files[name].read_bytes()
    _, reference = decoded(files[name])

    async def main() -> None:
        source = open_source(None, bound=PLENTY)
        blocks: list[np.ndarray] = []
        reader = asyncio.create_task(read(source, blocks))
        fed = 0
        for part in (0.25, 0.5, 0.75):
            for piece in pieces(data[fed : int(part * len(data))], 200):
                await source.feed(piece)
            fed = int(part * len(data))
            await until(lambda: sum(map(len, blocks)) / 16_000 > part * SECONDS - lag)  # noqa: B023
        await source.feed(data[fed:])
        await source.finish()
        assert likeness(await reader, reference) > 0.999
        await source.close()

    asyncio.run(main())


def test_ogg_pages_of_a_packet_are_heard_at_once(tmp_path: Path) -> None:
    """What live encoders make; by default a page holds a second."""
    path = tmp_path / "a.ogg"
    with av.open(str(path), "w", options={"page_duration": "20000"}) as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sweep(48_000).astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        converter = av.AudioResampler(format="flt", layout="mono", rate=48_000, frame_size=960)
        for part in (*converter.resample(frame), *converter.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    test_sound_is_heard_as_it_comes("a", 0.35, {"a": path})


@pytest.mark.parametrize("name", ["ogg-opus", "webm-opus", "mp3", "aac", "flac"])
def test_files_in_a_row_are_one_stream(name: str, files: dict[str, Path]) -> None:
    data = files[name].read_bytes()
    sound = heard(None, [data, data])
    assert len(sound) / 16_000 == pytest.approx(2 * SECONDS, abs=0.2)
    assert likeness(sound[len(sound) // 2 :], sweep(16_000)) > 0.98


def test_a_second_mp4_file_is_refused_and_not_passed_over(files: dict[str, Path]) -> None:
    data = files["m4a-index-first"].read_bytes()
    with pytest.raises(UndecodableAudio, match="mp4"):
        heard(None, [data, data])


@pytest.mark.parametrize("name", ["mp3", "aac", "ogg-opus"])
def test_a_broken_middle_costs_what_is_broken(name: str, files: dict[str, Path]) -> None:
    data = bytearray(files[name].read_bytes())
    half = len(data) // 2
    data[half : half + 3_000] = np.random.default_rng(3).bytes(3_000)
    sound = heard(None, pieces(bytes(data), 1_000))
    _, reference = decoded(files[name])
    assert likeness(sound[:32_000], reference[:32_000]) > 0.98
    assert likeness(sound[-8_000:], reference[-8_000:]) > 0.97
    assert 0 < len(reference) - len(sound) < 33_000  # ogg loses whole pages, here two of a second


@pytest.mark.parametrize("name", ["mp3", "aac"])
def test_a_stream_may_be_joined_in_its_middle(name: str, files: dict[str, Path]) -> None:
    data = files[name].read_bytes()
    sound = heard(None, pieces(data[len(data) // 2 + 77 :], 1_000))
    assert len(sound) / 16_000 == pytest.approx(SECONDS / 2, abs=0.3)
    assert likeness(sound[-16_000:], decoded(files[name])[1][-16_000:]) > 0.98


def test_a_file_that_was_declared_raw_is_heard_as_what_it_is(files: dict[str, Path]) -> None:
    for name in ("ogg-opus", "webm-opus", "flac", "mp3-tags"):
        data = files[name].read_bytes()
        sound = heard(DeclaredSound("s16le", 16_000), [*pieces(data[:300], 3), data[300:]])
        assert likeness(sound, sweep(16_000)) > 0.98, name


def test_telephone_frames_of_amr() -> None:
    """FFmpeg has no encoder for it: frames of rate 0 (13 bytes, 20 ms) with any bits are some sound."""
    frames = b"".join(b"\x04" + np.random.default_rng(n).bytes(12) for n in range(100))
    assert len(heard(None, pieces(b"#!AMR\n" + frames, 50))) == pytest.approx(32_000, abs=50)


@pytest.mark.parametrize(
    "data",
    [
        b"no sound in here\n" * 20_000,
        b"\0\1",
        b"RIFF",
        b"OggS",
        np.random.default_rng(0).bytes(300_000),
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.mp3\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
        tone(2).astype("<f4").tobytes(),
    ],
    ids=["text", "two-bytes", "riff", "ogg", "noise", "playlist", "concat", "sdp", "undeclared"],
)
def test_what_is_no_sound_ends_with_a_reason(data: bytes) -> None:
    with pytest.raises(UndecodableAudio, match="could not be decoded"):
        heard(None, pieces(data, 10_000))


def test_a_film_without_sound(tmp_path: Path) -> None:
    with pytest.raises(NoAudioStream):
        heard(None, [silent_film(tmp_path / "a.mkv").read_bytes()])


def test_who_feeds_learns_that_the_stream_is_no_sound() -> None:
    async def main() -> None:
        source = open_source(None, bound=PLENTY)
        with pytest.raises(UndecodableAudio):
            async with asyncio.timeout(60):
                while True:
                    await source.feed(b"no sound in here\n" * 100)
                    await asyncio.sleep(0.01)
        with pytest.raises(UndecodableAudio):
            await source.feed(b"x")
        with pytest.raises(UndecodableAudio):
            await read(source)
        assert not decoders()
        await source.finish()
        await source.close()
        assert_nothing_left()

    asyncio.run(main())


def with_decoder(scenario: Callable[[ProcessDecoder, Backlog], Awaitable[None]], *, stall: float = 60.0) -> None:
    """Run `scenario` with a decoder and what it fills; afterwards nothing is left of it."""

    async def main() -> None:
        backlog = Backlog(160_000)
        decoder = ProcessDecoder(backlog, stall=stall)
        try:
            await scenario(decoder, backlog)
        finally:
            await decoder.close()
        assert_nothing_left()

    asyncio.run(main())


def test_a_decoder_that_is_killed_ends_its_stream_only(files: dict[str, Path]) -> None:
    data = files["mp3"].read_bytes()

    async def scenario(decoder: ProcessDecoder, backlog: Backlog) -> None:
        neighbour = open_source(None, bound=PLENTY)
        reader = asyncio.create_task(read(neighbour))
        await neighbour.feed(data[:9_000])
        await decoder.feed(data[:20_000])
        await until(lambda: backlog.unread > 8_000)
        os.kill(decoder.pid or 0, signal.SIGKILL)
        await until(lambda: backlog.ended)
        await decoder.feed(data[20_000:])
        blocks = backlog.blocks()
        with pytest.raises(EngineFailure, match="died"):
            while True:
                await anext(blocks)
        await neighbour.feed(data[9_000:])
        await neighbour.finish()
        assert likeness(await reader, sweep(16_000)) > 0.98
        await neighbour.close()

    with_decoder(scenario)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_stream_that_takes_its_time_is_heard_on_either_loop(
    files: dict[str, Path], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    data = files["mp3"].read_bytes()

    async def main() -> None:
        backlog = Backlog(PLENTY)
        decoder = ProcessDecoder(backlog, stall=2.0)
        for start in range(0, 20_000, 2_000):
            await decoder.feed(data[start : start + 2_000])
            await asyncio.sleep(0.1)  # it is looked at as often
        await decoder.finish()
        async with asyncio.timeout(20):
            assert sum([len(block) async for block in backlog.blocks() if not isinstance(block, Cue)]) > 32_000
        await decoder.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_a_decoder_that_hangs_is_ended(files: dict[str, Path]) -> None:
    data = files["mp3"].read_bytes()

    async def scenario(decoder: ProcessDecoder, backlog: Backlog) -> None:
        await decoder.feed(data[:20_000])  # 2.5 s
        await until(lambda: backlog.unread > 36_000)
        os.kill(decoder.pid or 0, signal.SIGSTOP)
        await asyncio.sleep(4)  # nothing to do: no reason to complain
        assert not backlog.ended
        await decoder.feed(data[20_000:21_000])
        await until(lambda: backlog.ended)
        assert isinstance(backlog.error, EngineFailure)
        await until(lambda: not decoders())

    with_decoder(scenario, stall=3.0)


def test_a_decoder_that_does_not_end_is_ended(files: dict[str, Path]) -> None:
    async def scenario(decoder: ProcessDecoder, backlog: Backlog) -> None:
        await decoder.feed(files["mp3"].read_bytes()[:9_000])
        await until(lambda: backlog.unread > 8_000)
        os.kill(decoder.pid or 0, signal.SIGSTOP)
        await decoder.finish()
        await until(lambda: backlog.ended)
        assert isinstance(backlog.error, EngineFailure)

    with_decoder(scenario, stall=3.0)


def test_a_slow_reader_is_no_hanging_decoder(files: dict[str, Path]) -> None:
    async def scenario(decoder: ProcessDecoder, backlog: Backlog) -> None:
        feeding = asyncio.create_task(decoder.feed(files["flac"].read_bytes() * 4))
        await until(lambda: backlog.full)
        await asyncio.sleep(4)
        assert not backlog.ended
        count = 0
        async for block in backlog.blocks():
            count += len(block)
            if feeding.done():
                await decoder.finish()
        assert count == 4 * SECONDS * 16_000

    with_decoder(scenario, stall=3.0)


def test_a_decoder_without_memory_says_so() -> None:
    """What the process does when it gets none; how much it may have is tested elsewhere."""
    code = (
        "import os, app.audio.live_worker as w\n"
        "def decode(*_): raise MemoryError\n"
        "w.decode = decode\n"
        "os._exit(w.main())"
    )
    ran = subprocess.run([sys.executable, "-c", code], input=b"x", capture_output=True, check=False, timeout=60)
    assert ran.returncode == 1
    with pytest.raises(EngineFailure, match="memory"):
        read_reply(ran.stderr)


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_decoder_has_little_it_could_do_harm_with(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_API_KEY", "secret-of-the-server")

    async def scenario(decoder: ProcessDecoder, backlog: Backlog) -> None:
        await decoder.feed(files["aac"].read_bytes()[:20_000])
        await until(lambda: backlog.unread > 0)
        pid = decoder.pid or 0
        assert b"secret" not in environment(pid)
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 5
        assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_AS)[0] <= 2 << 30
        assert 0 < resource.prlimit(pid, resource.RLIMIT_CPU)[0] < 120
        assert os.getsid(pid) == pid

    with_decoder(scenario)


@pytest.mark.parametrize("name", ["mp3", "flac"])
def test_fifty_megabytes_that_nobody_reads_cost_no_memory(name: str, files: dict[str, Path]) -> None:
    data = files[name].read_bytes()
    many = data * (50_000_000 // len(data))

    async def main() -> None:
        source = open_source(None, bound=160_000)
        tracemalloc.start()
        feeding = asyncio.create_task(source.feed(many))
        await asyncio.sleep(4)
        assert not feeding.done()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()
        await source.close()
        await feeding
        assert_nothing_left()

    asyncio.run(main())


async def nothing_fed(source: LiveSource, data: bytes) -> None:
    pass


async def feeding_begins(source: LiveSource, data: bytes) -> None:
    asyncio.create_task(source.feed(data)).add_done_callback(lambda task: task.exception())
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def process_starts(source: LiveSource, data: bytes) -> None:
    await source.feed(data[:100])


async def in_the_middle(source: LiveSource, data: bytes) -> None:
    await source.feed(data[:30_000])
    await anext(source.blocks())


async def feeding_waits(source: LiveSource, data: bytes) -> None:
    asyncio.create_task(source.feed(data * 100)).add_done_callback(lambda task: task.exception())
    await anext(source.blocks())
    await asyncio.sleep(0.3)


async def finished_unread(source: LiveSource, data: bytes) -> None:
    await source.feed(data[:5_000])
    await source.finish()


async def read_to_the_end(source: LiveSource, data: bytes) -> None:
    await source.feed(data[:5_000])
    await source.finish()
    await read(source)


async def failed(source: LiveSource, data: bytes) -> None:
    await source.feed(b"no sound in here\n" * 10)
    await source.finish()
    with pytest.raises(UndecodableAudio):
        await read(source)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "state",
    [
        nothing_fed,
        feeding_begins,
        process_starts,
        in_the_middle,
        feeding_waits,
        finished_unread,
        read_to_the_end,
        failed,
    ],
)
def test_closing_leaves_nothing(state: Callable[[LiveSource, bytes], Awaitable[None]], files: dict[str, Path]) -> None:
    async def main() -> None:
        source = open_source(None, bound=16_000)
        await state(source, files["mp3"].read_bytes())
        await asyncio.gather(source.close(), source.close())
        await source.close()
        await until(lambda: len(asyncio.all_tasks()) == 1, 5)
        assert_nothing_left()
        try:
            assert [block async for block in source.blocks()] == []
        except SpeechError:
            assert state is failed

    before = open_files()
    asyncio.run(main())
    gc.collect()  # what was left open says so
    assert open_files() == before


def test_closing_before_the_process_began_frees_who_feeds(files: dict[str, Path]) -> None:
    async def main() -> None:
        source = open_source(None, bound=16_000)
        feeding = asyncio.create_task(source.feed(files["mp3"].read_bytes()))
        await asyncio.sleep(0)
        await source.close()
        async with asyncio.timeout(30):
            await feeding
        assert_nothing_left()

    asyncio.run(main())


def test_a_closing_that_is_cancelled_leaves_nothing(files: dict[str, Path]) -> None:
    async def main() -> None:
        source = open_source(None, bound=16_000)
        await source.feed(files["mp3"].read_bytes()[:30_000])
        closing = asyncio.create_task(source.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await until(lambda: len(asyncio.all_tasks()) == 1, 5)
        assert_nothing_left()

    asyncio.run(main())


def test_a_stream_that_is_left_open_ends_with_its_loop(files: dict[str, Path]) -> None:
    async def main() -> None:
        await open_source(None, bound=PLENTY).feed(files["mp3"].read_bytes())

    asyncio.run(main())
    assert not decoders()


def test_finishing_twice_changes_nothing(files: dict[str, Path]) -> None:
    async def main() -> None:
        source = open_source(None, bound=PLENTY)
        await source.feed(files["aac"].read_bytes())
        await source.finish()
        await source.finish()
        await source.feed(b"what nobody wants any more")
        sound = await read(source)
        await source.finish()
        assert likeness(sound, sweep(16_000)) > 0.98
        await source.close()

    asyncio.run(main())


def test_undeclared_wav_needs_no_process(tmp_path: Path) -> None:
    async def main() -> None:
        source = open_source(None, bound=PLENTY)
        await source.feed(wav(tmp_path / "a.wav", tone(2, 44_100), 44_100).read_bytes())
        assert not decoders()
        await source.finish()
        assert measure(await read(source))[0] == 440

    asyncio.run(main())
