"""Recordings of jobs are on a disk that may be away, or another one: jobs wait until it is back, and none is lost."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from service.job_stores import a_request
from service.job_work import MODEL, Desk, Scenario, Work, ended, playing, until

from app.domain.errors import EngineFailure, JobsUnavailable, UnsupportedFeature
from app.service.jobs import verdicts
from app.service.jobs.belonging import MARKER
from app.service.jobs.files import ORPHAN_SECONDS
from app.service.jobs.runner import Runner
from app.service.jobs.store import JobStore
from app.service.jobs.verdicts import PutBack, verdict

__all__ = ["playing"]  # the fixture


async def mounted(folder: Path) -> None:
    """The disk is back."""

    def mount() -> None:
        for path in (folder / "jobs").iterdir():
            path.unlink()
        (folder / "jobs").rmdir()
        (folder / "away").rename(folder / "jobs")

    await asyncio.to_thread(mount)


def unmounted(folder: Path) -> None:
    """The disk of recordings is away: where it is to be, there is an empty folder."""
    (folder / "jobs").rename(folder / "away")
    (folder / "jobs").mkdir()


def test_while_the_disk_of_recordings_is_away_jobs_wait_and_afterwards_each_is_worked_on(
    playing: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(desk: Desk, store: JobStore) -> None:
        jobs = [await desk.submit(store) for _ in range(3)]
        unmounted(desk.folder)
        work = Work()
        async with desk.running(store, work) as runner:
            await until(lambda: "no job can be taken up" in caplog.text)
            for _ in range(3):
                runner.wake()
                await asyncio.sleep(0.05)
            for step in (store.sweep(), store.recording(jobs[0].id), desk.submit(store)):
                with pytest.raises(JobsUnavailable, match="JOBS_DIR is not the folder of these jobs"):
                    await step
            assert [(one.state, one.attempts) for one in await store.list("owner")] == [("queued", 0)] * 3
            assert desk.recordings == [], "the bare folder stays as it is"
            await mounted(desk.folder)
            await store.sweep()
            assert len(desk.recordings) == 3
            for job in jobs:
                assert (await ended(store, job.id)).state == "succeeded"
        assert caplog.text.count(f"there is no {MARKER} in it") == 1

    playing(scenario)


def test_a_job_whose_disk_goes_away_in_the_middle_waits_without_blame(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        job = await desk.submit(store)
        lease = store.lease

        async def then_gone(runner: str, models: list[str]) -> object:
            found = await lease(runner, models)
            if found is not None:
                unmounted(desk.folder)
            return found

        store.lease = then_gone  # type: ignore[method-assign,assignment]
        async with desk.running(store, Work()), asyncio.timeout(20):
            while not (now := await store.get(None, job.id)).waits_for:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert now.state == "queued"
        assert "JOBS_DIR is not the folder of these jobs" in now.waits_for
        await mounted(desk.folder)

    playing(scenario)


def test_what_is_deleted_while_the_disk_is_away_goes_when_it_is_back(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        job = await desk.submit(store)
        unmounted(desk.folder)
        with pytest.raises(JobsUnavailable):
            await store.delete("owner", job.id)
        assert await store.list("owner") == []
        await mounted(desk.folder)
        assert desk.recordings == [job.id]
        assert await store.sweep() == 1
        assert desk.recordings == []

    playing(scenario)


def test_another_database_does_not_touch_the_folder(
    playing: Callable[[Scenario], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        job = await desk.submit(store)
        later = time.time() + 2 * ORPHAN_SECONDS
        other = JobStore(f"sqlite:///{tmp_path}/another.db", desk.folder / "jobs", clock=lambda: later)
        for step in (other.sweep, lambda: other.submit("owner", a_request(), tmp_path / "recording")):
            with pytest.raises(JobsUnavailable, match="not the folder"):
                await step()
        assert "another database's" in caplog.text
        assert desk.recordings == [job.id]
        (desk.folder / "jobs" / job.id).unlink()
        (desk.folder / "jobs" / MARKER).unlink()  # as the log says
        await other.sweep()
        await other.close()
        with pytest.raises(JobsUnavailable):
            await store.check_folder()

    playing(scenario)


def test_servers_that_begin_at_once_have_one_folder(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        desk.busy = 20.0
        others = [desk.store() for _ in range(3)]
        await asyncio.gather(*(one.check_folder() for one in others))
        await store.check_folder()
        assert [path.name for path in (desk.folder / "jobs").iterdir()] == [MARKER]
        assert (desk.folder / "jobs" / MARKER).stat().st_mode & 0o777 == 0o600
        for other in others:
            await other.close()

    playing(scenario)


def test_a_database_whose_server_died_before_it_had_marked_its_folder_marks_it(
    playing: Callable[[Scenario], None],
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        def dies(*_: object) -> str:
            raise OSError(errno.EIO, "the server dies")

        with pytest.MonkeyPatch.context() as patching:
            patching.setattr("app.service.jobs.belonging._marked", dies)
            with pytest.raises(JobsUnavailable, match="cannot be used"):
                await store.check_folder()
        await store.check_folder()
        assert (desk.folder / "jobs" / MARKER).exists()

    playing(scenario)


def test_a_disk_that_does_not_answer_makes_a_job_wait_and_one_without_the_recording_fails_it(
    playing: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "_DISK_SECONDS", 0.05)
    monkeypatch.setattr(verdicts, "_PAUSES", (0.0, 0.0, 0.0))
    is_file, stale = Path.is_file, [True] * 6  # more often than any count of failures

    def looked(path: Path) -> bool:
        if path.name.startswith("job_") and stale:
            stale.pop()
            raise OSError(errno.ESTALE, "Stale file handle")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", looked)

    async def scenario(desk: Desk, store: JobStore) -> None:
        async def woken(runner: Runner) -> None:
            while True:
                runner.wake()
                await asyncio.sleep(0.02)

        async with desk.running(store, Work()) as runner:
            waking = asyncio.create_task(woken(runner))
            there = await ended(store, (await desk.submit(store)).id)
            assert (there.state, there.attempts) == ("succeeded", 7)
            runner.drain()
        lost = await desk.submit(store)
        (desk.folder / "jobs" / lost.id).unlink()
        waking.cancel()
        async with desk.running(store, Work()) as runner:
            waking = asyncio.create_task(woken(runner))
            gone = await ended(store, lost.id)
            waking.cancel()
        assert (gone.state, gone.attempts) == ("failed", verdicts.MOST_FAILURES)
        assert gone.failure is not None
        assert "cannot be found" in gone.failure.message

    playing(scenario)


def test_a_fault_of_the_machine_has_minutes_to_pass() -> None:
    error = EngineFailure("The disk was away.")
    pauses: list[float] = []
    while isinstance(back := verdict(error, len(pauses) + 1), PutBack):
        assert back.fruitless
        pauses.append(back.seconds)
    assert pauses == [5.0, 60.0, 600.0]


def test_what_another_server_may_be_set_up_for_makes_a_job_wait() -> None:
    told = "Speakers are not told apart on this server (SPEAKER_DIARIZATION=off)."
    assert verdict(UnsupportedFeature(told), 9) == PutBack(60.0, told)


def test_models_are_looked_for_before_the_folder(playing: Callable[[Scenario], None]) -> None:
    """A server that serves nothing yet touches nothing."""

    async def scenario(desk: Desk, store: JobStore) -> None:
        async with desk.running(store, Work(names=())):
            await asyncio.sleep(0.1)
        assert not (desk.folder / "jobs").exists()
        assert await store.lease("runner", [MODEL]) is None

    playing(scenario)
