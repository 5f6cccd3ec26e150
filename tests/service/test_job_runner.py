"""Jobs are worked on until they end, each by one runner at a time, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import pytest
from service.job_work import MODEL, Counts, Desk, Scenario, Work, ended, held_at, kept, playing, until

from app.domain.errors import (
    EndedByOperator,
    EngineFailure,
    ModelUnavailable,
    Overloaded,
    SpeechError,
    StorageFull,
    UndecodableAudio,
)
from app.service.jobs import verdicts
from app.service.jobs.job import Failure, Lease
from app.service.jobs.store import JobStore
from app.service.jobs.verdicts import PutBack, verdict

__all__ = ["playing"]  # the fixture


def test_a_job_is_recognised_kept_and_counted(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, counts = Work(), Counts()
        job = await desk.submit(store)
        async with desk.running(store, work, meter=counts):
            done = await ended(store, job.id)
        assert (done.state, done.attempts) == ("succeeded", 1)
        transcript = await store.transcript("owner", job.id)
        assert transcript is not None
        assert transcript.text == "0 1 2 3"
        assert counts.jobs == [("ok", 4.0)]
        assert counts.resumptions == []
        assert work.paths[0].parent == desk.folder / "jobs"

    playing(scenario)


def test_progress_grows_by_what_is_kept(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, go_on = held_at(2)
        job = await desk.submit(store)
        async with desk.running(store, work):
            await kept(store, job.id, 2)
            now = await store.get("owner", job.id)
            assert now.state == "running"
            assert (now.progress.step, now.progress.pieces, now.progress.duration) == ("recognise", 4, 4.0)
            assert now.progress.done == pytest.approx(2.0)
            go_on.set()
            await ended(store, job.id)

    playing(scenario)


def test_a_step_shows_before_anything_is_kept(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        desk.lease = 60.0  # is renewed each twenty
        long, (work, go_on) = desk.store(), held_at(-1)
        job = await desk.submit(store)
        async with desk.running(long, work):
            async with asyncio.timeout(10):
                while (now := await store.get("owner", job.id)).progress.step != "detect":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert now.progress.duration == 4.0
            go_on.set()
            await ended(store, job.id)
        await long.close()

    playing(scenario)


def test_a_restarted_server_goes_on_where_it_was(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        first, _ = held_at(2)
        second, counts = Work(), Counts()
        job = await desk.submit(store)
        async with desk.running(store, first):
            await kept(store, job.id, 2)
        waiting = await store.get("owner", job.id)
        assert (waiting.state, waiting.waits_for) == ("queued", "")  # put back at once, not left to its lease's end
        async with desk.running(store, second, meter=counts):
            assert (await ended(store, job.id)).attempts == 2
        assert sum((first.heard + second.heard).values()) == 4
        assert counts.resumptions == [2]

    playing(scenario)


def test_at_most_so_many_are_worked_on_at_once(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, go_on = held_at(0)
        jobs = [await desk.submit(store) for _ in range(5)]
        async with desk.running(store, work, places=2) as runner:
            await until(lambda: len(work.begun) == 2)
            runner.wake()
            await asyncio.sleep(0.3)
            assert (len(work.begun), runner.running) == (2, 2)
            go_on.set()
            for job in jobs:
                assert (await ended(store, job.id)).state == "succeeded"

    playing(scenario)


def test_a_server_without_places_works_on_none(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work = Work()
        job = await desk.submit(store)
        async with desk.running(store, work, places=0):
            await asyncio.sleep(0.2)
        assert (await store.get("owner", job.id)).state == "queued"
        assert work.begun == []

    playing(scenario)


def test_a_job_waits_for_its_model(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work = Work(names=("another",))
        job = await desk.submit(store)
        async with desk.running(store, work) as runner:
            await asyncio.sleep(0.2)
            assert work.begun == []
            work.names = ("another", MODEL)
            runner.wake()
            await ended(store, job.id)

    playing(scenario)


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_job_that_is_called_off_ends_at_once(playing: Callable[[Scenario], None], how: str) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, _ = held_at(1)
        counts = Counts()
        job = await desk.submit(store)
        async with desk.running(store, work, meter=counts) as runner:
            await until(lambda: work.heard[job.id, 0] == 1)
            await getattr(store, how)("owner", job.id)
            runner.look_at(job.id)
            await until(lambda: runner.running == 0, seconds=desk.lease / 4)  # its lease is not renewed until a third
            if how == "cancel":
                assert (await store.get("owner", job.id)).state == "cancelled"
        assert counts.jobs == []  # who called it off counts it

    playing(scenario)


def test_a_job_that_was_called_off_elsewhere_ends_with_its_next_renewal(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, _ = held_at(1)
        job = await desk.submit(store)
        async with desk.running(store, work) as runner:
            await until(lambda: work.heard[job.id, 0] == 1)
            await store.cancel("owner", job.id)
            await until(lambda: runner.running == 0)
        assert work.heard[job.id, 1] == 0

    playing(scenario)


def test_a_long_piece_does_not_end_the_lease(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        desk.lease = 1.0
        store_of_short = desk.store()
        work, go_on = held_at(1)
        job = await desk.submit(store)
        async with desk.running(store_of_short, work):
            await until(lambda: len(work.begun) == 1)
            await asyncio.sleep(1.6)
            go_on.set()
            assert (await ended(store, job.id)).attempts == 1
        await store_of_short.close()

    playing(scenario)


def test_what_is_kept_waits_for_the_database(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, go_on = held_at(2)
        job = await desk.submit(store)
        async with desk.running(store, work):
            await kept(store, job.id, 2)
            other = await asyncio.to_thread(desk.locked)
            go_on.set()
            await until(lambda: work.heard[job.id, 2] == 1)
            await asyncio.sleep(0.5)  # it cannot be kept
            assert work.heard[job.id, 3] == 0
            other.close()
            done = await ended(store, job.id)
        assert (done.state, done.attempts) == ("succeeded", 1)
        assert set(work.heard.values()) == {1}

    playing(scenario)


def test_a_database_that_is_away_for_longer_than_a_lease_costs_a_piece_at_most(
    playing: Callable[[Scenario], None],
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, go_on = held_at(2)
        job = await desk.submit(store)
        async with desk.running(store, work) as runner:
            await kept(store, job.id, 2)
            other = await asyncio.to_thread(desk.locked)
            go_on.set()
            await until(lambda: runner.running == 0)  # it stops before somebody else could begin
            other.close()
            done = await ended(store, job.id)
        assert (done.state, done.failure) == ("succeeded", None)
        assert [work.heard[job.id, number] for number in range(4)] == [1, 1, 2, 1]

    playing(scenario)


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("The server is busy.", retry_after=0.02),
        ModelUnavailable("The model starts again.", retry_after=0.02),
    ],
)
def test_what_is_not_the_recordings_fault_makes_a_job_wait(
    playing: Callable[[Scenario], None], error: Overloaded | ModelUnavailable
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        times = 0

        async def refuse(_: str, number: int) -> None:
            nonlocal times
            times += 1
            if times <= 8:  # more often than any count of failures
                raise error

        job = await desk.submit(store)
        async with desk.running(store, Work(before=refuse)) as runner:
            seen = set[str]()
            async with asyncio.timeout(20):
                while (now := await store.get("owner", job.id)).state != "succeeded":
                    seen.add(now.waits_for)
                    runner.wake()
                    await asyncio.sleep(0.02)
        assert error.message in seen
        assert now.attempts == 9

    playing(scenario)


@pytest.mark.parametrize(
    ("error", "kind", "param"),
    [
        (UndecodableAudio("This is no audio.", param="audio"), "UndecodableAudio", "audio"),
        (EndedByOperator("An operator ended it."), "EndedByOperator", None),
    ],
)
def test_what_will_not_get_better_fails_a_job_at_once(
    playing: Callable[[Scenario], None], error: SpeechError, kind: str, param: str | None
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        async def fail(_: str, _number: int) -> None:
            raise error

        counts = Counts()
        job = await desk.submit(store)
        async with desk.running(store, Work(before=fail), meter=counts):
            done = await ended(store, job.id)
        assert done.state == "failed"
        assert done.failure == Failure(kind, error.code, error.message, param)
        assert counts.jobs == [(error.code, 0.0)]
        assert desk.recordings == []

    playing(scenario)


@pytest.mark.parametrize("error", [EngineFailure("The decoder crashed."), RuntimeError("unforeseen")])
def test_the_fourth_failure_without_a_gain_is_the_last(
    playing: Callable[[Scenario], None], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "_PAUSES", (0.0, 0.0, 0.0))

    async def scenario(desk: Desk, store: JobStore) -> None:
        crashes: list[int] = []

        async def crash(_: str, number: int) -> None:
            """Once at each piece before the last, always at that."""
            if number == 3 or (number >= 0 and number not in crashes):
                crashes.append(number)
                raise error

        job = await desk.submit(store)
        work = Work(before=crash)
        async with desk.running(store, work) as runner:
            async with asyncio.timeout(20):
                while (now := await store.get("owner", job.id)).state != "failed":
                    runner.wake()
                    await asyncio.sleep(0.02)
        assert crashes == [0, 1, 2, 3, 3, 3, 3, 3]  # the first time at 3, a piece had been gained
        assert now.failure is not None
        assert now.failure.code == "engine_failure"

    playing(scenario)


def test_a_recording_that_kills_its_server_each_time_ends(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        desk.lease = 0.3
        short, work = desk.store(), Work()
        job = await desk.submit(store)
        for _ in range(verdicts.MOST_LEASES):
            async with asyncio.timeout(5):
                while await short.lease("a server that dies", [MODEL]) is None:  # noqa: ASYNC110 - its time must pass
                    await asyncio.sleep(0.02)
        async with desk.running(short, work):
            done = await ended(store, job.id)
        assert done.state == "failed"
        assert done.failure is not None
        assert "5 times in a row" in done.failure.message
        assert work.begun == []
        await short.close()

    playing(scenario)


def test_a_full_disk_makes_a_job_wait() -> None:
    assert verdict(StorageFull("The disk is full."), 9) == PutBack(30.0, "The disk is full.")


def test_a_draining_runner_lets_go_at_once_and_takes_nothing_up(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, _ = held_at(1)
        first, second = await desk.submit(store), await desk.submit(store)
        async with desk.running(store, work) as runner:
            await kept(store, first.id, 1)
            runner.drain()
            await until(lambda: runner.running == 0)
            assert [(await store.get("owner", job.id)).state for job in (first, second)] == ["queued", "queued"]
            other = Work()
            async with desk.running(store, other):  # another server, at once
                await ended(store, first.id)
                await ended(store, second.id)
            assert work.begun == [first.id]
            assert other.heard[first.id, 0] == 0

    playing(scenario)


def test_an_end_in_the_middle_of_a_lease_gives_it_back(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        leased, work = asyncio.Event(), Work()
        lease = store.lease

        async def slowly(runner: str, models: Collection[str]) -> Lease | None:
            found = await lease(runner, models)
            leased.set()
            await asyncio.sleep(0.2)
            return found

        store.lease = slowly
        job = await desk.submit(store)
        async with desk.running(store, work):
            await leased.wait()
        assert (await store.get("owner", job.id)).state == "queued"
        assert work.begun == []

    playing(scenario)
