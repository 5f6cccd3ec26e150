"""The relay: whose piece is next, how many at once, and what becomes of pieces that fail or are given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.engines import ContinuousRecognizer, Hypothesis
from app.domain.errors import EngineFailure, ModelUnavailable, Overloaded
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.relaying import Relay
from app.pipeline.turns import Turn, Urgency

from .stubs import StubContinuousRecognizer, StubRecognizer, named, request
from .test_batching import until

Scenario = Callable[[Relay], Awaitable[None]]


def run(recognizer: StubContinuousRecognizer, scenario: Scenario, *, bound: int = 1000) -> None:
    """`scenario` with a relay; nothing may be left waiting or under way."""

    async def main() -> None:
        with ThreadPoolExecutor(2) as reading:
            relay = Relay(recognizer, Computing(ComputeThreads(reading)), bound=bound)
            async with asyncio.timeout(20):
                await scenario(relay)
                await until(lambda: relay.waiting == 0 and recognizer.at_once == 0)

    asyncio.run(main())


def submit(relay: Relay, turn: Turn | Hashable, *starts: float, seconds: float = 1.0) -> list[asyncio.Task[Hypothesis]]:
    turn = turn if isinstance(turn, Turn) else Turn(turn)
    return [asyncio.create_task(relay.submit(request(start, seconds), turn)) for start in starts]


async def ended(recognizer: StubContinuousRecognizer, *works: asyncio.Task[Hypothesis]) -> None:
    """Pieces are let end one at a time, oldest first, until `works` are done."""
    while not all(work.done() for work in works):
        for start, talk in list(recognizer.talks.items()):
            if not talk.done.done():
                talk.end(f"{start:g}")
                break
        await asyncio.sleep(0.002)


def test_which_recognisers_take_pieces_at_any_time() -> None:
    assert isinstance(StubContinuousRecognizer(), ContinuousRecognizer)
    assert not isinstance(StubRecognizer(), ContinuousRecognizer)


def test_every_piece_gets_its_own_answer_and_sound() -> None:
    recognizer = StubContinuousRecognizer(named)

    async def scenario(relay: Relay) -> None:
        works = {start: submit(relay, start % 3, start)[0] for start in range(40)}
        for start, work in works.items():
            assert (await work).text == str(start)

    run(recognizer, scenario)
    assert sorted(recognizer.order) == list(range(40))
    for start, talk in recognizer.talks.items():
        assert talk.request.piece.samples[0] == start
        assert talk.request.piece.seconds == 1.0


def test_as_many_at_once_as_the_recogniser_holds() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=3)

    async def scenario(relay: Relay) -> None:
        works = submit(relay, "a", *range(10))
        await until(lambda: recognizer.at_once == 3)
        assert relay.waiting == 7
        recognizer.talks[1].end("1")
        await until(lambda: len(recognizer.talks) == 4)
        assert recognizer.order[-1] == 3, "one that ends makes room for the next"
        await ended(recognizer, *works)

    run(recognizer, scenario)
    assert recognizer.most_at_once == 3


def test_keys_and_requests_take_turns_and_live_speech_goes_first() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=1)

    async def scenario(relay: Relay) -> None:
        works = submit(relay, Turn("first", key="one"), 1, 2, 3)
        works += submit(relay, Turn("second", key="one"), 11, 12)
        works += submit(relay, Turn("third", key="two"), 21, 22, 23)
        works += submit(relay, Turn("live", key="one", urgency=Urgency.FINAL), 31)
        await ended(recognizer, *works)

    run(recognizer, scenario)
    # The first found nobody before it; then live speech, then keys alternate, and within key one its requests.
    assert recognizer.order == [1, 31, 2, 21, 11, 22, 3, 23, 12]


def test_no_more_waits_than_should() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=2)

    async def scenario(relay: Relay) -> None:
        works = submit(relay, "a", *range(5))
        await until(lambda: relay.waiting == 3)
        with pytest.raises(Overloaded):
            await relay.submit(request(9), Turn("b"))
        await ended(recognizer, *works)
        await ended(recognizer, *submit(relay, "b", 9))

    run(recognizer, scenario, bound=3)
    assert 9 in recognizer.order, "there is room again"


def test_who_is_cancelled_ends_the_call_or_waits_no_more() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=1)

    async def scenario(relay: Relay) -> None:
        under_way, waiting, other = submit(relay, "a", 1, 2, 3)
        await until(lambda: recognizer.at_once == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert relay.waiting == 1
        under_way.cancel()
        await asyncio.wait({under_way})
        await until(lambda: recognizer.talks[1].cancelled and 3 in recognizer.talks)
        recognizer.talks[3].end("three")
        assert (await other).text == "three"

    run(recognizer, scenario)
    assert recognizer.order == [1, 3], "what was given up before its turn is not read or heard"


@pytest.mark.parametrize(
    ("error", "told", "message"),
    [
        (EngineFailure("too long for it"), EngineFailure, "too long for it"),
        (ModelUnavailable("starting again"), ModelUnavailable, "starting again"),
        (ZeroDivisionError("secret"), EngineFailure, "unexpectedly"),
    ],
)
def test_a_failing_piece_fails_alone(error: Exception, told: type[Exception], message: str) -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=2)

    async def scenario(relay: Relay) -> None:
        bad, good, later = submit(relay, "a", 1, 2, 3)
        await until(lambda: recognizer.at_once == 2)
        recognizer.talks[1].fail(error)
        with pytest.raises(told, match=message):
            await bad
        await ended(recognizer, good, later)
        assert [good.result().text, later.result().text] == ["2", "3"]

    run(recognizer, scenario)


def test_sound_that_cannot_be_read_fails_its_piece() -> None:
    recognizer = StubContinuousRecognizer(named)

    async def scenario(relay: Relay) -> None:
        bad = request(1)
        bad.piece.sound.piece = lambda *_: 1 / 0  # type: ignore[method-assign]
        with pytest.raises(EngineFailure):
            await relay.submit(bad, Turn("a"))
        assert (await relay.submit(request(2), Turn("a"))).text == "2"

    run(recognizer, scenario)


def test_what_is_said_meanwhile_is_told() -> None:
    recognizer = StubContinuousRecognizer()

    async def scenario(relay: Relay) -> None:
        heard: list[str] = []
        followed = asyncio.create_task(relay.submit(request(1), Turn("a"), heard.append))
        (unfollowed,) = submit(relay, "a", 2)
        await until(lambda: recognizer.at_once == 2)
        for talk in recognizer.talks.values():
            talk.say("He")
            talk.say("Hello")
        await until(lambda: heard == ["He", "Hello"])
        assert not followed.done()
        assert not recognizer.talks[2].followed
        await ended(recognizer, followed, unfollowed)

    run(recognizer, scenario)


def test_work_is_estimated_from_how_fast_all_calls_together_are() -> None:
    recognizer = StubContinuousRecognizer(named, takes=0.1, parallel_calls=4)

    async def scenario(relay: Relay) -> None:
        assert relay.work(100.0) == 0.0, "nothing is known yet"
        await asyncio.gather(*submit(relay, "a", *range(24), seconds=10.0))
        # Four pieces of 10 s in 0.1 s: 400 s of sound a second.
        assert 0.8 < relay.work(400.0) < 2.5
        assert relay.work(800.0) == pytest.approx(2 * relay.work(400.0))

    run(recognizer, scenario)
