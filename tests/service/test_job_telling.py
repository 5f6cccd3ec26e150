"""Owners are told at their webhooks: every state once, in order, whatever happens to receivers meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_receivers import SAID, SECRET, STATES, Office, Receiver, answering, draw, in_office, until

from app.domain.errors import JobsUnavailable
from app.domain.transcript import Transcript
from app.service.jobs.job import Notice
from app.service.jobs.messages import Message
from app.service.jobs.telling import FIRST_PAUSE, LONGEST_PAUSE, pause_after


def test_every_state_is_told_once_in_order_and_signed(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver() as receiver:
            async with office.telling() as teller:
                job = await office.job(receiver.url, SECRET)
                teller.wake()
                await until(lambda: receiver.states == ["queued"])
                await office.finish()
                await until(lambda: len(receiver.states) == 3)
        assert receiver.states == [*STATES]
        assert len({one.id for one in receiver.heard}) == 3
        for one in receiver.heard:
            one.verify(SECRET)
            assert one.says["job"] == job.id
            assert one.path == "/hooks/path-7f3a?key=query-7f3a"
            assert one.headers["content-type"] == "application/json"
        assert office.meter.notices == ["sent"] * 3

    in_office(tmp_path, scenario)


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_other_ends_are_told_too(tmp_path: Path, end: str) -> None:
    async def scenario(office: Office) -> None:
        with Receiver() as receiver:
            async with office.telling():
                job = await office.job(receiver.url)
                if end == "failed":
                    await office.finish(failing=True)
                else:
                    await office.store.cancel("owner-1", job.id)
                await until(lambda: end in receiver.states)
        assert receiver.states == (["queued", "running", "failed"] if end == "failed" else ["queued", "cancelled"])

    in_office(tmp_path, scenario)


def test_a_receiver_that_is_away_for_minutes_gets_every_state_once_when_it_is_back(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        away = Receiver()  # its port refuses connections
        async with office.telling():
            await office.job(away.url, SECRET)
            await office.finish()
            for tries in range(1, 6):
                await until(lambda tries=tries: len(office.late) == tries)
                office.clock.ahead += 5.6 * 2 ** (tries - 1) - 0.1
            assert away.heard == []
            with away:
                await until(lambda: len(away.states) == 3)
        assert away.states == [*STATES]
        assert len(away.heard) == 3
        pauses = [pause for pause in office.late if pause is not None]
        assert pauses == [pytest.approx(wanted, rel=0.101) for wanted in (5, 10, 20, 40, 80)]
        assert office.meter.notices == ["failed"] * 5 + ["sent"] * 3
        for one in away.heard:
            assert one.headers["webhook-signature"].startswith("v1,")

    in_office(tmp_path, scenario)


def test_a_receiver_that_is_really_away_for_a_minute(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        away = Receiver()
        async with office.telling():
            await office.job(away.url, SECRET)
            await office.finish()
            await asyncio.sleep(60)
            assert 3 <= len(office.late) <= 5
            with away:
                async with asyncio.timeout(120):
                    while len(away.states) < 3:  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.1)
        assert away.states == [*STATES]
        assert len(away.heard) == 3
        for one in away.heard:
            one.verify(SECRET)

    in_office(tmp_path, scenario)


@pytest.mark.parametrize("was_there", [True, False], ids=["the receiver is away", "the server is away"])
def test_a_job_is_kept_longer_than_it_is_to_be_until_its_owner_was_told(tmp_path: Path, was_there: bool) -> None:
    longer = 8 * 86_400.0  # than a job is kept that has ended

    async def scenario(office: Office) -> None:
        with Receiver(answering(503)) as receiver:
            await office.job(receiver.url)
            await office.finish()
            if was_there:
                async with office.telling(retry_seconds=longer + 1000.0):
                    await until(lambda: len(office.late) == 1)
            office.clock.ahead += longer
            assert await office.store.sweep() == 0
            receiver.play = answering(200)
            async with office.telling(retry_seconds=1000.0):
                await until(lambda: len(receiver.states) == 3)
                await until(lambda: len(office.meter.notices) == 3 + was_there)
            assert receiver.states == [*STATES]
            assert await office.store.sweep() == 1

    in_office(tmp_path, scenario)


def test_what_is_answered_with_an_error_comes_again_under_the_same_id(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver(answering(500, 404, 503, 200, 429, 200)) as receiver:
            async with office.telling():
                await office.job(receiver.url, SECRET)
                await office.finish()
                while len(receiver.states) < 3:
                    office.clock.ahead += 5.0
                    await asyncio.sleep(0.05)
        assert receiver.states == [*STATES]
        queued, running, succeeded = (
            [one.status for one in receiver.heard if one.id == taken.id] for taken in receiver.took
        )
        assert (queued, running, succeeded) == ([500, 404, 503, 200], [429, 200], [200])
        assert len({one.body for one in receiver.heard}) == 3
        assert Counter(office.meter.notices) == {"failed": 4, "sent": 3}

    in_office(tmp_path, scenario)


def test_a_connection_that_is_reset_is_no_answer(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver(answering(0, 0, 200)) as receiver:
            async with office.telling():
                await office.job(receiver.url)
                for tries in (1, 2):
                    await until(lambda tries=tries: len(office.late) == tries)
                    office.clock.ahead += 15.0
                await until(lambda: receiver.states == ["queued"])
        assert [one.status for one in receiver.heard] == [0, 0, 200]

    in_office(tmp_path, scenario)


def test_who_wants_to_hear_no_more_is_not_told_again(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver(answering(410, 200)) as receiver:
            async with office.telling():
                await office.job(receiver.url)
                await until(lambda: office.late == [None])
                await office.finish()
                await until(lambda: len(receiver.states) == 2)
        assert [one.state for one in receiver.heard] == [*STATES]
        assert office.meter.notices == ["failed", "given_up", "sent", "sent"]

    in_office(tmp_path, scenario)


def test_a_redirect_is_a_failure_that_the_log_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario(office: Office) -> None:
        with Receiver() as other, Receiver(answering(308)) as receiver:
            receiver.headers = {"Location": other.url}
            async with office.telling():
                await office.job(receiver.url)
                await until(lambda: len(office.late) == 1)
            assert other.connections == 0

    in_office(tmp_path, scenario)
    assert "answered 308, a redirect, which is not followed" in caplog.text


def test_a_receiver_is_asked_again_when_it_says_so(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver(answering(429)) as receiver:
            receiver.headers = {"Retry-After": "100"}
            async with office.telling():
                await office.job(receiver.url)
                await until(lambda: len(office.late) == 1)
        assert office.late == [100.0]

    in_office(tmp_path, scenario)


def test_it_is_given_up_when_its_time_is_over_and_the_next_is_tried_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(office: Office) -> None:
        office.clock.stop()
        with Receiver(answering(500)) as receiver:
            async with office.telling(retry_seconds=600.0, jitter=lambda: 0.5):
                job = await office.job(receiver.url)
                await office.finish()
                tries = 0
                while office.late.count(None) < 3:
                    await until(lambda tries=tries: len(office.late) > tries)
                    office.clock.ahead += (office.late[tries] or 0.0) + 1.0
                    tries += 1
            told = [one.state for one in receiver.heard]
            assert told == [*["queued"] * 8, "running", "succeeded"]
            pauses = [pause for pause in office.late if pause is not None]
            assert pauses == [5, 10, 20, 40, 80, 160, pytest.approx(600 - 315 - 6)], (
                "the last try is at the end of its time"
            )
            assert office.meter.notices.count("given_up") == 3
            assert f"job {job.id}: 127.0.0.1 will not be told that it is succeeded: answered 500" in caplog.text

    in_office(tmp_path, scenario)


def test_no_time_to_try_again_is_one_try(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver(answering(500)) as receiver:
            async with office.telling(retry_seconds=0.0):
                await office.job(receiver.url)
                await until(lambda: office.late == [None])
        assert len(receiver.heard) == 1

    in_office(tmp_path, scenario)


def test_a_state_that_a_protocol_says_nothing_of_is_passed_over(tmp_path: Path) -> None:
    async def at_the_end(notice: Notice, read: Callable[[], Awaitable[Transcript | None]]) -> Message | None:
        return await draw(notice, read) if notice.state == "succeeded" else None

    async def scenario(office: Office) -> None:
        with Receiver() as receiver:
            async with office.telling(drawer=at_the_end):
                await office.job(receiver.url)
                await office.finish()
                await until(lambda: receiver.states == ["succeeded"])
        assert office.meter.notices == ["sent"]

    in_office(tmp_path, scenario)


def test_a_protocol_reads_the_transcript_and_adds_headers_of_its_own(tmp_path: Path) -> None:
    async def tell(notice: Notice, read: Callable[[], Awaitable[Transcript | None]]) -> Message:
        transcript = await read()
        return Message((transcript.text if transcript else "-").encode(), "text/plain", {"x-state": notice.state})

    async def scenario(office: Office) -> None:
        with Receiver() as receiver:
            async with office.telling(drawer=tell):
                await office.job(receiver.url)
                await until(lambda: len(receiver.heard) == 1)
                await office.finish()
                await until(lambda: len(receiver.heard) == 3)
        last = receiver.heard[-1]
        assert receiver.heard[0].body == b"-"
        assert (last.body.decode(), last.headers["x-state"]) == (SAID, "succeeded")
        assert last.headers["content-type"] == "text/plain"

    in_office(tmp_path, scenario)


@pytest.mark.parametrize("error", [JobsUnavailable("held"), KeyError("a fault"), TimeoutError()])
def test_what_cannot_be_drawn_is_drawn_again_later(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def scenario(office: Office) -> None:
        drawn = [0]

        async def fail_once(notice: Notice, read: Callable[[], Awaitable[Transcript | None]]) -> Message:
            drawn[0] += 1
            if drawn[0] == 1:
                raise error
            return await draw(notice, read)

        with Receiver() as receiver:
            async with office.telling(drawer=fail_once):
                job = await office.job(receiver.url)
                await until(lambda: len(office.late) == 1)
                assert job.id in caplog.text
                office.clock.ahead += 6.0
                await until(lambda: receiver.states == ["queued"])

    in_office(tmp_path, scenario)


def test_a_protocol_that_nobody_here_knows_is_left_to_a_server_that_does(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver() as receiver:
            async with office.telling():
                await office.job(receiver.url, face="aliyun")
                await until(lambda: len(office.late) == 1)
        assert receiver.connections == 0
        assert office.late != [None]

    in_office(tmp_path, scenario)


def test_of_a_job_that_is_deleted_nothing_more_is_told(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with Receiver(answering(500)) as receiver:
            async with office.telling():
                job = await office.job(receiver.url)
                other = await office.job(receiver.url)
                await until(lambda: len(office.late) == 2)
                await office.store.delete("owner-1", job.id)
                receiver.play = answering(200)
                office.clock.ahead += 6.0
                await until(lambda: len(receiver.took) == 1)
                await asyncio.sleep(0.1)
        assert [one.says["job"] for one in receiver.took] == [other.id]

    in_office(tmp_path, scenario)


@given(tries=st.integers(0, 10**6), jitter=st.floats(0, 1), wanted=st.none() | st.floats(0, 10**9))
def test_pauses_double_up_to_a_quarter_of_an_hour(tries: int, jitter: float, wanted: float | None) -> None:
    plain = min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
    pause = pause_after(tries, jitter, wanted)
    assert pause >= 0.9 * plain - 1e-6
    assert pause <= max(1.1 * plain, min(wanted or 0.0, LONGEST_PAUSE)) + 1e-6
