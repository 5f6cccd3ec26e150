"""What recognisers' queues tell about calls and waiting."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from app.domain.errors import EngineFailure
from app.pipeline.batching import Batcher
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.relaying import Relay
from app.pipeline.turns import Turn

from .stubs import StubContinuousRecognizer, StubRecognizer, failing_on, request
from .test_batching import submit, until
from .told import Told


def test_a_call_tells_its_pieces_how_full_it_was_and_how_long_they_waited() -> None:
    recognizer, told = StubRecognizer(batch_cost=4.0, held=True), Told()

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            batcher = Batcher(recognizer, Computing(ComputeThreads(threads)), meter=told)
            assert batcher.oldest == 0
            first = submit(batcher, "one", 0.0)
            await until(lambda: len(recognizer.calls) == 1)
            rest = submit(batcher, "one", 1.0, 2.0)
            await until(lambda: batcher.waiting == 2 and batcher.oldest > 0.05)
            recognizer.release(2)
            await asyncio.gather(*first, *rest)
            await until(lambda: len(told.calls) == 2)
            assert batcher.oldest == 0

    asyncio.run(main())
    (model, pieces, fill, _), (_, more, fuller, waited) = told.calls
    assert (model, pieces, more) == ("stub", 1, 2)
    assert (fill, fuller) == (0.25, 0.5)
    assert len(waited) == 2
    assert min(waited) > 0.05


def test_a_failed_call_is_told_and_so_is_each_piece_s_own_try() -> None:
    recognizer, told = StubRecognizer(failing_on(1.0), batch_cost=4.0), Told()

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            batcher = Batcher(recognizer, Computing(ComputeThreads(threads)), meter=told)
            outcomes = await asyncio.gather(*submit(batcher, "one", 0.0, 1.0), return_exceptions=True)
            assert [isinstance(outcome, EngineFailure) for outcome in outcomes] == [False, True]

    asyncio.run(main())
    assert [pieces for _, pieces, _, _ in told.calls] == [2, 1, 1]


def test_what_batches_by_itself_tells_what_it_has_of_what_it_can_have() -> None:
    recognizer, told = StubContinuousRecognizer(), Told()
    recognizer.parallel_calls = 4

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            relay = Relay(recognizer, Computing(ComputeThreads(threads)), meter=told)
            works = [asyncio.create_task(relay.submit(request(start), Turn("one"))) for start in (0.0, 1.0)]
            await until(lambda: len(recognizer.talks) == 2)
            for talk in recognizer.talks.values():
                talk.end("said")
            await asyncio.gather(*works)
            assert relay.oldest == 0

    asyncio.run(main())
    assert [(pieces, fill) for _, pieces, fill, _ in told.calls] == [(1, 0.5), (1, 0.5)]
    assert all(waited[0] >= 0 for *_, waited in told.calls)
