"""Numbers said as words: which become digits, which stay words, and what becomes of the words' times."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.transcript import Word, join_words
from app.pipeline.text.numbers import NumberWriting
from app.pipeline.text.punctuation import split

STEP = 0.25


@pytest.fixture(scope="module")
def numbers() -> NumberWriting:
    return NumberWriting()


def timed(text: str) -> tuple[Word, ...]:
    """The text's words, a quarter of a second each, ever less certain; a token each."""
    return tuple(
        Word(word.text, place * STEP, (place + 1) * STEP, 1 - place / 1000, word.space_before, (place,))
        for place, word in enumerate(split(text))
    )


CHINESE = [
    ("今天是二零二四年三月五号下午三点半，花了五十万元。", "今天是2024年3月5号下午3点半，花了50万元。"),
    ("二零二四年，百分之五十。", "2024年，50%。"),
    ("目前产量已下降超百分之五十", "目前产量已下降超50%"),
    ("百分之三点五。", "3.5%。"),
    ("晚上十一点四十五分", "晚上11点45分"),
    ("一万两千三百", "12300"),
    ("三亿五千万", "3亿5000万"),
    ("一百五十亿", "150亿"),
    ("一点五", "1.5"),
    ("两点五米", "2.5米"),
    ("七十公里", "70公里"),
    ("三十五度", "35度"),
    ("负十度", "负10度"),
    ("二〇二四年", "2024年"),
    ("一百美元", "100美元"),
    ("五点五公斤", "5.5公斤"),
    ("我有一百二十三块钱", "我有123块钱"),
    ("电话是一三八零零一三八零零零", "电话是13800138000"),
    ("幺幺零", "110"),
    ("二十个人", "20个人"),
    ("两百多", "200多"),
    ("第二十三届", "第23届"),
    ("四分之三", "3/4"),
    ("十分钟", "10分钟"),
    ("三十分", "30分"),
    ("五十万。", "50万。"),
]
CHINESE_WORDS = [
    "一下", "一起走吧", "万一呢", "三心二意", "一点儿", "第一次", "十分感谢", "十全十美", "千万不要", "统一", "唯一",
    "一个人", "两个人", "三点建议", "三点", "几十个", "十几个", "十来个", "三四个", "七八十", "四五百", "十一长假",
    "七上八下", "说一不二，一五一十。", "百姓", "千里之外", "九九八十一", "三五年", "两三年", "七八年", "十字路口",
    "百八十块",
    "十一黄金周", "星期一", "八点一刻", "零点", "两个半", "天气很好。", "",
]  # fmt: skip
ENGLISH = [
    ("one point five percent", "1.5%"),
    ("at three thirty pm on may fifth twenty twenty four", "at 3:30 p.m. on may 5th 2024"),
    ("I saw fourteen birds, and twenty.", "I saw 14 birds, and 20."),
    ("call five five five one two three four", "call 5551234"),
    ("two thousand and ten", "2010"),
    ("The second one is the first of twenty five people.", "The second one is the first of 25 people."),
]
ENGLISH_WORDS = [
    "oh no one knows",
    "one of them",
    "mister smith went",
    "just a second",
    "the third man",
    "twenty four seven",
    "fifty fifty",
]


@pytest.mark.parametrize(("said", "written"), CHINESE)
def test_chinese_numbers(numbers: NumberWriting, said: str, written: str) -> None:
    assert join_words(numbers.written(split(said), "zh")) == written


@pytest.mark.parametrize("said", CHINESE_WORDS)
def test_chinese_words_that_are_no_numbers_stay(numbers: NumberWriting, said: str) -> None:
    words = split(said)
    assert all(one is other for one, other in zip(numbers.written(words, "zh"), words, strict=True))


@pytest.mark.parametrize(("said", "written"), ENGLISH)
def test_english_numbers(numbers: NumberWriting, said: str, written: str) -> None:
    assert join_words(numbers.written(split(said), "en")) == written


@pytest.mark.parametrize("said", ENGLISH_WORDS)
def test_english_words_that_are_no_numbers_stay(numbers: NumberWriting, said: str) -> None:
    assert numbers.written(split(said), "en") == split(said)


def test_languages_it_does_not_know_are_left_alone(numbers: NumberWriting) -> None:
    words = split("千葉県、三十五パーセントです。")
    assert numbers.written(words, "ja") == words


def test_the_words_of_a_number_become_one_word_with_their_time(numbers: NumberWriting) -> None:
    words = timed("我有一百二十三块钱。")
    written = numbers.written(words, "zh")
    assert [word.text for word in written] == ["我", "有", "123", "块", "钱。"]
    number = written[2]
    assert (number.start, number.end) == (words[2].start, words[6].end)
    assert number.confidence == words[6].confidence, "no surer than the least sure of its words"
    assert number.tokens == (2, 3, 4, 5, 6)
    assert written[:2] == words[:2]
    assert written[3:] == words[7:]


@pytest.mark.parametrize(
    ("said", "language"), [*((said, "zh") for said, _ in CHINESE), *((s, "en") for s, _ in ENGLISH)]
)
def test_times_and_tokens_are_kept(numbers: NumberWriting, said: str, language: str) -> None:
    words = timed(said)
    written = numbers.written(words, language)
    assert (written[0].start, written[-1].end) == (words[0].start, words[-1].end)
    assert all(before.end <= after.start for before, after in itertools.pairwise(written))
    assert [token for word in written for token in word.tokens] == list(range(len(words)))


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("今天气很好我们去公园吧hello world,。？！ '-"), max_size=40))
def test_text_without_numbers_is_not_touched(numbers: NumberWriting, said: str) -> None:
    words = split(said)
    for language in ("zh", "en"):
        assert numbers.written(words, language) == words


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.sampled_from("零一二三四五六七八九十百千万亿两点分之年月号元个半几多的。，"), min_size=1, max_size=24)
)
def test_whatever_is_made_of_numbers_no_time_is_lost(numbers: NumberWriting, said: str) -> None:
    words = timed(said)
    written = numbers.written(words, "zh")
    assert [token for word in written for token in word.tokens] == [token for word in words for token in word.tokens]
    assert all(word.text for word in written)
    assert all(before.end <= after.start for before, after in itertools.pairwise(written))


def test_from_several_threads_at_once(numbers: NumberWriting) -> None:
    with ThreadPoolExecutor(4) as threads:
        for said, written in CHINESE * 3:
            assert threads.submit(numbers.written, split(said), "zh").result() == numbers.written(split(said), "zh")
            assert join_words(numbers.written(split(said), "zh")) == written
