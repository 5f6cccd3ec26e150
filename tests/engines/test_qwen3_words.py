"""Words of a text: where they begin, which tokens are theirs, how sure they are; and times where there are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.engines import SpeechSpan
from app.domain.transcript import Word, join_words
from app.engines.qwen3.outputs import Answer, Output, TextToken
from app.engines.qwen3.vocabulary import Vocabulary
from app.engines.qwen3.words import proportional, words_of
from app.pipeline.text.punctuation import split
from engines.qwen3_tokens import Small, small


@pytest.fixture(scope="module")
def tokens() -> Small:
    return small()


@pytest.fixture(scope="module")
def vocabulary(tokens: Small, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    return Vocabulary(tokens.write(tmp_path_factory.mktemp("qwen3")))


def texts(text: str) -> list[str]:
    return [word.text for word in words_of(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", ["Hello,", "world!"]),
        ("It's 3.5% of $2,000 (about half).", ["It's", "3.5%", "of", "$2,000", "(about", "half)."]),
        ('He said "yes" and left...', ["He", "said", '"yes"', "and", "left..."]),
        ("¿Qué pasa? ¡Bien!", ["¿Qué", "pasa?", "¡Bien!"]),
        ("Bonjour ! Ça va ?", ["Bonjour !", "Ça", "va ?"]),
        ("well-known - half", ["well-known", "- half"]),
        ("欢迎体验。", ["欢", "迎", "体", "验。"]),
        ("他说：“走！”", ["他", "说：", "“走！”"]),
        ("用GPT4（模型）识别50%的", ["用", "GPT4", "（模", "型）", "识", "别", "50%", "的"]),
        ("走了。“你好”", ["走", "了。", "“你", "好”"]),
        ("（（模型", ["（（模", "型"]),
        ("人々は カタカナー", ["人", "々", "は", "カ", "タ", "カ", "ナ", "ー"]),
        ("卡尔·马克思、ア・イ", ["卡", "尔·", "马", "克", "思、", "ア・", "イ"]),
        ("안녕 하세요.", ["안녕", "하세요."]),
        ("สวัสดีครับ วันนี้", ["สวัสดีครับ", "วันนี้"]),
        ("𠮷野家", ["𠮷", "野", "家"]),
        ("你好😀 hello 🎉", ["你", "好😀", "hello 🎉"]),
        ("… 你好", ["… 你", "好"]),
        ("hello (", ["hello ("]),
        ("……", ["……"]),
        ("“ ", ["“"]),
        ("", []),
    ],
)
def test_words_carry_their_marks(text: str, words: list[str]) -> None:
    assert texts(text.strip()) == words


@pytest.mark.parametrize(
    "text", ["你好，世界。我说hello world！", "It's fine. Really?", "สวัสดีครับ วันนี้", "안녕 하세요", "こんにちは、元気？"]
)
def test_ordinary_text_is_split_as_the_server_splits_it(text: str) -> None:
    assert words_of(text) == split(text)


MIXED = st.text(
    alphabet=st.sampled_from("ab1'-.,!?好語々ー・が한กำéя“”（）。，—😀\u200d\ufe0f\u0301_ $𠮷"), max_size=40
)


@given(MIXED | st.text(max_size=30))
def test_joined_words_are_the_text(text: str) -> None:
    text = " ".join(text.split())
    words = words_of(text)
    assert join_words(words) == text
    assert all(word.text == word.text.strip() != "" for word in words)
    spoken = [any(character.isalpha() or character.isdigit() for character in word.text) for word in words]
    assert all(spoken) or len(words) == 1 or any(character.isnumeric() for character in text), "marks stand with words"


def answered(vocabulary: Vocabulary, ids: list[int], chances: list[float]) -> Answer:
    output = Output(vocabulary, forced="English")
    for token, chance in zip(ids, chances, strict=True):
        output.add(token, math.log(chance))
    return output.finish()


def test_words_have_their_tokens_and_the_mean_probability_of_those(vocabulary: Vocabulary, tokens: Small) -> None:
    parts = [tokens.encode("Hello"), tokens.encode(","), tokens.encode(" world"), tokens.encode("!")]
    ids = [token for part in parts for token in part]
    chances = [0.5] * len(parts[0]) + [0.25] * len(parts[1]) + [0.9] * len(parts[2]) + [0.7] * len(parts[3])
    answer = answered(vocabulary, ids, chances)
    hello, world = words_of(answer.text, answer.tokens)
    assert hello.tokens == (*parts[0], *parts[1])
    assert world.tokens == (*parts[2], *parts[3])
    assert hello.confidence == pytest.approx((0.5 * len(parts[0]) + 0.25) / (len(parts[0]) + 1))
    assert world.confidence == pytest.approx((0.9 * len(parts[2]) + 0.7) / (len(parts[2]) + 1))


def test_a_token_of_two_words_goes_to_the_first_and_counts_in_both() -> None:
    shared = TextToken(7, "你好".encode(), math.log(0.5), 0, 2)
    world = TextToken(8, "世".encode(), math.log(0.25), 2, 3)
    first, second, third = words_of("你好世", [shared, world])
    assert [word.tokens for word in (first, second, third)] == [(7,), (), (8,)]
    assert [word.confidence for word in (first, second, third)] == pytest.approx([0.5, 0.5, 0.25])


def test_a_character_of_several_tokens_is_one_word(vocabulary: Vocabulary, tokens: Small) -> None:
    ids = tokens.spell("龘好".encode())
    answer = answered(vocabulary, ids, [0.9, 0.6, 0.3, 0.5, 0.5, 0.5])
    first, second = words_of(answer.text, answer.tokens)
    assert (first.tokens, second.tokens) == (tuple(ids[:3]), tuple(ids[3:]))
    assert first.confidence == pytest.approx(0.6)


def test_a_blank_token_belongs_to_the_word_after_it(vocabulary: Vocabulary, tokens: Small) -> None:
    one, two = tokens.spell(b"one"), tokens.spell(b"two")
    blank = tokens.spell(b" ")
    ids = [*blank, *one, *blank, *blank, *two, *blank]
    answer = answered(vocabulary, ids, [0.5] * len(ids))
    first, second = words_of(answer.text, answer.tokens)
    assert first.tokens == (*blank, *one)
    assert second.tokens == (*blank, *blank, *two, *blank)


def test_words_of_a_prefix_have_no_tokens_and_no_confidence(vocabulary: Vocabulary, tokens: Small) -> None:
    output = Output(vocabulary, forced="English", prefix="the qu")
    for token in tokens.spell(b"ick fox"):
        output.add(token, 0.0)
    answer = output.finish()
    the, quick, fox = words_of(answer.text, answer.tokens)
    assert (the.tokens, the.confidence) == ((), None)
    assert (quick.tokens, quick.confidence) == (tuple(tokens.spell(b"ick")), 1.0)
    assert fox.tokens == tuple(tokens.spell(b" fox"))


@given(text=MIXED, spelled=st.lists(st.booleans(), min_size=40, max_size=40))
def test_every_token_is_in_one_word_in_order(
    vocabulary: Vocabulary, tokens: Small, text: str, spelled: list[bool]
) -> None:
    ids: list[int] = []
    for character, bytewise in zip(text, spelled, strict=False):
        ids += tokens.spell(character.encode()) if bytewise else tokens.encode(character)
    answer = answered(vocabulary, ids, [0.5] * len(ids))
    words = words_of(answer.text, answer.tokens)
    assert [token for word in words for token in word.tokens] == [token.id for token in answer.tokens]
    assert all(word.confidence == pytest.approx(0.5) for word in words)


def test_times_are_shared_by_how_long_words_take_to_say() -> None:
    words = proportional(words_of("a test, 你好。"), SpeechSpan(1.0, 3.0))
    assert join_words(words) == "a test, 你好。"
    a, test, first, second = words
    assert (a.start, second.end) == (1.0, pytest.approx(3.0))
    assert test.end - test.start > 2 * (a.end - a.start)
    assert first.end - first.start == pytest.approx(3 * (a.end - a.start))
    assert second.end - second.start == pytest.approx(3.5 * (a.end - a.start)), "a mark weighs less than a letter"


@given(
    MIXED.filter(lambda text: text.strip() != ""),
    st.floats(0, 100, allow_nan=False),
    st.floats(0, 60, allow_nan=False),
)
def test_shared_times_are_in_order_and_inside(text: str, start: float, length: float) -> None:
    speech = SpeechSpan(start, start + length)
    words = proportional(words_of(" ".join(text.split())), speech)
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(speech.start <= time <= speech.end for time in times)


def test_nothing_to_time_is_no_failure() -> None:
    assert proportional((), SpeechSpan(0.0, 1.0)) == ()
    assert proportional((Word("", 0.0, 0.0),), SpeechSpan(0.5, 0.5))[0].end == 0.5
