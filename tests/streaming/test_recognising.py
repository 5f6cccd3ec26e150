"""In which language short pieces are heard: in the stream's, once that is rather certain, and free before."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from app.domain.engines import Hypothesis, SpeechSpan, WaitingRequest
from app.domain.options import RecognitionOptions
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.writing import Writing
from app.pipeline.turns import Turn
from app.streaming.recognising import Recognising
from app.streaming.sound import Stretch
from app.streaming.speech import OpenPiece, Utterance

from .talk import ABLE

DETECTS = replace(ABLE, languages=frozenset({"en", "zh", "cy"}))


class Linguist:
    """Hears what language it was told to, else what it is set to."""

    def __init__(self) -> None:
        self.hears, self.chance = "en", 0.95
        self.told: list[str | None] = []

    async def submit(self, request: WaitingRequest, _turn: Turn) -> Hypothesis:
        self.told.append(request.options.language)
        language = request.options.language or self.hears
        return Hypothesis("so", language, {language: 1.0 if request.options.language else self.chance})


def talk(linguist: Linguist, *utterances: tuple[str, float, float], given: str | None = None) -> list[str | None]:
    """The languages of utterances of a language, a chance and seconds each."""

    async def run() -> list[str | None]:
        heard: list[str | None] = []
        with ThreadPoolExecutor(1) as threads:
            options = RecognitionOptions(language=given)
            recognising = Recognising(linguist.submit, DETECTS, Writing(ChineseWriting()), options, threads)
            for index, (language, chance, seconds) in enumerate(utterances, 1):
                linguist.hears, linguist.chance = language, chance
                sound = Stretch(0.0, np.zeros(round(seconds * 16_000), np.float32))
                hearing = asyncio.create_task(recognising.hear(sound))
                piece = OpenPiece(0.0, [SpeechSpan(0.0, seconds)], seconds, hearing)
                heard.append((await recognising.final(Utterance(index, 0.0, [piece]))).language)
        return heard

    return asyncio.run(run())


def test_a_first_um_does_not_settle_the_language() -> None:
    assert talk(Linguist(), ("cy", 0.35, 0.8), ("en", 0.9, 1.5), ("en", 0.9, 1.5)) == ["cy", "en", "en"]


def test_once_it_is_known_a_short_word_is_heard_in_it() -> None:
    assert talk(Linguist(), ("en", 0.95, 6.0), ("cy", 0.4, 0.8)) == ["en", "en"]


def test_what_is_long_enough_is_heard_as_what_it_is_and_changes_what_is_known() -> None:
    heard = talk(Linguist(), ("en", 0.95, 6.0), ("zh", 0.95, 5.0), ("zh", 0.95, 9.0), ("cy", 0.4, 0.8))
    assert heard == ["en", "zh", "zh", "zh"]


def test_what_was_held_to_a_language_is_no_evidence_for_it() -> None:
    linguist = Linguist()
    talk(linguist, ("en", 0.95, 4.0), *[("en", 0.95, 1.0)] * 40, ("zh", 0.95, 7.0), ("cy", 0.4, 0.8))
    assert linguist.told[-1] == "zh"


def test_a_given_language_is_the_language() -> None:
    linguist = Linguist()
    assert talk(linguist, ("en", 0.9, 5.0), ("en", 0.9, 0.5), given="zh") == ["zh", "zh"]
    assert linguist.told == ["zh", "zh"]
