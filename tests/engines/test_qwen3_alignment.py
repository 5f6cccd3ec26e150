"""What the aligner is asked, how its classes become times in order, and how those come back to words."""

from __future__ import annotations

import random
import sys
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import EngineFailure
from app.domain.transcript import Word, join_words
from app.engines.qwen3.alignment import Units, aligner_words, placed, times
from app.engines.qwen3.words import words_of


def units(text: str, language: str = "en") -> list[str]:
    asked = aligner_words(words_of(text), language)
    assert asked is not None
    return list(asked.texts)


@pytest.mark.parametrize(
    ("text", "language", "asked"),
    [
        ("It's well-known, isn't it?", "en", ["It's", "wellknown", "isn't", "it"]),
        ("Bonjour ! 3,5 %", "fr", ["Bonjour", "35"]),
        ("欢迎，GPT4好！", "zh", ["欢", "迎", "GPT4", "好"]),
        ("佢哋喺度", "yue", ["佢", "哋", "喺", "度"]),
        ("Привет, мир", "ru", ["Привет", "мир"]),
        ("안녕, 中國은 크다!", "ko", ["안녕", "中國은", "크다"]),
        ("你好😀 … カタ", "zh", ["你", "好", "カタ"]),
        ("……", "zh", []),
        ("", "zh", []),
    ],
)
def test_units_are_words_without_marks(text: str, language: str, asked: list[str]) -> None:
    assert units(text, language) == asked


def test_a_language_the_aligner_does_not_know_is_not_asked() -> None:
    assert aligner_words(words_of("สวัสดี"), "th") is None
    assert aligner_words(words_of("hello"), "nl") is None


def morphemes(monkeypatch: pytest.MonkeyPatch, *said: str) -> None:
    """nagisa, where what it says is known. It reads text in compatibility form and blanks as full-width ones."""
    package = SimpleNamespace(
        tagging=lambda _: SimpleNamespace(words=list(said)), __spec__=SimpleNamespace(name="nagisa"), __name__="nagisa"
    )
    monkeypatch.setitem(sys.modules, "nagisa", package)


def test_japanese_is_asked_in_morphemes_that_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    morphemes(monkeypatch, "今日", "は", "、", "\u3000", "ガム", "10", "個", "。")
    words = words_of("今日は、 ｶﾞﾑ１０個。")
    asked = aligner_words(words, "ja")
    assert asked is not None
    assert asked.texts == ("今日", "は", "ガム", "10", "個")
    told = [(0.0, 0.4), (0.4, 0.6), (1.0, 1.4), (1.4, 1.8), (1.8, 2.0)]
    timed = placed(words, asked, told)
    assert [word.text for word in timed] == ["今", "日", "は、", "ｶﾞﾑ１０", "個。"]
    assert [(word.start, word.end) for word in timed] == [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (1.0, 1.8), (1.8, 2.0)]


@pytest.mark.parametrize("said", [("今日", "ハ"), ("今日",), ("今日", "は", "x")])
def test_japanese_that_comes_back_changed_is_not_aligned(
    monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...]
) -> None:
    morphemes(monkeypatch, *said)
    assert aligner_words(words_of("今日は"), "ja") is None


def test_japanese_without_its_package_is_not_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert aligner_words(words_of("今日は"), "ja") is None


@pytest.mark.parametrize(
    ("bins", "told"),
    [
        ([0, 5, 5, 10], [(0.0, 0.4), (0.4, 0.8)]),
        ([0, 5, 4, 10], [(0.0, 0.4), (0.4, 0.8)]),  # of two as long, the one that ends first and begins first
        ([0, 90, 5, 10], [(0.0, 0.0), (0.4, 0.8)]),  # one alone: to the one before
        ([0, 90, 80, 10, 11, 12], [(0.0, 0.0), (0.8, 0.8), (0.88, 0.96)]),  # two: each to its neighbour
        ([0, 99, 98, 97, 10, 11, 12, 13], [(0.0, 0.2), (0.4, 0.6), (0.8, 0.88), (0.96, 1.04)]),  # three: evenly
        ([1, 95, 96, 0, 2, 2, 2, 2], [(0.08, 0.1), (0.12, 0.14), (0.16, 0.16), (0.16, 0.16)]),
        ([50, 0, 1, 2], [(0.0, 0.0), (0.08, 0.16)]),
        ([1, 2, 3, 0], [(0.08, 0.16), (0.24, 0.24)]),
        ([], []),
    ],
)
def test_times_out_of_order_are_drawn_to_those_in_order(bins: list[int], told: list[tuple[float, float]]) -> None:
    assert times(bins, len(bins) // 2, 60.0) == told


def test_even_times_are_whole_milliseconds() -> None:
    told = times([0, 99, 98, 97, 96, 1, 2, 3, 4, 5], 5, 60.0)
    assert [round(time * 1000, 6) for pair in told for time in pair][:6] == [0, 16, 32, 48, 64, 80]
    told = times([0, 99, 98, 97, 96, 95, 1, 2, 3, 4, 5, 6], 6, 60.0)
    assert [round(time * 1000, 6) for pair in told for time in pair][:7] == [0, 13, 26, 40, 53, 66, 80]


def test_times_stay_inside_the_sound_and_bins_may_be_of_another_length() -> None:
    assert times([0, 5, 20, 30], 2, 1.5) == [(0.0, 0.4), (1.5, 1.5)]
    assert times([1, 2], 1, 1.0, bin_ms=40) == [(0.04, 0.08)]


def test_an_answer_of_another_length_is_a_failure() -> None:
    with pytest.raises(EngineFailure, match="3 times for 2 words"):
        times([1, 2, 3], 2, 1.0)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40), st.floats(0, 5))
def test_any_classes_are_times_in_order_inside_the_sound(bins: list[tuple[int, int]], seconds: float) -> None:
    told = [time for pair in times([one for pair in bins for one in pair], len(bins), seconds) for time in pair]
    assert told == sorted(told)
    assert all(0 <= time <= seconds for time in told)


def test_many_words_out_of_order_take_no_long_time() -> None:
    chance = random.Random(5)
    for bins in ([chance.randint(0, 4999) for _ in range(20_000)], list(range(20_000, 0, -1)), [7] * 20_000):
        begun = time.perf_counter()
        times(bins, 10_000, 400.0)
        assert time.perf_counter() - begun < 2


def test_words_have_the_times_of_their_units() -> None:
    words = words_of("你好，GPT4！ dogs '")
    asked = aligner_words(words, "zh")
    assert asked is not None
    assert asked.texts == ("你", "好", "GPT4", "dogs", "'")
    timed = placed(words, asked, [(0.1, 0.2), (0.2, 0.3), (0.5, 0.8), (0.9, 1.0), (1.0, 1.2)])
    assert join_words(timed) == join_words(words)
    assert [(word.start, word.end) for word in timed] == [(0.1, 0.2), (0.2, 0.3), (0.5, 0.8), (0.9, 1.2)]


def test_a_word_in_no_unit_stands_beside_its_neighbour() -> None:
    words = (Word("…", 0, 0), Word("a", 0, 0), Word("😀", 0, 0), Word("b", 0, 0), Word("!", 0, 0))
    asked = aligner_words(words, "en")
    assert asked == Units(("a", "b"), ((1,), (3,)))
    timed = placed(words, asked, [(0.5, 0.8), (1.0, 1.5)])
    assert [(word.start, word.end) for word in timed] == [(0.5, 0.5), (0.5, 0.8), (0.8, 0.8), (1.0, 1.5), (1.5, 1.5)]
    nothing = aligner_words(words[:1], "en")
    assert nothing is not None
    assert placed(words[:1], nothing, [])[0].end == 0.0


TEXTS = st.text(alphabet=st.sampled_from("ab1' .,好語ー한é“”。—😀"), max_size=30).map(
    lambda text: " ".join(text.split())
)


@given(TEXTS, st.sampled_from(["zh", "en", "ko"]), st.randoms(use_true_random=False))
def test_words_are_in_order_whatever_the_aligner_says(text: str, language: str, chance: random.Random) -> None:
    words = words_of(text)
    asked = aligner_words(words, language)
    assert asked is not None
    bins = [chance.randint(0, 30) for _ in range(2 * len(asked.texts))]
    timed = placed(words, asked, times(bins, len(asked.texts), 2.0))
    assert join_words(timed) == text
    told = [time for word in timed for time in (word.start, word.end)]
    assert told == sorted(told)
    assert all(0 <= time <= 2.0 for time in told)
