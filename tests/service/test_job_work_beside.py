"""Jobs beside requests: a room, a decoder and a thread of their own, and quotas, operators and limits hold for them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from house import ENGLISH, House, children, furnished, transcribed
from jobbing import Notes, run, until, worked_on
from pipeline.stubs import StubDetector, failing_on
from test_transcription import SPEAKERS, said

from app.domain.engines import Sound, SpeechSpan
from app.domain.errors import AudioQuotaTooSmall, EndedByOperator, EngineFailure, Overloaded, QuotaExceeded
from app.domain.options import SpeechDetection
from app.service.admission import Caller
from app.service.service import SpeechService

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="processes and their priorities as Linux tells them")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = furnished(tmp_path, monkeypatch)
    made.recognizer.hears = said
    return made


# --- room -------------------------------------------------------------------------------------------------------------


def test_a_jobs_work_is_nobodys_backlog(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        works = [asyncio.create_task(worked_on(service, house.sound, name=f"job_{number}")) for number in range(3)]
        await until(lambda: len(house.recognizer.calls) == 1)
        assert (service.active, service.backlog) == (0, 0.0)
        with service.admit(Caller()):
            assert service.active == 1
        await house.recognizer.let_go_until(asyncio.gather(*works))

    run(house, scenario, max_requests=1)


def test_who_hands_jobs_over_has_a_room_of_that(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        handing = [service.admit_job(Caller()) for _ in range(64)]
        assert len(service.running.entries) == 64
        with pytest.raises(Overloaded) as refused:
            service.admit_job(Caller())
        assert refused.value.retry_after >= 1.0
        with service.admit(Caller()):  # for whom there is one place
            pass
        handing.pop().leave()
        handing.append(service.admit_job(Caller()))
        for ticket in handing:
            ticket.leave()
        assert service.running.entries == []

    run(house, scenario, max_requests=1)


def test_handing_a_job_over_counts_as_a_request(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        caller = Caller(key="one")
        for _ in range(2):
            service.admit_job(caller).leave()
        with pytest.raises(QuotaExceeded):
            service.admit_job(caller)
        service.admit_job(Caller(key="two")).leave()

    run(house, scenario, key_requests_per_minute=2)


def test_a_jobs_sound_counts_once_however_often_it_is_interrupted(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        def used() -> int:
            return sum(usage.used.seconds for usage in service.quotas.usage())

        notes = Notes(room=2)
        work = asyncio.create_task(worked_on(service, house.sound, notes=notes, owner="one"))
        house.recognizer.held = True
        await until(lambda: bool(house.recognizer.calls))
        work.cancel()  # the server ends
        await asyncio.wait({work})
        assert used() == 16
        house.recognizer.held = False
        house.recognizer.release()
        notes.room = 100
        await worked_on(service, house.sound, notes=notes, owner="one")
        assert used() == 16
        with pytest.raises(QuotaExceeded) as refused:
            await worked_on(service, house.sound, owner="one")
        assert refused.value.retry_after > 60.0
        assert used() == 16

    run(house, scenario, key_audio_seconds_per_hour=30)


def used_by(service: SpeechService) -> dict[str, int]:
    return {usage.name: usage.used.seconds for usage in service.quotas.usage() if usage.used.seconds}


def test_a_job_that_stumbles_after_it_was_planned_is_not_free(house: House) -> None:
    house.recognizer.hears = failing_on(12.5)

    async def scenario(service: SpeechService) -> None:
        notes = Notes()
        with pytest.raises(EngineFailure):
            await worked_on(service, house.sound, notes=notes, owner="one")
        assert used_by(service) == {"one": 16}
        house.recognizer.hears = said
        await worked_on(service, house.sound, notes=notes, owner="one")
        assert used_by(service) == {"one": 16}

    run(house, scenario, key_audio_seconds_per_hour=30)


@pytest.mark.parametrize("how", ["its plan cannot be kept", "it is cancelled"])
def test_a_job_that_is_interrupted_before_it_was_planned_counts_when_it_is_taken_up_again(
    house: House, how: str
) -> None:
    looking, go_on = threading.Event(), threading.Event()

    class Slow(StubDetector):
        def detect(self, sound: Sound, options: SpeechDetection) -> list[SpeechSpan]:
            looking.set()
            assert go_on.wait(60)
            return super().detect(sound, options)

    house.detector = Slow(house.detector.spans)

    async def scenario(service: SpeechService) -> None:
        notes = Notes(room=0)
        work = asyncio.create_task(worked_on(service, house.sound, notes=notes, owner="one"))
        await until(looking.is_set)
        assert used_by(service) == {"one": 16}
        if how == "it is cancelled":
            work.cancel()
        go_on.set()
        await asyncio.wait({work})
        assert used_by(service) == {}
        notes.room = 100
        await worked_on(service, house.sound, notes=notes, owner="one")
        assert used_by(service) == {"one": 16}

    run(house, scenario, key_audio_seconds_per_hour=30)


def test_jobs_without_a_key_have_one_limit_together(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        await worked_on(service, house.sound)
        assert used_by(service) == {"jobs": 16}
        with pytest.raises(QuotaExceeded, match="all jobs together may send, 14 s are left") as refused:
            await worked_on(service, house.sound)
        assert refused.value.retry_after > 60.0

    run(house, scenario, key_audio_seconds_per_hour=30)


def test_a_job_that_no_quota_will_ever_allow_says_so(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        with pytest.raises(AudioQuotaTooSmall):
            await worked_on(service, house.sound, owner="one")

    run(house, scenario, key_audio_seconds_per_hour=10)


# --- among what runs --------------------------------------------------------------------------------------------------


def test_operators_see_a_job_and_can_end_it(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        work = asyncio.create_task(worked_on(service, house.sound, owner="one", name="job_7"))
        await until(lambda: len(house.recognizer.calls) == 1)
        (entry,) = service.running.entries
        assert (entry.kind, entry.caller.path, entry.caller.request_id) == ("recording", "/v1/jobs", "job_7")
        assert (entry.caller.key, entry.model, entry.seconds, entry.stage) == ("one", "whisper-base", 16.0, "recognise")
        assert service.running.end("job_7") == 1
        with pytest.raises(EndedByOperator):
            await asyncio.wait_for(work, 60)
        assert service.running.entries == []
        house.recognizer.release()

    run(house, scenario)


# --- who waits for whom -----------------------------------------------------------------------------------------------


@linux_only
def test_a_request_does_not_wait_for_a_jobs_decoding(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        before = children()
        await worked_on(service, house.sound)
        (decoder,) = (int(pid) for pid in children() - before)
        os.kill(decoder, signal.SIGSTOP)
        try:
            notes = Notes()
            work = asyncio.create_task(worked_on(service, house.sound, notes=notes))
            await until(lambda: notes.steps == ["decode"])
            assert (await transcribed(service, house.sound)).text
            assert notes.steps == ["decode"]
        finally:
            os.kill(decoder, signal.SIGCONT)
        assert (await work).text
        assert os.getpriority(os.PRIO_PROCESS, decoder) > 5, "it stands back behind the others"

    run(house, scenario)


@linux_only
def test_a_decoder_that_dies_fails_its_job_and_the_next_has_another(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        before = children()
        await worked_on(service, house.sound)
        (decoder,) = (int(pid) for pid in children() - before)
        os.kill(decoder, signal.SIGSTOP)
        notes = Notes()
        work = asyncio.create_task(worked_on(service, house.sound, notes=notes))
        await until(lambda: notes.steps == ["decode"])
        await asyncio.sleep(0.1)
        os.kill(decoder, signal.SIGKILL)
        with pytest.raises(EngineFailure):
            await asyncio.wait_for(work, 60)
        assert (await worked_on(service, house.sound)).text

    run(house, scenario)


@linux_only
def test_speech_is_found_and_text_written_on_a_thread_that_stands_back(house: House) -> None:
    nice: list[tuple[str, int]] = []
    find = house.detector.detect

    def detect(*given: object) -> object:
        thread = threading.current_thread()
        nice.append((thread.name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return find(*given)

    house.detector.detect = detect  # type: ignore[method-assign]

    async def scenario(service: SpeechService) -> None:
        await transcribed(service, house.sound)
        await worked_on(service, house.sound)

    run(house, scenario)
    (asked, own), (job, other) = nice
    assert asked.startswith("detect")
    assert job.startswith("job")
    assert other > own


def test_speakers_of_a_job_leave_threads_for_others(house: House) -> None:
    lock = threading.Lock()
    inside = most = 0

    def before() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.2)
        with lock:
            inside -= 1

    house.speakers.segmenter.before = before

    async def scenario(service: SpeechService) -> None:
        nonlocal most
        asked = await transcribed(service, house.sound, SPEAKERS)
        assert most == 2, "a request's has all"
        most = 0
        assert await worked_on(service, house.sound, SPEAKERS) == asked
        assert most == 1

    run(house, scenario, asr_threads=2)


def test_a_request_overtakes_a_job_that_was_there_before(house: House) -> None:
    house.recognizer.held = True
    order: list[str] = []

    async def named(service: SpeechService, what: str) -> None:
        if what == "job":
            await worked_on(service, house.sound)
        else:
            await transcribed(service, house.sound, ENGLISH)
        order.append(what)

    async def scenario(service: SpeechService) -> None:
        job = asyncio.create_task(named(service, "job"))
        await until(lambda: len(house.recognizer.calls) == 1)
        request = asyncio.create_task(named(service, "request"))
        await until(lambda: service.waiting_pieces == 5)
        await house.recognizer.let_go_until(asyncio.gather(job, request))

    run(house, scenario)
    assert order == ["request", "job"]
