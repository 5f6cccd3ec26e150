"""The batcher: who shares a call, whose turn it is, and what happens to pieces that fail or are given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.domain.engines import Hypothesis, PieceRequest, WaitingPiece, WaitingRequest
from app.domain.errors import EngineFailure
from app.domain.options import RecognitionOptions
from app.pipeline.batching import Batcher
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.turns import Turn, Urgency

from .stubs import StubRecognizer, StubSound, failing_on, named, request

Scenario = Callable[[Batcher], Awaitable[None]]


def run(recognizer: StubRecognizer, scenario: Scenario) -> None:
    """`scenario` with a batcher on as many threads as the recogniser wants; nothing may be left waiting."""

    async def main() -> None:
        with ThreadPoolExecutor(recognizer.parallel_calls) as executor:
            batcher = Batcher(recognizer, Computing(ComputeThreads(executor)))
            async with asyncio.timeout(20):
                await scenario(batcher)
                await until(lambda: batcher.waiting == 0)

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
            await asyncio.sleep(0.002)


def submit(batcher: Batcher, owner: Hashable, *starts: float, seconds: float = 1.0) -> list[asyncio.Task[Hypothesis]]:
    return [asyncio.create_task(batcher.submit(request(start, seconds), Turn(owner))) for start in starts]


def test_every_piece_gets_its_own_answer() -> None:
    recognizer = StubRecognizer(parallel_calls=3)

    async def scenario(batcher: Batcher) -> None:
        works = {start: submit(batcher, start % 3, start)[0] for start in range(40)}
        for start, work in works.items():
            assert (await work).text == str(start)

    run(recognizer, scenario)
    assert sum(map(len, recognizer.calls)) == 40


def test_pieces_of_several_requests_share_a_call_up_to_its_cost() -> None:
    recognizer = StubRecognizer(batch_cost=4.0)

    async def scenario(batcher: Batcher) -> None:
        await asyncio.gather(*submit(batcher, "a", 1, 2, 3), *submit(batcher, "b", 11, 12, 13))

    run(recognizer, scenario)
    assert [len(call) for call in recognizer.calls] == [4, 2]
    assert set(recognizer.starts[0]) == {1, 2, 11, 12}, "requests take turns inside a call, too"


def test_a_piece_above_the_cost_is_recognised_alone() -> None:
    recognizer = StubRecognizer(batch_cost=4.0)

    async def scenario(batcher: Batcher) -> None:
        await asyncio.gather(*submit(batcher, "a", 1, 2, seconds=9.0))

    run(recognizer, scenario)
    assert recognizer.starts == [[1], [2]]


def test_what_waits_is_shared_out_between_idle_threads() -> None:
    recognizer = StubRecognizer(parallel_calls=2, batch_cost=8.0, held=True)

    async def scenario(batcher: Batcher) -> None:
        works = submit(batcher, "a", 1, 2)
        await until(lambda: len(recognizer.calls) == 2)
        recognizer.release(2)
        await asyncio.gather(*works)

    run(recognizer, scenario)
    assert sorted(recognizer.starts) == [[1], [2]]


def test_no_more_calls_run_at_once_than_are_worth_it() -> None:
    recognizer = StubRecognizer(parallel_calls=2, batch_cost=1.0, held=True)

    async def scenario(batcher: Batcher) -> None:
        works = submit(batcher, "a", *range(9))
        await until(lambda: len(recognizer.calls) == 2)
        assert batcher.waiting == 7
        recognizer.release(9)
        await asyncio.gather(*works)

    run(recognizer, scenario)
    assert recognizer.most_at_once == 2


def test_pieces_with_different_keys_never_share_a_call() -> None:
    recognizer = StubRecognizer(batch_cost=50.0, key=lambda asked: int(asked.piece.start) % 3)

    async def scenario(batcher: Batcher) -> None:
        await asyncio.gather(*(work for owner in range(4) for work in submit(batcher, owner, *range(9))))

    run(recognizer, scenario)
    for call in recognizer.starts:
        assert len({start % 3 for start in call}) == 1
    assert sum(map(len, recognizer.calls)) == 36


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("alike", [True, False], ids=["same key", "other key"])
def test_a_long_request_delays_a_short_one_by_a_call_a_thread(threads: int, alike: bool) -> None:
    def key(asked: PieceRequest) -> Hashable:
        return alike or asked.piece.start >= 1000

    recognizer = StubRecognizer(parallel_calls=threads, batch_cost=4.0, key=key, held=True)

    async def scenario(batcher: Batcher) -> None:
        long = submit(batcher, "long", *range(50))
        await until(lambda: len(recognizer.calls) == threads)
        (short,) = submit(batcher, "short", 1000)
        await asyncio.sleep(0.01)
        begun = len(recognizer.calls)
        while not short.done():
            before = len(recognizer.calls)
            recognizer.release(threads)
            await until(lambda before=before: short.done() or len(recognizer.calls) > before)
        turn = next(index for index, starts in enumerate(recognizer.starts) if 1000 in starts)
        assert turn - begun <= threads, "calls that were begun before its turn came"
        recognizer.release(100)
        await asyncio.gather(*long)

    run(recognizer, scenario)


def test_nobody_starves_whatever_the_keys() -> None:
    # Each request's pieces may only share calls with their own; the first one has far more.
    recognizer = StubRecognizer(batch_cost=2.0, key=lambda asked: int(asked.piece.start) // 100)

    async def scenario(batcher: Batcher) -> None:
        works = [work for owner in range(4) for work in submit(batcher, owner, *range(owner * 100, owner * 100 + 20))]
        await asyncio.gather(*works)

    run(recognizer, scenario)
    order = [int(call[0]) // 100 for call in recognizer.starts]
    for round_ in range(5):
        assert set(order[round_ * 4 : round_ * 4 + 4]) == {0, 1, 2, 3}, order


def test_pieces_given_up_are_never_recognised() -> None:
    recognizer = StubRecognizer(batch_cost=4.0, held=True)

    async def scenario(batcher: Batcher) -> None:
        (first,) = submit(batcher, "first", 0)
        await until(lambda: len(recognizer.calls) == 1)
        left = submit(batcher, "left", *range(10, 30))
        stayed = submit(batcher, "stayed", 100, 101, 102)
        await asyncio.sleep(0)
        for work in (*left, stayed[1]):
            work.cancel()
        recognizer.release(10)
        assert (await first).text == "0"
        assert (await stayed[0]).text == "100"
        assert (await stayed[2]).text == "102"
        results = await asyncio.gather(*left, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)

    run(recognizer, scenario)
    assert sorted(start for call in recognizer.starts for start in call) == [0, 100, 102]


def test_a_piece_given_up_while_it_is_recognised_harms_nobody() -> None:
    recognizer = StubRecognizer(held=True)

    async def scenario(batcher: Batcher) -> None:
        gone, stays = submit(batcher, "gone", 1) + submit(batcher, "stays", 2)
        await until(lambda: len(recognizer.calls) == 1)
        assert len(recognizer.calls[0]) == 2
        gone.cancel()
        await asyncio.sleep(0.01)
        recognizer.release()
        assert (await stays).text == "2"

    run(recognizer, scenario)


class Closing(StubSound):
    """Whose recording is closed by who reads it, or was before."""

    def __init__(self, gone: Callable[[], object] = lambda: None) -> None:
        super().__init__(7200.0)
        self.gone = gone

    def piece(self, start: float, end: float) -> np.ndarray:
        self.gone()
        raise ValueError(f"{start}-{end}: the recording is closed")


@pytest.mark.parametrize("when", ["before", "while it is read"])
@pytest.mark.parametrize("others", [(), (2.0, 3.0)])
def test_a_piece_given_up_while_its_call_waits_for_a_thread_is_not_read(
    when: str, others: tuple[float, ...], caplog: pytest.LogCaptureFixture
) -> None:
    recognizer = StubRecognizer(batch_cost=8.0)

    async def main() -> None:
        free = threading.Event()
        with ThreadPoolExecutor(1) as executor:
            threads = ComputeThreads(executor)
            batcher = Batcher(recognizer, Computing(threads))
            busy = asyncio.create_task(Computing(threads).run(lambda: free.wait(10), Urgency.FILE))
            await asyncio.sleep(0.01)
            loop = asyncio.get_running_loop()

            def leave() -> None:
                asyncio.run_coroutine_threadsafe(left(), loop).result(10)

            async def left() -> None:
                gone.cancel()
                await asyncio.sleep(0)

            sound = Closing(leave if when != "before" else lambda: None)
            piece = WaitingRequest(WaitingPiece(sound, 1.0, 2.0), RecognitionOptions())
            gone = asyncio.create_task(batcher.submit(piece, Turn("gone")))
            works = submit(batcher, "stays", *others)
            await asyncio.sleep(0.01)
            assert batcher.waiting == 0  # they have a call, and that no thread
            if when == "before":
                await left()
            free.set()
            await asyncio.gather(busy, *works)
            with pytest.raises(asyncio.CancelledError):
                await gone
            (after,) = submit(batcher, "after", 9)
            assert (await after).text == "9"

    asyncio.run(main())
    assert recognizer.starts == ([list(others)] if others else []) + [[9]]
    assert not caplog.records


def test_a_sound_that_cannot_be_read_fails_its_piece_alone(caplog: pytest.LogCaptureFixture) -> None:
    recognizer = StubRecognizer(batch_cost=8.0)

    async def scenario(batcher: Batcher) -> None:
        broken = WaitingRequest(WaitingPiece(Closing(), 1.0, 2.0), RecognitionOptions())
        fails, *works = (asyncio.create_task(batcher.submit(one, Turn(0))) for one in (broken, request(2), request(3)))
        with pytest.raises(EngineFailure):
            await fails
        assert [(await work).text for work in works] == ["2", "3"]

    run(recognizer, scenario)
    assert any("the recording is closed" in record.exc_text for record in caplog.records if record.exc_text)


def test_a_failing_piece_fails_alone() -> None:
    recognizer = StubRecognizer(hears=failing_on(2, 3), batch_cost=8.0)

    async def scenario(batcher: Batcher) -> None:
        results = await asyncio.gather(*submit(batcher, "a", 1, 2), *submit(batcher, "b", 3, 4), return_exceptions=True)
        assert [isinstance(result, EngineFailure) for result in results] == [False, True, True, False]
        assert "piece at 2" in str(results[1])
        assert (await submit(batcher, "a", 5)[0]).text == "5", "and the batcher goes on"

    run(recognizer, scenario)


def test_an_error_nobody_foresaw_fails_its_piece_and_no_other() -> None:
    def hear(asked: PieceRequest) -> Hypothesis:
        if asked.piece.start == 2:
            raise IndexError("a bug")
        return named(asked)

    async def scenario(batcher: Batcher) -> None:
        results = await asyncio.gather(*submit(batcher, "a", 1), *submit(batcher, "b", 2), return_exceptions=True)
        assert isinstance(results[0], Hypothesis)
        assert isinstance(results[1], EngineFailure)
        assert "bug" not in str(results[1]), "callers learn nothing of the inside"
        assert (await submit(batcher, "a", 5)[0]).text == "5"

    run(StubRecognizer(hears=hear, batch_cost=8.0), scenario)


def test_a_recogniser_that_forgets_a_piece_fails_them_instead_of_hanging() -> None:
    class Forgetful(StubRecognizer):
        def recognize(self, requests: object) -> list[Hypothesis]:
            return []

    async def scenario(batcher: Batcher) -> None:
        results = await asyncio.gather(*submit(batcher, "a", 1, 2), return_exceptions=True)
        assert all(isinstance(result, EngineFailure) for result in results)

    run(Forgetful(), scenario)


def test_after_the_threads_are_shut_down_pieces_fail_instead_of_hanging() -> None:
    async def main() -> None:
        executor = ThreadPoolExecutor(1)
        recognizer = StubRecognizer(held=True, batch_cost=1.0)
        batcher = Batcher(recognizer, Computing(ComputeThreads(executor)))
        works = submit(batcher, "a", 1, 2, 3)
        await until(lambda: len(recognizer.calls) == 1)
        executor.shutdown(wait=False, cancel_futures=True)
        recognizer.release(3)
        async with asyncio.timeout(10):
            results = await asyncio.gather(*works, return_exceptions=True)
        assert isinstance(results[0], Hypothesis)
        assert [type(result) for result in results[1:]] == [EngineFailure, EngineFailure]
        assert batcher.waiting == 0

    asyncio.run(main())
