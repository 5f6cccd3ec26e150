"""A job's recording through the service: interrupted or not, the transcript is the same, and nothing is done twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audio.making import wav
from house import ENGLISH, House, furnished, transcribed
from jobbing import Interrupted, Notes, run, until, worked_on
from pipeline.stubs import StubDetector, failing_on
from test_transcription import APART, LEFT, RIGHT, SPEAKERS, LoudDetector, said, side, talk

from app.domain.engines import Hypothesis, Sound, SpeechSpan
from app.domain.errors import DeadlineExceeded, EngineFailure, JobsUnavailable, ModelUnavailable
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions, SpeechDetection
from app.service.service import SpeechService


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = furnished(tmp_path, monkeypatch)
    made.recognizer.hears = said
    return made


@pytest.fixture
def line(house: House) -> House:
    """A telephone line: each side has a channel, and they speak in turn."""
    house.detector = LoudDetector(())
    house.recognizer.hears = side
    left, right = talk((1, 3), (9, 11), loudness=LEFT), talk((4, 6), (10, 14), loudness=RIGHT)
    wav(house.sound, np.stack([left, right], axis=1))
    return house


class CountingDetector(StubDetector):
    """Counts how often it was asked."""

    asked = 0

    def detect(self, sound: Sound, options: SpeechDetection) -> list[SpeechSpan]:
        self.asked += 1
        return super().detect(sound, options)


MASKED = replace(ENGLISH, masking=(Masking(("w2",)),))
WISHES = (ENGLISH, RecognitionOptions(), SPEAKERS, MASKED)


def test_a_job_says_what_a_request_says(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        for options in WISHES:
            notes, asked = Notes(), await transcribed(service, house.sound, options)
            assert await worked_on(service, house.sound, options, notes) == asked
            assert notes.steps[:3] == ["decode", "detect", "recognise"]
            assert notes.steps[3:] in ([], ["speakers"])
            assert notes.seconds == [16.0]
            assert set(notes.plans) == {0}
            assert set(notes.pieces) == {(0, 0), (0, 1), (0, 2)}

    run(house, scenario)


def test_interrupted_at_every_place_it_says_the_same(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        for options in WISHES:
            whole = await worked_on(service, house.sound, options)
            for room in range(4):
                notes = Notes(room=room)
                with pytest.raises(Interrupted):
                    await worked_on(service, house.sound, options, notes)
                kept = {notes.plans[0].cuts[number].start for _, number in notes.pieces}
                assert len(kept) == max(0, room - 1)
                notes.room, calls = 100, len(house.recognizer.calls)
                assert await worked_on(service, house.sound, options, notes) == whole
                asked = {one.piece.start for call in house.recognizer.calls[calls:] for one in call}
                assert not asked & kept, "what was kept is not recognised again"

    run(house, scenario)


def test_interrupted_at_every_place_channels_say_the_same(line: House) -> None:
    async def scenario(service: SpeechService) -> None:
        whole = await worked_on(service, line.sound, APART)
        assert whole == await transcribed(service, line.sound, APART)
        for room in range(6):
            notes = Notes(room=room)
            with pytest.raises(Interrupted):
                await worked_on(service, line.sound, APART, notes)
            assert not notes.pieces or set(notes.plans) == {0, 1}, "all is planned before a piece is kept"
            notes.room = 100
            assert await worked_on(service, line.sound, APART, notes) == whole

    run(line, scenario)


def test_speech_is_found_once(house: House) -> None:
    house.detector = detector = CountingDetector(house.detector.spans)

    async def scenario(service: SpeechService) -> None:
        notes = Notes(room=1)
        with pytest.raises(Interrupted):
            await worked_on(service, house.sound, notes=notes)
        notes.room = 100
        detector.spans = ()
        assert (await worked_on(service, house.sound, notes=notes)).text
        assert detector.asked == 1

    run(house, scenario)


def test_a_job_of_which_all_is_kept_is_only_written(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        notes = Notes()
        whole = await worked_on(service, house.sound, SPEAKERS, notes)
        house.recognizer.hears = failing_on(*range(16))
        assert await worked_on(service, house.sound, SPEAKERS, notes) == whole

    run(house, scenario)


def test_a_piece_that_fails_fails_the_job_and_what_was_kept_stays(house: House) -> None:
    house.recognizer.hears = failing_on(12.5)

    async def scenario(service: SpeechService) -> None:
        notes = Notes()
        with pytest.raises(EngineFailure):
            await worked_on(service, house.sound, notes=notes)
        await until(lambda: len(notes.pieces) == 2)

    run(house, scenario)


def test_what_the_memory_raises_ends_the_work_while_earlier_pieces_are_recognised(house: House) -> None:
    house.recognizer.held = True
    house.recognizer.parallel_calls = 3

    class Full(Notes):
        async def keep(self, channel: int, number: int, hypothesis: Hypothesis) -> None:
            raise JobsUnavailable("no room")

    async def scenario(service: SpeechService) -> None:
        work = asyncio.create_task(worked_on(service, house.sound, notes=Full()))
        await until(lambda: len(house.recognizer.calls) == 3)
        house.recognizer.release()  # whichever it is, the others are still under way
        with pytest.raises(JobsUnavailable):
            await asyncio.wait_for(work, 60)
        house.recognizer.release(2)

    run(house, scenario, asr_threads=3)


def test_a_job_has_no_deadline(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(DeadlineExceeded):
            await transcribed(service, house.sound)
        house.recognizer.release(len(house.recognizer.calls))
        work = asyncio.create_task(worked_on(service, house.sound))
        await asyncio.sleep(0.7)
        assert not work.done()
        assert (await house.recognizer.let_go_until(work)).text

    run(house, scenario, request_timeout_seconds=0.5)


def test_a_job_that_is_cancelled_ends_at_once_and_leaves_nothing(house: House) -> None:
    house.recognizer.held = True

    async def scenario(service: SpeechService) -> None:
        work = asyncio.create_task(worked_on(service, house.sound, SPEAKERS))
        await until(lambda: len(house.recognizer.calls) == 1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, 60)
        assert service.waiting_pieces == 0
        assert service.running.entries == []
        house.recognizer.release()

    run(house, scenario)


def test_what_is_kept_can_be_read_meanwhile(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        notes = Notes()
        whole = await worked_on(service, house.sound, MASKED, notes)
        read = await service.partial(notes.kept, "whisper-base", MASKED)
        assert replace(read, warnings=()) == whole
        del notes.pieces[0, 2]
        read = await service.partial(notes.kept, "whisper-base", MASKED)
        assert read.segments == whole.segments[: len(read.segments)]
        assert 0 < len(read.segments) < len(whole.segments)
        with pytest.raises(ModelUnavailable) as refused:
            await service.partial(notes.kept, "whisper-large-v3", MASKED)
        assert refused.value.retry_after > 0

    run(house, scenario)
