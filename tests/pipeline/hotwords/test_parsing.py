"""Every shape hotwords come in, and what is wrong with those that make no sense."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidHotwords, InvalidParameter
from app.domain.hotwords import Hotword
from app.pipeline.hotwords import parsing
from app.pipeline.hotwords.parsing import LONGEST_TERM, parse_hotwords, read_hotwords

MOST = 50
NUMBERS = st.one_of(
    st.integers(-5, 200).map(str), st.sampled_from(["0", "nan", "inf", "1e999", "2.5", "-1", "٣", "２０"])
)
TOKENS = st.one_of(
    NUMBERS,
    st.sampled_from(["阿里巴巴", "Qwen", "ASR", ",", "，", "、", ";", "\n", " ", "{", "[", '"', "]", ":", "！"]),
    st.text(),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.one_of(st.text(), st.sampled_from(["text", "word", "weight"])), inner)
    ),
)


def parsed(said: str) -> dict[str, float]:
    return {hotword.text: hotword.weight for hotword in parse_hotwords(said, param="hotwords", most=MOST)}


@pytest.mark.parametrize(
    ("said", "terms"),
    [
        ("", []),
        (" \n ", []),
        ("阿里巴巴 20 通义千问 15", ["阿里巴巴", "通义千问"]),
        ("阿里巴巴 20", ["阿里巴巴"]),
        ("Qwen ASR 10\n通义千问 20\n", ["Qwen ASR", "通义千问"]),
        ("\ufeffQwen ASR 10\r\n通义千问 20", ["Qwen ASR", "通义千问"]),
        ("hello world", ["hello", "world"]),
        ("hello world, good day", ["hello world", "good day"]),
        ("阿里巴巴，通义千问、达摩院;Qwen", ["阿里巴巴", "通义千问", "达摩院", "Qwen"]),
        ("阿里巴巴 20, 通义千问 15", ["阿里巴巴", "通义千问"]),
        ("iPhone 15, iPhone 16", ["iPhone 15", "iPhone 16"]),
        ("GPT 4\nKubernetes", ["GPT 4", "Kubernetes"]),
        ('{"阿里巴巴": 20, "Qwen ASR": 5}', ["阿里巴巴", "Qwen ASR"]),
        ('["Qwen ASR", "b"]', ["Qwen ASR", "b"]),
        ('[{"text": "a b", "weight": 3, "lang": "zh"}, {"word": "c"}, {"term": "d"}]', ["a b", "c", "d"]),
        ('{"text": "Qwen ASR", "weight": 4}', ["Qwen ASR"]),
        ("C++, C#, AT&T", ["C++", "C#", "AT&T"]),
    ],
)
def test_shapes(said: str, terms: list[str]) -> None:
    assert list(parsed(said)) == terms


def test_weights_are_relative_to_the_lists_median_whatever_its_scale() -> None:
    assert parsed("a 20 b 10 c 40") == {"a": 1.0, "b": 0.5, "c": 2.0}
    assert parsed('{"a": 4, "b": 2, "c": 8}') == {"a": 1.0, "b": 0.5, "c": 2.0}
    assert parsed("a 100") == {"a": 1.0}
    assert parsed("a, b") == {"a": 1.0, "b": 1.0}


def test_a_term_stands_once_where_it_stood_first_with_its_heavier_weight() -> None:
    assert parsed("qwen 10 b 20 Qwen 40") == {"qwen": 2.0, "b": 1.0}
    assert parsed('{"a": 10, "b": 20, "a": 40}') == {"a": 2.0, "b": 1.0}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("阿里巴巴 20 通义千问", "separate terms that contain numbers"),
        ("阿里巴巴 0", "positive number"),
        ("阿里巴巴 20 通义千问 nan", "positive number"),
        ("a 1e999", "positive number"),
        ('{"a": -1}', "positive number"),
        ('{"a": NaN}', "positive number"),
        ('{"a": true}', "positive number"),
        ('{"a": ', "JSON"),
        ("[" * 100_000, "JSON"),
        ("[3]", "a list may hold"),
        ('[{"text": "a", "wieght": 3}]', "wieght"),
        ('[{"weight": 3}]', "needs its term"),
        ("a, ！", "has no word"),
        ("x" * (LONGEST_TERM + 1), "201 characters"),
        (" ".join(f"w{n}x" for n in range(MOST + 1)), "51 terms are more than the 50"),
    ],
)
def test_what_makes_no_sense_is_named(said: str, told: str) -> None:
    with pytest.raises(InvalidParameter, match=told) as failure:
        parsed(said)
    assert failure.value.param == "hotwords"


def read(*items: str, apart: bool = False) -> list[str]:
    return [hotword.text for hotword in read_hotwords(items, param="keywords", most=MOST, apart=apart)]


def test_items_of_a_repeated_field() -> None:
    assert read("Qwen ASR", "hello world") == ["Qwen ASR", "hello world"]
    assert read("阿里巴巴 20", "通义千问 15") == ["阿里巴巴", "通义千问"]
    assert read("a b", '["c d"]', "e, f g", "阿里 20 千问 15", "") == ["a b", "c d", "e", "f g", "阿里", "千问"]
    assert read("Qwen ASR") == ["Qwen", "ASR"]
    assert read("Qwen ASR", apart=True) == ["Qwen ASR"]
    assert read() == []


def sound(hotwords: tuple[Hotword, ...]) -> bool:
    texts = [hotword.text.casefold() for hotword in hotwords]
    return (
        len(set(texts)) == len(texts) <= MOST
        and all(0 < len(hotword.text) <= LONGEST_TERM for hotword in hotwords)
        and all(hotword.weight > 0 and math.isfinite(hotword.weight) for hotword in hotwords)
        and all(hotword.text.encode() for hotword in hotwords)
    )


@given(st.lists(st.lists(TOKENS, max_size=8).map(" ".join), max_size=4), st.booleans())
def test_anything_at_all_is_terms_or_an_invalid_parameter(items: list[str], apart: bool) -> None:
    try:
        assert sound(read_hotwords(items, param="hotwords", most=MOST, apart=apart))
    except InvalidParameter as failure:
        assert failure.param == "hotwords"
        assert failure.message.encode()


@given(JSON)
def test_any_json_is_terms_or_an_invalid_parameter(value: object) -> None:
    try:
        assert sound(parse_hotwords(json.dumps(value), param="hotwords", most=MOST))
    except InvalidParameter as failure:
        assert failure.message.encode()


@given(
    st.dictionaries(
        st.text("阿里巴通义千问达摩院", min_size=1, max_size=6), st.integers(1, 100), min_size=1, max_size=20
    )
)
def test_all_shapes_of_a_weighted_list_say_the_same(weights: dict[str, int]) -> None:
    pairs = [f"{term} {weight}" for term, weight in weights.items()]
    listed = [{"text": term, "weight": weight} for term, weight in weights.items()]
    expected = parsed(json.dumps(weights))
    assert list(expected) == list(weights)
    assert parsed(" ".join(pairs)) == parsed("\n".join(pairs)) == parsed(json.dumps(listed)) == expected


@pytest.mark.parametrize(
    "items",
    [
        ["a," * 100_000],
        ["a\n" * 100_000],
        ["ab 3 " * 100_000],
        ["ab " * 100_000],
        ["[" + '"a",' * 100_000 + '"a"]'],
        ["a,b,c", "a," * 100_000],
        ["a"] * 100_000,
        ["a,a,a,a"] * 1000,
    ],
    ids=["commas", "lines", "weights", "spaces", "json", "fields", "items", "many fields"],
)
def test_far_too_many_are_refused_before_they_are_looked_at(items: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated ones as well: they would be one term in the end, and cost as much as others until then."""
    looked_at: list[str] = []
    monkeypatch.setattr(parsing, "_term", looked_at.append)
    with pytest.raises(InvalidHotwords, match="far more terms"):
        read_hotwords(items, param="hotwords", most=MOST)
    assert looked_at == []


def test_terms_may_repeat() -> None:
    assert parsed("阿里巴巴," * 20 * MOST) == {"阿里巴巴": 1.0}
