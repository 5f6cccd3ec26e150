"""The batcher while somebody speaks: what was said goes first, guesses leave room, and files take short calls."""

from __future__ import annotations

import asyncio
import time

from app.domain.engines import Hypothesis, PieceRequest
from app.pipeline.batching import Batcher
from app.pipeline.turns import Turn, Urgency

from .stubs import StubRecognizer, named, request
from .test_batching import run, until


def submit(batcher: Batcher, start: float, urgency: Urgency) -> asyncio.Task[Hypothesis]:
    return asyncio.create_task(batcher.submit(request(start, 1.0), Turn(start, urgency=urgency)))


def test_what_was_said_goes_before_guesses_and_those_before_files() -> None:
    recognizer = StubRecognizer(held=True, batch_cost=0.0)

    async def scenario(batcher: Batcher) -> None:
        works = [submit(batcher, 0, Urgency.FILE)]
        await until(lambda: len(recognizer.calls) == 1)
        works += [
            submit(batcher, 1, Urgency.FILE),
            submit(batcher, 2, Urgency.DRAFT),
            submit(batcher, 3, Urgency.FINAL),
        ]
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.starts == [[0], [3], [2], [1]]


def test_guesses_leave_a_call_free_for_what_was_said() -> None:
    recognizer = StubRecognizer(parallel_calls=2, held=True, batch_cost=0.0)

    async def scenario(batcher: Batcher) -> None:
        works = [submit(batcher, start, Urgency.DRAFT) for start in (1, 2)]
        await until(lambda: len(recognizer.calls) == 1)
        works.append(submit(batcher, 3, Urgency.FINAL))
        await until(lambda: len(recognizer.calls) == 2)
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.starts[:2] == [[1], [3]]


def test_with_one_call_at_a_time_guesses_are_made_too() -> None:
    recognizer = StubRecognizer()

    async def scenario(batcher: Batcher) -> None:
        await asyncio.gather(*(submit(batcher, start, Urgency.DRAFT) for start in (1, 2)))

    run(recognizer, scenario)
    assert sum(map(len, recognizer.calls)) == 2


def test_while_somebody_listens_calls_are_short_ones() -> None:
    def slowly(asked: PieceRequest) -> Hypothesis:
        time.sleep(0.2)
        return named(asked)

    recognizer = StubRecognizer(slowly, batch_cost=8.0)

    async def scenario(batcher: Batcher) -> None:
        await submit(batcher, 0, Urgency.FILE)
        with batcher.listening():
            await asyncio.gather(*(submit(batcher, start, Urgency.FILE) for start in (1, 2, 3, 4)))
        await asyncio.gather(*(submit(batcher, start, Urgency.FILE) for start in (5, 6, 7, 8)))

    run(recognizer, scenario)
    assert [len(call) for call in recognizer.calls] == [1, 2, 2, 4]


def test_guesses_do_not_take_all_calls_of_a_recogniser_that_makes_one_at_a_time() -> None:
    recognizer = StubRecognizer(held=True, batch_cost=0.0)

    async def scenario(batcher: Batcher) -> None:
        works = [submit(batcher, 0, Urgency.FILE)]
        await until(lambda: len(recognizer.calls) == 1)
        works += [submit(batcher, 1, Urgency.FILE), *(submit(batcher, start, Urgency.DRAFT) for start in range(2, 8))]
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.starts[4] == [1], "three guesses, then the file"
