"""What text passes through, step by step, for recognisers that write marks and digits and for those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.domain.engines import Capabilities, Hypothesis
from app.domain.errors import EngineFailure
from app.domain.hotwords import Hotword
from app.domain.options import RecognitionOptions
from app.domain.transcript import Word, join_words
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.numbers import NumberWriting
from app.pipeline.text.punctuation import split
from app.pipeline.text.writing import Correctors, Writer, Writing

WRITES_ALL = Capabilities(frozenset({"zh", "en"}), frozenset({"transcribe"}), max_seconds=30, preferred_seconds=15)
WRITES_WORDS = replace(WRITES_ALL, punctuates=False, writes_numbers=False)


class EndOnly:
    """A punctuator that ends what it gets."""

    id = "end-only"
    languages = frozenset({"zh"})

    def marks(self, words: Sequence[str]) -> list[str]:
        return [""] * (len(words) - 1) + ["。"]


class Broken(EndOnly):
    def marks(self, words: Sequence[str]) -> list[str]:
        raise EngineFailure("the punctuation model failed")


@pytest.fixture(scope="module")
def writing() -> Writing:
    return Writing(ChineseWriting(), EndOnly(), NumberWriting(), Correctors())


def heard(text: str, language: str = "zh", *, timed: bool = True, confidence: float | None = None) -> Hypothesis:
    words = tuple(
        replace(word, start=place * 0.2, end=place * 0.2 + 0.2, confidence=confidence, tokens=(place,))
        for place, word in enumerate(split(text))
    )
    return Hypothesis(text, language, {language: 1.0}, words if timed else ())


def write(writing: Writing, hypothesis: Hypothesis, able: Capabilities, **options: object) -> Hypothesis:
    return Writer(writing, RecognitionOptions(**options), able).written(hypothesis).hypothesis  # type: ignore[arg-type]


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize(
    ("able", "options", "text"),
    [
        (WRITES_WORDS, {}, "今天有20个人来。"),
        (WRITES_WORDS, {"itn": False}, "今天有二十个人来。"),
        (WRITES_WORDS, {"punctuation": False}, "今天有20个人来"),
        (WRITES_WORDS, {"punctuation": False, "itn": False}, "今天有二十个人来"),
        (WRITES_ALL, {}, "今天有二十个人来"),
        (WRITES_ALL, {"itn": True}, "今天有20个人来"),
    ],
)
def test_marks_and_digits(
    writing: Writing, able: Capabilities, options: dict[str, object], text: str, timed: bool
) -> None:
    written = write(writing, heard("今天有二十个人来", timed=timed), able, **options)
    assert written.text == text
    assert (join_words(written.words) == text) if timed else (written.words == ())


def test_marks_are_taken_out_of_what_has_them(writing: Writing) -> None:
    written = write(writing, heard("Hello, world. It's 3.5!", "en"), WRITES_ALL, punctuation=False)
    assert written.text == join_words(written.words) == "Hello world It's 3.5"


def test_what_need_not_change_is_not_touched(writing: Writing) -> None:
    hypothesis = heard("Hello,  world.", "en")
    assert write(writing, hypothesis, WRITES_ALL) == hypothesis
    nothing = Hypothesis("", "zh", {"zh": 1.0})
    assert write(writing, nothing, WRITES_WORDS) is nothing


def test_languages_that_a_step_does_not_know_pass_by_it(writing: Writing) -> None:
    assert write(writing, heard("zwanzig Leute", "de"), WRITES_WORDS).text == "zwanzig Leute"


def test_traditional_characters_become_simplified_first(writing: Writing) -> None:
    assert write(writing, heard("今天有二十個人來"), WRITES_WORDS).text == "今天有20个人来。"


def test_steps_that_are_not_there_are_left_out() -> None:
    assert write(Writing(ChineseWriting()), heard("二十个人", confidence=0.1), WRITES_WORDS).text == "二十个人"


def test_hotwords_are_mended_and_counted(writing: Writing) -> None:
    hotwords = (Hotword("达摩院"),)
    written = Writer(writing, RecognitionOptions(hotwords=hotwords), WRITES_WORDS).written(
        heard("欢迎来到大魔院", confidence=0.4)
    )
    assert written.hypothesis.text == "欢迎来到达摩院。"
    assert written.corrected == {"达摩院": 1}
    assert written.hypothesis.words[-1].end == pytest.approx(7 * 0.2)


def test_translations_are_not_mended(writing: Writing) -> None:
    options = RecognitionOptions(hotwords=(Hotword("达摩院"),), task="translate")
    written = Writer(writing, options, WRITES_ALL).written(heard("Welcome to the damo yuan", "zh", confidence=0.2))
    assert written.hypothesis.text == "Welcome to the damo yuan"
    assert written.corrected == {}


def test_equal_lists_are_indexed_once() -> None:
    correctors = Correctors()
    hotwords = (Hotword("达摩院"), Hotword("通义千问", 2.0))
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: correctors.of(hotwords, "zh"), range(8)))
    assert correctors.of(tuple(hotwords), "zh") in made
    assert correctors.of(hotwords[:1], "zh") not in made


def test_a_failing_step_fails_the_piece() -> None:
    with pytest.raises(EngineFailure):
        write(Writing(ChineseWriting(), Broken()), heard("你好"), WRITES_WORDS)


def test_words_keep_what_they_carry(writing: Writing) -> None:
    hypothesis = heard("一共一百二十三块", confidence=0.5)
    written = write(writing, hypothesis, WRITES_WORDS)
    assert [(word.text, word.tokens) for word in written.words] == [
        ("一", (0,)), ("共", (1,)), ("123", (2, 3, 4, 5, 6)), ("块。", (7,))
    ]  # fmt: skip
    assert all(isinstance(word, Word) and word.confidence == 0.5 for word in written.words)
