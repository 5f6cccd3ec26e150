"""One recording through a stub recogniser: order, one language, little in memory, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from app.domain.engines import Hypothesis, PieceRequest, SpeechSpan
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions
from app.pipeline.batching import Batcher
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.recognition import Heard, Hearing, Recognition
from app.pipeline.relaying import Relay
from app.pipeline.segmentation import Cut

from .stubs import StubContinuousRecognizer, StubRecognizer, StubSound, Talk, failing_on, named
from .test_batching import run, until

ENGLISH = RecognitionOptions(language="en")
AUTO = RecognitionOptions()


def cuts_of(count: int, seconds: float = 10.0) -> list[Cut]:
    return [
        Cut(start, start + seconds, (SpeechSpan(start, start + seconds),))
        for start in (index * seconds for index in range(count))
    ]


def hears(languages: dict[float, dict[str, float]]) -> Callable[[PieceRequest], Hypothesis]:
    """Detects what it is told at each piece's start, unless the language is given."""

    def hear(asked: PieceRequest) -> Hypothesis:
        language = asked.options.language
        chances = {language: 1.0} if language else languages[asked.piece.start]
        best = max(chances, key=chances.__getitem__)
        return Hypothesis(f"{asked.piece.start:g} in {best}", best, chances)

    return hear


def recognize(
    recognizer: StubRecognizer,
    scenario: Callable[[Batcher, AsyncGenerator[Heard, None]], Awaitable[None]],
    *,
    sound: StubSound,
    options: RecognitionOptions,
    cuts: list[Cut],
) -> None:
    async def with_pieces(batcher: Batcher) -> None:
        pieces = Recognition(sound, recognizer, batcher, options).pieces(cuts)
        async with aclosing(pieces):
            await scenario(batcher, pieces)

    run(recognizer, with_pieces)


def all_heard(recognizer: StubRecognizer, options: RecognitionOptions, cuts: list[Cut]) -> list[Heard]:
    heard: list[Heard] = []

    async def collect(_: Batcher, pieces: AsyncGenerator[Heard, None]) -> None:
        heard.extend([piece async for piece in pieces])

    recognize(recognizer, collect, sound=StubSound(1e6), options=options, cuts=cuts)
    return heard


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("options", [ENGLISH, AUTO], ids=["language given", "language detected"])
def test_pieces_come_in_order_each_once(threads: int, options: RecognitionOptions) -> None:
    cuts = cuts_of(25)
    heard = all_heard(StubRecognizer(parallel_calls=threads, batch_cost=30.0), options, cuts)
    assert [piece.cut for piece in heard] == cuts
    assert [piece.hypothesis.text for piece in heard] == [f"{cut.start:g}" for cut in cuts]


def test_no_pieces_are_no_error() -> None:
    assert all_heard(StubRecognizer(), AUTO, []) == []


def test_a_piece_holds_its_own_samples() -> None:
    recognizer = StubRecognizer(batch_cost=100.0)
    all_heard(recognizer, ENGLISH, cuts_of(5, seconds=2.0))
    for call in recognizer.calls:
        for asked in call:
            assert asked.piece.seconds == 2.0
            assert asked.piece.samples[0] == asked.piece.start
            assert asked.piece.samples[-1] == asked.piece.start + 1


def test_a_dissenting_piece_is_heard_again_in_the_recordings_language() -> None:
    chances = {0.0: {"en": 0.9, "zh": 0.1}, 10.0: {"en": 0.4, "zh": 0.6}, 20.0: {"en": 0.8, "zh": 0.2}}
    recognizer = StubRecognizer(hears=hears(chances))
    heard = all_heard(recognizer, AUTO, cuts_of(6))
    assert [piece.hypothesis.text for piece in heard] == [f"{start} in en" for start in (0, 10, 20, 30, 40, 50)]
    asked = [asked for call in recognizer.calls for asked in call]
    assert sorted(piece.piece.start for piece in asked) == [0, 10, 10, 20, 30, 40, 50], "only the dissenter twice"
    assert [piece.options.language for piece in asked if piece.piece.start >= 30] == ["en"] * 3


def test_longer_pieces_have_more_say_in_the_language() -> None:
    spans = [(0.0, 1.0), (1.0, 2.0), (2.0, 12.0)]
    cuts = [Cut(start, end, (SpeechSpan(start, end),)) for start, end in spans]
    chances = {0.0: {"zh": 0.9, "en": 0.1}, 1.0: {"zh": 0.9, "en": 0.1}, 2.0: {"en": 0.7, "zh": 0.3}}
    heard = all_heard(StubRecognizer(hears=hears(chances)), AUTO, cuts)
    assert {piece.hypothesis.language for piece in heard} == {"en"}


def test_a_given_language_is_not_detected() -> None:
    recognizer = StubRecognizer()
    all_heard(recognizer, ENGLISH, cuts_of(4))
    assert {asked.options.language for call in recognizer.calls for asked in call} == {"en"}
    assert sum(map(len, recognizer.calls)) == 4


@pytest.mark.parametrize("options", [ENGLISH, AUTO], ids=["language given", "language detected"])
def test_only_a_bounded_part_of_a_long_recording_is_read_ahead(options: RecognitionOptions) -> None:
    sound = StubSound(1e6)
    yielded = 0
    most = 0

    async def slowly(_: Batcher, pieces: AsyncGenerator[Heard, None]) -> None:
        nonlocal yielded, most
        async for _ in pieces:
            await asyncio.sleep(0.002)
            yielded += 1
            most = max(most, len(sound.reads) - yielded)

    recognize(
        StubRecognizer(parallel_calls=2, batch_cost=40.0), slowly, sound=sound, options=options, cuts=cuts_of(200)
    )
    assert yielded == 200
    assert most <= 16


def test_a_failing_piece_fails_the_recording() -> None:
    recognizer = StubRecognizer(hears=failing_on(70.0), batch_cost=30.0)
    heard: list[Heard] = []

    async def collect(_: Batcher, pieces: AsyncGenerator[Heard, None]) -> None:
        with pytest.raises(EngineFailure, match="piece at 70"):
            async for piece in pieces:
                heard.append(piece)

    recognize(recognizer, collect, sound=StubSound(1e6), options=ENGLISH, cuts=cuts_of(30))
    assert [piece.cut.start for piece in heard] == [0, 10, 20, 30, 40, 50, 60]
    assert max(max(starts) for starts in recognizer.starts) < 290, "the rest is not recognised for nothing"


@pytest.mark.parametrize("taken", [1, 5])
def test_closing_early_drops_what_still_waits(taken: int) -> None:
    recognizer = StubRecognizer(batch_cost=10.0, held=True)

    async def leave(batcher: Batcher, pieces: AsyncGenerator[Heard, None]) -> None:
        for _ in range(taken):
            await recognizer.let_go_until(asyncio.ensure_future(anext(pieces)))
        work = [task for task in asyncio.all_tasks() if "Recognition._one" in repr(task)]
        assert work, "some are under way"
        begun = len(recognizer.calls)
        await pieces.aclose()
        assert batcher.waiting == 0, "once closed, nothing of it waits"
        assert all(task.done() for task in work)
        recognizer.release(100)
        await asyncio.sleep(0.05)
        assert len(recognizer.calls) <= begun + 1, "at most what was on its way to a thread"

    recognize(recognizer, leave, sound=StubSound(1e6), options=ENGLISH, cuts=cuts_of(30))


def test_cancelling_the_request_drops_its_pieces() -> None:
    recognizer = StubRecognizer(batch_cost=10.0, held=True)

    async def scenario(batcher: Batcher) -> None:
        async def work() -> None:
            async for _ in Recognition(StubSound(1e6), recognizer, batcher, AUTO).pieces(cuts_of(30)):
                pass

        task = asyncio.create_task(work())
        await until(lambda: len(recognizer.calls) == 1 and batcher.waiting > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert batcher.waiting == 0
        recognizer.release(1)

    run(recognizer, scenario)
    assert len(recognizer.calls) == 1


# --- while pieces are heard -------------------------------------------------------------------------------------------


def follow(
    recognizer: StubContinuousRecognizer,
    scenario: Callable[[AsyncGenerator[Heard | Hearing, None]], Awaitable[None]],
    *,
    options: RecognitionOptions,
    cuts: list[Cut],
    following: bool = True,
) -> None:
    """`scenario` with what is heard of pieces that go through a relay; no call may be left."""

    async def main() -> None:
        with ThreadPoolExecutor(2) as reading:
            relay = Relay(recognizer, Computing(ComputeThreads(reading)))
            pieces = Recognition(StubSound(1e6), recognizer, relay, options, following=following).pieces(cuts)
            async with asyncio.timeout(20):
                async with aclosing(pieces):
                    await scenario(pieces)
                await until(lambda: recognizer.at_once == 0 and relay.waiting == 0)

    asyncio.run(main())


async def talks(recognizer: StubContinuousRecognizer, count: int) -> list[Talk]:
    """The first pieces, once the recogniser has that many."""
    await until(lambda: len(recognizer.talks) >= count)
    return [recognizer.talks[start] for start in sorted(recognizer.talks)]


def test_only_the_first_piece_that_is_not_done_is_followed() -> None:
    recognizer = StubContinuousRecognizer()

    async def scenario(pieces: AsyncGenerator[Heard | Hearing, None]) -> None:
        coming = asyncio.ensure_future(anext(pieces))
        first, second, third = await talks(recognizer, 3)
        second.say("two")
        third.end("three")
        second.say("two more")
        await asyncio.sleep(0.1)
        assert not coming.done(), "their turn has not come"
        first.say("one")
        assert await coming == Hearing("one")
        first.end("one.")
        assert _text(await anext(pieces)) == "one."
        assert await anext(pieces) == Hearing("two more"), "at once, and only the latest"
        second.end("two more.")
        assert [_text(piece) async for piece in pieces] == ["two more.", "three"]

    follow(recognizer, scenario, options=ENGLISH, cuts=cuts_of(3))


def _text(item: Heard | Hearing) -> str:
    assert isinstance(item, Heard)
    return item.hypothesis.text


def test_text_that_grows_fast_is_told_now_and_then() -> None:
    recognizer = StubContinuousRecognizer()

    async def scenario(pieces: AsyncGenerator[Heard | Hearing, None]) -> None:
        heard: list[Heard | Hearing] = []

        async def collect() -> None:
            heard.extend([item async for item in pieces])

        collecting = asyncio.create_task(collect())
        (talk,) = await talks(recognizer, 1)
        begun = asyncio.get_running_loop().time()
        for count in range(1, 201):
            talk.say("a" * count)
            await asyncio.sleep(0.002)
        talk.end("a" * 200)
        await collecting
        seconds = asyncio.get_running_loop().time() - begun
        texts = [item.text for item in heard if isinstance(item, Hearing)]
        assert texts == sorted(texts, key=len)
        assert 3 <= len(texts) == len(set(texts)) <= seconds / 0.05 + 1
        assert _text(heard[-1]) == "a" * 200

    follow(recognizer, scenario, options=ENGLISH, cuts=cuts_of(1))


@pytest.mark.parametrize(
    ("pieces", "options", "following", "followed"),
    [
        (6, ENGLISH, True, [True] * 6),
        (6, ENGLISH, False, [False] * 6),
        (6, AUTO, True, [False] * 3 + [True] * 3),
        (1, AUTO, True, [True]),
    ],
    ids=["language given", "not wanted", "language pooled over three", "language of the only piece"],
)
def test_which_pieces_are_followed(
    pieces: int, options: RecognitionOptions, following: bool, followed: list[bool]
) -> None:
    recognizer = StubContinuousRecognizer(named)

    async def scenario(items: AsyncGenerator[Heard | Hearing, None]) -> None:
        assert [_text(item) async for item in items] == [f"{10 * number}" for number in range(pieces)]

    follow(recognizer, scenario, options=options, cuts=cuts_of(pieces), following=following)
    assert [talk.followed for _, talk in sorted(recognizer.talks.items())] == followed


def test_the_first_piece_settles_the_language_where_it_is_long_enough() -> None:
    recognizer = StubContinuousRecognizer()

    async def scenario(pieces: AsyncGenerator[Heard | Hearing, None]) -> None:
        coming = asyncio.ensure_future(anext(pieces))
        (first,) = await talks(recognizer, 1)
        first.say("you")
        assert await coming == Hearing("you")
        first.end("you.", "zh")
        assert _text(await anext(pieces)) == "you."
        coming = asyncio.ensure_future(anext(pieces))
        _, second = await talks(recognizer, 2)
        assert second.request.options.language == "zh"
        second.end("and me")
        assert _text(await coming) == "and me"

    follow(recognizer, scenario, options=AUTO, cuts=cuts_of(2, seconds=30.0))


def test_closing_between_two_words_ends_the_calls() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=2)

    async def scenario(pieces: AsyncGenerator[Heard | Hearing, None]) -> None:
        coming = asyncio.ensure_future(anext(pieces))
        first, second = await talks(recognizer, 2)
        first.say("one")
        await coming
        await pieces.aclose()
        await until(lambda: first.cancelled and second.cancelled)
        assert len(recognizer.talks) == 2, "and nothing more is begun"

    follow(recognizer, scenario, options=ENGLISH, cuts=cuts_of(9))


def test_a_piece_that_fails_while_it_is_followed_fails_the_recording() -> None:
    recognizer = StubContinuousRecognizer()

    async def scenario(pieces: AsyncGenerator[Heard | Hearing, None]) -> None:
        coming = asyncio.ensure_future(anext(pieces))
        first, second = await talks(recognizer, 2)
        first.say("one")
        await coming
        first.fail(EngineFailure("stumbled"))
        with pytest.raises(EngineFailure, match="stumbled"):
            await anext(pieces)
        await until(lambda: second.cancelled)

    follow(recognizer, scenario, options=ENGLISH, cuts=cuts_of(2))
