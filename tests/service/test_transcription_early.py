"""Text ahead of its segments: all of it, in order, as it will be written, and whatever the segments wait for."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from audio.making import wav
from house import ENGLISH, House, furnished
from pipeline.stubs import ABLE, StubContinuousRecognizer, StubDetector, Talk, clock_pcm
from pipeline.test_batching import until

from app.domain.engines import Capabilities, Hypothesis, PieceRequest, SpeechSpan
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.domain.transcript import Segment, Spoken, Transcript, Word
from app.pipeline import recognition
from app.pipeline.chinese import ChineseWriting
from app.service.admission import Caller
from app.service.service import SpeechService

Item = Segment | Spoken | Transcript
CHINESE = RecognitionOptions(language="zh")
TITLE = "大目乾連冥間救母變文"
"""The longest phrase that has a form of its own: its fourth character depends on the tenth."""
TRICKY = (
    *("乾", "乾坤", "乾燥", "乾隆", "乾清宮", TITLE, TITLE[:9], TITLE[:5], "後", "皇后", "頭髮", "發", "著", "著名"),
    *("瞭", "瞭望", "瞭解", "徵", "宮商角徵羽", "藉", "狼藉", "藉口", "於", "餘", "鍾", "覆", "答覆", "麼", "什麼"),
    *(",", ".", "?", "!", "3.5", "12:30", "OpenAI", " ", "好", "的", "，", "。"),
)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return furnished(tmp_path, monkeypatch)


def continuous(house: House, able: Capabilities = ABLE) -> StubContinuousRecognizer:
    """From here on the house has a recogniser that tells what it hears."""
    made = StubContinuousRecognizer(id="whisper-base", capabilities=able)
    house.recognizer = made  # type: ignore[assignment]
    return made


async def early(
    service: SpeechService, house: House, options: RecognitionOptions = ENGLISH
) -> AsyncGenerator[Item, None]:
    """A stream whose text is wanted early."""
    with service.admit(Caller()) as ticket:
        items = service.stream(house.sound, "whisper-base", options, ticket, early=True)
        async with aclosing(cast("AsyncGenerator[Item, None]", items)) as stream:
            async for item in stream:
                yield item


def text_of(items: list[Item]) -> str:
    return "".join(item.text for item in items if isinstance(item, Spoken))


async def talk(recognizer: StubContinuousRecognizer, start: float = 0.5) -> Talk:
    await until(lambda: start in recognizer.talks)
    return recognizer.talks[start]


def test_who_hears_in_batches_tells_piece_by_piece(house: House) -> None:
    def hear(asked: PieceRequest) -> Hypothesis:
        words = (Word("One.", 0.5, 1.0), Word(f"At {asked.piece.start:g}.", 1.0, 1.5))
        return Hypothesis(f"One. At {asked.piece.start:g}.", "en", {"en": 1.0}, words)

    house.recognizer.hears = hear

    async def scenario(service: SpeechService) -> None:
        *items, transcript = [item async for item in early(service, house)]
        assert isinstance(transcript, Transcript)
        kinds = [type(item) for item in items]
        assert kinds == [Spoken, Segment, Segment] * 3
        assert text_of(items) == transcript.text == "One. At 0.5. One. At 6.5. One. At 12.5."

    house.run(scenario)


def test_text_does_not_wait_for_speakers(house: House) -> None:
    recognizer, told = continuous(house), threading.Event()
    house.speakers.segmenter.before = lambda: _wait(told)

    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", speakers=SpeakerOptions())
        items: list[Item] = []
        listening = asyncio.create_task(_collect(early(service, house, options), items))
        pieces = ((0.5, "Good day."), (6.5, "Good night."), (12.5, "Good bye."))
        for start, text in pieces:
            (await talk(recognizer, start)).say(text[:7])
            await until(lambda text=text: text_of(items).endswith(text[:7]))
            (await talk(recognizer, start)).end(text)
        await until(lambda: text_of(items) == "Good day. Good night. Good bye.")
        assert {type(item) for item in items} == {Spoken}, "segments do wait"
        told.set()
        await listening
        *segments, transcript = [item for item in items if not isinstance(item, Spoken)]
        assert [type(item) for item in segments] == [Segment] * 3
        assert len({item.speaker for item in segments if isinstance(item, Segment)}) == 2
        assert isinstance(transcript, Transcript)
        assert transcript.text == text_of(items) == "Good day. Good night. Good bye."

    house.run(scenario)


def _wait(told: threading.Event) -> None:
    assert told.wait(20), "the test never let speakers be told apart"


def test_channels_have_segments_only(house: House) -> None:
    recognizer = continuous(house)
    recognizer.hears = lambda asked: Hypothesis(f"{asked.piece.start:g}", "en", {"en": 1.0})
    left = clock_pcm(16.0)
    wav(house.sound, np.stack([left, -left], axis=1))

    async def scenario(service: SpeechService) -> None:
        options = RecognitionOptions(language="en", split_channels=True)
        items = [item async for item in early(service, house, options)]
        assert [type(item) for item in items] == [Segment] * 6 + [Transcript]
        assert not any(talk.followed for talk in recognizer.talks.values())

    house.run(scenario)


def test_who_wants_no_early_text_costs_none(house: House) -> None:
    recognizer = continuous(house)
    recognizer.hears = lambda asked: Hypothesis(f"{asked.piece.start:g}", "en", {"en": 1.0})

    async def scenario(service: SpeechService) -> None:
        with service.admit(Caller()) as ticket:
            items = [item async for item in service.stream(house.sound, "whisper-base", ENGLISH, ticket)]
        assert [type(item) for item in items] == [Segment] * 3 + [Transcript]
        assert not any(talk.followed for talk in recognizer.talks.values())

    house.run(scenario)


@pytest.mark.parametrize("known", [True, False], ids=["language given", "language not known"])
def test_what_was_told_stays_however_chinese_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(recognition, "_PACE", 0.0)  # every character of it is looked at
    mixing = Capabilities(
        frozenset({"zh"}), frozenset({"transcribe"}), max_seconds=30, preferred_seconds=15, mixes_languages=True
    )
    recognizer = continuous(house, mixing)
    house.detector = StubDetector((SpeechSpan(1.0, 3.0),))
    chance = random.Random(7)
    texts = [TITLE, TITLE[:9] + "乾", "好" + TITLE * 2] + [
        "".join(chance.choices(TRICKY, k=40)).strip() for _ in range(15)
    ]
    writing = ChineseWriting()

    async def scenario(service: SpeechService) -> None:
        stretches = 0
        for text in texts:
            recognizer.talks.clear()
            options = CHINESE if known else RecognitionOptions()
            items: list[Item] = []
            listening = asyncio.create_task(_collect(early(service, house, options), items))
            saying = await talk(recognizer)
            for count in range(1, len(text) + 1):
                saying.say(text[:count])
                for _ in range(6):
                    await asyncio.sleep(0)
            saying.end(text, "zh")
            await listening
            *told, transcript = items
            assert isinstance(transcript, Transcript)
            assert text_of(told) == transcript.text == writing.text(text)
            stretches += sum(isinstance(item, Spoken) for item in told)
        # Characters of which the form is not sure yet are not told, the others are.
        assert stretches > (sum(map(len, texts)) // 2 if known else 2 * len(texts))

    house.run(scenario)


async def _collect(stream: AsyncGenerator[Item, None], items: list[Item]) -> None:
    async for item in stream:
        items.append(item)
