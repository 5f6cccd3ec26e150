"""Jobs in their database: submitting, owners, leasing, keeping, ending."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from service.enrolling import voiceprint
from service.job_stores import (
    FIXTURES,
    HOOK,
    MODEL,
    Place,
    a_plan,
    a_request,
    a_transcript,
    heard,
    leased,
    named,
    recognising,
    submitted,
)
from sqlalchemy import create_engine

from app.audio.declared import DeclaredSound
from app.domain.errors import IdempotencyConflict, TooManyJobs, UnknownJob
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import KnownVoice, SpeakerOptions
from app.service.jobs.job import Failure, Job, JobRequest, Progress
from app.service.jobs.store import JobStore

place, made_sqlite, made_postgresql, postgresql = FIXTURES


# --- submitting -------------------------------------------------------------------------------------------------------


def test_a_job_is_what_was_asked_and_its_recording_is_moved(place: Place) -> None:
    upload = place.recording()
    request = JobRequest(
        MODEL,
        RecognitionOptions(
            language="en", hotwords=(Hotword("Ada", 2.5),), temperature=0.3, masking=(Masking(("darn",), "remove"),)
        ),
        name="a meeting \x00\ud800.wav",
        declared=DeclaredSound("s16le", 8000, 2),
        face="oddasr",
        drawing={"format": "srt", "number": 3, "half": 0.5, "yes": True, "none": None},
        webhook=HOOK,
        metadata={"case": "17"},
        priority=3,
    )

    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", request, upload)).job
        shown = replace(request, options=replace(request.options, hotwords=(), masking=()))
        assert (job.request, job.state, job.owner, job.created) == (shown, "queued", "anna", place.clock.now)
        assert job.progress == Progress()
        assert await store.get("anna", job.id) == job
        kept = await store.recording(job.id)
        assert kept.read_bytes() == b"sound" * 1000
        assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert not upload.exists()
        assert (await store.known("anna", job.id)).decode()[0] == (await leased(store)).job.request == request

    place.run(scenario)


def test_a_recording_on_another_disk_is_copied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = place.recording()

    def other_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", other_disk)

    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(), upload)).job
        kept = await store.recording(job.id)
        assert kept.read_bytes() == b"sound" * 1000
        assert kept.stat().st_mode & 0o777 == 0o600
        assert not upload.exists()
        assert place.recordings() == [job.id]

    place.run(scenario)


def test_the_same_submission_again_is_the_same_job_and_leaves_the_new_file(place: Place) -> None:
    first, again, other = (place.recording(name) for name in ("first", "again", "other"))

    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(), first, named("key"))).job
        repeated = await store.submit("anna", a_request(), again, named("key"))
        assert (repeated.job, repeated.again) == (job, True)
        with pytest.raises(IdempotencyConflict) as caught:
            await store.submit("anna", a_request(), other, named("key", "another digest"))
        assert caught.value.param == "idempotency_key"
        assert (again.exists(), other.exists(), place.recordings()) == (True, True, [job.id])
        elsewhere = await store.submit("bert", a_request(), other, named("key"))
        assert not elsewhere.again, "keys are each owner's own"

    place.run(scenario)


def test_an_idempotency_key_lives_as_long_as_its_job(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(address="https://a"), None, named("key"))).job
        await store.cancel("anna", job.id)
        assert (await store.submit("anna", a_request(address="https://a"), None, named("key"))).again
        await store.delete("anna", job.id)
        assert not (await store.submit("anna", a_request(address="https://b"), None, named("key", "new"))).again

    place.run(scenario)


def test_submissions_under_one_key_at_once_are_one_job(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        other = place.store(busy_seconds=30.0)
        try:
            uploads = [place.recording(f"upload {number}") for number in range(8)]
            made = await asyncio.gather(
                *(
                    (store, other)[number % 2].submit("anna", a_request(), upload, named("key"))
                    for number, upload in enumerate(uploads)
                )
            )
        finally:
            await other.close()
        assert len({one.job.id for one in made}) == 1
        assert sorted(one.again for one in made) == [False] + [True] * 7
        assert sum(upload.exists() for upload in uploads) == 7
        assert place.recordings() == [made[0].job.id]

    place.run(scenario, busy_seconds=30.0)


def test_an_owner_has_only_so_many_jobs_that_have_not_ended(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        jobs = [await submitted(store) for _ in range(3)]
        upload = place.recording()
        with pytest.raises(TooManyJobs, match="MAX_JOBS") as caught:
            await store.submit("anna", a_request(), upload)
        assert caught.value.retry_after > 0
        assert (upload.exists(), place.recordings()) == (True, [])
        await submitted(store, "bert")
        await store.cancel("anna", jobs[1].id)
        await store.submit("anna", a_request(), upload)

    place.run(scenario, max_jobs=3)


def test_who_leaves_while_submitting_leaves_a_whole_job_or_none(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        for number in range(10):
            upload = place.recording(f"upload {number}")
            task = asyncio.create_task(store.submit("anna", a_request(), upload))
            await asyncio.sleep(number / 500)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # it may have been quicker
                await task
            assert upload.exists() == (len(place.recordings()) == number), "and is over with when it is left"
            jobs = await store.list("anna")
            assert sorted(job.id for job in jobs) == place.recordings()
            if upload.exists():
                await store.submit("anna", a_request(), upload)

    place.run(scenario)


# --- owners -----------------------------------------------------------------------------------------------------------


def test_jobs_of_others_do_not_exist(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        for attempt in (store.get, store.cancel, store.delete, store.transcript, store.kept):
            for owner, job_id in (("bert", job.id), ("anna", "job_" + "0" * 24), ("anna", "../../etc/passwd")):
                with pytest.raises(UnknownJob):
                    await attempt(owner, job_id)
        with pytest.raises(UnknownJob):
            await store.list("bert", after=job.id)
        with pytest.raises(UnknownJob):
            await store.recording("../../etc/passwd")
        assert await store.list("bert") == []
        assert await store.get(None, job.id) == job

    place.run(scenario)


def test_jobs_are_listed_newest_first_page_by_page_and_by_state(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        jobs: list[Job] = []
        for number in range(7):
            place.clock.now += number % 3  # some at the same moment
            jobs.append(await submitted(store))
        everything = [job.id for job in await store.list("anna")]
        assert sorted(everything) == sorted(job.id for job in jobs)
        created = [job.created for job in await store.list("anna")]
        assert created == sorted(created, reverse=True)
        paged: list[str] = []
        while page := await store.list("anna", after=paged[-1] if paged else None, limit=2):
            paged += [job.id for job in page]
        assert paged == everything
        await store.cancel("anna", everything[2])
        await store.cancel("anna", everything[5])
        cancelled = await store.list("anna", states=["cancelled", "failed"])
        assert [job.id for job in cancelled] == [everything[2], everything[5]]

    place.run(scenario)


# --- leasing ----------------------------------------------------------------------------------------------------------


def test_a_lease_is_for_one_runner_until_its_time_is_over(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        assert await store.lease("one", ["another model"]) is None
        first = await leased(store, "one")
        assert (first.job.id, first.job.state, first.job.started) == (job.id, "running", place.clock.now)
        assert await store.lease("two", [MODEL]) is None
        place.clock.now = first.until - 1
        renewed = await store.renew(first, Progress("decode"))
        assert renewed is not None
        assert renewed.until == first.until - 1 + 20
        assert await store.lease("two", [MODEL]) is None
        place.clock.now = renewed.until
        assert await store.renew(renewed, Progress("decode")) is None, "also where nobody has taken it yet"
        second = await leased(store, "two")
        assert (second.job.id, second.job.attempts, second.token != first.token) == (job.id, 2, True)
        assert second.job.started == first.job.started

    place.run(scenario)


def test_what_is_written_under_a_lease_that_is_over_is_refused(place: Place) -> None:
    async def refused(store: JobStore, lease: object) -> None:
        old = lease
        assert not await store.keep_plan(old, 0, a_plan())  # type: ignore[arg-type]
        assert not await store.keep(old, 0, 0, heard("wrong"), recognising(10))  # type: ignore[arg-type]
        assert not await store.put_back(old, 0, "")  # type: ignore[arg-type]
        assert not await store.succeed(old, a_transcript("wrong"))  # type: ignore[arg-type]
        assert not await store.fail(old, Failure("EngineFailure", "engine_failure", "wrong"))  # type: ignore[arg-type]
        assert await store.renew(old, recognising(10)) is None  # type: ignore[arg-type]

    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        first = await leased(store)
        place.clock.now += 21
        await refused(store, first)
        second = await leased(store)
        await refused(store, first)
        assert await store.kept(None, job.id) == await store.kept("anna", job.id)
        assert (await store.kept(None, job.id)).heard == {}
        assert await store.keep(second, 0, 0, heard("right"), recognising(10))
        assert await store.succeed(second, a_transcript("right"))
        await refused(store, second)
        found = await store.transcript("anna", job.id)
        assert found is not None
        assert found.text == "right"

    place.run(scenario)


def test_owners_take_turns(place: Place) -> None:
    """However many one has submitted before, and however urgent it says they are."""

    async def scenario(store: JobStore) -> None:
        for number in range(6):
            place.clock.now += 1
            await submitted(store, "anna", priority=number)
        for owner in ("bert", "bert", "cleo"):
            place.clock.now += 1
            await submitted(store, owner)
        order: list[tuple[str, int]] = []
        while lease := await store.lease("runner", [MODEL]):
            order.append((lease.job.owner, lease.job.request.priority))
            await store.succeed(lease, a_transcript())
        owners = [owner for owner, _ in order]
        assert owners == ["anna", "bert", "cleo", "anna", "bert", "anna", "anna", "anna", "anna"]
        assert [priority for owner, priority in order if owner == "anna"] == [5, 4, 3, 2, 1, 0]

    place.run(scenario)


def test_who_has_fewer_running_is_next(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        for owner in ("anna", "anna", "bert"):
            place.clock.now += 1
            await submitted(store, owner)
        first, second = await leased(store), await leased(store)
        assert (first.job.owner, second.job.owner) == ("anna", "bert")
        await submitted(store, "bert")
        await store.succeed(first, a_transcript())
        assert (await leased(store)).job.owner == "anna", "bert's turn was later, and bert's is still running"

    place.run(scenario)


def test_of_equal_jobs_the_oldest_is_next(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        jobs: list[str] = []
        for _ in range(4):
            place.clock.now += 1
            jobs.append((await submitted(store)).id)
        assert [(await leased(store)).job.id for _ in jobs] == jobs

    place.run(scenario)


def test_a_job_that_is_put_back_waits_and_keeps_what_it_has(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        lease = await leased(store)
        await store.keep_plan(lease, 0, a_plan())
        await store.keep(lease, 0, 0, heard("one"), recognising(10))
        assert await store.put_back(lease, 30, "the disk is full")
        waiting = await store.get("anna", job.id)
        assert (waiting.state, waiting.waits_for, waiting.progress.done) == ("queued", "the disk is full", 10.0)
        assert waiting.progress.step is None, "nobody is at anything"
        place.clock.now += 29
        assert await store.lease("runner", [MODEL]) is None
        place.clock.now += 1
        again = await leased(store)
        assert (again.job.waits_for, again.job.state) == ("", "running")
        assert (await store.kept(None, job.id)).heard == {(0, 0): heard("one")}

    place.run(scenario)


def test_leases_that_came_to_nothing_are_counted(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        await submitted(store)
        assert (await leased(store)).fruitless == 1
        place.clock.now += 21  # its server died
        lease = await leased(store)
        assert lease.fruitless == 2
        await store.put_back(lease, 0, "")
        lease = await leased(store)
        assert lease.fruitless == 2, "one that was put back is not to blame"
        await store.put_back(lease, 0, "", fruitless=True)
        lease = await leased(store)
        assert (lease.fruitless, lease.job.attempts) == (3, 4)
        await store.keep(lease, 0, 0, heard("one"), recognising(10))
        place.clock.now += 21
        assert (await leased(store)).fruitless == 1

    place.run(scenario)


def test_who_waits_is_counted(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        assert await store.waiting() == (0, 0.0)
        await submitted(store)
        place.clock.now += 5
        await submitted(store, "bert")
        place.clock.now += 2
        assert await store.waiting() == (2, 7.0)
        await leased(store)
        assert await store.waiting() == (1, 2.0)

    place.run(scenario)


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_what_is_kept_comes_back_and_may_be_kept_anew(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        lease = await leased(store)
        plans = {0: a_plan(4), 1: replace(a_plan(2), time_scale=1.0000123)}
        for channel, plan in plans.items():
            assert await store.keep_plan(lease, channel, plan)
        for channel, number, text in ((0, 0, "draft"), (1, 0, "two"), (0, 1, "three"), (0, 0, "one")):
            assert await store.keep(lease, channel, number, heard(text), recognising(10))
        kept = await store.kept("anna", job.id)
        assert kept.plans == plans
        assert kept.heard == {(0, 0): heard("one"), (0, 1): heard("three"), (1, 0): heard("two")}
        assert (await store.get("anna", job.id)).progress == recognising(10)

    place.run(scenario)


def test_how_long_it_takes_is_told_from_what_was_done_since_it_was_taken_up(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        lease = await leased(store)
        await store.renew(lease, Progress("decode", None))
        place.clock.now += 8
        await store.renew(lease, recognising(10))  # what an earlier runner had kept
        assert (await store.get("anna", job.id)).progress.left is None
        place.clock.now += 4
        await store.keep(lease, 0, 1, heard("two"), recognising(20))
        assert (await store.get("anna", job.id)).progress.left is None, "too soon to tell"
        place.clock.now += 6
        await store.keep(lease, 0, 2, heard("three"), recognising(30))
        assert (await store.get("anna", job.id)).progress.left == pytest.approx(5.0)
        place.clock.now += 2
        assert (await store.get("anna", job.id)).progress.left == pytest.approx(3.0)
        assert (await store.list("anna"))[0].progress.left == pytest.approx(3.0)
        await store.put_back(lease, 0, "")
        assert (await store.get("anna", job.id)).progress.left is None

    place.run(scenario)


# --- ending -----------------------------------------------------------------------------------------------------------


def rows(place: Place, table: str) -> int:
    engine = create_engine(place.url)
    with engine.connect() as connection:
        count = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    engine.dispose()
    return count


def test_only_a_transcript_is_left_of_a_job_that_succeeded(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(), place.recording())).job
        lease = await leased(store)
        await store.keep_plan(lease, 0, a_plan())
        await store.keep(lease, 0, 0, heard("one"), recognising(10))
        place.clock.now += 5
        assert await store.succeed(lease, a_transcript())
        ended = await store.get("anna", job.id)
        assert (ended.state, ended.ended, ended.expires) == ("succeeded", place.clock.now, place.clock.now + 100)
        assert (ended.progress.share, ended.progress.done, ended.progress.pieces_done) == (1.0, 40.0, 4)
        assert await store.transcript("anna", job.id) == a_transcript()
        assert place.recordings() == []
        assert (rows(place, "job_plans"), rows(place, "job_pieces")) == (0, 0)

    place.run(scenario, retention_seconds=100)


def test_a_job_that_failed_says_why(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(), place.recording())).job
        failure = Failure("UndecodableAudio", "audio_undecodable", "This is no audio.", "file")
        assert await store.fail(await leased(store), failure)
        ended = await store.get("anna", job.id)
        assert (ended.state, ended.failure) == ("failed", failure)
        assert await store.transcript("anna", job.id) is None
        assert place.recordings() == []

    place.run(scenario)


def test_a_job_that_is_cancelled_ends_at_once_and_its_runner_learns_it(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(), place.recording())).job
        lease = await leased(store)
        await store.keep(lease, 0, 0, heard("one"), recognising(10))
        cancelled = await store.cancel("anna", job.id)
        assert cancelled.state == "cancelled"
        assert await store.cancel("anna", job.id) == cancelled
        assert await store.renew(lease, recognising(20)) is None
        assert not await store.keep(lease, 0, 1, heard("two"), recognising(20))
        assert not await store.succeed(lease, a_transcript())
        assert (place.recordings(), rows(place, "job_pieces")) == ([], 0)
        assert await store.lease("runner", [MODEL]) is None

    place.run(scenario)


def test_one_that_has_ended_stays_as_it_ended(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        await store.succeed(await leased(store), a_transcript())
        assert (await store.cancel("anna", job.id)).state == "succeeded"

    place.run(scenario)


def test_only_runners_have_voiceprints_and_they_go_when_the_job_ends(place: Place) -> None:
    voices = (KnownVoice("Anna", (voiceprint(1), voiceprint(2)), "voice_1"), KnownVoice("Bert", (voiceprint(3),)))
    options = RecognitionOptions(speakers=SpeakerOptions(most=3, voices=voices))

    async def scenario(store: JobStore) -> None:
        job = await submitted(store, options=options)
        seen = await store.get("anna", job.id)
        assert seen.request.options.speakers is not None
        assert [(voice.name, voice.id) for voice in seen.request.options.speakers.voices] == [
            ("Anna", "voice_1"),
            ("Bert", None),
        ]
        assert not any(voice.voiceprints for voice in seen.request.options.speakers.voices)
        lease = await leased(store)
        speakers = lease.job.request.options.speakers
        assert speakers is not None
        for found, given in zip(speakers.voices, voices, strict=True):
            assert (found.name, found.id) == (given.name, given.id)
            for one, other in zip(found.voiceprints, given.voiceprints, strict=True):
                assert (one.seconds, one.encoder) == (other.seconds, other.encoder)
                assert np.array_equal(one.embedding, other.embedding)
        await store.succeed(lease, a_transcript())
        assert rows(place, "job_voices") == 0

    place.run(scenario)


def test_deleting_removes_everything(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = (await store.submit("anna", a_request(webhook=HOOK), place.recording())).job
        lease = await leased(store)
        await store.keep_plan(lease, 0, a_plan())
        await store.keep(lease, 0, 0, heard("one"), recognising(10))
        await store.delete("anna", job.id)
        assert await store.renew(lease, recognising(10)) is None
        with pytest.raises(UnknownJob):
            await store.get("anna", job.id)
        with pytest.raises(UnknownJob):
            await store.delete("anna", job.id)
        assert place.recordings() == []
        tables = ("jobs", "job_requests", "job_plans", "job_pieces", "job_notices")
        assert [rows(place, table) for table in tables] == [0] * 5

    place.run(scenario)


def test_what_has_expired_is_swept(place: Place, tmp_path: Path) -> None:
    async def scenario(store: JobStore) -> None:
        old = await submitted(store)
        await store.succeed(await leased(store), a_transcript())
        place.clock.now += 60
        young, waiting = await submitted(store), await submitted(store, "bert")
        await store.cancel("anna", young.id)
        assert await store.sweep() == 0
        place.clock.now += 40
        assert await store.sweep() == 1
        with pytest.raises(UnknownJob):
            await store.transcript("anna", old.id)
        assert [job.id for job in await store.list("anna")] == [young.id]
        place.clock.now += 10_000
        assert await store.sweep() == 1
        assert (await store.get("bert", waiting.id)).state == "queued"

    place.run(scenario, retention_seconds=100)
