"""Raw live sound: however it is cut, it is heard as if it came at once; nothing is lost, nobody is held up."""

from __future__ import annotations

import asyncio
import itertools
import time
import tracemalloc

import av
import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from app.audio.declared import DeclaredSound
from app.audio.live import BLOCK, Cue, open_source
from app.domain.errors import UndecodableAudio

from .hearing import PLENTY, assert_nothing_left, heard, pieces, read, until
from .making import PITCH, measure, tone

PCM = DeclaredSound("s16le", 16_000)


def noise(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    """s16le."""
    count = round(seconds * rate) * channels
    return np.random.default_rng(1).integers(-20_000, 20_000, count, np.int16).tobytes()


def samples(data: bytes, dtype: str = "<i2") -> np.ndarray:
    return np.frombuffer(data, dtype).astype(np.float32) / 32768


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    st.sampled_from(["s16le", "s16be", "mulaw", "alaw"]),
    st.sampled_from([8_000, 11_025, 16_000, 44_100]),
    st.integers(1, 3),
    st.lists(st.integers(0, 9_001), max_size=12),
)
def test_cuts_are_not_heard(encoding: str, rate: int, channels: int, places: list[int]) -> None:
    declared = DeclaredSound(encoding, rate, channels)  # type: ignore[arg-type]
    data = noise(9_000 / 2, 1) + b"x"
    assert np.array_equal(heard(declared, cut(data, places)), heard(declared, [data]))


def test_single_bytes_and_empty_messages() -> None:
    data = noise(0.05, 8_000)
    declared = DeclaredSound("s16le", 8_000)
    drops = [piece for byte in data for piece in (bytes([byte]), b"")]
    assert np.array_equal(heard(declared, drops), heard(declared, [data]))


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 24_000, 44_100, 48_000, 192_000])
def test_a_stream_is_resampled_like_a_whole_recording(rate: int) -> None:
    data = noise(3, rate)
    sound = heard(DeclaredSound("s16le", rate), pieces(data, 333))
    whole = soxr.resample(samples(data), rate, 16_000, quality="HQ")
    assert abs(len(sound) - 3 * 16_000) <= 2
    assert np.abs(sound - np.clip(whole[: len(sound)], -1, 1)).max() < 1e-5


def test_sound_at_16_khz_is_passed_on_as_it_is() -> None:
    data = noise(2)
    assert np.array_equal(heard(PCM, pieces(data, 999)), samples(data))


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_telephone_sound_means_what_ffmpeg_makes_of_it(law: str) -> None:
    codes = bytes(range(256))
    codec = av.CodecContext.create(f"pcm_{law}", "r")
    codec.layout, codec.sample_rate = "mono", 16_000
    meant = codec.decode(av.Packet(codes))[0].to_ndarray()[0]
    assert np.array_equal(heard(DeclaredSound(law, 16_000), [codes]) * 32768, meant)  # type: ignore[arg-type]


def test_big_endian_samples() -> None:
    data = noise(0.2)
    swapped = np.frombuffer(data, "<i2").astype(">i2").tobytes()
    assert np.array_equal(heard(DeclaredSound("s16be", 16_000), pieces(swapped, 77)), samples(data))


def test_channels_are_mixed() -> None:
    both = np.stack([tone(1, 24_000), np.zeros(24_000)], axis=1)
    sound = heard(DeclaredSound("s16le", 24_000, 2), pieces((both * 32767).astype("<i2").tobytes(), 101))
    pitch, loudness, clean = measure(sound)
    assert (pitch, loudness) == (PITCH, pytest.approx(0.25, abs=0.001))
    assert clean > 60


def test_the_loudest_sound_stays_within_one() -> None:
    square = np.where(np.arange(8_000) // 20 % 2, 32767, -32768).astype("<i2").tobytes()
    assert np.abs(heard(DeclaredSound("s16le", 8_000), pieces(square, 50))).max() == 1


def test_an_odd_last_byte_is_no_sound() -> None:
    data = noise(0.1)
    assert np.array_equal(heard(PCM, [data, b"x"]), samples(data))


@pytest.mark.parametrize("cue", list(Cue))
@pytest.mark.parametrize("place", [1_000, 1_001])
def test_a_cue_in_the_middle_of_a_sample_does_not_shift_what_follows(cue: Cue, place: int) -> None:
    data = noise(0.1)

    async def main() -> list[np.ndarray | Cue]:
        source = open_source(PCM, bound=PLENTY)
        await source.feed(data[:place])
        await source.cue(cue)
        await source.feed(data[place:])
        await source.finish()
        return [block async for block in source.blocks()]

    blocks = asyncio.run(main())
    sound = [block for block in blocks if not isinstance(block, Cue)]

    assert [block for block in blocks if isinstance(block, Cue)] == [cue]
    assert np.array_equal(np.concatenate(sound), samples(data))


@pytest.mark.parametrize("declared", [DeclaredSound("s16le", 3_999), DeclaredSound("alaw", 8_000, 9)])
def test_what_nobody_sends_is_refused_at_once(declared: DeclaredSound) -> None:
    with pytest.raises(UndecodableAudio):
        open_source(declared, bound=PLENTY)


@pytest.mark.parametrize("declared", [PCM, None])
def test_a_stream_without_bytes_just_ends(declared: DeclaredSound | None) -> None:
    assert len(heard(declared, [])) == len(heard(declared, [b""])) == 0


@pytest.mark.parametrize(("rate", "lag"), [(16_000, 0.0), (8_000, 0.15), (48_000, 0.06)])
def test_sound_is_heard_before_the_stream_ends(rate: int, lag: float) -> None:
    async def main() -> None:
        source = open_source(DeclaredSound("s16le", rate), bound=PLENTY)
        blocks: list[np.ndarray] = []
        reader = asyncio.create_task(read(source, blocks))
        for count, piece in enumerate(pieces(noise(2, rate), rate // 25), start=1):  # 20 ms each
            await source.feed(piece)
            await asyncio.sleep(0)
            assert sum(map(len, blocks)) / 16_000 >= count * 0.02 - lag - 1e-9
        await source.finish()
        assert len(await reader) == 32_000

    asyncio.run(main())


def test_who_feeds_waits_for_who_reads() -> None:
    async def main() -> None:
        source = open_source(PCM, bound=32_000)
        data = noise(60)
        feeding = asyncio.create_task(source.feed(data))
        await asyncio.sleep(0.2)
        assert not feeding.done()
        blocks = source.blocks()
        read_so_far = [await anext(blocks)]
        for _ in range(20):
            await asyncio.sleep(0.005)
            read_so_far.append(await anext(blocks))
        assert not feeding.done()
        rest = asyncio.create_task(read(source))
        await feeding
        await source.finish()
        assert np.array_equal(np.concatenate([*read_so_far, await rest]), samples(data))

    asyncio.run(main())


def test_who_is_read_does_not_wait() -> None:
    async def main() -> None:
        source = open_source(PCM, bound=16_000)
        for _ in range(10):
            await source.feed(noise(0.1))  # no more than the bound in all
        await source.close()

    asyncio.run(main())


@pytest.mark.parametrize("size", [640, 50_000_000])
def test_fifty_megabytes_that_nobody_reads_cost_no_memory(size: int) -> None:
    async def main() -> None:
        source = open_source(DeclaredSound("s16le", 8_000), bound=160_000)
        data = bytes(size)

        async def feed() -> None:
            for _ in range(50_000_000 // size):
                await source.feed(data)

        tracemalloc.start()
        feeding = asyncio.create_task(feed())
        await asyncio.sleep(0.5)
        assert not feeding.done()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()
        await source.close()
        await feeding

    asyncio.run(main())


@pytest.mark.parametrize("declared", [DeclaredSound("s16le", 48_000), DeclaredSound("mulaw", 8_000, 2), PCM])
def test_no_message_holds_up_the_event_loop(declared: DeclaredSound) -> None:
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.thread_time()  # not the time that other processes take
            await asyncio.sleep(0)
            gaps.append(time.thread_time() - before)

    async def main() -> None:
        source = open_source(declared, bound=PLENTY)
        ticking = asyncio.create_task(tick())
        await source.feed(noise(600))
        await source.finish()
        ticking.cancel()
        await source.close()

    asyncio.run(main())
    assert len(gaps) > 200
    assert np.sort(gaps)[-3] < 0.01
    assert max(gaps) < 0.05


def test_closing_frees_everybody_who_waits() -> None:
    async def main() -> None:
        source = open_source(PCM, bound=100)
        feeding = asyncio.create_task(source.feed(noise(60)))
        await asyncio.sleep(0.01)
        await source.close()
        await feeding
        assert [block async for block in source.blocks()] == []

        source = open_source(PCM, bound=100)
        reading = asyncio.create_task(read(source))
        await asyncio.sleep(0.01)
        await source.close()
        await source.close()
        assert len(await reading) == 0
        await source.feed(noise(1))
        await source.finish()
        assert [block async for block in source.blocks()] == []
        assert_nothing_left()

    asyncio.run(main())


def test_after_the_end_nothing_is_wanted() -> None:
    async def main() -> None:
        source = open_source(PCM, bound=PLENTY)
        data = noise(0.3)
        await source.feed(data)
        await source.finish()
        await source.finish()
        await source.feed(data)
        assert np.array_equal(await read(source), samples(data))

    asyncio.run(main())


def test_a_reader_that_stops_can_go_on_or_close() -> None:
    async def main() -> None:
        source = open_source(PCM, bound=PLENTY)
        data = noise(2)
        await source.feed(data)
        async for block in source.blocks():
            first = block
            break
        await source.finish()
        assert np.array_equal(np.concatenate([first, await read(source)]), samples(data))
        assert len(first) == BLOCK
        await source.close()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(main())
