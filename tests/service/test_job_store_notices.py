"""The outbox: what owners are to be told, each once, in order, by one sender at a time."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from service.job_stores import FIXTURES, HOOK, MODEL, Place, a_transcript, leased, submitted

from app.domain.errors import StorageFull
from app.service.jobs import notices
from app.service.jobs.job import Failure, Notice
from app.service.jobs.store import JobStore

place, made_sqlite, made_postgresql, postgresql = FIXTURES
FAILURE = Failure("EngineFailure", "engine_failure", "It failed.")


async def told(store: JobStore) -> list[str]:
    """The states of all notices that are due, which are sent."""
    states: list[str] = []
    while notice := await store.due("sender", 30):
        states.append(notice.state)
        await store.sent(notice)
    return states


async def due(store: JobStore, sender: str = "sender") -> Notice:
    notice = await store.due(sender, 30)
    assert notice is not None
    return notice


def test_each_state_is_told_once_and_in_order(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        await submitted(store, webhook=HOOK)
        await store.put_back(await leased(store), 0, "")
        place.clock.now += 1
        lease = await leased(store)
        place.clock.now += 21
        lease = await leased(store)
        await store.fail(lease, FAILURE)
        assert await told(store) == ["queued", "running", "failed"]
        assert await told(store) == []

    place.run(scenario)


def test_nobody_is_told_who_did_not_ask(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        await submitted(store)
        await store.succeed(await leased(store), a_transcript())
        assert await told(store) == []

    place.run(scenario)


def test_a_notice_says_when_its_state_was_come_to_and_how_the_job_is_now(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)
        created = place.clock.now
        place.clock.now += 5
        await store.cancel("anna", job.id)
        notice = await due(store)
        assert (notice.state, notice.created, notice.tries) == ("queued", created, 0)
        assert (notice.job.state, notice.job.request.webhook) == ("cancelled", HOOK)
        await store.sent(notice)
        later = await due(store)
        assert (later.state, later.created, later.id != notice.id) == ("cancelled", created + 5, True)

    place.run(scenario)


def test_a_notice_is_one_senders_for_its_time(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        await submitted(store, webhook=HOOK)
        mine = await due(store, "one")
        assert await store.due("two", 30) is None
        place.clock.now += 31
        again = await due(store, "two")
        assert (again.id, again.tries) == (mine.id, 0)
        await store.sent(again)
        await store.postpone(mine, 0)  # who was slow is not believed
        assert await store.due("one", 30) is None

    place.run(scenario)


def test_what_is_postponed_holds_up_the_jobs_next_and_nobody_elses(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)
        await store.cancel("anna", job.id)
        first = await due(store)
        await store.postpone(first, 60)
        assert await store.due("sender", 30) is None
        await submitted(store, "bert", webhook=HOOK)
        other = await due(store)
        assert other.job.owner == "bert"
        await store.sent(other)
        place.clock.now += 60
        again = await due(store)
        assert (again.id, again.tries) == (first.id, 1)
        await store.postpone(again, None)
        assert (await due(store)).state == "cancelled", "the next, after one that was given up"

    place.run(scenario)


def test_notices_go_with_their_job(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)
        notice = await due(store)
        await store.delete("anna", job.id)
        await store.sent(notice)
        await store.postpone(notice, 10)
        assert await told(store) == []

    place.run(scenario)


def test_two_senders_never_have_the_same(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        other = place.store()
        try:
            for _ in range(6):
                await submitted(store, webhook=HOOK)
            taken = await asyncio.gather(*((store, other)[number % 2].due(str(number), 30) for number in range(10)))
        finally:
            await other.close()
        ids = [notice.id for notice in taken if notice is not None]
        assert (len(ids), len(set(ids))) == (6, 6)
        assert await store.lease("runner", [MODEL]) is not None

    place.run(scenario)


NEWER = b'{"v":1,"is":{"a_new_field":1}}'
"""What a newer version may write of a request."""


def exchange(place: Place, job_id: str, body: bytes) -> bytes:
    """What is kept of a job's request, in whose place `body` is put."""
    engine = sa.create_engine(place.url)
    job = {"job": job_id}
    with engine.begin() as connection:
        kept = connection.execute(sa.text("SELECT body FROM job_requests WHERE job = :job"), job).scalar_one()
        connection.execute(sa.text("UPDATE job_requests SET body = :body WHERE job = :job"), {**job, "body": body})
    engine.dispose()
    return bytes(kept)


def test_what_cannot_be_read_is_in_nobodys_way(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: JobStore) -> None:
        unreadable = [(await submitted(store, "anna", webhook=HOOK)).id for _ in range(3)]
        for job_id in unreadable:
            await asyncio.to_thread(exchange, place, job_id, NEWER)
        place.clock.now += 1
        job = await submitted(store, "bert", webhook=HOOK)
        notice = await due(store)
        assert notice.job.id == job.id
        await store.sent(notice)
        for seconds in (5, 10, 900, 86_400):
            place.clock.now += seconds
            assert await store.due("sender", 30) is None
        assert await store.notices_waiting() == 0, "given up after a day"
        for job_id in unreadable:
            assert caplog.text.count(f"{job_id}: its webhook cannot be told") == 1
            assert caplog.text.count(f"{job_id}: its webhook will not be told") == 1

    place.run(scenario)


def test_a_newer_server_tells_what_an_older_one_could_not_read(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)
        readable = await asyncio.to_thread(exchange, place, job.id, NEWER)
        assert await store.due("older", 30) is None
        await asyncio.to_thread(exchange, place, job.id, readable)
        assert await store.due("newer", 30) is None
        place.clock.now += 5
        assert (await due(store, "newer")).job.id == job.id

    place.run(scenario)


def test_owners_may_be_passed_over(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        await submitted(store, "anna", webhook=HOOK)
        place.clock.now += 1
        await submitted(store, "bert", webhook=HOOK)
        other = await store.due("sender", 30, {"anna", "carl"})
        assert other is not None
        assert other.job.owner == "bert"
        assert await store.due("sender", 30, {"anna"}) is None
        assert (await due(store)).job.owner == "anna"

    place.run(scenario)


def test_nothing_is_written_for_a_job_that_cannot_be_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)

        def remove(_: object, job_id: str) -> None:
            raise StorageFull(f"{job_id} stays.")

        monkeypatch.setattr("app.service.jobs.files.Recordings.remove", remove)
        with pytest.raises(StorageFull):
            await store.delete("anna", job.id)

        def take(*_: object) -> None:
            pytest.fail("a transaction that writes")

        monkeypatch.setattr(notices, "take_due", take)
        assert await store.due("sender", 30) is None

    place.run(scenario)


def test_a_job_of_which_somebody_is_to_be_told_is_kept_until_that_was_tried(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)
        await store.cancel("anna", job.id)
        place.clock.now += 10 * 86_400  # as if nothing had run for so long
        assert await store.sweep() == 0
        for state in ("queued", "cancelled"):
            notice = await due(store)
            assert (notice.state, notice.job.id) == (state, job.id)
            assert await store.sweep() == 0
            await store.postpone(notice, None)
        assert await store.sweep() == 1

    place.run(scenario)


def test_a_job_of_which_nobody_can_be_told_is_not_kept_for_ever(place: Place) -> None:
    async def scenario(store: JobStore) -> None:
        job = await submitted(store, webhook=HOOK)
        await store.cancel("anna", job.id)
        place.clock.now += (7 + 365) * 86_400
        assert await store.sweep() == 0
        place.clock.now += 2 * 86_400
        assert await store.sweep() == 1

    place.run(scenario)
