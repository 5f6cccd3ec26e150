"""A recording's way through the service with its speakers told apart, or its channels kept apart."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from audio.making import encode, wav
from audio.test_clock import restamped
from house import ENGLISH, SPANS, House, furnished, listen, transcribed
from pipeline.stubs import VOICES, StubDetector, StubSpeakers, clock_pcm, failing_on
from pipeline.test_batching import until
from real.scoring import wav_bytes

from app.domain.engines import SAMPLE_RATE, Hypothesis, PieceRequest, Sound, SpeechSpan
from app.domain.errors import DeadlineExceeded, EngineFailure
from app.domain.options import RecognitionOptions, SpeechDetection
from app.domain.speakers import KnownVoice, Speaker, SpeakerOptions, Voiceprint
from app.domain.transcript import Segment, Transcript, Word, join_words
from app.service.admission import Caller
from app.service.service import SpeechService

FIRST, SECOND = Speaker(0), Speaker(1)
SPEAKERS = RecognitionOptions(language="en", speakers=SpeakerOptions())
WORD = 0.5
"""Seconds."""


def said(asked: PieceRequest) -> Hypothesis:
    """A word for each half second of the piece but its padding; it says when it is."""
    times = np.arange(WORD, asked.piece.seconds - WORD - 0.01, WORD)
    words = tuple(
        Word(f"w{asked.piece.start + time:g}", float(time), float(time + WORD), tokens=(index,))
        for index, time in enumerate(times)
    )
    language = asked.options.language or "en"
    tokens = tuple(range(len(words)))
    return Hypothesis(join_words(words), language, {language: 1.0}, words if asked.options.timed else (), tokens)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = furnished(tmp_path, monkeypatch)
    made.recognizer.hears = said
    return made


@dataclass
class Gate:
    """What a stub model waits at until the test opens it; a test that fails opens it, too."""

    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        assert self.opened.wait(20), "the test never opened this gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def speaking(house: House, *schedule: tuple[float, float, int], spans: tuple[SpeechSpan, ...] | None = None) -> None:
    """Who speaks in the house's sound, and where speech is found in it; by default in a span for each turn."""
    house.speakers = StubSpeakers(schedule)
    house.detector.spans = spans or tuple(SpeechSpan(start, end) for start, end, _ in schedule)


async def told_apart(service: SpeechService, house: House, **wishes: object) -> Transcript:
    options = RecognitionOptions(language="en", speakers=SpeakerOptions(**wishes))
    return await transcribed(service, house.sound, options)


# --- speakers told apart ----------------------------------------------------------------------------------------------


def test_speakers_are_told_apart(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, SPEAKERS)
        assert transcript.speakers == (FIRST, SECOND)
        assert [segment.speaker for segment in transcript.segments] == [FIRST, SECOND, FIRST]
        for segment in transcript.segments:
            assert segment.words
            assert {word.speaker for word in segment.words} == {segment.speaker}
        assert transcript.text == (await transcribed(service, house.sound)).text

    house.run(scenario)


def test_nobody_is_told_apart_unasked(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, ENGLISH)
        assert transcript.speakers == ()
        assert {word.speaker for word in transcript.words} == {None}
        assert house.speakers.segmenter.heard == []

    house.run(scenario)


def test_a_sentence_that_two_say_is_parted(house: House) -> None:
    speaking(house, (1.0, 5.0, 0), (5.0, 9.0, 1), spans=(SpeechSpan(1.0, 9.0),))

    async def scenario(service: SpeechService) -> None:
        first, second = (await transcribed(service, house.sound, SPEAKERS)).segments
        assert (first.speaker, first.start, first.end) == (FIRST, 1.0, 5.0)
        assert (second.speaker, second.start, second.end) == (SECOND, 5.0, 9.0)
        assert first.text == "w1 w1.5 w2 w2.5 w3 w3.5 w4 w4.5"
        assert second.tokens == tuple(range(8, 16))

    house.run(scenario)


def test_sentences_of_one_speaker_are_one_paragraph(house: House) -> None:
    speaking(house, (1.0, 3.0, 0), (4.0, 7.0, 0), (8.0, 11.0, 1))

    def sentences(asked: PieceRequest) -> Hypothesis:
        heard = said(asked)
        words = tuple(replace(word, text=f"{word.text}!") for word in heard.words)
        return replace(heard, words=words, text=join_words(words))

    house.recognizer.hears = sentences

    async def scenario(service: SpeechService) -> None:
        plain = await transcribed(service, house.sound, ENGLISH)
        assert len(plain.segments) == 20, "only where speakers are told apart"
        transcript = await transcribed(service, house.sound, SPEAKERS)
        assert [segment.speaker for segment in transcript.segments] == [FIRST, SECOND]
        assert [word.text for word in plain.words] == [word.text for word in transcript.words]
        assert join_words(transcript.words) == transcript.text == plain.text
        *streamed, _ = [item async for item in listen(service, house.sound, SPEAKERS)]
        assert len(streamed) == 20, "a stream is sentence by sentence"

    house.run(scenario)


def test_without_word_times_a_piece_has_a_speaker(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", timed=False, speakers=SpeakerOptions())
        transcript = await transcribed(service, house.sound, options)
        assert [segment.speaker for segment in transcript.segments] == [FIRST, SECOND, FIRST]
        assert transcript.words == ()

    house.run(scenario)


def test_known_voices_are_named(house: House) -> None:
    anna = KnownVoice("Anna", (Voiceprint(VOICES[1], 3.0, "stub-encoder"),))

    async def scenario(service: SpeechService) -> None:
        transcript = await told_apart(service, house, voices=(anna,))
        assert transcript.speakers == (FIRST, Speaker(1, "Anna"))
        assert [segment.speaker for segment in transcript.segments] == [FIRST, Speaker(1, "Anna"), FIRST]

    house.run(scenario)


def test_as_many_as_are_wanted(house: House) -> None:
    speaking(house, (1.0, 3.0, 0), (7.0, 9.0, 1), (13.0, 15.0, 2))

    async def scenario(service: SpeechService) -> None:
        for wishes, number in (
            ({}, 3),
            ({"count": 1}, 1),
            ({"count": 2}, 2),
            ({"most": 2}, 2),
            ({"most": 5}, 3),
            ({"least": 2}, 3),
            ({"count": 9}, 3),
        ):
            transcript = await told_apart(service, house, **wishes)
            assert len(transcript.speakers) == number, wishes
            assert len({segment.speaker for segment in transcript.segments}) == number

    house.run(scenario)


def test_more_are_wanted_than_are_heard(house: House) -> None:
    speaking(house, (1.0, 3.0, 0), (7.0, 9.0, 1), (13.0, 15.0, 2))
    alike = VOICES.copy()
    alike[1], alike[2] = 0.8 * VOICES[0] + 0.6 * VOICES[9], 0.8 * VOICES[0] + 0.6 * VOICES[8]
    house.speakers.encoder.voices = alike

    async def scenario(service: SpeechService) -> None:
        for wishes, number in (({}, 1), ({"least": 2}, 2), ({"count": 3}, 3), ({"least": 3, "most": 3}, 3)):
            assert len((await told_apart(service, house, **wishes)).speakers) == number, wishes

    house.run(scenario)


def test_silence_has_no_speakers(house: House) -> None:
    speaking(house)

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, SPEAKERS)
        assert (transcript.text, transcript.segments, transcript.speakers) == ("", (), ())
        items = [item async for item in listen(service, house.sound, SPEAKERS)]
        assert items == [transcript]

    house.run(scenario)
    assert house.speakers.segmenter.heard == []


@pytest.mark.parametrize("speech", [(0.0, 1.0), (0.3, 0.8), (0.4, 0.55)])
def test_a_clip_of_a_second_is_one_speaker(house: House, speech: tuple[float, float]) -> None:
    house.sound.write_bytes(wav_bytes(clock_pcm(1.0)))
    speaking(house, (*speech, 0))
    house.recognizer.hears = lambda _: Hypothesis("Hi.", "en", {"en": 1.0}, (Word("Hi.", *speech),))

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, SPEAKERS)
        assert transcript.speakers == (FIRST,)
        assert [word.speaker for word in transcript.words] == [FIRST]

    house.run(scenario)


def test_speech_without_words_has_speakers_but_no_segments(house: House) -> None:
    house.recognizer.hears = lambda _: Hypothesis("", "en", {"en": 1.0})

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, SPEAKERS)
        assert (transcript.text, transcript.segments) == ("", ())
        assert transcript.speakers == (FIRST, SECOND)

    house.run(scenario)


def test_times_are_on_the_containers_clock(house: House, tmp_path: Path) -> None:
    sound = clock_pcm(16.0) / 32768
    exact = encode(tmp_path / "exact.mkv", sound, "pcm_s16le", rate=SAMPLE_RATE)
    house.sound = restamped(exact, tmp_path / "late.mkv", lambda at: at * 1.02)

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, house.sound, SPEAKERS)
        assert transcript.duration == pytest.approx(16 * 1.02, abs=0.05)
        for segment, span in zip(transcript.segments, SPANS, strict=True):
            assert (segment.start, segment.end) == pytest.approx((span.start * 1.02, span.end * 1.02), abs=0.02)
            assert segment.words[0].start == segment.start
        assert [segment.speaker for segment in transcript.segments] == [FIRST, SECOND, FIRST]
        *streamed, last = [item async for item in listen(service, house.sound, SPEAKERS)]
        assert [segment.start for segment in streamed] == [segment.start for segment in transcript.segments]
        assert last == transcript

    house.run(scenario)


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_has_the_speakers_of_the_transcript_it_ends_with(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        *segments, transcript = [item async for item in listen(service, house.sound, SPEAKERS)]
        assert [segment.speaker for segment in segments] == [FIRST, SECOND, FIRST]
        assert [word for segment in segments for word in segment.words] == list(transcript.words)
        assert transcript == await transcribed(service, house.sound, SPEAKERS)

    house.run(scenario)


def test_segments_wait_for_the_speakers_and_recognition_does_not(house: House, gate: Gate) -> None:
    house.speakers.segmenter.before = gate

    async def scenario(service: SpeechService) -> None:
        async with aclosing(listen(service, house.sound, SPEAKERS)) as items:
            first = asyncio.ensure_future(anext(items))
            await until(lambda: sum(map(len, house.recognizer.calls)) == 3 and service.waiting_pieces == 0)
            await asyncio.sleep(0.05)
            assert not first.done()
            gate.opened.set()
            assert (await first).speaker == FIRST
            assert [type(item) for item in [item async for item in items]] == [Segment, Segment, Transcript]

    house.run(scenario)


def test_once_the_speakers_are_known_segments_come_as_they_are_recognised(house: House) -> None:
    house.recognizer.held = True
    house.recognizer.batch_cost = 1.0

    async def scenario(service: SpeechService) -> None:
        async with aclosing(listen(service, house.sound, SPEAKERS)) as items:
            for number in range(3):
                following = asyncio.ensure_future(anext(items))
                await until(lambda number=number: len(house.recognizer.calls) == number + 1)
                await until(lambda: len(house.speakers.encoder.lengths) == 3)
                await asyncio.sleep(0.05)  # who speaks is known now
                assert not following.done()
                house.recognizer.release()
                assert (await following).start == SPANS[number].start
            assert isinstance(await anext(items), Transcript)

    house.run(scenario)


# --- failing and giving up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["segmenter", "encoder"])
@pytest.mark.parametrize("error", [EngineFailure("deaf"), ZeroDivisionError("secret")])
def test_a_failing_model_fails_the_request(house: House, broken: str, error: Exception) -> None:
    model = getattr(house.speakers, broken)

    def fail() -> None:
        raise error

    async def scenario(service: SpeechService) -> None:
        model.before = fail
        with pytest.raises(EngineFailure) as caught:
            await transcribed(service, house.sound, SPEAKERS)
        assert "secret" not in caught.value.message
        with pytest.raises(EngineFailure):
            async for item in listen(service, house.sound, SPEAKERS):
                assert not isinstance(item, Transcript), "never a success"
        assert (await transcribed(service, house.sound, ENGLISH)).text, "without speakers all is well"
        model.before = lambda: None
        assert len((await transcribed(service, house.sound, SPEAKERS)).speakers) == 2, "and so is the next"

    house.run(scenario)


@pytest.mark.parametrize("broken", ["recogniser", "detector"])
def test_what_fails_beside_it_ends_the_telling_apart(house: House, gate: Gate, broken: str) -> None:
    house.speakers.segmenter.before = gate
    if broken == "detector":
        house.detector.failure = EngineFailure("deaf")
    else:
        house.recognizer.hears = failing_on(12.5)

    async def scenario(service: SpeechService) -> None:
        async with asyncio.timeout(10):
            with pytest.raises(EngineFailure):
                await transcribed(service, house.sound, SPEAKERS)
        gate.opened.set()

    house.run(scenario)
    assert len(house.speakers.segmenter.heard) <= 1, "at most the chunk in hand"


@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_giving_up_in_the_middle_ends_it(house: House, gate: Gate, how: str) -> None:
    house.speakers.segmenter.before = gate

    async def scenario(service: SpeechService) -> None:
        if how == "whole":
            work = asyncio.create_task(transcribed(service, house.sound, SPEAKERS))
        else:
            work = asyncio.ensure_future(anext(listen(service, house.sound, SPEAKERS)))
        await until(lambda: len(house.speakers.segmenter.heard) == 1 and len(house.recognizer.calls) > 0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await until(lambda: service.active == 0)
        gate.opened.set()
        await asyncio.sleep(0.05)
        assert len(house.speakers.segmenter.heard) == 1, "the second chunk was never begun"
        house.speakers.segmenter.before = lambda: None
        assert len((await transcribed(service, house.sound, SPEAKERS)).speakers) == 2

    house.run(scenario)


def test_a_stream_closed_after_a_segment_leaves_nothing(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        async with aclosing(listen(service, house.sound, SPEAKERS)) as items:
            assert isinstance(await anext(items), Segment)
        assert service.active == 0

    house.run(scenario)


def test_the_deadline_holds_while_speakers_are_told_apart(house: House, gate: Gate) -> None:
    house.speakers.segmenter.before = gate

    async def scenario(service: SpeechService) -> None:
        with pytest.raises(DeadlineExceeded, match="within the time"):
            await transcribed(service, house.sound, SPEAKERS)
        assert len(house.recognizer.calls) > 0
        gate.opened.set()

    house.run(scenario, request_timeout_seconds=1.2)


def test_telling_apart_is_work_that_is_counted(house: House) -> None:
    house.speakers.segmenter.before = lambda: time.sleep(0.5)

    async def scenario(service: SpeechService) -> None:
        await transcribed(service, house.sound, SPEAKERS)
        heard = len(house.speakers.segmenter.heard)
        with (
            service.admit(Caller(patience=0.9)) as ticket,
            pytest.raises(DeadlineExceeded, match="needs about"),
        ):
            await service.transcribe(house.sound, "whisper-base", SPEAKERS, ticket)
        assert len(house.speakers.segmenter.heard) == heard, "refused before it began"
        with service.admit(Caller(patience=0.9)) as ticket:
            await service.transcribe(house.sound, "whisper-base", ENGLISH, ticket)

    house.run(scenario)


# --- channels ---------------------------------------------------------------------------------------------------------

LEFT, RIGHT = 0.25, 0.5
"""How loud each side speaks, by which it is known."""
APART = RecognitionOptions(language="en", split_channels=True, channel_roles=("Agent", "Customer"))


@dataclass
class LoudDetector(StubDetector):
    """Finds speech wherever a sound is not silent."""

    def detect(self, sound: Sound, options: SpeechDetection) -> list[SpeechSpan]:
        loud = sound.piece(0.0, sound.duration)[:: SAMPLE_RATE // 10] != 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
        return [SpeechSpan(start / 10, end / 10) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def side(asked: PieceRequest) -> Hypothesis:
    """Words that say who speaks, and when."""
    who = "left" if round(float(asked.piece.samples.max()), 2) == LEFT else "right"
    heard = said(asked)
    words = tuple(Word(f"{who}{word.text}", word.start, word.end) for word in heard.words)
    return Hypothesis(join_words(words), "en", {"en": 1.0}, words)


def talk(*turns: tuple[float, float], loudness: float, seconds: float = 20.0) -> np.ndarray:
    """Constant sound in these turns."""
    sound = np.zeros(round(seconds * SAMPLE_RATE))
    for start, end in turns:
        sound[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = loudness
    return sound


@pytest.fixture
def line(house: House) -> House:
    """A telephone line: each side has a channel, and they speak in turn."""
    house.detector = LoudDetector(())
    house.recognizer.hears = side
    left, right = talk((1, 3), (9, 11), loudness=LEFT), talk((4, 6), (10, 14), loudness=RIGHT)
    wav(house.sound, np.stack([left, right], axis=1))
    return house


AGENT, CUSTOMER = Speaker(0, "Agent"), Speaker(1, "Customer")


def test_channels_are_speakers_with_their_roles(line: House) -> None:
    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, APART)
        assert transcript.speakers == (AGENT, CUSTOMER)
        assert [(segment.speaker, segment.start, segment.end) for segment in transcript.segments] == [
            (AGENT, 1, 3),
            (CUSTOMER, 4, 6),
            (AGENT, 9, 11),
            (CUSTOMER, 10, 14),
        ]
        for segment in transcript.segments:
            assert {word.speaker for word in segment.words} == {segment.speaker}
            who = "left" if segment.speaker == AGENT else "right"
            assert all(word.text.startswith(who) for word in segment.words), "each hears its own channel"
        assert transcript.text == " ".join(segment.text for segment in transcript.segments)
        assert (transcript.duration, transcript.warnings) == (20.0, ())

    line.run(scenario)
    assert line.speakers.segmenter.heard == [], "nothing has to be told apart"


def test_a_stream_of_channels_is_in_order_of_time(line: House) -> None:
    async def scenario(service: SpeechService) -> None:
        *segments, transcript = [item async for item in listen(service, line.sound, APART)]
        assert [segment.start for segment in segments] == [1, 4, 9, 10]
        assert transcript == await transcribed(service, line.sound, APART)

    line.run(scenario)


@pytest.mark.parametrize("roles", [(), ("Agent",), ("Agent", "Customer", "Nobody")])
def test_channels_without_a_role_have_no_name(line: House, roles: tuple[str, ...]) -> None:
    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", split_channels=True, channel_roles=roles)
        transcript = await transcribed(service, line.sound, options)
        names = [*roles, None, None][:2]
        assert transcript.speakers == (Speaker(0, names[0]), Speaker(1, names[1]))

    line.run(scenario)


def test_channels_need_no_models_and_speakers_asked_beside_them_are_the_channels(line: House) -> None:
    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", split_channels=True, speakers=SpeakerOptions(count=1))
        assert len((await transcribed(service, line.sound, options)).speakers) == 2
        assert not service.tells_speakers

    line.run(scenario, speaker_diarization="off")


def test_a_silent_channel_is_no_speaker(line: House) -> None:
    wav(line.sound, np.stack([talk(loudness=LEFT), talk((4, 6), loudness=RIGHT)], axis=1))

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, APART)
        assert transcript.speakers == (CUSTOMER,)
        assert [segment.speaker for segment in transcript.segments] == [CUSTOMER]

    line.run(scenario)


def test_silence_on_all_channels(line: House) -> None:
    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, APART)
        assert (transcript.text, transcript.segments, transcript.speakers) == ("", (), ())

    line.detector = StubDetector(())
    line.run(scenario)


def test_a_mono_recording_has_no_channels_to_keep_apart(line: House) -> None:
    wav(line.sound, talk((1, 3), loudness=LEFT))

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, APART)
        assert transcript.warnings == ("single_channel",)
        assert transcript.speakers == ()
        assert [segment.speaker for segment in transcript.segments] == [None]

    line.run(scenario)


def test_one_sound_on_both_channels_is_one_transcript(line: House) -> None:
    both = talk((1, 3), (9, 11), loudness=LEFT)
    wav(line.sound, np.stack([both, both], axis=1))

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, APART)
        assert transcript.warnings == ("channels_alike",)
        assert [(segment.start, segment.speaker) for segment in transcript.segments] == [(1, None), (9, None)]
        assert all(word.text.startswith("left") for word in transcript.words), "as loud as each"

    line.run(scenario)
    assert sum(map(len, line.recognizer.calls)) == 2, "recognised once"


@pytest.mark.parametrize("channels", [1, 2])
def test_where_channels_cannot_be_kept_apart_speakers_are_told_apart(house: House, channels: int) -> None:
    sound = clock_pcm(16.0) / 32767
    wav(house.sound, np.stack([sound] * channels, axis=1))

    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", split_channels=True, speakers=SpeakerOptions())
        transcript = await transcribed(service, house.sound, options)
        assert transcript.warnings == (("channels_alike",) if channels == 2 else ("single_channel",))
        assert [segment.speaker for segment in transcript.segments] == [FIRST, SECOND, FIRST]

    house.run(scenario)


def test_unasked_channels_are_mixed(line: House) -> None:
    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, ENGLISH)
        assert (transcript.speakers, transcript.warnings) == ((), ())

    line.run(scenario)


def test_a_channel_that_fails_fails_the_request(line: House) -> None:
    def fail(asked: PieceRequest) -> Hypothesis:
        if float(asked.piece.samples.max()) > LEFT + 0.1:
            raise EngineFailure("the right one cannot be recognised")
        return side(asked)

    line.recognizer.hears = fail

    async def scenario(service: SpeechService) -> None:
        for _ in range(3):
            with pytest.raises(EngineFailure, match="the right one"):
                await transcribed(service, line.sound, APART)
        line.recognizer.hears = side
        assert (await transcribed(service, line.sound, APART)).text

    line.run(scenario)


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_giving_channels_up_leaves_nothing(line: House, how: str) -> None:
    line.recognizer.held = True
    line.recognizer.batch_cost = 1.0

    async def scenario(service: SpeechService) -> None:
        if how == "cancelled":
            work = asyncio.create_task(transcribed(service, line.sound, APART))
            await until(lambda: len(line.recognizer.calls) == 1)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
        else:
            async with aclosing(listen(service, line.sound, APART)) as items:
                first = await line.recognizer.let_go_until(asyncio.ensure_future(anext(items)))
                assert isinstance(first, Segment)
        assert service.active == 0
        line.recognizer.release(10)

    line.run(scenario)


def test_channels_of_a_long_call_stay_in_order(line: House) -> None:
    left = talk(*[(start, start + 3) for start in range(0, 110, 7)], loudness=LEFT, seconds=120)
    right = talk(*[(start + 2, start + 6) for start in range(0, 110, 9)], loudness=RIGHT, seconds=120)
    wav(line.sound, np.stack([left, right], axis=1))

    async def scenario(service: SpeechService) -> None:
        transcript = await transcribed(service, line.sound, APART)
        for before, after in itertools.pairwise(transcript.segments):
            assert before.start <= after.start
        for speaker, who in ((AGENT, "left"), (CUSTOMER, "right")):
            own = [segment for segment in transcript.segments if segment.speaker == speaker]
            times = [float(word.text.removeprefix(f"{who}w")) for segment in own for word in segment.words]
            assert times == sorted(times)
            assert len(set(times)) == len(times) > 50

    line.run(scenario)
