"""Resumable uploads on disk: what counts, who may write, when they go, and what a killed server leaves."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from app.domain.errors import EmptyAudio, StorageFull, UnknownUpload, UploadConflict, UploadTooLarge
from app.domain.options import RecognitionOptions
from app.service.jobs.files import incoming
from app.service.jobs.job import JobRequest
from app.service.jobs.store import JobStore
from app.service.resumable.store import UploadStore
from app.service.resumable.upload import TooManyUploads, UploadBusy, note_path

ANNA, BERT = "0123456789abcdef", ""
HOUR = 3600.0
ROOT = Path(__file__).resolve().parents[2]


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> UploadStore:
    return made(tmp_path, clock)


def made(tmp_path: Path, clock: Callable[[], float] = time.time, **changes: float) -> UploadStore:
    values = {"max_bytes": 1000, "retention_seconds": HOUR, "max_open": 5, "wait_seconds": 0.3} | changes
    return UploadStore(tmp_path / "uploads", clock=clock, **values)  # type: ignore[arg-type]


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(main())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "uploads").rglob("*") if path.is_file())


async def finished(store: UploadStore, data: bytes = b"sound", owner: str = ANNA) -> str:
    upload = await store.create(owner, len(data), "filename YQ==")
    async with store.writing(owner, upload.id) as writing:
        await writing.append(data)
    return upload.id


def test_what_arrives_counts_at_once_and_survives_the_block(store: UploadStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, 8, "filename YQ==")
        assert (upload.offset, upload.length, upload.finished) == (0, 8, False)
        with pytest.raises(ZeroDivisionError):
            async with store.writing(ANNA, upload.id) as writing:
                await writing.append(b"abc")
                assert (await store.find(ANNA, upload.id)).offset == 3
                raise ZeroDivisionError
        again = made(tmp_path)
        found = await again.find(ANNA, f"https://speech.example/v1/jobs/uploads/{upload.id}")
        assert (found.offset, found.metadata, found.finished) == (3, "filename YQ==", False)
        async with again.writing(ANNA, upload.id) as writing:
            assert writing.offset == 3
            await writing.append(b"defgh")
        assert (await store.find(ANNA, upload.id)).finished
        async with store.take(ANNA, upload.id) as path:
            assert path.read_bytes() == b"abcdefgh"
        assert await store.stored() == (1, 8)

    run(scenario())


def test_only_this_user_may_read_what_is_there(store: UploadStore, tmp_path: Path) -> None:
    run(_ignored(finished(store)))
    assert len(files(tmp_path)) == 2
    for path in files(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def _ignored(work: Awaitable[object]) -> None:
    await work


def test_to_others_it_does_not_exist(store: UploadStore) -> None:
    async def scenario() -> None:
        mine = await finished(store)
        for asked in (store.find(BERT, mine), store.remove(BERT, mine), _entered(store.take(BERT, mine))):
            with pytest.raises(UnknownUpload):
                await asked
        with pytest.raises(UnknownUpload):
            await _entered(store.writing(BERT, mine))
        assert (await store.find(ANNA, mine)).finished

    run(scenario())


async def _entered(block: object) -> None:
    async with block:  # type: ignore[attr-defined]
        pass


@pytest.mark.parametrize(
    "name",
    ["", "upload_", "../../etc/passwd", "upload_0123456789abcdef01234567", "upload_../../../../etc/pass", "x" * 9999],
)
def test_names_that_are_none_find_nothing(store: UploadStore, name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(UnknownUpload) as caught:
            await _entered(store.take(ANNA, name))
        assert caught.value.param == "upload"

    run(scenario())
    assert not (tmp_path / "uploads").exists()


def test_a_finished_upload_that_is_moved_away_is_gone(store: UploadStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        name = await finished(store)
        async with store.take(ANNA, f"/v1/jobs/uploads/{name}") as path:
            path.replace(tmp_path / "recording")
        with pytest.raises(UnknownUpload):
            await store.find(ANNA, name)
        assert await store.stored() == (0, 0)

    run(scenario())
    assert (tmp_path / "recording").read_bytes() == b"sound"
    assert files(tmp_path) == []


def test_one_that_is_not_moved_away_stays(store: UploadStore) -> None:
    async def scenario() -> None:
        name = await finished(store)
        with pytest.raises(ZeroDivisionError):
            async with store.take(ANNA, name):
                raise ZeroDivisionError
        async with store.take(ANNA, name) as path:
            assert path.read_bytes() == b"sound"

    run(scenario())


@pytest.mark.parametrize(("length", "told"), [(8, "5 of 8 bytes"), (None, "5 of a number that was not said")])
def test_one_that_is_not_finished_says_where_to_go_on(store: UploadStore, length: int | None, told: str) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, length)
        async with store.writing(ANNA, upload.id) as writing:
            await writing.append(b"sound")
        with pytest.raises(UploadConflict, match=f"{told}.*Go on at 5") as caught:
            await _entered(store.take(ANNA, upload.id))
        assert caught.value.param == "upload"

    run(scenario())


@pytest.mark.parametrize("length", [0, None])
def test_no_job_is_made_of_one_without_bytes(store: UploadStore, length: int | None) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, length)
        if length is None:
            async with store.writing(ANNA, upload.id) as writing:
                await writing.set_length(0)
        with pytest.raises(EmptyAudio) as caught:
            await _entered(store.take(ANNA, upload.id))
        assert caught.value.param == "upload"
        assert (await store.find(ANNA, upload.id)).finished

    run(scenario())


def test_who_was_killed_when_it_had_become_a_job_has_not_left_it_twice(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    uploads = UploadStore(folder / "uploads", max_bytes=1000, retention_seconds=HOUR)
    jobs = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}", folder)
    request = JobRequest("model", RecognitionOptions())

    async def scenario() -> None:
        taken, other = await finished(uploads), await finished(uploads)
        form = incoming(folder) / "upload-abcd_123"
        async with uploads.take(ANNA, taken) as path:
            job = (await jobs.submit(ANNA, request, path)).job
            for left in (path, form):
                left.hardlink_to(folder / job.id)
        assert (await uploads.find(ANNA, taken)).finished
        await jobs.sweep()
        with pytest.raises(UnknownUpload):
            await uploads.find(ANNA, taken)
        assert not form.exists()
        assert ((folder / job.id).read_bytes(), (folder / job.id).stat().st_nlink) == (b"sound", 1)
        assert (await uploads.find(ANNA, other)).finished
        assert await uploads.stored() == (1, 5)
        await jobs.close()

    run(scenario())


def test_two_jobs_are_not_made_of_one_at_the_same_time(store: UploadStore) -> None:
    async def scenario() -> None:
        name = await finished(store)
        async with store.take(ANNA, name):
            with pytest.raises(UploadBusy):
                await _entered(store.take(ANNA, name))
            with pytest.raises(UploadBusy):
                await store.remove(ANNA, name)
        assert (await store.find(ANNA, name)).finished

    run(scenario())


def test_who_waits_for_one_that_becomes_a_job_finds_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = made(tmp_path, wait_seconds=30)
        name = await finished(store)
        async with store.take(ANNA, name) as path:
            waiting = asyncio.create_task(_entered(store.writing(ANNA, name)))
            await asyncio.to_thread(until, path.with_name(f"{name}.knock").exists)
            path.replace(tmp_path / "recording")
        with pytest.raises(UnknownUpload):
            await waiting

    run(scenario())
    assert files(tmp_path) == []


def test_a_length_is_said_late_and_once(store: UploadStore) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, None)
        async with store.writing(ANNA, upload.id) as writing:
            await writing.append(b"abc")
            for wrong, error in ((2, UploadConflict), (1001, UploadTooLarge)):
                with pytest.raises(error):
                    await writing.set_length(wrong)
            await writing.set_length(4)
            await writing.set_length(4)
            with pytest.raises(UploadConflict):
                await writing.set_length(5)
        assert (await store.find(ANNA, upload.id)).length == 4

    run(scenario())


@pytest.mark.parametrize(("at", "size", "length"), [(0, 5, 5), (5, 6, 10), (5, 1, 4), (5, 1, 1001)])
def test_a_part_that_is_refused_says_no_length_that_holds(store: UploadStore, at: int, size: int, length: int) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, None)
        async with store.writing(ANNA, upload.id) as writing:
            await writing.append(b"sound")
            with pytest.raises((UploadConflict, UploadTooLarge)):
                writing.check(at, size, length)
            writing.check(5, 5, 10)
        assert (await store.find(ANNA, upload.id)).length is None

    run(scenario())


def test_no_more_bytes_than_were_said_or_may_be(store: UploadStore) -> None:
    async def scenario() -> None:
        with pytest.raises(UploadTooLarge, match="MAX_JOB_AUDIO_SIZE"):
            await store.create(ANNA, 1001)
        for length, most in ((10, 10), (None, 1000)):
            upload = await store.create(ANNA, length)
            async with store.writing(ANNA, upload.id) as writing:
                await writing.append(bytes(most))
                with pytest.raises(UploadTooLarge):
                    await writing.append(b"x")
            assert (await store.find(ANNA, upload.id)).offset == most

    run(scenario())


def test_a_part_with_a_checksum_counts_as_a_whole(store: UploadStore) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, 9)
        async with store.writing(ANNA, upload.id) as writing:
            await writing.append(b"abc")
            await writing.begin_checked()
            await writing.append(b"wro")
            assert (await store.find(ANNA, upload.id)).offset == writing.offset == 3
            await writing.drop()
            await writing.begin_checked()
            await writing.append(b"def")
            await writing.keep()
            assert writing.offset == 6
            await writing.append(b"ghi")
        async with store.take(ANNA, upload.id) as path:
            assert path.read_bytes() == b"abcdefghi"

    run(scenario())


def test_as_many_as_an_owner_may_have_and_no_more_even_at_once(store: UploadStore) -> None:
    async def scenario() -> None:
        outcomes = await asyncio.gather(*(store.create(ANNA, 1) for _ in range(9)), return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, BaseException)]
        assert len(refused) == 4
        assert all(isinstance(one, TooManyUploads) for one in refused)
        await store.create(BERT, 1)
        first = next(one for one in outcomes if not isinstance(one, BaseException))
        await store.remove(ANNA, first.id)
        await store.create(ANNA, 1)

    run(scenario())


def test_an_upload_is_kept_so_long_after_its_last_byte(store: UploadStore, clock: Clock, tmp_path: Path) -> None:
    async def scenario() -> None:
        old, young = await store.create(ANNA, 3), await store.create(ANNA, 3)
        assert old.expires == pytest.approx(time.time() + HOUR, abs=60)
        clock.ahead = HOUR - 60
        assert await store.sweep() == 0
        path = next(path for path in files(tmp_path) if path.name == young.id)
        path.write_bytes(b"x")  # the clock is not the disk's
        os.utime(path, (clock(), clock()))
        clock.ahead = HOUR + 60
        with pytest.raises(UnknownUpload):
            await store.find(ANNA, old.id)
        assert await store.sweep() == 1
        assert (await store.find(ANNA, young.id)).offset == 1
        assert {path.name for path in files(tmp_path)} == {young.id, f"{young.id}.json"}

    run(scenario())


def test_expired_ones_are_not_counted(store: UploadStore, clock: Clock) -> None:
    async def scenario() -> None:
        for _ in range(5):
            await store.create(ANNA, 1)
        clock.ahead = HOUR + 60
        await store.create(ANNA, 1)
        assert await store.sweep() == 5
        assert await store.stored() == (1, 0)

    run(scenario())


def test_one_that_is_being_written_to_is_not_swept(store: UploadStore, clock: Clock) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, 3)
        async with store.writing(ANNA, upload.id):
            clock.ahead = HOUR + 60
            assert await store.sweep() == 0
        assert await store.sweep() == 1

    run(scenario())


def test_files_that_belong_to_no_upload_go_after_a_while(store: UploadStore, clock: Clock, tmp_path: Path) -> None:
    async def scenario() -> None:
        whole, no_note, no_bytes = [await finished(store) for _ in range(3)]
        room = files(tmp_path)[0].parent
        note_path(room / no_note).unlink()
        (room / no_bytes).unlink()
        (room / f"{whole}.new").write_text("{")
        (room / f"{whole}.knock").touch()
        before = files(tmp_path)
        assert await store.sweep() == 0
        assert files(tmp_path) == before
        clock.ahead = HOUR - 1
        longer = made(tmp_path, clock, retention_seconds=9 * HOUR)
        clock.ahead = HOUR + 60
        assert await longer.sweep() == 0
        assert {path.name for path in files(tmp_path)} == {whole, f"{whole}.json"}

    run(scenario())


def test_a_note_that_is_none_is_no_upload(store: UploadStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        name = await finished(store)
        for nonsense in ("", "[]", "{}", json.dumps({"length": 5})):
            note_path(files(tmp_path)[0].parent / name).write_text(nonsense)
            with pytest.raises(UnknownUpload):
                await store.find(ANNA, name)

    run(scenario())


def test_who_is_quiet_lets_go_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = made(tmp_path, wait_seconds=30)
        upload = await store.create(ANNA, 8)
        entered = asyncio.Event()

        async def quiet() -> None:
            async with store.writing(ANNA, upload.id) as writing:
                await writing.append(b"ab")
                await writing.give_way()  # nobody wants it yet
                entered.set()
                while True:
                    await asyncio.sleep(0.05)
                    await writing.give_way()

        task = asyncio.create_task(quiet())
        await entered.wait()
        async with store.writing(ANNA, upload.id) as writing:
            assert writing.offset == 2
        with pytest.raises(UploadBusy):
            await task

    run(scenario())


def test_who_is_not_keeps_it(store: UploadStore) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, 8)
        async with store.writing(ANNA, upload.id) as writing:
            with pytest.raises(UploadBusy):
                await _entered(store.writing(ANNA, upload.id))
            await writing.append(b"ab")
            await writing.give_way()  # who did not get it has left no mark
        assert (await store.find(ANNA, upload.id)).offset == 2

    run(scenario())


def test_whoever_removes_it_ends_who_writes(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = made(tmp_path, wait_seconds=30)
        upload = await store.create(ANNA, 1000)
        entered = asyncio.Event()

        async def busy() -> None:
            async with store.writing(ANNA, upload.id) as writing:
                for _ in range(1000):
                    await writing.append(b"x")
                    entered.set()
                    await asyncio.sleep(0.01)

        task = asyncio.create_task(busy())
        await entered.wait()
        await store.remove(ANNA, upload.id)
        with pytest.raises(UnknownUpload):
            await task
        with pytest.raises(UnknownUpload):
            await store.find(ANNA, upload.id)

    run(scenario())
    assert files(tmp_path) == []


def test_writing_that_is_cancelled_loses_and_mixes_nothing(store: UploadStore, tmp_path: Path) -> None:
    """However often: what is in the file is what was sent so far."""
    data = bytes(range(250)) * 4

    async def scenario() -> None:
        upload = await store.create(ANNA, len(data))
        path = next(path for path in files(tmp_path) if path.name == upload.id)

        async def send() -> None:
            async with store.writing(ANNA, upload.id) as writing:
                for at in range(writing.offset, len(data), 10):
                    await writing.append(data[at : at + 10])

        for pause in range(40):
            task = asyncio.create_task(send())
            await asyncio.sleep(pause / 4000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert path.read_bytes() == data[: (await store.find(ANNA, upload.id)).offset]
        await send()
        assert path.read_bytes() == data

    run(scenario())


@pytest.fixture
def _full() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("_full")
def test_a_full_disk_takes_what_fits_and_the_offset_is_true(store: UploadStore, tmp_path: Path) -> None:
    async def scenario() -> None:
        upload = await store.create(ANNA, 1000)
        with pytest.raises(StorageFull):
            async with store.writing(ANNA, upload.id) as writing:
                await writing.append(b"a" * 600)
                await writing.append(b"b" * 400)
        assert (await store.find(ANNA, upload.id)).offset == 700
        path = next(path for path in files(tmp_path) if path.name == upload.id)
        assert path.read_bytes() == b"a" * 600 + b"b" * 100

    run(scenario())


def test_what_cannot_fit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with pytest.raises(StorageFull):
        run(_ignored(made(tmp_path, max_bytes=1 << 60).create(ANNA, 1 << 59)))


KILLED = """
import asyncio, sys
from pathlib import Path
from app.service.resumable.store import UploadStore

async def main():
    store = UploadStore(Path(sys.argv[1]), max_bytes=1000, retention_seconds=3600)
    async with store.writing("0123456789abcdef", sys.argv[2]) as writing:
        await writing.append(b"abc")
        if sys.argv[3] == "checked":
            await writing.begin_checked()
            await writing.append(b"not")
        print(flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["plain", "checked"])
def test_a_killed_server_leaves_what_counts_and_holds_nothing(store: UploadStore, tmp_path: Path, how: str) -> None:
    upload = asyncio.run(store.create(ANNA, 6))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "uploads"), upload.id, how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        with pytest.raises(UploadBusy):  # also among processes
            asyncio.run(_entered(store.writing(ANNA, upload.id)))
        process.kill()

    async def scenario() -> None:
        assert (await store.find(ANNA, upload.id)).offset == 3
        async with store.writing(ANNA, upload.id) as writing:
            assert writing.offset == 3
            await writing.append(b"def")
        async with store.take(ANNA, upload.id) as path:
            assert path.read_bytes() == b"abcdef"

    path = next(path for path in files(tmp_path) if path.name == upload.id)
    assert path.read_bytes() == (b"abcnot" if how == "checked" else b"abc")
    run(scenario())
