"""Sensitive terms are found whatever apostrophes, digits, accents and voicing marks are written like."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.masking import Masking, MaskingStyle
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.finding import TermFinder
from app.pipeline.text.masking import Masker
from pipeline.text.masks import mask_text


def stars(text: str, *terms: str) -> str:
    return mask_text(text, [Masking(terms)])


@pytest.mark.parametrize(
    ("text", "term", "expected"),
    [
        ("Falcon'll win", "Falcon", "********* win"),
        ("Falcon’d have won", "falcon", "******** have won"),
        ("l'Oréal et L’oreal", "Oréal", "l'***** et L’*****"),
        ("chez l’Oréal", "l'Oréal", "chez *******"),
        ("d'Artagnan and DArtagnan", "d'Artagnan", "********** and *********"),
        ("O'Brien, O’Brien and OBrien", "O'Brien", "*******, ******* and ******"),
        ("O'Brien", "Brien", "O'Brien"),
        ("don't, Don", "Don", "don't, ***"),
        ("McDonald's and McDonald", "McDonald's", "********** and ********"),
        ("'Falcon' said", "Falcon", "'******' said"),
        ("rock 'n' roll", "rock 'n' roll", "**** *** ****"),
    ],
)
def test_words_with_apostrophes(text: str, term: str, expected: str) -> None:
    assert stars(text, term) == expected


@pytest.mark.parametrize("term", ["iPhone 15", "iPhone15", "iphone-15"])
def test_words_and_numbers_are_found_with_and_without_a_space(term: str) -> None:
    assert stars("an iPhone 15, iPhone15, iPhone-15 and iPhone 16", term) == (
        "an ****** **, ********, ********* and iPhone 16"
    )


def test_numbers_are_whole() -> None:
    assert stars("GPT4, GPT-4 and GPT 41", "GPT-4") == "****, ***** and GPT 41"
    assert stars("15 and 150", "15") == "** and 150"
    assert stars("use C++, not C", "c++") == "use ***, not C"


@pytest.mark.parametrize(
    ("text", "term", "expected"),
    [
        ("はかとばか", "ばか", "はかと**"),
        ("はかとばか", "はか", "**とばか"),
        ("ﾋﾐﾂの話", "ヒミツ", "***の話"),
        ("ﾊﾞｶだ", "バカ", "***だ"),
        ("バカだ", "ﾊﾞｶ", "**だ"),
        ("ジョン・スミスさん", "ジョンスミス", "*******さん"),
    ],
)
def test_kana(text: str, term: str, expected: str) -> None:
    assert stars(text, term) == expected


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("term", ["café", "ばか", "안녕"])
def test_composed_and_decomposed_characters_are_the_same(term: str, form: str) -> None:
    text = unicodedata.normalize(form, term)
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", term)
    assert stars(f"x {text} y", other) == f"x {'*' * len(text)} y"
    assert mask_text(f"x {text} y", [Masking((other,), "remove")]) == "x y"


def test_one_character_that_stands_for_several() -> None:
    assert stars("在㍿上班", "株式会社") == "在*上班"
    assert stars("STRAßE 5", "strasse") == "****** 5"


@pytest.mark.parametrize("style", ["stars", "remove"])
@pytest.mark.parametrize(("said", "more"), [("the Fal", "con"), ("the iPhone", " 15"), ("the O", "'Brien")])
def test_the_beginning_of_a_term_waits(style: MaskingStyle, said: str, more: str) -> None:
    masker = Masker([Masking(("Falcon", "iPhone 15", "O'Brien"), style)])
    assert masker.unfinished(said) == "the"
    assert masker.unfinished(f"{said}{more} is") in {
        "the is",
        f"the {'*' * 6} is",
        "the ****** ** is",
        "the ******* is",
    }


SIGNS = st.text(st.sampled_from(list("aoBst5はﾊ\u3099ﾞ'’ -*・é\u0301㍿株ß甲，\n")), max_size=14)
TERMS = st.lists(SIGNS.filter(lambda term: any(sign.isalnum() for sign in term)), min_size=1, max_size=4)


@given(SIGNS, TERMS, st.sampled_from(["stars", "remove"]))
def test_nothing_of_a_term_is_left_whatever_the_text_is_made_of(
    text: str, terms: list[str], style: MaskingStyle
) -> None:
    finder = TermFinder(terms, ChineseWriting())
    spans = finder.find(text)
    assert all(start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    left = mask_text(text, [Masking(tuple(terms), style)])
    assert finder.find(left) == []
    assert spans or left == text


@given(SIGNS, TERMS)
def test_a_term_is_found_in_itself(before: str, terms: list[str]) -> None:
    text = f"{before}, {terms[0]}, x"
    assert TermFinder(terms[:1], ChineseWriting()).find(text)
