"""What can happen to the store of jobs: locked, full, read-only, damaged, killed halfway; and that deleting deletes."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from service.enrolling import voiceprint
from service.job_stores import (
    FIXTURES,
    HOOK,
    MODEL,
    Clock,
    Place,
    a_plan,
    a_request,
    a_transcript,
    heard,
    leased,
    named,
    recognising,
    sqlite_place,
    submitted,
)

from app.domain.errors import JobsUnavailable, StorageFull, UnknownJob
from app.domain.options import RecognitionOptions
from app.domain.speakers import KnownVoice, SpeakerOptions
from app.service import database
from app.service.jobs.files import Recordings
from app.service.jobs.job import Failure, Job, Lease
from app.service.jobs.store import JobStore

place, made_sqlite, made_postgresql, postgresql = FIXTURES
HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A database of SQLite's that is not made yet."""
    return sqlite_place(tmp_path)


def file_of(some_place: Place) -> Path:
    assert some_place.file is not None
    return some_place.file


def bodies(some_place: Place, *tables: str) -> list[bytes]:
    """How everything that is kept in these tables ends, which of each is something else."""
    with closing(sqlite3.connect(file_of(some_place))) as raw:
        kept = [body for table in tables for (body,) in raw.execute(f"SELECT body FROM {table}")]
    return sorted({body[-60:] for body in kept})


def on_disk(some_place: Place) -> bytes:
    """All bytes of the database's files."""
    return b"".join(file.read_bytes() for file in sorted(file_of(some_place).parent.iterdir()))


async def whole(store: JobStore, some_place: Place) -> None:
    """Every job that is to be worked on has its recording, and there is no other."""
    jobs: list[Job] = [*await store.list("anna", states=["queued", "running"], limit=1000)]
    assert sorted(job.id for job in jobs if job.request.address is None) == some_place.recordings()


# --- the database cannot be used --------------------------------------------------------------------------------------


@contextmanager
def held(path: Path) -> Iterator[None]:
    """By another program, for as long as the block."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            other.kill()


def test_while_another_program_holds_the_database_nothing_is_lost_and_afterwards_all_is_well(here: Place) -> None:
    async def refused(store: JobStore, lease: Lease) -> None:
        upload = here.recording("refused")
        for attempt in (
            store.submit("anna", a_request(), upload),
            store.submit("anna", a_request(), upload, named("key")),
            store.lease("runner", [MODEL]),
            store.renew(lease, recognising(20)),
            store.keep(lease, 0, 1, heard("two"), recognising(20)),
            store.succeed(lease, a_transcript()),
            store.fail(lease, Failure("EngineFailure", "engine_failure", "")),
            store.cancel("anna", lease.job.id),
            store.delete("anna", lease.job.id),
            store.sweep(),
        ):
            with pytest.raises(JobsUnavailable, match="held by another program"):
                await attempt
        assert upload.exists()

    async def scenario(store: JobStore) -> None:
        await store.submit("anna", a_request(), here.recording("one"))
        await store.submit("anna", a_request(), here.recording("two"))
        lease = await leased(store)
        await store.keep(lease, 0, 0, heard("one"), recognising(10))
        with held(file_of(here)):
            await refused(store, lease)
            await whole(store, here)
        await whole(store, here)
        assert await store.keep(lease, 0, 1, heard("two"), recognising(20))
        assert (await store.kept("anna", lease.job.id)).heard == {(0, 0): heard("one"), (0, 1): heard("two")}
        assert await store.succeed(lease, a_transcript())
        await store.submit("anna", a_request(), here.recording("refused"))
        await whole(store, here)

    here.run(scenario, busy_seconds=0.05)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with two MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)):
        pytest.skip("nothing can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_told_and_with_room_all_is_well(small_disk: Path, tmp_path: Path) -> None:
    disk = Place(f"sqlite:///{small_disk}/data/jobs.db", small_disk, small_disk / "data" / "jobs.db")
    elsewhere = Place("", tmp_path)
    noise = random.Random(3)  # what does not get smaller

    async def scenario(store: JobStore) -> None:
        large = elsewhere.recording("large", bytes(3 << 20))
        with pytest.raises(StorageFull, match="disk is full"):
            await store.submit("anna", a_request(), large)
        assert (large.exists(), disk.recordings()) == (True, [])
        await store.submit("anna", a_request(), elsewhere.recording("small"))
        lease = await leased(store)
        kept = 0
        with pytest.raises(StorageFull, match="disk is full"):  # the database cannot grow
            while kept < 1000:
                text = noise.randbytes(40_000).hex()
                assert await store.keep(lease, 0, kept, heard(text), recognising(10))
                kept += 1
        assert 0 < kept < 1000
        with pytest.raises(StorageFull):
            await store.submit("anna", a_request(name=noise.randbytes(400_000).hex()), elsewhere.recording("more"))
        assert (elsewhere.folder / "more").exists()
        await whole(store, disk)
        assert len((await store.kept(None, lease.job.id)).heard) == kept
        assert _mount("-o", "remount,size=64m", str(small_disk))
        assert await store.keep(lease, 0, kept, heard("last"), recognising(10))
        await store.submit("anna", a_request(), large)
        await whole(store, disk)
        assert await store.succeed(lease, a_transcript())
        await store.sweep()
        assert file_of(disk).stat().st_size < 1 << 19

    disk.run(scenario)


def test_a_full_disk_can_still_be_deleted_from(small_disk: Path, tmp_path: Path) -> None:
    disk = Place(f"sqlite:///{small_disk}/data/jobs.db", small_disk, small_disk / "data" / "jobs.db")

    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(), Place("", tmp_path).recording("a", bytes(1 << 20)))).job
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as full:
            while True:
                full.write(bytes(1 << 16))
        try:
            await store.delete("anna", job.id)
        except StorageFull:  # the log of what is written has no room to grow: the recording is in its way
            filler.unlink()
            await store.delete("anna", job.id)
        assert disk.recordings() == []
        with pytest.raises(UnknownJob):
            await store.get("anna", job.id)

    disk.run(scenario)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom file modes bind."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def allow(path: Path, mode: int) -> None:
    path.chmod(mode)


def test_a_read_only_database_and_a_read_only_folder() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        here = Place(f"sqlite:///{folder}/jobs.db", folder, folder / "jobs.db")

        upload, jobs = here.recording("upload"), folder / "jobs"

        async def scenario(store: JobStore) -> None:
            for attempt in (store.submit("anna", a_request(), upload), submitted(store)):
                with unprivileged(), pytest.raises(JobsUnavailable):
                    await attempt
            assert upload.exists()
            allow(folder, 0o700)
            allow(file_of(here), 0o600)
            allow(jobs, 0o500)
            if os.geteuid() != 0:  # modes do not bind root
                with pytest.raises(JobsUnavailable, match="may not write there"):
                    await store.submit("anna", a_request(), upload)
            allow(jobs, 0o700)
            await store.submit("anna", a_request(), upload)
            await whole(store, here)

        here.run(lambda store: store.open())
        jobs.mkdir(0o700)
        file_of(here).chmod(0o444)
        folder.chmod(0o555)
        here.run(scenario)


def test_a_damaged_database_is_said_and_can_be_put_back(here: Place) -> None:
    job = here.run(lambda store: store.submit("anna", a_request(), here.recording("one"))).job
    good = file_of(here).read_bytes()

    async def scenario(store: JobStore) -> None:
        for bad in (b"not a database at all" * 1000, good[:4096] + b"\xff" * (len(good) - 4096)):
            file_of(here).write_bytes(bad)
            upload = here.recording("two")
            for attempt in (store.list("anna"), store.submit("anna", a_request(), upload)):
                with pytest.raises(JobsUnavailable, match="is damaged") as caught:
                    await attempt
                assert str(file_of(here)) not in caught.value.message
            assert (upload.exists(), here.recordings()) == (True, [job.id])
        file_of(here).write_bytes(good)
        assert await store.list("anna") == [job]

    here.run(scenario)


# --- what is deleted is gone ------------------------------------------------------------------------------------------


def test_a_swept_database_has_no_byte_of_what_was_deleted_or_has_ended(here: Place) -> None:
    """Also of rows that SQLite has moved between pages meanwhile, which it does not zero."""
    chance = random.Random(7)

    def noise() -> str:
        return chance.randbytes(chance.randint(150, 900)).hex()  # compressed, so that no two end alike

    async def worked_on(store: JobStore, number: int) -> None:
        voices = (KnownVoice("Anna", (voiceprint(number),)),)
        await submitted(store, name=noise(), options=RecognitionOptions(speakers=SpeakerOptions(voices=voices)))
        lease = await leased(store)
        await store.keep_plan(lease, 0, replace(a_plan(), duration=chance.random()))
        for piece in range(8):
            await store.keep(lease, 0, chance.randrange(8) if piece > 5 else piece, heard(noise()), recognising(10))

    async def scenario(store: JobStore) -> None:
        for number in range(8):
            await worked_on(store, number)
        work = bodies(here, "job_plans", "job_pieces", "job_voices")
        assert len(work) > 8 * 8
        content = on_disk(here)
        assert all(body in content for body in work)
        jobs = await store.list("anna")
        for job in jobs[:4]:
            await store.cancel("anna", job.id)
        await store.sweep()
        left = bodies(here, "job_plans", "job_pieces", "job_voices")
        content = on_disk(here)
        assert [body for body in work if body in content] == left
        assert 0 < len(left) < len(work)
        everything = left + bodies(here, "job_requests")
        for job in jobs:
            await store.delete("anna", job.id)
        assert await store.sweep() == 0
        content = on_disk(here)
        assert [trace for trace in [*everything, *(job.id.encode() for job in jobs)] if trace in content] == []
        assert file_of(here).with_name("jobs.db-wal").stat().st_size == 0

    here.run(scenario)


def test_what_cannot_be_swept_now_is_swept_by_the_next(here: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: JobStore) -> None:
        first = await submitted(store, metadata={"number": "first"})
        (trace,) = bodies(here, "job_requests")
        second = await submitted(store, metadata={"number": "second"})
        await store.sweep()
        with closing(sqlite3.connect(file_of(here), isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM jobs").fetchone()
            await store.delete("anna", first.id)
            await store.sweep()
            assert trace in on_disk(here)
        assert "traces of a deleted job" in caplog.text
        await store.sweep()
        assert trace not in on_disk(here)
        assert [job.id for job in await store.list("anna")] == [second.id]

    here.run(scenario, busy_seconds=0.05)


def test_a_large_database_is_not_written_afresh_while_jobs_run(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    sweep = database.sweep

    def noted(*arguments: object) -> bool:
        written.append(sweep(*arguments))  # type: ignore[arg-type]
        return written[-1]

    async def scenario(store: JobStore) -> None:
        monkeypatch.setattr(database, "sweep", noted)
        monkeypatch.setattr("app.service.jobs.traces._SWEPT_BYTES", 4096)
        job = await submitted(store, metadata={"number": "first"})
        (trace,) = bodies(here, "job_requests")
        await submitted(store, metadata={"number": "second"})
        await store.delete("anna", job.id)
        lease = await leased(store)
        await store.sweep()
        await store.succeed(lease, a_transcript())
        await store.sweep()
        await store.sweep()
        assert written == [False, True]
        assert trace not in on_disk(here)

    here.run(scenario)


def test_a_large_database_is_written_afresh_seldom(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since all others wait for it: for a hundredth of the time at most, unless that were less than once in an hour."""
    written: list[bool] = []
    sweep, steady = database.sweep, Clock(0.0)

    def taking(seconds: float) -> Callable[..., bool]:
        def slow(*arguments: object) -> bool:
            written.append(sweep(*arguments))  # type: ignore[arg-type]
            steady.now += seconds if written[-1] else 0.0
            return written[-1]

        return slow

    async def swept(store: JobStore) -> bool:
        await store.delete("anna", (await submitted(store)).id)
        await store.sweep()
        return written[-1]

    async def scenario(store: JobStore) -> None:
        monkeypatch.setattr(database, "sweep", taking(2.0))
        assert await swept(store)
        assert await swept(store), "one that is small at any time"
        monkeypatch.setattr("app.service.jobs.traces._SWEPT_BYTES", 4096)
        for seconds, pause in ((2.0, 200.0), (70.0, 3600.0)):
            monkeypatch.setattr(database, "sweep", taking(seconds))
            steady.now += 3600.0
            assert await swept(store)
            steady.now += pause - 0.1
            assert not await swept(store)
            steady.now += 0.2
            assert await swept(store)

    monkeypatch.setattr(database, "monotonic", steady)
    here.run(scenario)


def test_only_the_servers_user_can_read_anything(here: Place) -> None:
    async def scenario(store: JobStore) -> None:
        assert not file_of(here).parent.exists(), "nothing is made before it is needed"
        job = (await store.submit("anna", a_request(), here.recording())).job
        files = {file.name: file.stat().st_mode & 0o777 for file in file_of(here).parent.iterdir()}
        assert files == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600}
        folders = [folder.stat().st_mode & 0o777 for folder in (file_of(here).parent, here.folder / "jobs")]
        assert folders == [0o700, 0o700]
        assert (await store.recording(job.id)).stat().st_mode & 0o777 == 0o600

    before = os.umask(0o022)
    try:
        here.run(scenario)
    finally:
        os.umask(before)


# --- killed halfway ---------------------------------------------------------------------------------------------------


def test_a_deletion_that_was_broken_off_is_finished(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise JobsUnavailable("A recording could not be removed.")

    async def scenario(store: JobStore) -> None:
        jobs = [(await store.submit("anna", a_request(), place.recording())).job for _ in range(3)]
        with monkeypatch.context() as killed:
            killed.setattr(Recordings, "remove", broken)
            for job in jobs[:2]:
                with pytest.raises(JobsUnavailable):
                    await store.delete("anna", job.id)
            assert await store.sweep() == 0
        assert [job.id for job in await store.list("anna")] == [jobs[2].id], "nobody sees what is half deleted"
        assert len(place.recordings()) == 3
        await store.delete("anna", jobs[0].id)
        assert await store.sweep() == 1
        assert place.recordings() == [jobs[2].id]

    place.run(scenario)


def test_what_killed_servers_leave_in_the_folder_is_swept_when_it_is_old(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        place.clock.now = time.time()
        waiting = (await store.submit("anna", a_request(), place.recording())).job
        ended = await submitted(store)
        await store.cancel("anna", ended.id)
        folder = place.folder / "jobs"
        nobodys = f"job_{'0' * 24}"
        for name in (nobodys, f"{nobodys}.0123.part", ended.id, f"{waiting.id}.part", "job_notes.txt", "README"):
            (folder / name).write_bytes(b"left")
        (folder / "uploads").mkdir()
        (folder / f"job_{'1' * 24}").mkdir()
        everything = sorted(file.name for file in folder.iterdir())
        await store.sweep()
        place.clock.now = time.time() + 3500
        await store.sweep()
        assert set(everything) - {file.name for file in folder.iterdir()} == {ended.id}, "it is not needed any more"
        place.clock.now = time.time() + 3700
        await store.sweep()
        gone = set(everything) - {file.name for file in folder.iterdir()}
        assert gone == {nobodys, f"{nobodys}.0123.part", ended.id}

    place.run(scenario)


def test_a_log_of_everything_has_no_names_texts_or_secrets(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: JobStore) -> None:
        request = a_request(name="secret-meeting", webhook=HOOK, metadata={"case": "secret-case"})
        job = (await store.submit("anna", request, place.recording("secret-file"))).job
        lease = await leased(store)
        await store.keep(lease, 0, 0, heard("what-was-heard"), recognising(10))
        await store.succeed(lease, a_transcript("what-was-written"))
        await store.sent((await store.due("sender", 30)) or pytest.fail("no notice"))
        await store.delete("anna", job.id)
        await store.sweep()

    with caplog.at_level(logging.DEBUG):
        place.run(scenario)
    for private in ("secret", "what-was", "example.com"):
        assert private not in caplog.text
