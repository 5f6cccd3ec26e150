"""Jobs as protocols see them, in a whole service with real decoders and threads and engines a test decides over."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from pipeline.stubs import named
from service.house import ENGLISH, SPANS, House, furnished, transcribed
from service.job_work import until
from sqlalchemy.orm import Session

from app.domain.engines import Hypothesis, PieceRequest
from app.domain.errors import EndedByOperator, EngineFailure, JobNotDone, JobsUnavailable, TooManyJobs, UnknownJob
from app.domain.meters import Meter
from app.service.admission import Caller
from app.service.database import Database
from app.service.jobs.belonging import MARKER
from app.service.jobs.job import ENDED, Job, JobRequest, Kept
from app.service.jobs.reading import Known
from app.service.jobs.sweeping import Sweeper
from app.service.lifecycle import Lifecycle
from app.service.service import SpeechService

CALLER = Caller("somebody", path="/v1/jobs")
REQUEST = JobRequest("whisper-base", ENGLISH)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    made = furnished(tmp_path, monkeypatch)
    yield made
    left = [path for path in (tmp_path / "data" / "jobs").rglob("*") if path.is_file() and path.name != MARKER]
    assert left == [], "recordings of jobs that have ended"


async def submit(service: SpeechService, house: House, request: JobRequest = REQUEST) -> Job:
    recording = house.temp / "handed-over"
    await asyncio.to_thread(shutil.copy, house.sound, recording)
    job = (await service.jobs.submit(CALLER, request, recording)).job
    assert not recording.exists()
    return job


async def ended(service: SpeechService, job: Job) -> Job:
    """The job as it is when it has ended."""
    last = job
    async with asyncio.timeout(20), aclosing(service.jobs.watch(job.owner, job.id)) as looks:
        async for one in looks:
            last = one
    assert last.state in ENDED
    return last


async def kept(service: SpeechService, job: Job, pieces: int) -> None:
    async with asyncio.timeout(20):
        while (await service.jobs.get(job.owner, job.id)).progress.pieces_done < pieces:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_job_says_what_a_request_says(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        assert (await ended(service, job)).state == "succeeded"
        assert await service.jobs.transcript("somebody", job.id) == await transcribed(service, house.sound)
        assert await service.jobs.partial("somebody", job.id) == await service.jobs.transcript("somebody", job.id)
        assert [one.id for one in await service.jobs.list("somebody")] == [job.id]
        assert await service.jobs.waiting() == (0, 0.0)

    house.run(scenario)


def test_others_do_not_see_it(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        jobs = service.jobs
        for asked in (jobs.get, jobs.cancel, jobs.delete, jobs.transcript, jobs.partial):
            with pytest.raises(UnknownJob):
                await asked("somebody else", job.id)
        with pytest.raises(UnknownJob):
            await anext(jobs.watch("somebody else", job.id))
        assert await jobs.list("somebody else") == []
        await ended(service, job)

    house.run(scenario)


def test_a_watcher_sees_each_change_once_and_the_end(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        seen: list[Job] = []

        async def watch() -> None:
            async for one in service.jobs.watch("somebody", job.id):
                seen.append(one)

        watching = asyncio.create_task(watch())
        for number in range(1, len(SPANS) + 1):
            await until(lambda number=number: len(house.recognizer.calls) == number)
            house.recognizer.release()
            await until(lambda number=number: seen[-1].progress.pieces_done == number or seen[-1].state in ENDED)
        await asyncio.wait_for(watching, 10)
        assert seen[-1].state == "succeeded"
        assert all(one != following for one, following in pairwise(seen))
        done = [one.progress.pieces_done for one in seen if one.state == "running"]
        assert done == sorted(done)
        assert {1, 2} <= set(done)

    house.run(scenario)


def test_what_was_heard_so_far_can_be_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.recognizer.held = True
    decode, threads = Known.decode, set[str]()

    def noted(known: Known) -> tuple[JobRequest, Kept]:
        threads.add(threading.current_thread().name)
        return decode(known)

    monkeypatch.setattr(Known, "decode", noted)

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        assert (await service.jobs.partial("somebody", job.id)).text == ""
        await until(lambda: len(house.recognizer.calls) == 1)
        house.recognizer.release()
        async with asyncio.timeout(10):
            while (heard := await service.jobs.partial("somebody", job.id)).text == "":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert heard.text == f"{SPANS[0].start - 0.5:g}"
        with pytest.raises(JobNotDone, match="running"):
            await service.jobs.transcript("somebody", job.id)
        await house.recognizer.let_go_until(asyncio.ensure_future(ended(service, job)))
        assert (await service.jobs.transcript("somebody", job.id)).text.startswith(heard.text)

    house.run(scenario)
    assert [name.startswith("read") for name in threads] == [True], "one that stands back"


def test_what_was_heard_can_be_read_when_the_job_ends_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.recognizer.held = True
    read = Database.read

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        await until(lambda: len(house.recognizer.calls) == 1)
        house.recognizer.release()
        await kept(service, job, 1)

        async def read_before_it_ends(database: Database, work: Callable[[Session], object]) -> object:
            found = await read(database, work)
            monkeypatch.setattr(Database, "read", read)
            await house.recognizer.let_go_until(asyncio.ensure_future(ended(service, job)))
            return found

        monkeypatch.setattr("app.service.jobs.runner._LOOK_SECONDS", 60.0)  # nobody else reads now
        monkeypatch.setattr(Database, "read", read_before_it_ends)
        heard = await service.jobs.partial("somebody", job.id)
        assert heard.text.startswith(f"{SPANS[0].start - 0.5:g}")
        assert (await service.jobs.get("somebody", job.id)).state == "succeeded"

    house.run(scenario)


def test_a_job_whose_model_nobody_has_says_so_and_so_does_the_log(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.jobs.jobs.Sweeper", partial(Sweeper, seconds=0.02))
    told = "whisper-large-v3 does not answer here now."

    async def scenario(service: SpeechService) -> None:
        other = await submit(service, house, JobRequest("whisper-large-v3", ENGLISH))
        job = await ended(service, await submit(service, house))
        assert (await service.jobs.get("somebody", other.id)).waits_for == told
        assert [one.waits_for for one in await service.jobs.list("somebody")] == ["", told]
        async with aclosing(service.jobs.watch("somebody", other.id)) as looks:
            assert (await anext(looks)).waits_for == told
        await until(lambda: "jobs wait for whisper-large-v3, which does not answer here: 1" in caplog.text)
        assert (await service.jobs.cancel("somebody", other.id)).waits_for == ""
        assert (job.state, job.waits_for) == ("succeeded", "")

    house.run(scenario)
    assert caplog.text.count("does not answer here") == 1, "again only when there are more or fewer"


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_calling_a_job_off_frees_the_recogniser_at_once(house: House, how: str) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        await until(lambda: len(house.recognizer.calls) == 1)
        await getattr(service.jobs, how)("somebody", job.id)
        await until(lambda: service.jobs.running == 0, seconds=3)  # a lease is renewed each seven seconds
        assert not service.running.entries
        house.recognizer.release()
        if how == "delete":
            with pytest.raises(UnknownJob):
                await service.jobs.get("somebody", job.id)
        else:
            assert (await service.jobs.cancel("somebody", job.id)).state == "cancelled"  # again
            for asked in (service.jobs.transcript, service.jobs.partial):
                with pytest.raises(JobNotDone, match="cancelled"):
                    await asked("somebody", job.id)

    house.run(scenario)


def test_an_operator_can_end_it(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        await until(lambda: len(house.recognizer.calls) == 1)
        assert service.running.end(job.id) == 1
        house.recognizer.release()
        done = await ended(service, job)
        assert done.failure is not None
        assert done.failure.code == EndedByOperator.code
        with pytest.raises(JobNotDone, match="operator"):
            await service.jobs.transcript("somebody", job.id)

    house.run(scenario)


def test_a_crash_of_the_recogniser_costs_its_piece_only(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.jobs.verdicts._PAUSES", (0.1, 0.1, 0.1))
    crashes: list[float] = []

    def hear(request: PieceRequest) -> Hypothesis:
        if request.piece.start > 6 and not crashes:
            crashes.append(request.piece.start)
            raise EngineFailure("The recogniser crashed.")
        return named(request)

    house.recognizer.hears = hear

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        done = await ended(service, job)
        assert (done.state, done.attempts) == ("succeeded", 2)
        starts = [start for call in house.recognizer.starts for start in call]
        assert len(starts) == len(SPANS) + 1
        assert starts.count(crashes[0]) == 2

    house.run(scenario)


def test_a_key_has_so_many_jobs_at_most(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        jobs = [await submit(service, house) for _ in range(2)]
        recording = house.temp / "one-too-many"
        recording.write_bytes(b"x")
        with pytest.raises(TooManyJobs):
            await service.jobs.submit(CALLER, REQUEST, recording)
        recording.unlink()  # it stayed its caller's
        for job in jobs:
            await service.jobs.delete("somebody", job.id)

    house.run(scenario, max_jobs=2, max_running_jobs=0)


def test_a_server_that_was_told_to_end_begins_nothing(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        lifecycle = Lifecycle()
        service.jobs.follow(lifecycle)
        first, second = await submit(service, house), await submit(service, house)
        await until(lambda: len(house.recognizer.calls) == 1)
        lifecycle.drain()
        await until(lambda: service.jobs.running == 0)
        house.recognizer.release()
        states = {job.id: (await service.jobs.get("somebody", job.id)).state for job in (first, second)}
        assert states == {first.id: "queued", second.id: "queued"}
        for job in (first, second):
            await service.jobs.delete("somebody", job.id)

    house.run(scenario)


def test_an_end_puts_back_what_is_at_hand_and_the_next_start_goes_on(house: House) -> None:
    house.recognizer.held = True
    jobs: list[Job] = []

    async def begin() -> None:
        service = SpeechService(house.settings())
        await service.start()
        jobs.append(await submit(service, house))
        await until(lambda: len(house.recognizer.calls) == 1)
        house.recognizer.release()
        await until(lambda: len(house.recognizer.calls) == 2)
        await kept(service, jobs[0], 1)
        ending = asyncio.create_task(service.close())
        await until(lambda: service.jobs.running == 0)  # although the recogniser is busy with a piece
        house.recognizer.release()
        await ending

    async def go_on(service: SpeechService) -> None:
        done = await ended(service, jobs[0])
        assert (done.state, done.attempts) == ("succeeded", 2)

    asyncio.run(begin())
    house.recognizer.held = False
    house.run(go_on)
    starts = [start for call in house.recognizer.starts for start in call]
    assert len(starts) == len(SPANS) + 1  # the one that was interrupted, twice


def test_a_database_that_cannot_be_used_keeps_no_server_from_serving(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.service.jobs.jobs._OPEN_AGAIN_SECONDS", 0.05)
    folder = house.temp.parent / "data"
    folder.mkdir()
    (folder / "jobs.db").write_bytes(os.urandom(8192))

    async def scenario(service: SpeechService) -> None:
        assert service.ready
        assert (await transcribed(service, house.sound)).text
        with pytest.raises(JobsUnavailable):
            await service.jobs.list("somebody")
        (folder / "jobs.db").unlink()
        async with asyncio.timeout(20):
            while True:
                try:
                    job = await submit(service, house)
                except JobsUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    break
        assert (await ended(service, job)).state == "succeeded"

    house.run(scenario)
    told = [record.getMessage() for record in caplog.records if "jobs cannot be worked on" in record.getMessage()]
    assert len(told) == 1


def test_what_has_expired_is_deleted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.service.jobs.jobs.Sweeper", partial(Sweeper, seconds=0.05))

    async def scenario(service: SpeechService) -> None:
        job = await submit(service, house)
        async with asyncio.timeout(20):
            while await service.jobs.list("somebody"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        with pytest.raises(UnknownJob):
            await service.jobs.get("somebody", job.id)

    house.run(scenario, job_retention_hours=1e-9)
    with sqlite3.connect(house.temp.parent / "data" / "jobs.db") as database:
        assert database.execute("SELECT count(*) FROM job_transcripts").fetchone() == (0,)


def test_jobs_that_are_called_off_are_counted_once(house: House) -> None:
    class Counts(Meter):
        def __init__(self) -> None:
            self.outcomes: list[str] = []

        def job(self, outcome: str, audio: float, took: float) -> None:
            self.outcomes.append(outcome)

    counts = Counts()

    async def main() -> None:
        service = SpeechService(house.settings(max_running_jobs=0), counts)
        first, second, third = [await submit(service, house) for _ in range(3)]
        await service.jobs.cancel("somebody", first.id)
        await service.jobs.cancel("somebody", first.id)
        await service.jobs.delete("somebody", first.id)
        await service.jobs.delete("somebody", second.id)
        await service.jobs.cancel("somebody", third.id)
        await service.close()

    asyncio.run(main())
    assert counts.outcomes == ["cancelled"] * 3
