"""Jobs' pieces in batcher, relay and threads: behind everybody else, never in the way, never starved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.engines import Hypothesis
from app.pipeline.batching import Batcher
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.presence import LINGERS, RETURNS, Presence
from app.pipeline.relaying import Relay
from app.pipeline.turns import JOB_SHARE, Turn, Urgency

from .stubs import StubContinuousRecognizer, StubRecognizer, request
from .test_batching import until

Work = asyncio.Task[Hypothesis]


class Clock:
    """Stands still until it is moved, or goes on by so much whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def run(recognizer: StubRecognizer, scenario: Callable[[Batcher, Clock], Awaitable[None]]) -> None:
    """`scenario` with a batcher to which nobody has come yet."""

    async def main() -> None:
        with ThreadPoolExecutor(recognizer.parallel_calls) as executor:
            threads, clock = ComputeThreads(executor), Clock()
            threads.presence = Presence(clock)
            batcher = Batcher(recognizer, Computing(threads))
            async with asyncio.timeout(20):
                await scenario(batcher, clock)
                await until(lambda: batcher.waiting == 0)

    asyncio.run(main())


def submit(batcher: Batcher | Relay, urgency: Urgency, *starts: float) -> list[Work]:
    turn = Turn(urgency, urgency=urgency)
    return [asyncio.create_task(batcher.submit(request(start), turn)) for start in starts]


async def job(batcher: Batcher | Relay, *starts: float) -> list[Work]:
    works = submit(batcher, Urgency.JOB, *starts)
    await asyncio.sleep(0.01)
    return works


async def somebody(recognizer: StubRecognizer, batcher: Batcher) -> None:
    """A request that comes and goes."""
    await recognizer.let_go_until(submit(batcher, Urgency.FILE, 1000)[0])


# --- the batcher ------------------------------------------------------------------------------------------------------


def test_a_job_goes_behind_everybody_else() -> None:
    recognizer = StubRecognizer(held=True, batch_cost=0.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        works = await job(batcher, 0, 1)
        others: list[Work] = []
        for start, urgency in ((2, Urgency.FILE), (3, Urgency.DRAFT), (4, Urgency.FINAL)):
            others += submit(batcher, urgency, start)
        await asyncio.sleep(0.01)
        await recognizer.let_go_until(asyncio.gather(*others))
        clock.now += LINGERS
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.starts == [[0], [4], [3], [2], [1]]


def test_a_job_that_is_alone_has_all_calls_and_fills_them() -> None:
    recognizer = StubRecognizer(parallel_calls=2, held=True, batch_cost=4.0)

    async def scenario(batcher: Batcher, _: Clock) -> None:
        works = await job(batcher, *range(8))
        await until(lambda: len(recognizer.calls) == 2)
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert sorted(len(call) for call in recognizer.calls[:2]) == [2, 4], "half of what waits, each"
    assert recognizer.most_at_once == 2


def test_while_somebody_is_about_a_call_is_free_of_jobs_and_theirs_are_short() -> None:
    recognizer = StubRecognizer(parallel_calls=3, held=True, batch_cost=4.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        await somebody(recognizer, batcher)
        clock.now += LINGERS - 1.0  # gone, but not for long
        works = await job(batcher, *range(12))
        await until(lambda: len(recognizer.calls) == 3)
        await asyncio.sleep(0.05)
        assert [len(call) for call in recognizer.calls[1:]] == [1, 1], "two of three, with a piece each"
        comer = submit(batcher, Urgency.FILE, 2000)
        await until(lambda: len(recognizer.calls) == 4)
        assert recognizer.starts[3] == [2000], "who comes waits for nobody"
        await recognizer.let_go_until(asyncio.gather(*comer))
        clock.now += RETURNS
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert {len(call) for call in recognizer.calls} == {1}


@pytest.mark.parametrize(("calls", "jobs"), [(3, 1), (4, 1), (5, 2), (8, 3), (16, 7)])
def test_while_somebody_waits_for_an_answer_jobs_have_less_than_half(calls: int, jobs: int) -> None:
    recognizer = StubRecognizer(parallel_calls=calls, held=True, batch_cost=4.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        asks = submit(batcher, Urgency.FILE, 1000)
        works = await job(batcher, *range(20))
        await until(lambda: len(recognizer.calls) == 1 + jobs)
        await asyncio.sleep(0.05)
        assert len(recognizer.calls) == 1 + jobs
        await recognizer.let_go_until(asyncio.gather(*asks))
        clock.now += LINGERS
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)


@pytest.mark.parametrize("calls", [1, 2])
def test_of_one_call_or_two_jobs_have_none_while_somebody_asks_one_thing_after_the_other(calls: int) -> None:
    recognizer = StubRecognizer(parallel_calls=calls, held=True, batch_cost=4.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        works = await job(batcher, 0)
        await until(lambda: len(recognizer.calls) == 1)
        await asyncio.sleep(0.05)  # which it takes, and nine times that is its rest
        await recognizer.let_go_until(asyncio.gather(*works))
        works = submit(batcher, Urgency.JOB, 1, 2)
        for start in range(1000, 1003):
            await recognizer.let_go_until(submit(batcher, Urgency.FILE, start)[0])
            clock.now += RETURNS / 10
            await asyncio.sleep(0.3)
        assert recognizer.starts == [[0], [1000], [1001], [1002]]
        clock.now += RETURNS
        await until(lambda: [1] in recognizer.starts)
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)


@pytest.mark.parametrize("calls", [1, 2])
def test_of_one_call_or_two_a_job_has_a_tenth_of_the_time_while_others_ask_without_a_pause(calls: int) -> None:
    recognizer = StubRecognizer(parallel_calls=calls, held=True, batch_cost=4.0)

    async def main() -> None:
        with ThreadPoolExecutor(calls) as executor:
            threads, clock = ComputeThreads(executor), Clock()
            threads.presence = Presence(clock)
            batcher = Batcher(recognizer, Computing(threads))
            async with asyncio.timeout(20):
                with threads.presence.asking():
                    works = await job(batcher, 0, 1)
                    await until(lambda: recognizer.starts == [[0]])
                    await asyncio.sleep(0.1)  # so long at least its call takes
                    await recognizer.let_go_until(works[0])
                    clock.now += (JOB_SHARE - 1) * 0.1 - 0.01
                    await asyncio.sleep(0.4)
                    assert recognizer.starts == [[0]], "it rests nine times as long"
                    clock.now += 20.0
                    await until(lambda: recognizer.starts == [[0], [1]])
                    await recognizer.let_go_until(works[1])

    asyncio.run(main())


def test_once_all_others_are_gone_a_job_has_all_calls_again() -> None:
    recognizer = StubRecognizer(parallel_calls=2, held=True, batch_cost=1.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        await somebody(recognizer, batcher)
        works = await job(batcher, *range(4))
        await until(lambda: len(recognizer.calls) == 2)
        clock.now += LINGERS
        recognizer.release()
        await until(lambda: len(recognizer.calls) == 4)
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.most_at_once == 2


def test_who_listens_live_is_about_for_as_long_as_that_lasts() -> None:
    recognizer = StubRecognizer(parallel_calls=2, held=True, batch_cost=4.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        with batcher.listening():
            clock.now += 10 * LINGERS
            works = await job(batcher, *range(4))
            await until(lambda: len(recognizer.calls) == 1)
            await asyncio.sleep(0.05)
            assert recognizer.starts == [[0]]
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)


def test_who_uses_another_model_on_the_same_threads_is_about_too() -> None:
    recognizer = StubRecognizer(parallel_calls=2, held=True, batch_cost=4.0)

    async def main() -> None:
        with ThreadPoolExecutor(4) as executor:
            threads = ComputeThreads(executor)
            batcher, other = (Batcher(recognizer, Computing(threads)) for _ in range(2))
            async with asyncio.timeout(20):
                with other.listening():
                    works = await job(batcher, *range(4))
                    await until(lambda: len(recognizer.calls) == 1)
                    await asyncio.sleep(0.05)
                    assert recognizer.starts == [[0]]
                await recognizer.let_go_until(asyncio.gather(*works))

    asyncio.run(main())


def test_the_only_call_is_a_jobs_where_nobody_else_waits() -> None:
    recognizer = StubRecognizer(held=True, batch_cost=4.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        clock.step = RETURNS / 2
        await somebody(recognizer, batcher)
        works = await job(batcher, *range(3))
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.starts == [[1000], [0], [1], [2]]


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("urgency", [Urgency.FINAL, Urgency.DRAFT, Urgency.FILE])
def test_a_job_has_its_share_of_a_recogniser_that_others_keep_busy(urgency: Urgency, calls: int) -> None:
    recognizer = StubRecognizer(parallel_calls=calls, held=True, batch_cost=0.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        clock.step = LINGERS
        works = submit(batcher, urgency, *range(100, 160))
        await until(lambda: bool(recognizer.calls))
        works += await job(batcher, *range(4))
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    order = [start for (start,) in recognizer.starts]
    places = [order.index(start) for start in range(4)]
    assert places == sorted(places)
    if urgency is Urgency.DRAFT and calls > 1:
        return  # guesses leave a call free, which is the job's
    assert all(abs(place - JOB_SHARE * (number + 1)) <= calls for number, place in enumerate(places)), places


def test_jobs_share_no_call_with_others() -> None:
    recognizer = StubRecognizer(held=True, batch_cost=8.0, key=lambda asked: asked.piece.start == 11)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        clock.step = LINGERS
        works = await job(batcher, 0)
        works += submit(batcher, Urgency.FILE, 10, 11)
        works += await job(batcher, 1, 2)
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)
    assert recognizer.starts == [[0], [10], [11], [1], [2]]


def test_pieces_of_jobs_that_wait_do_not_make_others_share_a_call() -> None:
    recognizer = StubRecognizer(parallel_calls=2, held=True, batch_cost=8.0)

    async def scenario(batcher: Batcher, clock: Clock) -> None:
        clock.step = LINGERS
        works = submit(batcher, Urgency.JOB, *range(8)) + submit(batcher, Urgency.FILE, 10, 11)
        await until(lambda: len(recognizer.calls) == 2)
        assert sorted(recognizer.starts) == [[10], [11]]
        await recognizer.let_go_until(asyncio.gather(*works))

    run(recognizer, scenario)


# --- the relay --------------------------------------------------------------------------------------------------------


def relay(recognizer: StubContinuousRecognizer, scenario: Callable[[Relay, Clock], Awaitable[None]]) -> None:
    """`scenario` with a relay to which nobody has come yet."""

    async def main() -> None:
        with ThreadPoolExecutor(2) as reading:
            threads, clock = ComputeThreads(reading), Clock()
            threads.presence = Presence(clock)
            made = Relay(recognizer, Computing(threads))
            async with asyncio.timeout(20):
                await scenario(made, clock)
                await until(lambda: made.waiting == 0 and recognizer.at_once == 0)

    asyncio.run(main())


async def ended(recognizer: StubContinuousRecognizer, works: list[Work]) -> None:
    """Pieces are let end one at a time, oldest first, until `works` are done."""
    while not all(work.done() for work in works):
        under_way = [talk for talk in recognizer.talks.values() if not talk.done.done()]
        for talk in under_way[:1]:
            talk.end("")
        await asyncio.sleep(0.002)


def test_a_job_has_half_of_the_places_while_somebody_is_about_and_all_when_alone() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=6)

    async def scenario(made: Relay, clock: Clock) -> None:
        with made.listening():
            works = await job(made, *range(12))
            await until(lambda: recognizer.at_once == 3)
            others = submit(made, Urgency.FILE, 100, 101)
            await until(lambda: {100, 101} <= recognizer.talks.keys())
            await asyncio.sleep(0.05)
            assert recognizer.at_once == 5
        for start in (100, 101):
            recognizer.talks[start].end("")
        await asyncio.gather(*others)
        await asyncio.sleep(0.05)
        assert recognizer.at_once == 3, "they may be back at any moment"
        clock.now += LINGERS
        recognizer.talks[0].end("")
        await until(lambda: recognizer.at_once == 6)
        await ended(recognizer, works)

    relay(recognizer, scenario)
    assert set(recognizer.order[:5]) == {0, 1, 2, 100, 101}


@pytest.mark.parametrize("places", [1, 4])
def test_a_job_has_its_share_of_a_relay_that_others_keep_busy(places: int) -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=places)

    async def scenario(made: Relay, _: Clock) -> None:
        works = submit(made, Urgency.FILE, *range(100, 160))
        await until(lambda: bool(recognizer.talks))
        works += await job(made, *range(4))
        await ended(recognizer, works)

    relay(recognizer, scenario)
    found = [recognizer.order.index(start) for start in range(4)]
    assert all(abs(place - JOB_SHARE * (number + 1)) <= places for number, place in enumerate(found)), found


def test_who_gives_up_in_the_moment_that_it_is_begun_leaves_its_place() -> None:
    recognizer = StubContinuousRecognizer(parallel_calls=1)

    async def scenario(made: Relay, _: Clock) -> None:
        task = asyncio.create_task(made.submit(request(0), Turn("a", urgency=Urgency.JOB)))
        await asyncio.sleep(0)  # it has been handed on, and that has not run yet
        task.cancel()
        works = await job(made, 1)
        await until(lambda: 1 in recognizer.talks)
        await ended(recognizer, works)

    relay(recognizer, scenario)
    assert recognizer.order == [1]


# --- the threads ------------------------------------------------------------------------------------------------------


def test_on_the_threads_jobs_are_behind_files_and_never_starve() -> None:
    done: list[str] = []

    async def main() -> None:
        free = asyncio.Event()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            threads = ComputeThreads(pool)
            model, other = Computing(threads), Computing(threads)
            first = asyncio.create_task(
                model.run(lambda: asyncio.run_coroutine_threadsafe(free.wait(), loop).result(10), Urgency.FILE)
            )
            works = [
                asyncio.create_task(model.run(lambda number=number: done.append(f"job {number}"), Urgency.JOB))
                for number in range(2)
            ]
            works += [
                asyncio.create_task(other.run(lambda number=number: done.append(f"file {number}"), Urgency.FILE))
                for number in range(JOB_SHARE + 1)
            ]
            await asyncio.sleep(0.01)
            free.set()
            await asyncio.gather(first, *works)

    asyncio.run(main())
    files = [f"file {number}" for number in range(JOB_SHARE + 1)]
    assert done == [*files[: JOB_SHARE - 1], "job 0", *files[JOB_SHARE - 1 :], "job 1"]


# --- who is about -----------------------------------------------------------------------------------------------------


def test_who_was_here_lately_is_about_and_nobody_else() -> None:
    clock = Clock()
    presence = Presence(clock)
    assert not presence.about
    with presence.staying():
        clock.now += 1000.0
        assert presence.about
        with presence.staying():
            pass
        clock.now += LINGERS
        assert presence.about
    clock.now += LINGERS - 0.1
    assert presence.about
    clock.now += 0.1
    assert not presence.about
