"""Which terms stand in a text."""

from __future__ import annotations

import time

import pytest

from app.domain.hotwords import Hotword, HotwordHit
from app.pipeline.hotwords.hits import hits
from tests.pipeline.hotwords.saying import correction, words


def counted(text: str, *terms: str) -> dict[str, int]:
    return {hit.text: hit.count for hit in hits([Hotword(term) for term in terms], text, {})}


@pytest.mark.parametrize(
    ("text", "terms", "counts"),
    [
        ("我在北京大学，不在北京。", ["北京", "北京大学"], {"北京大学": 1, "北京": 1}),
        ("qwen and QWEN, not Qwenling", ["Qwen"], {"Qwen": 2}),
        ("用Qwen做的", ["Qwen"], {"Qwen": 1}),
        ("Qwen's Qwen-ASR and qwen asr", ["Qwen", "Qwen ASR"], {"Qwen": 1, "Qwen ASR": 2}),
        ("C, C++ and C#", ["C++", "C#"], {"C++": 1, "C#": 1}),
        ("a café, Beyonce", ["Cafe", "Beyoncé"], {"Cafe": 1, "Beyoncé": 1}),
        ("通义，千问", ["通义千问"], {}),
        ("史蒂夫·乔布斯和史蒂夫乔布斯", ["史蒂夫·乔布斯"], {"史蒂夫·乔布斯": 2}),
        ("東京タワーと東京", ["東京", "東京タワー"], {"東京タワー": 1, "東京": 1}),
        ("서울에서", ["서울"], {"서울": 1}),
        ("", ["a"], {}),
    ],
)
def test_terms_in_text(text: str, terms: list[str], counts: dict[str, int]) -> None:
    assert counted(text, *terms) == counts


def test_what_correction_put_there_is_told() -> None:
    terms = [Hotword("通义千问"), Hotword("达摩院"), Hotword("Qwen")]
    result = correction("通义千问和通一千问，q wen", *(term.text for term in terms))
    assert hits(terms, result.words, result.terms) == (HotwordHit("通义千问", 2, 1), HotwordHit("Qwen", 1, 1))


def test_words_and_text_are_the_same() -> None:
    text = "Qwen ASR，北京大学"
    terms = [Hotword("Qwen ASR"), Hotword("北京大学")]
    assert hits(terms, words(text), {}) == hits(terms, text, {}) != ()


def test_thousands_of_terms_in_a_long_text_take_no_time() -> None:
    terms = [Hotword(f"{chr(0x4E00 + n % 150)}{chr(0x4E00 + n // 150)}公司") for n in range(10_000)]
    text = "".join(term.text for term in terms[:2000])
    begun = time.perf_counter()
    found = hits(terms, text, {})
    assert time.perf_counter() - begun < 2.0
    assert len(found) == 2000
