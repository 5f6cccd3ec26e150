"""A whole recording: who its speakers are, what they are called, and what happens when it fails or is given up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.domain.engines import SpeechSpan
from app.domain.errors import AudioTooShort, EngineFailure, InvalidParameter
from app.domain.speakers import KnownVoice, Speaker, SpeakerOptions, Voiceprint
from app.pipeline.diarization.diarizer import Diarization, Diarizer
from app.pipeline.presence import LINGERS, Presence

from ..stubs import VOICES, ClockSound, Schedule, StubSpeakers
from ..test_batching import until

SOUND = ClockSound(3600.0)
ANYBODY = SpeakerOptions()
TWO = ((0.0, 8.0, 1), (8.0, 14.0, 0), (20.0, 26.0, 1))


def with_diarizer(
    speakers: StubSpeakers,
    scenario: Callable[[Diarizer], Awaitable[None]],
    *,
    threads: int = 2,
    threshold: float = 0.5,
    presence: Presence | None = None,
) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(threads) as executor:
            diarizer = Diarizer(
                speakers.segmenter, speakers.encoder, executor, parallel=threads, threshold=threshold, presence=presence
            )
            async with asyncio.timeout(20):
                await scenario(diarizer)
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def spans(schedule: Schedule) -> list[SpeechSpan]:
    """All speech of the schedule."""
    found: list[SpeechSpan] = []
    for start, end, _ in schedule:
        overlaps = found and start < found[-1].end
        began = found.pop().start if overlaps else start
        found.append(SpeechSpan(began, end))
    return found


def diarized(schedule: Schedule, options: SpeakerOptions = ANYBODY, threshold: float = 0.5) -> Diarization:
    found: list[Diarization] = []

    async def scenario(diarizer: Diarizer) -> None:
        found.append(await diarizer.diarize(SOUND, spans(schedule), options))

    with_diarizer(StubSpeakers(schedule), scenario, threshold=threshold)
    return found[0]


def who(found: Diarization) -> list[Speaker]:
    return [turn.speaker for turn in found.turns]


def known(name: str, *embeddings: np.ndarray) -> KnownVoice:
    return KnownVoice(name, tuple(Voiceprint(embedding, 3.0, "stub-encoder") for embedding in embeddings))


# --- speakers ---------------------------------------------------------------------------------------------------------


def test_speakers_are_numbered_as_they_are_first_heard() -> None:
    found = diarized(TWO)
    assert found.speakers == (Speaker(0), Speaker(1))
    assert who(found) == [Speaker(0), Speaker(1), Speaker(0)]
    assert [(round(turn.start), round(turn.end)) for turn in found.turns] == [(0, 8), (8, 14), (20, 26)]


def test_no_speech_is_nobody() -> None:
    assert diarized(()) == Diarization()


def test_a_click_is_somebody() -> None:
    found = diarized(((1.0, 1.15, 0),))
    assert found.speakers == (Speaker(0),)
    assert len(found.turns) == 1


def test_as_many_as_are_wanted() -> None:
    three = ((0.0, 4.0, 0), (10.0, 14.0, 1), (20.0, 24.0, 2))
    assert len(diarized(three).speakers) == 3
    assert len(diarized(three, SpeakerOptions(count=2)).speakers) == 2
    assert len(diarized(three, SpeakerOptions(most=1)).speakers) == 1
    assert len(diarized(three, SpeakerOptions(least=2, most=2)).speakers) == 2


def test_overlap_only_where_it_is_wanted() -> None:
    both = ((0.0, 6.0, 0), (4.0, 9.9, 1))
    first, second = diarized(both).turns
    assert (round(first.end), round(second.start)) == (6, 4)
    first, second = diarized(both, SpeakerOptions(overlap=False)).turns
    assert first.end <= second.start


def test_a_long_recording_has_the_same_speakers_throughout() -> None:
    schedule = tuple((index * 7.0, index * 7.0 + 6.0, index % 4) for index in range(200))
    found = diarized(schedule)
    assert found.speakers == tuple(Speaker(number) for number in range(4))
    assert who(found) == [Speaker(index % 4) for index in range(200)]


# --- names ------------------------------------------------------------------------------------------------------------


def test_known_voices_are_named_and_others_are_not() -> None:
    options = SpeakerOptions(voices=(known("Anna", VOICES[1]), known("Bert", VOICES[7])))
    found = diarized(TWO, options)
    assert found.speakers == (Speaker(0, "Anna"), Speaker(1))
    assert who(found) == [Speaker(0, "Anna"), Speaker(1), Speaker(0, "Anna")]


@pytest.mark.parametrize(("threshold", "name"), [(0.79, "Anna"), (0.81, None), (-1.0, "Anna")])
def test_a_voice_must_be_alike_enough(threshold: float, name: str | None) -> None:
    options = SpeakerOptions(voices=(known("Anna", 0.8 * VOICES[1] + 0.6 * VOICES[9]),))
    assert diarized(((0.0, 5.0, 1),), options, threshold).speakers == (Speaker(0, name),)


def test_the_most_alike_of_known_voices() -> None:
    near, nearer = (share * VOICES[1] + rest * VOICES[9] for share, rest in ((0.6, 0.8), (0.8, 0.6)))
    options = SpeakerOptions(voices=(known("Near", near), known("Nearer", nearer)))
    assert diarized(((0.0, 5.0, 1),), options).speakers == (Speaker(0, "Nearer"),)


def test_two_voices_of_one_name_are_one_speaker() -> None:
    # Somebody with a cold, and without: two clusters, enrolled as one person.
    options = SpeakerOptions(voices=(known("Anna", VOICES[1]), known("Anna", VOICES[0])))
    found = diarized(((0.0, 8.0, 1), (8.0, 14.0, 0), (20.0, 26.0, 2), (30.0, 36.0, 0)), options)
    assert found.speakers == (Speaker(0, "Anna"), Speaker(1))
    assert who(found) == [Speaker(0, "Anna"), Speaker(1), Speaker(0, "Anna")], "and where they touch, one turn"


def test_one_speaker_does_not_speak_twice_at_once() -> None:
    options = SpeakerOptions(voices=(known("Anna", VOICES[1]), known("Anna", VOICES[0])))
    found = diarized(((0.0, 6.0, 1), (4.0, 9.9, 0)), options)
    (turn,) = found.turns
    assert (round(turn.start), round(turn.end)) == (0, 10)


# --- work -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_a_few_chunks_at_once(threads: int) -> None:
    schedule = tuple((index * 20.0, index * 20.0 + 9.0, 0) for index in range(12))
    speakers = StubSpeakers(schedule)
    lock, inside, most = threading.Lock(), 0, 0

    def note() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1

    speakers.segmenter.before = note

    async def scenario(diarizer: Diarizer) -> None:
        await diarizer.diarize(SOUND, spans(schedule), ANYBODY)

    with_diarizer(speakers, scenario, threads=threads)
    assert most == threads
    assert sorted(speakers.segmenter.heard) == [start for start, *_ in schedule]


def test_how_much_work_it_is_is_learnt() -> None:
    speakers = StubSpeakers(TWO)
    speakers.segmenter.before = lambda: time.sleep(0.05)

    async def scenario(diarizer: Diarizer) -> None:
        assert diarizer.work(spans(TWO)) == 0.0
        await diarizer.diarize(SOUND, spans(TWO), ANYBODY)
        assert 0.05 < diarizer.work(spans(TWO)) < 1.0
        assert diarizer.work(spans(TWO) * 3) == pytest.approx(3 * diarizer.work(spans(TWO)))
        assert diarizer.work([]) == 0.0

    with_diarizer(speakers, scenario)


@pytest.mark.parametrize("broken", ["segmenter", "encoder"])
@pytest.mark.parametrize("error", [EngineFailure("deaf"), ZeroDivisionError("secret")])
def test_a_failing_model_fails_the_recording(broken: str, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    speakers = StubSpeakers(TWO)
    model = getattr(speakers, broken)

    def fail() -> None:
        raise error

    async def scenario(diarizer: Diarizer) -> None:
        model.before = fail
        with pytest.raises(EngineFailure) as caught:
            await diarizer.diarize(SOUND, spans(TWO), ANYBODY)
        assert "secret" not in caught.value.message
        assert ("secret" in caplog.text) == isinstance(error, ZeroDivisionError)
        with pytest.raises(EngineFailure):
            await diarizer.voiceprint(SOUND, spans(TWO), param="file")
        model.before = lambda: None
        assert len((await diarizer.diarize(SOUND, spans(TWO), ANYBODY)).speakers) == 2, "the next is well"

    with_diarizer(speakers, scenario)


def test_cancelling_ends_it_after_the_chunk_in_hand() -> None:
    schedule = tuple((index * 20.0, index * 20.0 + 9.0, 0) for index in range(50))
    speakers = StubSpeakers(schedule)
    go_on = threading.Event()
    speakers.segmenter.before = lambda: go_on.wait(10)

    async def scenario(diarizer: Diarizer) -> None:
        work = asyncio.create_task(diarizer.diarize(SOUND, spans(schedule), ANYBODY))
        await until(lambda: len(speakers.segmenter.heard) == 1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        go_on.set()
        await asyncio.sleep(0.05)
        assert len(speakers.segmenter.heard) == 1

    try:
        with_diarizer(speakers, scenario, threads=1)
    finally:
        go_on.set()


def test_recordings_do_not_disturb_each_other() -> None:
    schedules = [tuple((index * 7.0, index * 7.0 + 6.0, (index * step) % 4) for index in range(20)) for step in (1, 3)]
    together = tuple(
        (start + offset, end + offset, person)
        for offset, schedule in zip((0.0, 1000.0), schedules, strict=True)
        for start, end, person in schedule
    )

    async def scenario(diarizer: Diarizer) -> None:
        both = (spans(together[:20]), spans(together[20:]))
        found = await asyncio.gather(*(diarizer.diarize(SOUND, half, ANYBODY) for half in both for _ in range(3)))
        alone = [await diarizer.diarize(SOUND, half, ANYBODY) for half in both]
        assert found == [alone[0]] * 3 + [alone[1]] * 3

    with_diarizer(StubSpeakers(together), scenario)


@pytest.mark.parametrize(("threads", "at_once"), [(1, 1), (2, 1), (4, 1), (8, 3)])
def test_a_job_makes_way_for_who_waits_for_an_answer(threads: int, at_once: int) -> None:
    now = [1000.0]
    presence = Presence(lambda: now[0])
    speakers = StubSpeakers(tuple((start * 30.0, start * 30.0 + 8.0, 0) for start in range(12)))
    free = threading.Semaphore(0)
    began: list[float] = []

    def begin() -> None:
        began.append(time.monotonic())
        free.acquire(timeout=10)

    speakers.segmenter.before = begin

    async def scenario(diarizer: Diarizer) -> None:
        with presence.asking():
            job = asyncio.create_task(diarizer.diarize(SOUND, spans(speakers.schedule), ANYBODY))
            await until(lambda: len(began) == at_once)
            await asyncio.sleep(0.1)
            assert len(began) == at_once
            free.release()
            if at_once == 1 and threads <= 2:  # it takes at least 0.1 s, and rests for nine times as long
                now[0] += 0.8
                await asyncio.sleep(0.4)
                assert len(began) == 1
                now[0] += 10.0
            await until(lambda: len(began) == at_once + 1)
        now[0] += LINGERS
        await until(lambda: len(began) == threads + 1)  # of which one has ended: all places are taken
        free.release(12)
        found = await job
        assert [turn.speaker.number for turn in found.turns] == [0] * 12

    with_diarizer(speakers, scenario, threads=threads, presence=presence)


# --- voiceprints ------------------------------------------------------------------------------------------------------


def voiceprint(schedule: Schedule) -> Voiceprint:
    made: list[Voiceprint] = []

    async def scenario(diarizer: Diarizer) -> None:
        assert diarizer.encoder_id == "stub-encoder"
        made.append(await diarizer.voiceprint(SOUND, spans(schedule), param="sample"))

    with_diarizer(StubSpeakers(schedule), scenario)
    return made[0]


def test_a_voiceprint_is_the_voice_and_how_long_it_was_heard() -> None:
    made = voiceprint(((0.0, 8.0, 4), (9.0, 12.0, 4)))
    assert made.embedding == pytest.approx(VOICES[4])
    assert made.embedding.dtype == np.float32
    assert (made.seconds, made.encoder) == (11.0, "stub-encoder")


def test_a_second_of_speech_is_enough_and_less_is_not() -> None:
    assert voiceprint(((0.0, 1.0, 4),)).embedding == pytest.approx(VOICES[4])
    for schedule in (((0.0, 0.9, 4),), ()):
        with pytest.raises(AudioTooShort, match="voice needs 1 s") as caught:
            voiceprint(schedule)
        assert caught.value.param == "sample"


def test_speech_in_crumbs_is_no_voice() -> None:
    with pytest.raises(AudioTooShort) as caught:
        voiceprint(tuple((index * 1.0, index * 1.0 + 0.15, 4) for index in range(10)))
    assert caught.value.param == "sample"


def test_two_voices_are_refused_and_a_word_of_another_is_not() -> None:
    with pytest.raises(InvalidParameter, match="more than one voice") as caught:
        voiceprint(((0.0, 8.0, 0), (8.0, 14.0, 1)))
    assert caught.value.param == "sample"
    made = voiceprint(((0.0, 20.0, 0), (20.0, 21.5, 1)))
    assert made.embedding == pytest.approx(VOICES[0])


@pytest.mark.parametrize("overlap", [True, False])
def test_a_short_interjection_is_a_turn_of_its_own(overlap: bool) -> None:
    schedule = ((0.0, 5.0, 0), (5.0, 5.24, 1), (5.24, 9.0, 0), (12.0, 15.0, 1))

    async def scenario(diarizer: Diarizer) -> None:
        speech = [SpeechSpan(0.0, 9.0), SpeechSpan(12.0, 15.0)]
        found = await diarizer.diarize(SOUND, speech, SpeakerOptions(overlap=overlap))
        told = [(turn.speaker.number, round(turn.start, 1), round(turn.end, 1)) for turn in found.turns]
        assert told == [(0, 0.0, 5.0), (1, 5.0, 5.2), (0, 5.2, 9.1), (1, 11.9, 15.1)]

    with_diarizer(StubSpeakers(schedule), scenario)


def test_waiting_for_others_is_no_work() -> None:
    speech = [SpeechSpan(0.0, 9.0)]

    def measured(recordings: int) -> float:
        speakers = StubSpeakers(((0.0, 9.0, 0),))
        speakers.segmenter.before = lambda: time.sleep(0.1)
        work: list[float] = []

        async def scenario(diarizer: Diarizer) -> None:
            await asyncio.gather(*(diarizer.diarize(SOUND, speech, ANYBODY) for _ in range(recordings)))
            work.append(diarizer.work(speech))

        with_diarizer(speakers, scenario, threads=1)
        return work[0]

    assert measured(8) < 3 * measured(1)  # all together would be 4 to 5 times as much
