"""Recordings of jobs at addresses: fetched once, before anything else is done with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import IO

import pytest
from service.job_work import Desk, Scenario, Work, ended, held_at, playing

from app.domain.errors import AddressNotFetched, Overloaded, UploadTooLarge
from app.service.jobs import verdicts
from app.service.jobs.job import ENDED
from app.service.jobs.store import JobStore

__all__ = ["playing"]  # the fixture


class Away:
    """A fetcher whose recordings arrive when the test says so; the first `failures` do not."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked: list[tuple[str, str, str]] = []

    async def fetch(self, said: str, room: IO[bytes], *, param: str, key: str = "") -> None:
        self.asked.append((said, param, key))
        room.write(b"half")
        if self.failures:
            raise self.failures.pop(0)
        room.write(b" and half")


def test_a_recording_at_an_address_is_fetched_once(playing: Callable[[Scenario], None]) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        fetcher = Away(Overloaded("There is no room.", retry_after=0.1))
        first, _ = held_at(1)
        second = Work()
        job = await desk.submit(store, address="http://example.org/a.wav")
        async with desk.running(store, first, fetcher=fetcher) as runner:
            async with asyncio.timeout(10):
                while first.heard[job.id, 0] == 0:
                    runner.wake()
                    await asyncio.sleep(0.02)
        assert first.paths[0].read_bytes() == b"half and half"
        assert first.paths[0].stat().st_mode & 0o777 == 0o600
        assert desk.recordings == [job.id]  # and no halves
        async with desk.running(store, second, fetcher=fetcher):
            await ended(store, job.id)
        assert fetcher.asked == [("http://example.org/a.wav", "audio_address", "owner")] * 2

    playing(scenario)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AddressNotFetched("Nobody answers there.", param="audio_address"), "Nobody answers there."),
        (UploadTooLarge("More than MAX_AUDIO_SIZE."), "MAX_JOB_AUDIO_SIZE"),
    ],
)
def test_a_recording_that_cannot_be_fetched_fails_its_job(
    playing: Callable[[Scenario], None], error: Exception, told: str
) -> None:
    async def scenario(desk: Desk, store: JobStore) -> None:
        job = await desk.submit(store, address="http://example.org/a.wav")
        async with desk.running(store, Work(), fetcher=Away(error)):
            done = await ended(store, job.id)
        assert done.failure is not None
        assert told in done.failure.message
        assert (done.failure.param, done.attempts) == ("audio_address", 1)
        assert desk.recordings == []

    playing(scenario)


def test_a_server_that_is_away_for_a_moment_is_asked_again_and_the_third_time_is_the_last(
    playing: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "_PAUSES", (0.0, 0.0, 0.0))

    async def scenario(desk: Desk, store: JobStore) -> None:
        away = AddressNotFetched("Nobody answers there.", passing=True)
        for failures, state in ((2, "succeeded"), (3, "failed")):
            job = await desk.submit(store, address="http://example.org/a.wav")
            async with desk.running(store, Work(), fetcher=Away(*[away] * failures)) as runner, asyncio.timeout(20):
                while (now := await store.get(None, job.id)).state not in ENDED:
                    runner.wake()
                    await asyncio.sleep(0.02)
            assert (now.state, now.attempts) == (state, 3)

    playing(scenario)
