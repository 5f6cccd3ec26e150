"""Sensitive terms on their way through the service: recordings, their segments while they are streamed, live speech."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from house import ENGLISH, House, furnished, transcribed
from pipeline.test_batching import until
from streaming.talk import said as spoken
from test_live import LIVE, PCM, LiveDetector, loudness
from test_transcription import said

from app.domain.events import Final, Partial, StreamEvent
from app.domain.hotwords import Hotword, HotwordHit
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.domain.transcript import Segment, Spoken, Transcript
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = furnished(tmp_path, monkeypatch)
    made.recognizer.hears = said
    return made


async def streamed(
    service: SpeechService, house: House, options: RecognitionOptions, *, early: bool = False
) -> tuple[list[Segment], Transcript]:
    """A stream's segments and its transcript; no text comes ahead of them."""
    items: list[Segment | Spoken | Transcript] = []
    with service.admit(Caller()) as ticket:
        stream = service.stream(house.sound, "whisper-base", options, ticket, early=early)
        async with aclosing(stream) as parts:
            items = [part async for part in parts]
    *before, last = items
    assert isinstance(last, Transcript)
    assert all(isinstance(item, Segment) for item in before)
    return [item for item in before if isinstance(item, Segment)], last


def test_a_recording_says_nothing_of_what_is_masked(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        plain = await transcribed(service, house.sound)
        texts = [word.text for word in plain.words]
        masking = (Masking((texts[1], f"{texts[-1]}")),)
        for options in (ENGLISH, replace(ENGLISH, speakers=SpeakerOptions())):
            found = await transcribed(service, house.sound, replace(options, masking=masking))
            shown = [*found.text.split(), *(word.text for word in found.words)]
            assert len(shown) == 2 * len(texts)
            assert not {texts[1], texts[-1]} & set(shown)
            assert found.words[1].start == plain.words[1].start
            assert found.words[1].text == "*" * len(texts[1])
            assert not any(text in segment.text for segment in found.segments for text in (texts[1], texts[-1]))

    house.run(scenario)


def test_a_stream_holds_a_segment_back_while_a_term_may_go_on_in_the_next(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        plain, _ = await streamed(service, house, ENGLISH)
        assert len(plain) == 3
        last, first = plain[0].words[-1].text, plain[1].words[0].text
        options = replace(ENGLISH, masking=(Masking((f"{last} {first}",)),))
        segments, transcript = await streamed(service, house, options, early=True)
        assert [segment.text for segment in segments] == [segment.text for segment in transcript.segments]
        assert segments[0].words[-1].text == "*" * len(last)
        assert segments[1].words[0].text == "*" * len(first)
        assert segments[2] == plain[2]
        assert not {last, first} & set(transcript.text.split())
        removed, transcript = await streamed(
            service, house, replace(ENGLISH, masking=(Masking((plain[1].text,), "remove"),))
        )
        assert removed == [plain[0], plain[2]]
        assert transcript.text == f"{plain[0].text} {plain[2].text}"

    house.run(scenario)


def test_hits_are_counted_in_what_can_be_read(house: House) -> None:
    async def scenario(service: SpeechService) -> None:
        plain = await transcribed(service, house.sound)
        secret, open_ = plain.words[1].text, plain.words[0].text
        options = replace(ENGLISH, hotwords=(Hotword(secret), Hotword(open_)), masking=(Masking((secret,)),))
        assert (await transcribed(service, house.sound, options)).hotwords == (HotwordHit(open_, 1, 0),)
        marked = replace(options, masking=(Masking((secret,), "parentheses"),))
        assert {hit.text for hit in (await transcribed(service, house.sound, marked)).hotwords} == {secret, open_}

    house.run(scenario)


async def collect(stream: LiveStream, events: list[StreamEvent]) -> None:
    async for event in stream.events():
        events.append(event)


@pytest.mark.parametrize(("style", "expected"), [("stars", "w1 ** ** w4"), ("remove", "w1 w4")])
def test_live_speech_is_masked_while_it_is_said_and_when_it_is_final(house: House, style: str, expected: str) -> None:
    house.detector = LiveDetector(())
    house.recognizer.hears = loudness
    masking = (Masking(("w2 w3",), "stars" if style == "stars" else "remove"),)
    sound = spoken((0, 0.3), (1, 0.8), (2, 0.8), (3, 0.8), (4, 1.2))

    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(timed=False, masking=masking)
        async with service.listen("whisper-base", options, LIVE, Caller(), PCM) as stream:
            events: list[StreamEvent] = []
            reading = asyncio.create_task(collect(stream, events))
            for block in np.array_split(sound, 40):
                await stream.feed(block.tobytes())
                await asyncio.sleep(0.01)  # guesses are made meanwhile
            await until(lambda: any(isinstance(event, Partial) and event.text == expected for event in events))
            await stream.finish()
            await reading
        (final,) = [event for event in events if isinstance(event, Final)]
        assert (final.text, [segment.text for segment in final.segments]) == (expected, [expected])
        partials = [event for event in events if isinstance(event, Partial)]
        assert partials
        for partial in partials:
            assert partial.text.startswith(partial.stable)
            assert "w2" not in partial.text
            assert "w3" not in partial.text

    house.run(scenario)
