"""Chinese as readers expect it: simplified, with its own marks; and text and words that still agree."""

from __future__ import annotations

import pytest

from app.domain.transcript import Word, join_words
from app.pipeline.chinese import ChineseWriting


@pytest.fixture(scope="module")
def writing() -> ChineseWriting:
    return ChineseWriting()


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text, index, index + 1, 0.5, space_before=False) for index, text in enumerate(texts))


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("歡迎大家來體驗語音識別模型", "欢迎大家来体验语音识别模型"),
        ("头发发现", "头发发现"),
        ("頭髮發現", "头发发现"),
        ("乾坤與乾燥", "乾坤与干燥"),
        ("好,走吧!真的?", "好，走吧！真的？"),
        ("涨了3.5%,到12:30.", "涨了3.5%,到12:30."),
        ("OpenAI, yes", "OpenAI, yes"),
        ("", ""),
    ],
)
def test_text_is_rewritten(writing: ChineseWriting, heard: str, written: str) -> None:
    assert writing.text(heard) == written


def test_words_are_rewritten_with_their_neighbours_in_view(writing: ChineseWriting) -> None:
    # 乾 stays in 乾坤 and becomes 干 in 乾燥: a character by itself cannot tell.
    written = writing.words(words("乾", "坤", "與", "乾", "燥,", "好"))
    assert [word.text for word in written] == ["乾", "坤", "与", "干", "燥，", "好"]


def test_only_the_text_of_a_word_changes(writing: ChineseWriting) -> None:
    (word,) = writing.words((Word("體", 1.5, 2.0, 0.7, False, (7, 8)),))
    assert word == Word("体", 1.5, 2.0, 0.7, False, (7, 8))


@pytest.mark.parametrize("text", ["歡迎來到北京,我們去公園。", "頭髮,發現!", "他說:好.", "我愛OpenAI的模型,真的"])
def test_words_join_to_the_rewritten_text(writing: ChineseWriting, text: str) -> None:
    split: list[str] = []
    for mark in text:
        if mark.isalnum() or not split:
            split.append(mark)
        else:
            split[-1] += mark
    assert join_words(writing.words(words(*split))) == writing.text(text)


def test_nothing_is_nothing(writing: ChineseWriting) -> None:
    assert writing.words(()) == ()
