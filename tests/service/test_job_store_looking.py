"""Looking at jobs costs the same whatever was asked, and one that cannot be read is in nobody's way."""

from __future__ import annotations

import json

import pytest
from service.job_stores import (
    FIXTURES,
    HOOK,
    MODEL,
    Place,
    a_request,
    a_transcript,
    heard,
    leased,
    recognising,
    submitted,
)
from sqlalchemy import create_engine, text

from app.domain.errors import JobUnreadable
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.service.jobs import codec
from app.service.jobs.job import Progress
from app.service.jobs.store import JobStore

place, made_sqlite, made_postgresql, postgresql = FIXTURES
NEWER = "What is kept of a job was written by a newer version of this server."


def test_who_only_looks_at_jobs_reads_none_of_their_terms(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = tuple(f"term {number}" for number in range(200))
    options = RecognitionOptions(hotwords=tuple(map(Hotword, terms)), masking=(Masking(terms),))
    read: list[int] = []
    unpacked = codec._unpacked

    def noted(kept: bytes) -> object:
        found = unpacked(kept)
        read.append(len(json.dumps(found)))
        return found

    async def scenario(store: JobStore) -> None:
        jobs = [await submitted(store, options=options, webhook=HOOK) for _ in range(20)]
        monkeypatch.setattr(codec, "_unpacked", noted)
        assert len(await store.list("anna")) == 20
        await store.get("anna", jobs[0].id)
        assert await store.due("sender", 30) is not None
        assert await store.cancel("anna", jobs[0].id)
        assert len(read) == 23
        assert max(read) < 500
        assert (await leased(store)).job.request.options == options
        assert max(read) > 5000

    place.run(scenario)


def make_newer(place: Place, table: str, job_id: str) -> None:
    """As if a newer version had written it, which knows one option more."""
    engine = create_engine(place.url)
    with engine.begin() as connection:
        kept: bytes = connection.execute(
            text(f"SELECT body FROM {table} WHERE job = :job"), {"job": job_id}
        ).scalar_one()
        said = json.loads(kept)
        said["is"]["options" if table == "job_requests" else "wish"] = {"wish": True}
        change = text(f"UPDATE {table} SET body = :body WHERE job = :job")
        connection.execute(change, {"body": json.dumps(said).encode(), "job": job_id})
    engine.dispose()


@pytest.mark.parametrize("table", ["job_requests", "job_terms"])
def test_a_job_that_cannot_be_read_waits_and_the_next_is_leased(place: Place, table: str) -> None:
    async def scenario(store: JobStore) -> None:
        unreadable = await submitted(store, options=RecognitionOptions(hotwords=(Hotword("a"),)), name="new")
        place.clock.now += 1
        other = await submitted(store)
        make_newer(place, table, unreadable.id)
        lease = await leased(store)
        assert lease.job.id == other.id
        assert await store.lease("runner", [MODEL]) is None
        found = await store.get("anna", unreadable.id)
        assert (found.state, found.waits_for, found.request.name, found.attempts) == ("queued", NEWER, "new", 0)
        place.clock.now += 60
        assert await store.renew(lease, Progress()) is None
        assert (await leased(store)).job.id == other.id, "and it is looked at again"
        assert (await store.get("anna", unreadable.id)).waits_for == NEWER
        with pytest.raises(JobUnreadable):
            (await store.known("anna", unreadable.id)).decode()

    place.run(scenario)


def test_one_that_was_begun_and_cannot_be_read_is_not_kept_running(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        lease = await leased(store)
        assert await store.keep(lease, 0, 0, heard("one"), recognising(10))
        make_newer(place, "job_requests", job.id)
        place.clock.now = lease.until
        assert await store.lease("runner", [MODEL]) is None
        found = await store.get("anna", job.id)
        assert (found.state, found.waits_for, found.progress.step) == ("queued", NEWER, None)
        assert (await store.waiting())[0] == 1

    place.run(scenario)


def test_one_that_cannot_be_read_is_listed_cancelled_and_deleted(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        request = a_request(name="new", metadata={"a": "b"}, address="https://example.com/a.wav", face="oddasr")
        first = (await store.submit("anna", request, None)).job
        second = await submitted(store)
        await store.succeed(await leased(store), a_transcript())
        for job in (first, second):
            make_newer(place, "job_requests", job.id)
        listed = {job.id: job for job in await store.list("anna")}
        assert listed.keys() == {first.id, second.id}
        assert {job.waits_for for job in listed.values()} == {NEWER}
        assert sorted(job.state for job in listed.values()) == ["queued", "succeeded"]
        assert (listed[first.id].request.name, listed[first.id].request.face) == ("new", "oddasr")
        assert {(await store.cancel("anna", job_id)).state for job_id in listed} == {"cancelled", "succeeded"}
        for job_id in listed:
            await store.delete("anna", job_id)
        assert await store.list("anna") == []

    place.run(scenario)
