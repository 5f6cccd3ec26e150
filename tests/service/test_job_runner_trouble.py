"""What keeps a server from a job that it works on: a full disk, what it cannot read, a model that is to go."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from service.job_work import Desk, Scenario, Work, ended, held_at, kept, plan_of, playing, until
from service.test_job_store_trouble import small_disk

from app.domain.engines import Hypothesis
from app.domain.errors import JobUnreadable, StorageFull
from app.service.jobs.job import Kept, Lease, Plan, Progress
from app.service.jobs.keeping import Keeping
from app.service.jobs.store import JobStore
from app.service.jobs.verdicts import PutBack, verdict

__all__ = ["playing", "small_disk"]  # the fixtures


def roomy(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


def test_a_job_says_that_the_databases_disk_is_full_and_counts_nothing_that_is_not_kept(small_disk: Path) -> None:
    noise = random.Random(3)  # what does not get smaller

    async def scenario() -> None:
        desk = Desk(small_disk, lease=30.0)
        store = desk.store()
        job = await desk.submit(store)
        work = Work(says=lambda number: noise.randbytes(3 << 20).hex() if number == 1 else "short")
        async with desk.running(store, work), asyncio.timeout(40):
            while not (now := await store.get("owner", job.id)).waits_for:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert (now.state, now.attempts) == ("running", 1)
            assert "disk is full" in now.waits_for
            assert (now.progress.pieces_done, now.progress.done) == (1, 1.0)
            await asyncio.to_thread(roomy, small_disk)
            while (now := await store.get("owner", job.id)).waits_for:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            done = await ended(store, job.id)
        assert (done.state, done.attempts, done.waits_for) == ("succeeded", 1, "")
        await store.close()

    asyncio.run(scenario())


def test_a_job_says_that_its_transcript_does_not_fit(small_disk: Path) -> None:
    noise = random.Random(3)

    async def scenario() -> None:
        desk = Desk(small_disk, lease=30.0)
        store = desk.store()
        job = await desk.submit(store)
        work = Work(says=lambda _: noise.randbytes(1 << 18).hex())
        async with desk.running(store, work), asyncio.timeout(40):
            while not (now := await store.get("owner", job.id)).waits_for:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert (now.state, now.progress.pieces_done) == ("running", 4)
            assert "disk is full" in now.waits_for
            await asyncio.to_thread(roomy, small_disk)
            assert (await ended(store, job.id)).state == "succeeded"
        await store.close()

    asyncio.run(scenario())


def test_pieces_that_are_kept_at_once_count_each_other_unless_one_cannot_be(
    playing: Callable[[Scenario], None],
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        job = await desk.submit(store)
        lease = await store.lease("me", ["stub"])
        assert lease is not None
        full = True
        write = store.keep

        async def keep(lease: Lease, channel: int, number: int, hypothesis: Hypothesis, progress: Progress) -> bool:
            if full and number == 0:
                raise StorageFull("The disk is full.")
            return await write(lease, channel, number, hypothesis, progress)

        store.keep = keep
        keeping = Keeping(store, lambda: lease, Kept(), moved=lambda: None, changed=lambda: None)
        keeping.lasts(4.0)
        await keeping.keep_plan(0, plan_of(4))
        keeping.at("recognise")
        heard = Hypothesis("x", "en", {"en": 1.0})
        first = asyncio.create_task(keeping.keep(0, 0, heard))
        await until(lambda: bool(keeping.trouble))
        assert keeping.progress.pieces_done == 0
        await asyncio.gather(keeping.keep(0, 1, heard), keeping.keep(0, 2, heard))
        assert (await store.get(None, job.id)).progress.pieces_done == keeping.progress.pieces_done == 2
        full = False
        await first
        assert (await store.get(None, job.id)).progress.done == keeping.progress.done == 3.0

    playing(scenario)


def test_nothing_is_done_while_only_some_channels_are_planned(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        await desk.submit(store)
        lease = await store.lease("me", ["stub"])
        assert lease is not None
        keeping = Keeping(store, lambda: lease, Kept(), moved=lambda: None, changed=lambda: None)
        keeping.lasts(3600.0)
        keeping.at("detect")
        await keeping.keep_plan(0, Plan((), (), 3600.0))  # nobody speaks in the first
        assert keeping.progress == Progress("detect", 3600.0)

    playing(scenario)


def test_a_job_of_which_this_version_cannot_read_what_is_kept_makes_room_for_others(
    playing: Callable[[Scenario], None],
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, _ = held_at(2)
        newer = await desk.submit(store)
        async with desk.running(store, work):
            await kept(store, newer.id, 2)
        with closing(sqlite3.connect(desk.database)) as raw, raw:
            raw.execute("UPDATE job_pieces SET body = ? WHERE number = 0", (b'{"v": 999, "is": {}}',))
        other = await desk.submit(store)
        async with desk.running(store, Work()):
            assert (await ended(store, other.id)).state == "succeeded"
            waiting = await store.get(None, newer.id)
        assert waiting.state == "queued"
        assert waiting.waits_for

    playing(scenario)


def test_what_cannot_be_read_waits_for_who_can() -> None:
    assert verdict(JobUnreadable("A newer version wrote it."), 9) == PutBack(60.0, "A newer version wrote it.")


def test_a_job_lets_go_of_a_model_that_is_to_be_unloaded(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        work, _ = held_at(1)
        job = await desk.submit(store)
        async with desk.running(store, work) as runner:
            await kept(store, job.id, 1)
            work.names = ("another",)
            await until(lambda: runner.running == 0)
            now = await store.get("owner", job.id)
            assert (now.state, now.progress.pieces_done) == ("queued", 1)

    playing(scenario)
