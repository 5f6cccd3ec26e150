"""A server that loads its models, or cannot: no job is begun; owners are told and what is over goes all the same."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import ip_network
from pathlib import Path

import pytest
from house import ENGLISH, House, furnished
from webhook_receivers import HERE, Receiver, draw, until

from app.domain.errors import EngineFailure
from app.service.admission import Caller
from app.service.jobs.job import JobRequest, Webhook
from app.service.service import SpeechService


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


def handed_over(house: House) -> Path:
    recording = house.temp / "handed-over"
    recording.write_bytes(house.sound.read_bytes())
    return recording


def test_owners_are_told_and_what_is_over_goes_while_no_model_can_be_loaded(house: House) -> None:
    def fail() -> None:
        raise EngineFailure("It is no good.")

    house.loading = fail
    networks = [ip_network(one) for one in HERE]

    async def main() -> None:
        service = SpeechService(house.settings(webhook_networks=networks), drawers={"jobs": draw})
        with Receiver() as receiver:
            try:
                ended = await first_job(service, receiver)
                await service.start()
                assert service.failure is not None
                await until(lambda: receiver.states == ["queued", "cancelled"], seconds=20)
                await until(lambda: not ended.exists(), seconds=20)
            finally:
                await service.close()

    async def first_job(service: SpeechService, receiver: Receiver) -> Path:
        """One that has ended while nobody told of it, and whose recording a killed server left."""
        request = JobRequest("whisper-base", ENGLISH, webhook=Webhook(receiver.url))
        job = (await service.jobs.submit(Caller("one"), request, handed_over(house))).job
        await service.jobs.cancel("one", job.id)
        left = service.settings.jobs_folder / job.id
        left.write_bytes(b"left")
        return left

    asyncio.run(main())


def test_jobs_are_begun_when_the_models_are_there(house: House) -> None:
    may_load = threading.Event()
    house.loading = lambda: assert_set(may_load)

    async def main() -> None:
        service = SpeechService(house.settings())
        starting = asyncio.create_task(service.start())
        try:
            job = (
                await service.jobs.submit(Caller("one"), JobRequest("whisper-base", ENGLISH), handed_over(house))
            ).job
            await asyncio.sleep(0.1)
            assert (await service.jobs.get("one", job.id)).attempts == 0
            may_load.set()
            async with asyncio.timeout(30):
                while (await service.jobs.get("one", job.id)).state != "succeeded":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await starting
        finally:
            may_load.set()
            await asyncio.gather(starting, return_exceptions=True)
            await service.close()

    asyncio.run(main())


def assert_set(event: threading.Event) -> None:
    assert event.wait(60)
