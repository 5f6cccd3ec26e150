"""Marks: set between words, taken out again, and texts taken apart and joined."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.transcript import Word, join_words
from app.pipeline.text.punctuation import punctuated, split, unpunctuated


class Marks:
    """A punctuator whose marks are given."""

    id = "given"
    languages = frozenset({"zh", "en"})

    def __init__(self, *marks: str) -> None:
        self._marks = list(marks)

    def marks(self, words: Sequence[str]) -> list[str]:
        return self._marks


def words(*texts: str) -> tuple[Word, ...]:
    latin = [text.isascii() for text in texts]
    return tuple(
        Word(text, place * 0.3, place * 0.3 + 0.2, 0.9, place > 0 and latin[place] and latin[place - 1], (place,))
        for place, text in enumerate(texts)
    )


def test_marks_after_chinese_are_full_width_and_after_latin_words_ascii() -> None:
    said = words("你", "好", "hello", "world", "吗")
    written = punctuated(said, Marks("", "，", "，", "。", "？"))
    assert [word.text for word in written] == ["你", "好，", "hello,", "world.", "吗？"]
    assert join_words(written) == "你好，hello, world.吗？"


def test_a_latin_word_that_begins_a_sentence_has_a_capital() -> None:
    written = punctuated(words("how", "are", "you", "today", "i'm", "fine"), Marks("", "", "", "？", "", "。"))
    assert join_words(written) == "How are you today? I'm fine."


def test_nothing_but_the_text_changes() -> None:
    said = words("你", "好")
    for before, after in zip(said, punctuated(said, Marks("", "。")), strict=True):
        assert (before.start, before.end, before.confidence, before.tokens, before.space_before) == (
            after.start, after.end, after.confidence, after.tokens, after.space_before
        )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("今天，天气很好。", "今天天气很好"),
        ("Hello, world! How are you?", "Hello world How are you"),
        ("It's 3.5% at 12:30, isn't it?", "It's 3.5% at 12:30 isn't it"),
        ("well-known e.g. Mr. Smith", "well-known e.g Mr Smith"),
        ("卡尔·马克思说：“你好”。", "卡尔·马克思说你好"),
        ("1,234.5元。", "1,234.5元"),
        ("（笑）", "笑"),
        ("C++ and C#", "C++ and C#"),
        ("。。。", ""),
        ("", ""),
    ],
)
def test_marks_are_taken_out(text: str, bare: str) -> None:
    assert join_words(unpunctuated(split(text))) == bare


def test_what_was_nothing_but_a_mark_leaves_its_time_and_tokens() -> None:
    said = words("…", "你", "。", "好", "！")
    written = unpunctuated(said)
    assert [(word.text, word.start, word.end, word.tokens) for word in written] == [
        ("你", said[0].start, said[2].end, (0, 1, 2)),
        ("好", said[3].start, said[4].end, (3, 4)),
    ]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=60))
def test_a_text_taken_apart_and_joined_is_the_text(text: str) -> None:
    assert join_words(split(text)).split() == text.split()
    assert "".join(join_words(split(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("你好，hello world。再见", ["你", "好，", "hello", "world。", "再", "见"]),
        ("iPhone15很贵", ["iPhone15", "很", "贵"]),
        ("  今天 ", ["今", "天"]),
        ("ありがとう。", ["あ", "り", "が", "と", "う。"]),
        ("- yes", ["-", "yes"]),
    ],
)
def test_what_a_text_is_taken_apart_to(text: str, parts: list[str]) -> None:
    assert [word.text for word in split(text)] == parts


def test_spaces_are_kept() -> None:
    assert [word.space_before for word in split("ab cd你 好ef")] == [False, True, False, True, False]
    assert join_words(split("ab cd你 好ef")) == "ab cd你 好ef"
